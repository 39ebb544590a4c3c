"""What a probe reads of a frozen model: the features of its core, and every group alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from suite import seeds
from suite.errors import Unsupported
from suite.measuring.families import bare, mode
from suite.measuring.trust import Frozen
from suite.training import Discrete

#: Features wider than this are projected to this many numbers.
WIDEST = 4_096
#: Images encoded at once.
BATCH = 500

Resolved = Distribution | Tensor | Discrete


def compute_features(model: Frozen, grey: Tensor, *, groups: bool = True) -> dict[str, Tensor]:
    """Encodes images without noise and returns what a probe reads.

    Args:
        model: The frozen baseline.
        grey: Images (N, C, H, W).
        groups: Whether every group is read as well, or the core's features alone.

    Returns:
        ``core``: the model's features (N, d), where it has none of its own ``default_features`` of the core group;
        ``group/<name>``: every group's means, flattened, float32 (the core group as by default), or codes, in uint8
        where they fit;
        ``projected/...``: 1 where the original was wider than 4,096 and went through ``project``, else 0.
    """
    found: dict[str, Tensor] = {}
    projected: dict[str, Tensor] = {}
    for start in range(0, len(grey), BATCH):
        for name, (value, width) in _read(model, grey[start : start + BATCH], groups).items():
            rows = project(value)
            if name not in found:  # a list of parts, joined at the end, would hold all of them twice
                found[name] = rows.new_empty(len(grey), *rows.shape[1:])
            found[name][start : start + BATCH] = rows
            projected[f"projected/{name}"] = torch.tensor(int(width > WIDEST))
    return _with_core(found | projected, model.core)


def _read(model: Frozen, x: Tensor, groups: bool) -> dict[str, tuple[Tensor, int]]:
    """What is read of a batch, and how wide it was before anything was summed."""
    values, classes = _encoded(model, x)
    others = [name for name in values if groups and name != model.core]
    columns = {name: _column(values[name].reshape(len(values[name]), -1), classes[name]) for name in others}
    read = {f"group/{name}": (column, column.shape[1]) for name, column in columns.items()}
    if groups or not model.own_features:
        read[f"group/{model.core}"] = _default(values[model.core], classes[model.core])
    if model.own_features:
        core = model.features(values)
        read["core"] = core, core.shape[1]
    return read


def _column(flat: Tensor, classes: int) -> Tensor:
    """A group's numbers as float32; its codes in a byte each where they fit, a quarter of the memory."""
    return flat.byte() if 0 < classes <= 256 and flat.shape[1] <= WIDEST else flat.float()


def _with_core(found: dict[str, Tensor], core: str) -> dict[str, Tensor]:
    """Features with the core under both of its names, and held once where both are the same."""
    own = f"group/{core}"
    if "core" not in found:
        return found | {"core": found[own], "projected/core": found[f"projected/{own}"]}
    if own in found and torch.equal(found["core"], found[own]):
        return found | {own: found["core"]}
    return found


def _encoded(model: Frozen, x: Tensor) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Means and codes of all groups, and how many classes each has."""
    values: dict[str, Tensor] = {}
    classes: dict[str, int] = {}
    for name, group in model.encode(x).items():
        resolved = model.resolve(name, group, values, len(x))
        values[name] = representative(resolved)
        classes[name] = classes_of(resolved)
    if not values:
        raise Unsupported("has no latents")
    return values, classes


def representative(group: Resolved) -> Tensor:
    """Returns a group's value without noise: the posterior mean, the code, or the most probable discrete value."""
    if isinstance(group, Distribution):
        return mode(group)
    return group.values if isinstance(group, Discrete) else group


def classes_of(group: Resolved) -> int:
    """Returns how many values each position of a group of integers can take; 0 for a group of real numbers."""
    if isinstance(group, Discrete):
        return group.classes
    base = bare(group) if isinstance(group, Distribution) else group
    return base.logits.shape[-1] if isinstance(base, Categorical) else 0


def default_features(value: Tensor, classes: int) -> Tensor:
    """Returns what a probe reads of a core group where the baseline does not say, (N, d), at most 4,096 wide.

    An index is no quantity: a position with more than two classes becomes one indicator a class. A bit is its own.

    Args:
        value: Means or codes, (N, ...).
        classes: From ``classes_of``.
    """
    return project(_default(value, classes)[0])


def _default(value: Tensor, classes: int) -> tuple[Tensor, int]:
    """Default features, projected where they are indicators, and how wide they were before."""
    flat = value.reshape(len(value), -1)
    if classes <= 2:
        return flat.float(), flat.shape[1]
    return indicators(flat, classes), flat.shape[1] * classes


def indicators(codes: Tensor, classes: int) -> Tensor:
    """Returns integer codes (N, P) as one-hot (N, P * classes), or what ``project`` makes of it, without making it."""
    width = codes.shape[1] * classes
    columns = codes + classes * torch.arange(codes.shape[1], device=codes.device)
    found = torch.zeros(len(codes), min(width, WIDEST), device=codes.device)
    if width <= WIDEST:
        return found.scatter_(1, columns, 1.0)
    order, signs = _deal(width, codes.device)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(width, device=codes.device))[columns]
    return found.scatter_add_(1, place % WIDEST, signs[place].float())


def project(x: Tensor) -> Tensor:
    """Projects rows wider than 4,096 at random to 4,096 numbers; the same projection for every model.

    A balanced count sketch (Charikar, Chen and Farach-Colton 2002): the columns are shuffled, given random
    signs and dealt into 4,096 sums. Inner products are kept in expectation, as by a Gaussian matrix, which
    would not fit in memory.
    """
    width = x.shape[1]
    if width <= WIDEST:
        return x
    order, signs = _deal(width, x.device)
    dealt = nn.functional.pad(x[:, order] * signs.to(x.dtype), (0, -width % WIDEST))
    return dealt.view(len(x), -1, WIDEST).sum(1)


def _deal(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The order in which columns are dealt and their signs; the same for every model of this width."""
    rng = seeds.torch_rng("projection", width)
    order = torch.randperm(width, generator=rng)
    return order.to(device), (torch.randint(0, 2, (width,), generator=rng) * 2 - 1).to(device)
