"""``suite verify``: a maintainer's own run of a random sample of a submission's cells, from its source."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import records
from suite.checking import GIVEN, REFUSED
from suite.errors import UserError
from suite.measuring import tolerated
from suite.plugins import digest
from suite.submitting import claims, folder, verdict
from suite.submitting.claims import title
from suite.submitting.folder import Submission
from suite.submitting.verdict import Verdict

#: Cells that are run again unless another number is asked for, and seconds that one command may take.
CELLS, SECONDS = 3, 24 * 3600.0

#: By which share two standard errors of one metric may differ: the noise is another, the images are the same. Below
#: ``SURE``, relative to the value, a standard error is none.
SURER, SURE = 0.5, 1e-6

#: What a model is, and by which share two counts of it may differ: what it takes may depend on the images.
ALIKE = {"parameters": 0.0, "flops_per_image": 0.2}

#: What the records of one cell's seeds have in common, and how many tell what seeds differ by.
ONE_CELL = ("baseline", "baseline_params", "dataset", "budget", "precision", "task", "task_params", "task_version")
MIN_SEEDS = 3

#: Half-width of a 95 % interval, in standard errors.
WIDTH = 1.96

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """How a submission is tried.

    Attributes:
        cells: How many cells run again, chosen at random, of each kind one; 0 for all.
        threads: CPU threads of each run.
        check: Whether ``suite check`` is tried as well.
        data_root: Where datasets lie.
        private: Where a dataset of the same name lies whose test images the submitter never had.
    """

    cells: int = CELLS
    threads: int = 1
    check: bool = True
    data_root: str | None = None
    private: str | None = None


def verify(
    path: str | Path,
    workspace: str | Path,
    options: Options | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Verdict:
    """Tries a submission and writes the verdict into its folder and into the workspace.

    What can be read is read first: the folder, the source, the records. Then a random sample of the cells is trained
    and scored again from the source, each in a fresh process and an empty workspace.

    Args:
        path: The submission's folder.
        workspace: The maintainer's; its verdict is the one that ``suite merge`` goes by.
        options: How.
        say: Takes a line for people as things go on.

    Raises:
        UserError: If the folder cannot be read as a submission at all.
    """
    chosen = options or Options()
    submission = folder.read(Path(path))
    found = Verdict(files=folder.hashes(submission.folder), findings=[str(f) for f in submission.findings])
    found.reasons = [f"{finding}." for finding in submission.findings if finding.kind == REFUSED]
    found.reasons += claims.objections(submission)
    own = verdict.records_in(workspace, found.files)
    shutil.rmtree(own, ignore_errors=True)
    if not found.reasons:
        _try(submission, chosen, found, own, say)
        if chosen.check and not found.reasons:
            for source in {digest(raw["ingredients"]["checkpoint"]["baseline"]) for raw in submission.records.values()}:
                records.write_stamp(workspace, source, True)
    given = any(finding.kind == GIVEN for finding in submission.findings)
    found.contained = bool(found.guests) and all(map(_had_walls, found.guests))
    found.standing = verdict.REFUSED if found.reasons else records.GIVEN if given else records.VERIFIED
    verdict.write(found, submission.folder, workspace)
    return found


def _try(submission: Submission, options: Options, found: Verdict, own: Path, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="suite-verify-") as scratch:
        if options.check:
            say("suite check")
            found.reasons += _check(submission, scratch)
        trials = _sample(submission, options.cells)
        every = sum(map(len, trials)) == len(submission.records)
        workspace = tempfile.mkdtemp(dir=scratch)  # of all, so that seeds with the same weights lie side by side
        for trial in trials:
            if found.reasons:
                return
            say(f"{trial[0]['baseline']} on {trial[0]['dataset']}, seed {trial[0]['seed']}, trained and scored again")
            _run(submission, trial, options.data_root, options.threads, workspace, scratch)
            _compare(submission, trial, found, workspace, every)
            records.merge([workspace], own)
            if options.private:
                _private(submission, trial, options, found, scratch)


def _sample(submission: Submission, cells: int) -> list[list[Row]]:
    """Returns a random sample of the cells, those of one trained model together; a cell without a score is one too.

    A kind of cell (model, dataset, budget, task, whether it has a score) that nobody tries could be claimed whatever
    it is, and many cheap cells would hide it: one of each kind is in the sample, however few are asked for.
    """
    kinds: dict[tuple[Any, ...], list[Row]] = {}
    for raw in sorted(submission.records.values(), key=lambda raw: raw["key"]):
        kind = (*(raw[name] for name in ("baseline", "dataset", "budget", "precision", "task")), raw["status"] == "ok")
        kinds.setdefault(kind, []).append(raw)
    chance = secrets.SystemRandom()
    for rows in kinds.values():
        chance.shuffle(rows)
    picked: list[Row] = [rows[0] for rows in kinds.values()]
    rest = [raw for rows in kinds.values() for raw in rows[1:]]
    picked += rest if cells <= 0 else chance.sample(rest, min(max(cells - len(picked), 0), len(rest)))
    trials: dict[str, list[Row]] = {}
    for cell in picked:
        trials.setdefault(cell["checkpoint_key"], []).append(cell)
    return list(trials.values())


def _check(submission: Submission, scratch: str) -> list[str]:
    done = _suite(["check", str(submission.entry), "--workspace", scratch], scratch)
    lines = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("fail ")]
    if done.returncode and lines:
        return [f"suite check: {records.clean(' '.join(words[1:]))[:300]}." for words in lines]
    return ["suite check did not end well."] if done.returncode else []


def _compare(submission: Submission, trial: Sequence[Row], found: Verdict, workspace: str, every: bool) -> None:
    """Holds a trial's records against those that a run here left in a workspace.

    Another processor is a claim, and so are the seeds that say how far it may lead: only where every cell runs again,
    so that no claimed number stands, is a difference tolerated for it.
    """
    anew = records.read_keys(workspace, [raw["key"] for raw in trial], [])
    for raw in trial:
        if raw["key"] not in anew:
            found.reasons.append(f"{title(raw)}: run again from this source, the cell left no record under its key.")
            continue
        second = anew[raw["key"]]
        spread = _spread(submission, raw) if _trained_elsewhere(raw, second) else {}
        reasons = _differences(raw, second, spread if every else {})
        if not every and spread and reasons and not _differences(raw, second, spread):
            reasons.append("another processor or number of threads may explain it: run every cell again with --cells 0")
        found.reasons += [f"{title(raw)}: {reason}." for reason in reasons]
        if raw["primary"] in raw["metrics"]:
            found.cells.append(_compared(raw, second, raw["primary"], spread if every else {}))
        guest = second["env"].get("guest")
        found.guests += [guest] if guest not in found.guests else []


def _had_walls(guest: Any) -> bool:
    return isinstance(guest, Mapping) and guest.get("kind") == "contained" and bool(guest.get("filter"))


def _trained_elsewhere(claimed: Row, second: Row) -> bool:
    """Whether two records come from different processors or numbers of threads."""
    return any(claimed["env"].get(name) != second["env"].get(name) for name in ("cpu", "device", "threads"))


def _spread(submission: Submission, cell: Row) -> dict[str, float]:
    """Returns the standard deviation of a cell's metrics between the claimed seeds, where there are three or more."""
    alike = [
        raw["metrics"]
        for raw in submission.records.values()
        if raw["status"] == "ok" and all(raw[name] == cell[name] for name in ONE_CELL)
    ]
    values = {name: [metrics[name]["value"] for metrics in alike if name in metrics] for name in cell["metrics"]}
    return {name: statistics.stdev(found) for name, found in values.items() if len(found) >= MIN_SEEDS}


