"""Training on the guest's side: it is handed the training and the validation split, and hands over weights.

The loop is ``suite.training``'s own, with the streams it has everywhere, so that a model's weights do not depend on
where it was trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from torch import Tensor

from suite.data import Dataset, DatasetInfo, Split
from suite.errors import ContractError
from suite.guests.wire import Frame, WireError
from suite.measuring import prove, with_statistics
from suite.plugins import Source, confirm
from suite.training import Baseline, Recipe, TrainingReport, checkpoints
from suite.training import train as take_steps


def train(recipe: Recipe, source: Source, request: Frame, report: Callable[[dict[str, Any]], None]) -> Frame:
    """Trains a model and returns its weights, with the report as text.

    Args:
        recipe: Makes the model.
        source: What it says of itself, which must still hold once it is trained.
        request: What ``splits`` of the referee's side packed, with ``seed``, ``budget`` and ``precision``.
        report: Takes the state of training after every epoch.

    Raises:
        ContractError: If its weights, loaded into a new model, say something else, or it changes while it answers.
    """
    model, dataset, began = recipe.build(), unpack_splits(request), process_time()
    done = take_steps(
        model,
        dataset,
        seed=request.text["seed"],
        budget=request.text["budget"],
        precision=request.text["precision"],
        report=report,
    )
    confirm(source, model)
    state = checkpoints.state_of(model)
    done.elsewhere += process_time() - began - done.core_seconds
    prove(model, state, recipe, dataset.train.grey)
    return Frame("trained", {"state": list(state), "report": dataclasses.asdict(done)}, list(state.values()))


def untrained(model: Baseline, request: Frame, seed: int) -> Frame:
    """Returns the weights of an untrained twin whose running statistics are those of training images."""
    with_statistics(model, request.tensors[0], seed)
    state = checkpoints.state_of(model)
    return Frame("trained", {"state": list(state)}, list(state.values()))


def weights_of(answer: Frame) -> dict[str, Tensor]:
    """Returns the weights that training handed over, by name.

    Raises:
        ContractError: If it handed over none.
    """
    names = answer.text.get("state") if isinstance(answer.text, dict) else None
    if not isinstance(names, list) or len(set(map(str, names))) != len(answer.tensors):
        raise ContractError("training handed over no weights")
    return dict(zip(map(str, names), answer.tensors, strict=True))


def pack_splits(dataset: Dataset, labels: bool) -> tuple[dict[str, Any], list[Tensor]]:
    """Returns what a guest is handed of a dataset: never the test split, labels only where it declares them."""
    told = {"info": dataclasses.asdict(dataset.info), "spec": dataclasses.asdict(dataset.spec), "labels": labels}
    parts = [dataset.train, dataset.val]
    tensors = [tensor for part in parts for tensor in (part.grey, *([part.labels] if labels else []))]
    return told, tensors


def unpack_splits(request: Frame) -> Dataset:
    """Returns the dataset that ``pack_splits`` packed; it has no test split."""
    told = request.text
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told["info"].items()}
    info = DatasetInfo(**fields)
    spec = request_spec(told["spec"])
    tensors = iter(request.tensors)
    splits = []
    for _ in range(2):
        grey = next(tensors)
        splits.append(Split(grey, next(tensors) if told["labels"] else torch.empty(0, dtype=torch.int64)))
    return Dataset(info, spec, "", splits[0], splits[1], _no_test)


def request_spec(told: dict[str, Any]) -> Any:
    """Returns the ``DataSpec`` of a description."""
    from suite.data import DataSpec

    try:
        return DataSpec(**{**told, "shape": tuple(told["shape"])})
    except (TypeError, KeyError) as error:
        raise WireError("a dataset that is not described as one") from error


def _no_test() -> Split:
    raise ContractError("the test split is not here")


def report_of(told: Any) -> TrainingReport:
    """Returns the report of training as the guest tells it; its numbers are the guest's own word.

    Raises:
        ContractError: If it is no report.
    """
    try:
        raw = told["report"]
        curves = {str(n): [(int(s), float(v)) for s, v in points] for n, points in raw["curves"].items()}
        counts = {name: int(raw[name]) for name in ("steps", "images", "flops", "backward", "outside", "own_steps")}
        report = TrainingReport(curves=curves, shares=[float(share) for share in raw["shares"]], **counts)
        report.seconds, report.lingered = float(raw["seconds"]), float(raw["lingered"])
        report.elsewhere = float(raw["elsewhere"])
        return report
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError("training handed over no report") from error
