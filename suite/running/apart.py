"""Trials on nodes that do not see the workspace: what they need comes with them, what they leave comes back.

A node is given the checkpoint that the workspace holds, if any, from the machine of the driver. All that a trial writes
goes to the driver with its next word, through Ray's object store, and the driver writes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import Unwritable
from suite.running import parcels
from suite.running.executor import Execution
from suite.running.nodes import on_node, own_node, refuse, takers
from suite.running.ray_environment import load_ray
from suite.running.worker import Tell, work

if TYPE_CHECKING:
    from suite.planning import Trial

#: How often a trial is run whose nodes die.
RUNS = 3

#: How long a node may take to hand out a dead worker's note, or to tidy up; later than that it counts as dead.
PATIENCE = 20.0


@dataclass(frozen=True)
class Apart:
    """A run on nodes that do not see its workspace.

    Attributes:
        prefix: What the names of the workspace's folders on nodes begin with.
        name: What those of this run begin with.
        home: What Ray calls the driver's node, which sees the workspace.
    """

    prefix: str
    name: str
    home: str

    @staticmethod
    def of(workspace: str, scratch: Path) -> Apart:
        """Returns a run of a workspace with the scratch folder that it alone has."""
        prefix = parcels.prefix_of(workspace)
        return Apart(prefix, f"{prefix}{scratch.name.strip('.')}-", own_node())

    def check(self, trials: Sequence[Trial], execution: Execution) -> None:
        """Asks every node that may get a trial for the planned data, before anything runs.

        Raises:
            UserError: Naming each node that lacks something.
        """
        planned = {t.cells[0].dataset: t.cells[0].ingredients["checkpoint"]["dataset"] for t in trials}
        root = trials[0].data_root if trials else ""
        asked = [
            (name, on_node(parcels.lacks, node).remote(self.prefix, planned, root))
            for node, name in takers(execution).items()
        ]
        refuse(asked, "SUITE_DATA, where Ray is started on a node, names its folder of datasets")

    def work(self, trial: Trial, index: int, tell: Tell, memory: float | None, gpu: bool) -> None:
        """Runs a trial in a worker, in a folder of its node; see ``suite.running.worker.work``."""
        ray, here = load_ray(), own_node()

        tell({"node": here})  # if it dies from here on, it is known with what
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(parcels.lodging(f"{self.name}{index}"))
                ingredients = trial.cells[0].ingredients["checkpoint"]
                asked = on_node(parcels.pack, self.home).remote(trial.workspace, trial.checkpoint_key, ingredients)
                parcels.unpack(folder, ray.get(asked))
            except (OSError, Unwritable) as error:
                tell({"refused": parcels.fault(error)})
                return
            outgoing = parcels.Outgoing(folder, trial)
            trial = dataclasses.replace(trial, workspace=str(folder), data_root=parcels.data_root(trial.data_root))
            work(
                trial,
                lambda word: tell({**word, "node": here, "files": outgoing.new()}),
                folder / parcels.NOTE,
                memory,
                gpu,
            )

    def bring_note(self, node: str, index: int, note: Path) -> bool:
        """Brings what a dead worker has left to say to where it would have left it on a shared file system.

        Args:
            node: What Ray calls the worker's node.
            index: Of the trial.
            note: Where it goes.

        Returns:
            Whether the node is alive. Ray itself takes a while to notice that one is not.
        """
        ray = load_ray()

        try:
            text = ray.get(on_node(parcels.take_note, node).remote(f"{self.name}{index}"), timeout=PATIENCE)
        except Exception:
            return False
        if text:
            note.write_text(text)
        return True

    @contextlib.contextmanager
    def swept(self, execution: Execution) -> Iterator[None]:
        """Removes, after the block, what the run has left on nodes; what a dead driver leaves, the next run removes."""
        try:
            yield
        finally:
            ray = load_ray()
            with contextlib.suppress(Exception):
                asked = [on_node(parcels.sweep, node).remote(self.name) for node in takers(execution)]
                ray.wait(asked, num_returns=len(asked), timeout=PATIENCE)
