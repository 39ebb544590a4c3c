"""The integrity check that needs a process of its own: one that never saw the images, and is watched."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suite import data
from suite.checking.audit import Witness
from suite.checking.integrity import ROWS, Caught, Specimen, compare, disturbed, rows, train
from suite.errors import Unsupported
from suite.measuring import Frozen, answers
from suite.plugins import Source, registry
from suite.training import Recipe


@dataclass(frozen=True)
class Errand:
    """What the fresh process is asked to do: train again, and answer for stored latents in shuffled order."""

    source: Source
    params: Mapping[str, Any]
    dataset: str
    state: Mapping[str, Tensor]
    values: dict[str, Tensor]


def fresh_process(s: Specimen) -> str:
    """A process that never saw the images gives the same parameters and answers, reads no file, calls nobody."""
    if s.source is None:
        raise Unsupported("it came from no file")
    values = disturbed(s.model, s.images())
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    state = s.model.unwrap().state_dict()
    errand = Errand(s.source, s.recipe.params, s.dataset.info.name, state, rows(values, order))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        trained, answered, seen = pool.submit(run, errand, torch.get_num_threads()).result()
    if seen:
        raise Caught(f"the model {', '.join(dict.fromkeys(seen[:3]))}")
    if trained != s.model.parameter_hash():
        raise Caught("trained again in a fresh process with the same seed, the parameters differ")
    expected = answers.of_decoder(s.model, values)
    compare(rows(expected, order) if values else expected, answered, "in a fresh process, on stored latents")
    return "same parameters and answers; no file read, no connection"


def run(errand: Errand, threads: int) -> tuple[str, answers.Answers, list[str]]:
    """Runs in the fresh process; returns the parameter hash, the answers, and what the model touched."""
    torch.set_num_threads(threads)
    dataset = data.load(errand.dataset)
    _ = dataset.train.binary, dataset.val.binary  # drawn before anybody watches
    witness = Witness(allowed={Path(name).name for name in errand.source.files})
    with witness:
        recipe = Recipe(registry.load(errand.source), dataset.spec, errand.params)
        again = Frozen(train(recipe, dataset)).parameter_hash()
        twin = replace(recipe, seed=1).build()
        twin.load_state_dict(dict(errand.state))
        answered = answers.of_decoder(Frozen(twin), errand.values)
    return again, answered, witness.seen
