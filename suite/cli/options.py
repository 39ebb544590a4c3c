"""Options that several commands share: single ones, and blocks that add up to what the library takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli import complete
from suite.errors import UserError, unknown
from suite.planning import Selection, parse_seeds, parse_shard

if TYPE_CHECKING:
    from suite.running import Execution

SelectionFile = Annotated[
    Path | None, typer.Option("--file", metavar="YAML", help="Read the selection from a file; options override it.")
]
Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", envvar="SUITE_WORKSPACE", metavar="FOLDER", help="Where records and checkpoints are kept."
    ),
]
DataRoot = Annotated[
    str | None,
    typer.Option(
        "--data-root", metavar="FOLDER", help="Where datasets lie [default: SUITE_DATA or ~/.cache/latent-suite]."
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", metavar="PATH", help="File or folder with further tasks and baselines; repeatable."),
]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER]...", help="Workspaces or folders of records [default: the workspace]."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", "-m", metavar="METRIC", help="These metrics, or patterns as rate/*, in place of the ranked ones."
    ),
]
Format = Annotated[str, typer.Option("--format", metavar="NAME", help="table or json.")]


@dataclass(frozen=True)
class SelectionOptions:
    """The cells that a command is about."""

    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            metavar="TASK",
            help="Task: NAME or NAME:key=value; repeatable [default: all].",
            autocompletion=complete.tasks,
        ),
    ] = None
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            "-b",
            metavar="MODEL",
            help="Baseline: NAME, NAME:key=value or FILE.py; repeatable [default: all].",
            autocompletion=complete.baselines,
        ),
    ] = None
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME",
            help="Dataset; repeatable [default: digits].",
            autocompletion=complete.datasets,
        ),
    ] = None
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="SEEDS", help="0-4, 0,2,5 or 3 [default: 0-2].")] = (
        None
    )
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="NAME",
            help="smoke, quick, standard or long [default: quick].",
            autocompletion=complete.budgets,
        ),
    ] = None
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="NAME", help="float32 or bf16 [default: float32].")
    ] = None
    file: SelectionFile = None
    path: Paths = None
    retry: Annotated[
        list[str] | None,
        typer.Option("--retry", metavar="STATE", help="Run ended cells again: failed, timeout; repeatable."),
    ] = None
    workspace: Workspace = Path("runs")
    data_root: DataRoot = None
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="K/N", help="The K-th of N shares, for machines that know nothing of another."),
    ] = None
    costs: Annotated[
        Path | None,
        typer.Option(
            "--costs", metavar="FOLDER", help="With --shard: records that tell what models cost; the same for all."
        ),
    ] = None

    def selection(self) -> Selection:
        """Returns the selection of the file, or of nothing, under the options that were given."""
        if self.costs and not self.shard:
            raise UserError("--costs says how to cut shares: it needs --shard")
        if self.costs and not self.costs.is_dir():
            raise UserError(f"{self.costs} is not a folder")
        base = Selection.from_file(self.file) if self.file else Selection()
        given: dict[str, Any] = {
            "tasks": tuple(self.task or ()),
            "baselines": tuple(self.baseline or ()),
            "datasets": tuple(self.dataset or ()),
            "seeds": _seeds(self.seeds),
            "budget": self.budget,
            "precision": self.precision,
            "paths": tuple(self.path or ()),
            "retry": tuple(self.retry or ()),
            "data_root": self.data_root,
            "shard": None if self.shard is None else parse_shard(self.shard),
            "costs": None if self.costs is None else str(self.costs),
        }
        changes = {name: value for name, value in given.items() if value not in (None, ())}
        return dataclasses.replace(base, workspace=str(self.workspace), **changes)


@dataclass(frozen=True)
class ExecutionOptions:
    """How trials are run; the fields are those of ``Execution``."""

    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="ray, or local: one trial at a time, without Ray.")
    ] = "ray"
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Trials at once [default: as many as cores].")
    ] = None
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="CPU threads of each trial.")] = 1
    gpus_per_trial: Annotated[
        float, typer.Option("--gpus-per-trial", metavar="SHARE", help="Share of a GPU for each trial, such as 0.25.")
    ] = 0.0
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Join this Ray cluster ('auto': the one here).")
    ] = None
    shared: Annotated[
        bool,
        typer.Option(
            "--shared/--no-shared", help="Whether the cluster's nodes see the workspace; else all travels through Ray."
        ),
    ] = True
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto (the GPU granted, else the CPU), cpu or cuda.")
    ] = "auto"
    fresh: Annotated[bool, typer.Option("--fresh", help="A new process for each trial, no warm workers.")] = False
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Longest time a trial may take.")
    ] = None
    memory: Annotated[float | None, typer.Option("--memory", metavar="GIB", help="Most memory a trial may hold.")] = (
        None
    )

    trust: Annotated[
        bool, typer.Option("--trust", help="Run models from outside in the suite's own process; records say so.")
    ] = False
    noise: Annotated[
        str, typer.Option("--noise", metavar="SECRET", help="What a guest's record has revealed, to repeat it.")
    ] = ""

    def execution(self) -> Execution:
        """Returns the execution that these options describe."""
        from suite.running import Execution

        return Execution(**vars(self))


@dataclass(frozen=True)
class BoardOptions:
    """The records that a board is made of."""

    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="TASK", help="These tasks; repeatable.", autocompletion=complete.tasks),
    ] = None
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline", "-b", metavar="MODEL", help="These models; repeatable.", autocompletion=complete.baselines
        ),
    ] = None
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", "-d", metavar="NAME", help="These datasets; repeatable.", autocompletion=complete.datasets
        ),
    ] = None
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="SEEDS", help="These seeds: 0-4, 0,2,5 or 3.")] = None
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="NAME", help="This budget.", autocompletion=complete.budgets)
    ] = None
    precision: Annotated[str | None, typer.Option("--precision", metavar="NAME", help="This precision.")] = None

    def filters(self) -> dict[str, Any]:
        """Returns the options of ``suite.boards.board`` that choose among records."""
        return {
            "tasks": self.task or (),
            "baselines": self.baseline or (),
            "datasets": self.dataset or (),
            "seeds": _seeds(self.seeds),
            "budget": self.budget,
            "precision": self.precision,
        }


def _seeds(text: str | None) -> tuple[int, ...]:
    return () if text is None else parse_seeds(text)


def check_format(name: str, choices: Sequence[str] = ("table", "json")) -> str:
    """Returns the name of a format.

    Raises:
        UserError: If it is not one of ``choices``; names the nearest.
    """
    if name not in choices:
        raise unknown("format", name, choices)
    return name