def _differences(claimed: Row, second: Row, spread: Mapping[str, float]) -> list[str]:
    """Returns what two records of one cell disagree in by more than is tolerated."""
    if claimed["status"] != second["status"]:
        return [f"it ended as {second['status']} ({second['reason']}) when it was run again"]
    reasons = ["it has no per-image values, and the run again has"] if second["values"] > claimed["values"] else []
    reasons += [
        f"{name} is claimed to be {claimed['cost'].get(name)} and was {second['cost'].get(name)} when it was run again"
        for name, share in ALIKE.items()
        if not math.isclose(claimed["cost"].get(name) or -1, second["cost"].get(name) or -1, rel_tol=share)
    ]
    reasons += [
        f"the run again is flagged '{flag}', and the record is not"
        for flag in second["flags"]
        if flag.partition(":")[0] not in {own.partition(":")[0] for own in claimed["flags"]}
    ]
    for name in sorted(claimed["metrics"].keys() | second["metrics"].keys()):
        if name not in second["metrics"] or name not in claimed["metrics"]:
            reasons.append(
                f"{name} was {'claimed' if name in claimed['metrics'] else 'found'} in one of the runs alone"
            )
            continue
        cell = _compared(claimed, second, name, spread)
        if abs(cell["claimed"] - cell["found"]) > cell["tolerated"]:
            reasons.append(
                f"{name} is claimed to be {cell['claimed']:.6g} and was {cell['found']:.6g} when it was run again"
                f" ({cell['tolerated']:.2g} is tolerated)"
            )
        reasons += _uncertainty(name, claimed["metrics"][name], second["metrics"][name])
    return reasons


