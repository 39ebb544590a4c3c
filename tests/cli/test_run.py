"""``suite run`` as a user meets it: exit codes, one-line errors, and runs that are stopped and go on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.cli.app import main
from tests.toys import write_baseline, write_task

#: What every run here has in common.
OPTIONS = ("--path", "toys", "-t", "error", "--budget", "smoke", "--tracking", "off", "--trust")

ROOT = Path(__file__).resolve().parents[2]


Command = Callable[..., tuple[int, str, str]]


class Shell:
    """A folder with toys, and the command as a process there, in a group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        write_task(folder / "toys")
        write_baseline(folder / "toys", "Toy")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "suite", "run", *OPTIONS, *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Returns exit code, standard output and standard error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=200)
        return process.returncode, out, err

    def stop_after(self, records: int, number: signal.Signals, *arguments: str) -> tuple[int, str, str]:
        """Starts a run and sends it a signal once there are so many records."""
        process = self.start(*arguments)
        wait_for(lambda: len(self.records()) >= records or process.poll() is not None)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def records(self, workspace: str = "runs") -> dict[str, Any]:
        folder = self.folder / workspace / "records"
        return {path.name: json.loads(path.read_text()) for path in folder.glob("[0-9a-f]*.json")}

    def metrics(self, workspace: str = "runs") -> dict[str, Any]:
        return {name: raw["metrics"] for name, raw in self.records(workspace).items()}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def wait_for(condition: Any, seconds: float = 120.0) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def command(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in the folder with the toys."""
    monkeypatch.chdir(shell.folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["run", *OPTIONS, *arguments])
        return (code, *capsys.readouterr())

    return run


def test_a_run_prints_a_line_a_cell_the_board_and_where_things_are_and_then_resumes(
    shell: Shell, command: Command
) -> None:
    arguments = ("-b", "toy", "--seeds", "0-2", "--executor", "local")
    code, out, err = command(*arguments)
    assert code == 0
    assert [line.split("seed")[0] for line in err.splitlines()] == ["ok       error  toy  digits "] * 3
    assert "3 cells: 3 run now, 0 before" in out
    assert str(shell.folder / "runs" / "records") in out
    again, more, quiet = command(*arguments)
    assert (again, quiet) == (0, "")
    assert "3 cells: 0 run now, 3 before" in more
    assert out.split("cells:")[0] == more.split("cells:")[0]


def test_a_failed_cell_makes_the_exit_code_1(shell: Shell, command: Command) -> None:
    write_baseline(shell.folder / "toys", "Raiser", loss="raise ValueError('no')")
    code, out, err = command("-b", "toy", "-b", "raiser", "--seeds", "0", "--executor", "local")
    assert code == 1
    assert "ValueError: no" in err
    assert "1 failed" in out


def test_any_error_text_can_be_shown_and_the_run_goes_on(shell: Shell) -> None:
    write_baseline(shell.folder / "toys", "Odd", loss=r"raise ValueError('half \ud800 a pair, größer')")
    shell.env |= {"PYTHONIOENCODING": "ascii:strict"}
    code, out, err = shell.run("-b", "odd", "-b", "toy", "--seeds", "0", "--executor", "local")
    assert code == 1
    assert "ValueError: half ? a pair, gr" in err
    assert "2 cells: 2 run now, 0 before, 1 failed" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-b", "toyy"), "did you mean 'toy'?"),
        (("--executor", "rai"), "did you mean 'ray'?"),
        (("--workers", "0"), "--workers must be above 0"),
        (("--timeout", "-1"), "--timeout must be above 0"),
        (("--gpus-per-trial", "1.5"), "--gpus-per-trial"),
        (("--executor", "local", "--fresh"), "--fresh needs --executor ray"),
        (("--executor", "local", "--workers", "2"), "--workers needs --executor ray"),
        (("--device", "cuda"), "--gpus-per-trial"),
        (("--seeds", "4-0"), "backwards"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    shell: Shell, command: Command, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = command("-b", "toy", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not (shell.folder / "runs").exists()


def test_without_ray_the_message_names_the_executor_that_needs_none(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = command("-b", "toy")
    assert code == 2
    assert "--executor local" in err


@pytest.mark.journey
def test_every_official_task_scores_where_ray_mlflow_and_kornia_cannot_be_imported(shell: Shell) -> None:
    missing = shell.folder / "missing"
    missing.mkdir()
    for name in ("ray", "mlflow", "kornia"):
        (missing / f"{name}.py").write_text(f"raise ImportError('no {name} here')")
    shell.env["PYTHONPATH"] = os.pathsep.join([str(missing), str(ROOT)])
    tasks = ["reconstruction", "linear_probe", "input_optimization", "latent_ablation"]
    options = [part for task in tasks for part in ("-t", task)]
    code, _, err = shell.run(*options, "-b", "pca:components=4", "--seeds", "0", "--executor", "local")
    assert code == 0, err
    records = shell.records().values()
    assert {record["task"] for record in records} >= set(tasks)
    assert all(record["status"] == "ok" for record in records), err
    assert "Traceback" not in err


def test_a_second_run_in_the_workspace_is_turned_away_with_the_first_ones_process(shell: Shell) -> None:
    asleep = shell.folder / "asleep"
    write_baseline(shell.folder / "toys", "Sleeper", loss=f"open({str(asleep)!r}, 'w').close(); time.sleep(100)")
    first = shell.start("-b", "sleeper", "--seeds", "0", "--executor", "local")
    wait_for(asleep.exists)  # an interrupt that hits a library's import may be swallowed there
    code, _, err = shell.run("-b", "toy", "--executor", "local")
    assert code == 2
    assert f"process {first.pid}" in err
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "stopped: 0 of 1 cells" in err
    assert out == ""


@pytest.mark.journey
def test_a_model_that_swallows_its_time_limit_ends_with_the_process_and_the_same_command_goes_on(
    shell: Shell,
) -> None:
    swallow = "exec('while True:\\n try:\\n  time.sleep(0.01)\\n except BaseException: pass')"
    write_baseline(shell.folder / "toys", "Swallower", loss=swallow)
    start = "from suite.running import limits; from suite.cli import app; limits.GRACE = 3.0; app.command()"
    options = ("-b", "swallower", "-b", "toy", "--seeds", "0", "--executor", "local", "--timeout", "12")
    command = [sys.executable, "-c", start, "run", *OPTIONS, *options]
    ends = []
    for _ in range(2):
        done = subprocess.run(command, cwd=shell.folder, env=shell.env, capture_output=True, text=True, timeout=120)
        ends.append((done.returncode, "goes on beyond its time: in 3 s this process ends" in done.stderr))
    assert ends == [(1, True), (1, False)]
    found = {raw["baseline"]: raw for raw in shell.records().values()}
    assert (found["swallower"]["status"], found["toy"]["status"]) == ("timeout", "ok")
    assert "swallower.py" in found["swallower"]["traceback"]
    assert not list((shell.folder / "runs").glob(".trial-*"))


@pytest.mark.journey
def test_a_thread_that_a_model_leaves_keeps_no_process_alive(shell: Shell) -> None:
    thread = "import threading; threading.Thread(target=time.sleep, args=(1000,)).start()"
    write_baseline(shell.folder / "toys", "Threaded", init=thread)
    start = time.monotonic()
    code, out, _ = shell.run("-b", "threaded", "--seeds", "0", "--executor", "local")
    assert (code, "1 cells: 1 run now" in out) == (0, True)
    assert time.monotonic() - start < 150


@pytest.mark.journey
def test_a_closed_standard_error_ends_no_run(shell: Shell) -> None:
    command = [sys.executable, "-m", "suite", "run", *OPTIONS, "-b", "toy", "--seeds", "0-2", "--executor", "local"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=shell.folder, env=shell.env, stdout=subprocess.PIPE, stderr=writer, timeout=120)
    os.close(writer)
    assert done.returncode == 0
    assert b"3 cells: 3 run now" in done.stdout


def test_a_run_with_nothing_to_do_removes_what_a_killed_one_has_left(shell: Shell, command: Command) -> None:
    arguments = ("-b", "toy", "--seeds", "0", "--executor", "local")
    assert command(*arguments)[0] == 0
    (shell.folder / "runs" / ".run-dead" / "tune").mkdir(parents=True)
    assert command(*arguments)[0] == 0
    assert not list((shell.folder / "runs").glob(".run-*"))


@pytest.mark.journey
def test_six_interrupts_stop_a_run_as_one_does(shell: Shell) -> None:
    write_baseline(shell.folder / "toys", "Sleeper", loss="open('asleep', 'w').close(); time.sleep(100)")
    process = shell.start("-b", "sleeper", "--seeds", "0", "--executor", "local")
    wait_for((shell.folder / "asleep").exists)
    for _ in range(6):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        time.sleep(0.03)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "stopped: 0 of 1 cells have a record; the same command runs the rest\n"


@pytest.mark.parametrize(
    "number", ["SIGINT", *(pytest.param(name, marks=pytest.mark.journey) for name in ("SIGTERM", "SIGHUP"))]
)
def test_an_interrupt_that_a_model_swallows_stops_the_run_all_the_same(shell: Shell, number: str) -> None:
    code = f"import signal; signal.raise_signal(signal.{number})"
    swallow = f"exec('try:\\n {code}\\nexcept KeyboardInterrupt: pass')"
    write_baseline(shell.folder / "toys", "Swallower", loss=swallow)
    code, out, err = shell.run("-b", "swallower", "--seeds", "0-3", "--executor", "local")
    assert (code, out) == (130, "")
    assert "stopped: 0 of 4 cells" in err


@pytest.mark.journey
def test_a_killed_driver_loses_no_finished_cell_and_the_same_command_finishes_the_rest(
    shell: Shell, command: Command
) -> None:
    write_task(shell.folder / "toys", score="import time; time.sleep(0.7)")
    arguments = ("-b", "toy", "--seeds", "0-5", "--workers", "2")
    code, _, _ = shell.stop_after(2, signal.SIGKILL, *arguments)
    assert code == -signal.SIGKILL
    before = shell.records()
    assert 2 <= len(before) < 6
    code, out, err = shell.run(*arguments)
    assert code == 0
    assert len(err.splitlines()) == 6 - len(before)
    assert {name: raw for name, raw in shell.records().items() if name in before} == before

    code, undisturbed, _ = command("-b", "toy", "--seeds", "0-5", "--executor", "local", "-w", "other")
    assert code == 0
    assert shell.metrics() == shell.metrics("other")
    assert out.split(" cells:")[0] == undisturbed.split(" cells:")[0]
    assert not list((shell.folder / "runs").glob(".run-*"))


@pytest.mark.journey
@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_when_ray_dies_the_run_ends_with_the_cause_a_code_of_its_own_and_nothing_left(shell: Shell, part: str) -> None:
    import psutil

    write_task(shell.folder / "toys", score="import time; time.sleep(0.7)")
    arguments = ("-b", "toy", "--seeds", "0-30", "--workers", "1")
    process = shell.start(*arguments)
    wait_for(lambda: len(shell.records()) >= 1 or process.poll() is not None)
    below = psutil.Process(process.pid).children(recursive=True)
    start = time.monotonic()
    next(child for child in below if child.name() == part).kill()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 30
    done = len(shell.records())
    assert (process.returncode, out) == (3, "")
    assert re.fullmatch(
        rf"error: Ray's \S+.* at [\d.]+:\d+ no longer answers; {done} of 31 cells have a record; "
        "the same command runs the rest",
        err.splitlines()[-1],
    )
    assert not list((shell.folder / "runs").glob(".run-*"))
    wait_for(lambda: not [child for child in below if child.is_running() and child.status() != "zombie"], 30)


@pytest.mark.journey
def test_an_interrupt_while_ray_starts_leaves_no_process(shell: Shell) -> None:
    def alive() -> list[str]:
        """What runs in the toys' folder: all that the command has started."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "cwd").readlink() == shell.folder:
                    found.append((process / "cmdline").read_bytes().decode(errors="replace"))
        return found

    process = shell.start("-b", "toy", "--seeds", "0-9", "--workers", "2")
    wait_for(lambda: any(line.startswith("ray::DashboardAgent") for line in alive()))
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("stopped: 0 of 10 cells")
    wait_for(lambda: not alive(), 20)


@pytest.mark.journey
def test_an_interrupt_stops_ray_cleanly_and_quietly(shell: Shell) -> None:
    write_task(shell.folder / "toys", score="import time; time.sleep(0.7)")
    code, out, err = shell.stop_after(1, signal.SIGINT, "-b", "toy", "--seeds", "0-9", "--workers", "2")
    assert code == 130
    assert out == ""
    done = len(shell.records())
    assert 1 <= done < 10
    lines = err.splitlines()
    assert lines[-1].startswith(f"stopped: {done} of 10 cells")
    assert all(line.startswith("ok ") for line in lines[:-1])
