"""What a model says of given images: its answers as plain tensors, and where two models' answers differ."""

from __future__ import annotations

from torch import Tensor
from torch import distributions as D

from suite.measuring.families import FAMILIES, bare
from suite.measuring.pricing import log_prob
from suite.measuring.trust import Frozen
from suite.training import Discrete, Values

#: Answers that should agree may differ by this share of the largest: sums run in another order in another batch.
TOLERANCE = 1e-4

#: What was asked -> what a model says.
Answers = dict[str, Tensor]


def of_encoder(model: Frozen, x: Tensor, values: Values) -> Answers:
    """Every parameter of every group; ancestral groups are given ``values``."""
    found = of_groups(model, x, values)
    return {f"encode['{name}'] ({i})": answer for name, answers in found.items() for i, answer in enumerate(answers)}


def of_groups(model: Frozen, x: Tensor, values: Values) -> dict[str, list[Tensor]]:
    """The parameters of every group; ancestral groups are given ``values``."""
    groups = model.encode(x).items()
    return {name: _parameters(model.resolve(name, group, values, len(x))) for name, group in groups}


def of_decoder(model: Frozen, values: Values) -> Answers:
    """The logits, each prior's price of the value that was sent, and the features."""
    return of_decode(model, values) | of_priors(model, values) | of_features(model, values)


def of_decode(model: Frozen, values: Values) -> Answers:
    """The logits."""
    return {"decode": model.decode(values)}


def of_priors(model: Frozen, values: Values) -> Answers:
    """Each prior's price of the value that was sent."""
    answers: Answers = {}
    earlier: dict[str, Tensor] = {}
    for name, z in values.items():
        prior = model.prior(name, earlier)
        if prior is not None:
            answers[f"prior('{name}')"] = -log_prob(prior, z)
        earlier[name] = z
    return answers


def of_features(model: Frozen, values: Values) -> Answers:
    """The features; none where there are no latents."""
    return {"features": model.features(values)} if model.core in values else {}


def difference(first: Answers, second: Answers) -> str:
    """Returns where two sets of answers differ and by how much; empty where they agree."""
    if list(first) != list(second):
        return f"the groups changed from {', '.join(first)} to {', '.join(second)}"
    for name, a in first.items():
        b = second[name]
        if a.shape != b.shape:
            return f"{name} changed its shape from {tuple(a.shape)} to {tuple(b.shape)}"
        unequal = a != b  # an infinite answer equals itself, and has no distance to itself
        if not bool(unequal.any()):
            continue
        gap = float((a.double() - b.double())[unequal].abs().max())
        if not gap <= _allowed(a):
            return f"{name} changed by up to {gap:.3g}"
    return ""


def _allowed(answer: Tensor) -> float:
    """How far another answer may be off: integers not at all."""
    if not answer.is_floating_point():
        return 0.0
    finite = answer[answer.isfinite()]
    return TOLERANCE * (1 + float(finite.abs().max() if finite.numel() else 0))


def _parameters(q: D.Distribution | Tensor | Discrete) -> list[Tensor]:
    if isinstance(q, Discrete):
        return [q.values]
    if isinstance(q, Tensor):
        return [q]
    q = bare(q)
    if isinstance(q, D.MixtureSameFamily):
        return _parameters(q.mixture_distribution) + _parameters(q.component_distribution)
    return [getattr(q, name) for name in FAMILIES[type(q)]]
