"""The judge: what comes with the suite is what it says, and what is trained on the spot is always the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from suite import data
from suite.measuring import judge
from tests import models

SHIPPED = ("digits", "mnist", "colored:digits", "colored:mnist")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_judge_has_the_hash_that_it_says_and_is_small_and_good(name: str) -> None:
    from safetensors.torch import load_file

    path, known = judge._path(name), data.info(name)
    tensors, facts = load_file(path), judge._facts(path)
    factors = {n.split(".")[1]: len(t) for n, t in tensors.items() if n.startswith("estimate") and n.endswith("2.bias")}
    shipped = judge.Judge(known.shape, known.classes, factors)
    shipped.load_state_dict(tensors)
    assert judge.fingerprint(shipped) == facts["sha256"]
    assert sum(p.numel() for p in shipped.parameters()) < 60_000
    assert float(facts["accuracy"]) > (0.985 if name == "mnist" else 0.98)
    assert set(factors) == set(known.factors)


@pytest.mark.parametrize("name", ["digits", "colored:digits"])
def test_a_shipped_judge_belongs_to_the_images_and_judges_as_well_as_it_says(name: str) -> None:
    dataset = data.load(name)
    subject = replace(models.subject_of(models.builtin("pixel_marginals")), dataset=dataset)
    facts, found = judge._facts(judge._path(name)), judge.of(subject)
    assert facts["dataset_hash"] == dataset.hash
    for key, value in judge.measure(found, dataset.test).items():
        assert float(facts[key]) == pytest.approx(value, abs=0.003)
    assert judge.facts(found, dataset).startswith("accuracy 0.9")
    assert not any(p.requires_grad for p in found.parameters())


def test_other_images_get_a_judge_of_their_own_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(judge, "IMAGES", 2_000)
    subject = models.subject_of(models.builtin("pixel_marginals"))
    other = replace(subject, dataset=replace(subject.dataset, hash="of other images"), store=tmp_path)
    first = judge.of(other)
    monkeypatch.setattr(judge, "train", lambda dataset: pytest.fail("trained twice"))
    again = judge.of(replace(other, _memo={}))
    assert judge.fingerprint(first) == judge.fingerprint(again) != judge.fingerprint(judge.of(subject))


def test_training_repeats_itself_under_any_global_seed_and_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "IMAGES", 300)
    hashes, dataset = [], models.digits()
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        hashes.append(judge.fingerprint(judge.train(dataset)))
        assert torch.equal(torch.get_rng_state(), before)
    assert hashes[0] == hashes[1]


def test_training_reads_the_training_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "IMAGES", 300)
    blind = replace(models.digits(), val=None, read_test=lambda: pytest.fail("read the test split"))
    assert judge.fingerprint(judge.train(blind)) == judge.fingerprint(judge.train(models.digits()))


def test_a_verdict_s_entropy_is_that_of_its_class() -> None:
    verdict = judge.Verdict(torch.tensor([[0.0, 0.0], [100.0, 0.0]]), {})
    assert verdict.entropy.tolist() == pytest.approx([0.6931, 0], abs=1e-4)
    assert verdict.classes.tolist()[1] == 0


def test_the_card_names_every_shipped_judge_with_its_hash() -> None:
    card = judge.card()
    for name in SHIPPED:
        assert judge._facts(judge._path(name))["sha256"][:16] in card[f"judge of {name}"]
