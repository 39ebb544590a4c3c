"""Plays faults to whole runs and writes docs/faults.md's table.

python -m tests.faults                 every row
python -m tests.faults worker_killed   these rows; the others keep what was found last
python -m tests.faults --list          their names
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.faults import rows
from tests.faults.findings import keep


def main(arguments: list[str]) -> int:
    """Plays the rows one after the other; returns 1 where something was lost, wrong or left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*rows.ROWS, []])
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:24} {row.title}" for name, row in rows.ROWS.items()))
        return 0
    bad = 0
    for name in options.rows or list(rows.ROWS):
        began = time.monotonic()
        found = rows.ROWS[name].play()
        bad += not (found.fine or found.skipped)
        print(f"{name} ({time.monotonic() - began:.0f} s): {found}", flush=True)
        if not options.dry:
            keep({name: found})
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
