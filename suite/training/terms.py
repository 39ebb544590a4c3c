"""The terms of a loss, step by step: kept on the device, looked at now and then, so that no step waits for them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.errors import ContractError, Diverged

#: Steps between two looks: a look makes the device wait.
LOOK = 64


class Terms:
    """The terms, image by image and step by step: kept on the device, averaged and looked at now and then."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.names: tuple[str, ...] = ()
        self.rows: list[list[Tensor]] = []
        self.total = torch.zeros((), dtype=torch.float64)
        self.count = 0

    def add(self, terms: dict[str, Tensor], n: int) -> None:
        """Enters one step: the terms of its n images."""
        self._check(terms, n)
        self.rows.append([value.detach().clone() for value in terms.values()])
        if len(self.rows) == LOOK:
            self._look()

    def close(self) -> dict[str, float]:
        """Returns the mean of every term since the start; none before the first step."""
        self._look()
        if not self.count:
            return {}
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))

    def _look(self) -> None:
        if not self.rows:
            return
        columns = (torch.stack(column) for column in zip(*self.rows, strict=True))
        means = [column.mean(1, dtype=torch.promote_types(column.dtype, torch.float32)) for column in columns]
        rows = torch.stack([mean.cpu().double() for mean in means], dim=1)
        bad = (~torch.isfinite(rows).all(1)).nonzero()
        if len(bad):
            i = int(bad[0])
            raise Diverged(f"step {self.step + i + 1}: {_blame(dict(zip(self.names, rows[i].tolist(), strict=True)))}")
        self.total = self.total + rows.sum(0)
        self.count += len(rows)
        self.step += len(rows)
        self.rows.clear()

    def _check(self, terms: dict[str, Tensor], n: int) -> None:
        # Exactly these types: what a class of a model's own does would be done where no model is at work.
        if type(terms) is not dict or "loss" not in terms:
            raise ContractError("loss: expected a dict of named terms with 'loss' among them")
        for name, value in terms.items():
            if type(value) is not Tensor or value.shape != (n,):
                found = tuple(value.shape) if type(value) is Tensor else type(value).__name__
                raise ContractError(f"loss['{name}']: expected shape ({n},), one value per image, found {found}")
        if self.names and self.names != tuple(terms):
            raise ContractError(f"loss: its terms changed from {', '.join(self.names)} to {', '.join(terms)}")
        self.names = tuple(terms)


def _blame(terms: dict[str, float]) -> str:
    """Names the terms that are not finite, the total last, and tells the others' values."""
    broken = sorted(
        (name for name, value in terms.items() if not math.isfinite(value)), key=lambda name: name == "loss"
    )
    rest = ", ".join(f"{name}={value:.6g}" for name, value in terms.items() if name not in broken)
    return ", ".join(f"{name} is {terms[name]}" for name in broken) + (f" ({rest})" if rest else "")