def _uncertainty(name: str, claimed: Row, second: Row) -> list[str]:
    """A number that is claimed to be surer than it is wins comparisons that it does not win."""
    if claimed["n"] != second["n"]:
        return [f"{name} is claimed to rest on {claimed['n']} images and does on {second['n']}"]
    a, b = claimed["se"], second["se"]
    none = SURE * max(1.0, abs(second["value"]))
    if (a is None) != (b is None) or (a is not None and abs(a - b) > max(SURER * max(a, b), none)):
        return [f"the standard error of {name} is claimed to be {a} and was {b} when it was run again"]
    return []


def _compared(claimed: Row, second: Row, name: str, spread: Mapping[str, float]) -> dict[str, Any]:
    a, b = claimed["metrics"][name], second["metrics"].get(name, {})
    return {
        "cell": title(claimed),
        "metric": name,
        "claimed": a["value"],
        "found": b.get("value"),
        "tolerated": tolerated(b.get("unit", ""), b.get("value", 0.0), b.get("se"), spread.get(name, 0.0)),
    }


def _private(submission: Submission, trial: Sequence[Row], options: Options, found: Verdict, scratch: str) -> None:
    """Scores the same cells on the data of another root, and reports the difference; it decides nothing by itself."""
    if trial[0]["dataset"].rpartition(":")[2] == "digits":
        found.private.append({"cell": title(trial[0]), "note": "digits is embedded: there is no other test set of it"})
        return
    workspace = tempfile.mkdtemp(dir=scratch)
    _run(submission, trial, options.private, options.threads, workspace, scratch)
    anew = {raw["task"]: raw for raw in records.read_raw([workspace], [])}
    for raw in trial:
        second = anew.get(raw["task"], {}).get("metrics", {}).get(raw["primary"])
        if second is None:
            found.private.append({"cell": title(raw), "note": "not scored on the private data"})
            continue
        first = raw["metrics"].get(raw["primary"], {"value": float("nan"), "se": None})
        half = WIDTH * ((first["se"] or 0.0) ** 2 + (second["se"] or 0.0) ** 2) ** 0.5
        about = {"metric": raw["primary"], "claimed": first["value"], "found": second["value"], "half": half}
        found.private.append({"cell": title(raw), **about, "difference": second["value"] - first["value"]})


def _run(
    submission: Submission, trial: Sequence[Row], root: str | None, threads: int, workspace: str, scratch: str
) -> None:
    first, tasks = trial[0], [part for raw in trial for part in ("--task", raw["task"])]
    command = ["run", "--path", str(submission.entry), "--baseline", first["baseline"], "--dataset", first["dataset"]]
    command += [*tasks, "--seeds", str(first["seed"]), "--budget", first["budget"], "--precision", first["precision"]]
    command += ["--workspace", workspace, "--executor", "local", "--threads", str(threads), "--tracking", "off"]
    done = _suite([*command, *(["--data-root", root] if root else [])], scratch)
    if done.returncode not in (0, 1):
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise UserError(f"suite run of {title(first)}: {records.clean(lines[-1])[:300]}")


def _suite(arguments: Sequence[str], scratch: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the suite in a fresh process, from an empty folder."""
    empty = tempfile.mkdtemp(dir=scratch)
    try:
        return subprocess.run(
            [sys.executable, "-m", "suite", *arguments],
            cwd=empty,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise UserError(f"suite {arguments[0]} took longer than {SECONDS:.0f} s") from late
