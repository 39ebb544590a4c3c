"""Faults of a cluster: its nodes are processes on this machine, started by ``ray start`` as the pages say."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.faults.findings import Finding, row
from tests.faults.processes import free_port, kill_tree, wait_for
from tests.faults.stage import Stage, staged


class Cluster:
    """A head with one CPU, and what is started beside it."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.port = stage, free_port()
        self._started: list[subprocess.Popen[bytes]] = []
        stage.env |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        stage.arguments += ["--address", f"127.0.0.1:{self.port}"]
        self.begin()

    def begin(self) -> None:
        """Starts the head and one node."""
        self.head = self._start("--head", f"--port={self.port}", "--include-dashboard=false")
        wait_for(self._answers, 60.0, "the head")
        self.node = self.join()

    def join(self) -> subprocess.Popen[bytes]:
        """Starts a node and waits until it is one of the cluster."""
        return self._start(f"--address=127.0.0.1:{self.port}")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.stage.folder / "ray.txt").open("ab")
        ray = Path(sys.executable).with_name("ray")
        common = ["--num-cpus=1", f"--object-store-memory={100 * 2**20}", "--disable-usage-stats", "--block"]
        with log:
            node = subprocess.Popen(
                [ray, "start", *arguments, "--node-ip-address=127.0.0.1", *common],
                cwd=self.stage.folder,
                env=self.stage.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(node)
        return node

    def _answers(self) -> bool:
        return any(c.laddr.port == self.port and c.status == "LISTEN" for c in psutil.net_connections("tcp"))

    def works_on(self, node: subprocess.Popen[bytes]) -> bool:
        """Whether a cell is being scored on a node."""
        return any(parent.pid == node.pid for parent in psutil.Process(self.stage.busy()).parents())

    def end(self) -> None:
        """Stops every node, and removes what Ray leaves: its folder is the cluster's, not the run's."""
        for node in self._started:
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self.stage.temporary / "ray", ignore_errors=True)


def _on_cluster(play: Callable[[Stage, Cluster], Finding]) -> Finding:
    def begin(stage: Stage) -> Finding:
        cluster = Cluster(stage)
        try:
            return play(stage, cluster)
        finally:
            cluster.end()

    return staged(begin, pause=1.0, seeds=8)


@row("a node lost in mid-trial, and another that joins")
def node_lost() -> Finding:
    def play(stage: Stage, cluster: Cluster) -> Finding:
        driver = stage.start()
        stage.until(1)
        wait_for(lambda: cluster.works_on(cluster.node), 60.0, "a trial on the second node")
        with stage.fault():
            kill_tree(cluster.node.pid)
        cluster.join()
        driver.wait()
        stage.again()
        cluster.end()
        return stage.finding(stage.says("killed|runs again"))

    return _on_cluster(play)


@row("the head lost, and the cluster started anew")
def head_lost() -> Finding:
    def play(stage: Stage, cluster: Cluster) -> Finding:
        driver = stage.start()
        stage.until(2)
        with stage.fault():
            kill_tree(cluster.head.pid)
        code = driver.wait()
        cluster.end()
        cluster.begin()
        stage.again()
        cluster.end()
        return stage.finding(stage.says("no longer answers"), more_wrong=code != 3)

    return _on_cluster(play)
