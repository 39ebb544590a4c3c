"""Adam on many independent rows, each with a step size of its own, the best of each row kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from suite.errors import ContractError
from suite.measuring.whitening import blurred

#: Rows per pass: rows are independent of each other, so this moves no number.
ROWS = 400
#: Adam's memory of the gradient and of its square, and what keeps it from dividing by zero (Kingma & Ba 2014).
BETAS = (0.9, 0.999)
EPSILON = 1e-8

#: Maps coordinates (n, D) of some rows, and the positions (n,) that it knows the rows by, to outputs (n, C, H, W).
Output = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """Where each row stands, what Adam remembers of it, and the best that it has seen.

    Attributes:
        positions: Those that ``Output`` knows the rows by, (n,).
        targets: Wanted outputs (n, C, H, W).
        u: Coordinates (n, D).
        sizes: Step sizes (n, 1).
        first: Running mean of the gradient, (n, D).
        second: Running mean of its square, (n, D).
        gradient: Of the squared error at ``u``, (n, D).
        least: Least squared error so far, summed over pixels, (n,).
        best: The coordinates that gave it, (n, D).
    """

    positions: Tensor
    targets: Tensor
    u: Tensor
    sizes: Tensor
    first: Tensor
    second: Tensor
    gradient: Tensor
    least: Tensor
    best: Tensor

    def __getitem__(self, index: Tensor | slice) -> Rows:
        """These rows alone."""
        return Rows(*(getattr(self, f.name)[index] for f in fields(self)))

    @staticmethod
    def fresh(positions: Tensor, targets: Tensor, u: Tensor, size: float) -> Rows:
        """Rows that have seen nothing yet; arguments as the attributes, with one step size for all."""
        zeros, sizes = torch.zeros_like(u), torch.full_like(u[:, :1], size)
        worst = torch.full_like(targets[:, 0, 0, 0], torch.inf)
        return Rows(positions, targets, u, sizes, zeros, zeros, zeros, worst, u)

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Puts parts behind each other."""
        return Rows(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Rows)))


def descend(output: Output, rows: Rows, counts: range, *, strict: bool = True) -> tuple[Rows, Tensor]:
    """Takes steps of Adam, ``ROWS`` rows at a time.

    Args:
        output: What is optimized.
        rows: Where they stand.
        counts: The numbers of the steps. Step 0 looks at the start, and so must come first.
        strict: Whether an output that is not finite is an error; else the rows end there, with what they have seen.

    Returns:
        The rows, and their least errors after each step, (steps, n).

    Raises:
        ContractError: If ``strict`` and an output is not finite.
    """
    parts = [_descend(output, rows[i : i + ROWS], counts, strict) for i in range(0, len(rows.u), ROWS)]
    return Rows.joined([part for part, _ in parts]), torch.cat([least for _, least in parts], 1)


def _descend(output: Output, rows: Rows, counts: range, strict: bool) -> tuple[Rows, Tensor]:
    least = rows.least.new_empty(len(counts), len(rows.u))
    for i, count in enumerate(counts):
        try:
            rows = _step(output, rows, count) if count else _look(output, rows)
        except ContractError:
            if strict:
                raise
            least[i:] = rows.least
            break
        least[i] = rows.least
    return rows, least


def _step(output: Output, rows: Rows, count: int) -> Rows:
    """Kingma & Ba 2014, algorithm 1.

    torch's optimizer has one step size for all rows, and a memory from which no row can be left out.
    """
    first = torch.lerp(rows.gradient, rows.first, BETAS[0])
    second = torch.lerp(rows.gradient.square(), rows.second, BETAS[1])
    mean, square = first / (1 - BETAS[0] ** count), second / (1 - BETAS[1] ** count)
    moved = rows.u - rows.sizes * mean / (square.sqrt() + EPSILON)
    return _look(output, replace(rows, u=moved, first=first, second=second))


def _look(output: Output, rows: Rows) -> Rows:
    """The rows with the gradient where they stand, and the better of what they see and what they have seen."""
    with torch.enable_grad():
        u = rows.u.clone().requires_grad_(True)
        outputs = output(u, rows.positions)
        errors = (outputs - rows.targets).square().flatten(1).sum(1)
        gradient = None
        if errors.requires_grad:  # a decoder may ignore its inputs
            (gradient,) = torch.autograd.grad(errors.sum(), u, allow_unused=True)
    errors = errors.detach()
    better = errors < rows.least
    return replace(
        rows,
        # a kink without a slope (a root at 0, say) must not lose the row
        gradient=torch.zeros_like(rows.u) if gradient is None else gradient.nan_to_num(0.0, 0.0, 0.0),
        least=torch.where(better, errors, rows.least),
        best=torch.where(better.view(-1, 1), rows.u, rows.best),
    )


@torch.no_grad()
def seen_again(output: Output, rows: Rows, rng: torch.Generator) -> Tensor:
    """Returns what the rows' best coordinates give, blurred, when nobody asks for a gradient, (n, C, H, W).

    A gradient tells the target. Who was asked for one could answer with it.
    """
    best = blurred(rows.best, rng)
    parts = [slice(i, i + ROWS) for i in range(0, len(best), ROWS)]
    return torch.cat([output(best[part], rows.positions[part]) for part in parts])
