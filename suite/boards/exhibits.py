"""What workspaces keep beside the numbers of a board: pictures, curves, the score of each image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from suite import records
from suite.boards.per_image import PerImage
from suite.boards.rows import Row
from suite.boards.statistics import Floats


class Exhibits:
    """Finds what is kept of the records behind a row.

    Args:
        folders: Workspaces that may hold pictures and values.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self._folders = list(map(Path, folders))
        self.per_image = PerImage(self._folders)

    def pictures(self, row: Row) -> list[tuple[int, Path]]:
        """Returns (seed, PNG file) of every picture of the row's records."""
        found = []
        for seed, key in zip(row.seeds, row.keys, strict=True):
            for folder in self._folders:
                found += [(seed, file) for file in sorted(records.pictures_path(folder, key).glob("*.png"))]
        return found

    def curves(self, row: Row) -> dict[str, list[tuple[int, Floats]]]:
        """Returns the curves of the row's records: name -> (seed, (steps, 2) array of step and value)."""
        found: dict[str, list[tuple[int, Floats]]] = {}
        for seed, key in zip(row.seeds, row.keys, strict=True):
            for folder in self._folders:
                for name, curve in records.load_curves(folder, key).items():
                    found.setdefault(name, []).append((seed, curve))
        return found

    def means(self, row: Row) -> Floats | None:
        """Returns the score of every test image, a mean over seeds, (images,); None where it is not kept."""
        values = self.per_image.of(row)
        return None if values is None else values.mean(axis=0)
