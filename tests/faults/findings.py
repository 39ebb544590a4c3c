"""What a fault has cost, the list of all rows, and the table that docs/faults.md shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "results" / "faults.json", ROOT / "docs" / "faults.md"

#: The table stands between these lines of the page.
BEGIN, END = "<!-- begin: python -m tests.faults -->", "<!-- end -->"

#: Characters of a line that the table shows.
LONGEST = 180


@dataclass
class Finding:
    """What one fault has cost.

    Attributes:
        lost: Cells that were finished before and are not there as they were.
        wrong: Cells whose outcome or numbers are not those of an undisturbed run, or that should not be there.
        redone: Cells whose scoring began again.
        seconds: From the fault, or the start of the same command, to the next answer; None where none was to come.
        left: What was left after the same command ran again.
        says: A line that the user sees.
        skipped: Why it could not be played here; the rest is then without meaning.
    """

    lost: int = 0
    wrong: int = 0
    redone: int = 0
    seconds: float | None = None
    left: list[str] = field(default_factory=list)
    says: str = ""
    skipped: str = ""

    @property
    def fine(self) -> bool:
        """Whether nothing was lost, wrong or left, and the user was told."""
        return not (self.lost or self.wrong or self.left) and bool(self.says)


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        name: For the command line.
        title: What happens.
        play: Plays it.
        tested: Whether the tests play it at all; a slow one is left to the script.
        quick: Whether they do so by default.
    """

    name: str
    title: str
    play: Callable[[], Finding]
    tested: bool
    quick: bool


ROWS: dict[str, Row] = {}


def row(
    title: str, *, tested: bool = False, quick: bool = False
) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Adds a function to the rows, under its own name."""

    def add(play: Callable[[], Finding]) -> Callable[[], Finding]:
        name = play.__name__
        ROWS[name] = Row(name, title, play, tested or quick, quick)
        return play

    return add


def skipped(why: str) -> Finding:
    """Returns the finding of a fault that cannot be played here."""
    return Finding(skipped=why)


def keep(found: dict[str, Finding]) -> None:
    """Adds findings to those that are kept, and writes the page's table anew."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept |= {name: asdict(finding) for name, finding in found.items()}
    ordered = {name: kept[name] for name in ROWS if name in kept}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    findings = {name: Finding(**raw) for name, raw in ordered.items()}
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(findings)}\n\n{END}{after}")


def table(findings: dict[str, Finding]) -> str:
    """Returns the table in Markdown, in the order of the rows."""
    lines = ["| fault | lost | wrong | redone | s | left | what the user sees |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name, row in ROWS.items():
        lines.append(f"| {row.title} | {_cells(findings.get(name, skipped('not yet')))} |")
    return "\n".join(lines)


def _cells(found: Finding) -> str:
    if found.skipped:
        return f"| | | | | not run: {found.skipped}"
    seconds = "" if found.seconds is None else f"{found.seconds:.0f}" if found.seconds >= 10 else f"{found.seconds:.1f}"
    said = found.says if len(found.says) <= LONGEST else f"{found.says[:LONGEST]}…"
    said = said.replace("|", r"\|").replace("`", "'")
    return f"{found.lost} | {found.wrong} | {found.redone} | {seconds} | {len(found.left)} | `{said}`"
