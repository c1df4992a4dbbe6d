"""The measured ways of 03 and 04 do the same work, and a way that does another is found out."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import posters, synopses
from benchmarks.speed.child import call
from benchmarks.speed.harness import Case

MODULES = (posters, synopses)
pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = [(module, case) for module in MODULES for case in module.SMALL]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Draw posters in a folder of this test run."""
    monkeypatch.setattr(posters, "ROOT", tmp_path_factory.getbasetemp())


@pytest.mark.parametrize(("module", "case"), SMALL, ids=[f"{case.ours}-{case.other}" for _, case in SMALL])
def test_both_ways_give_the_same_vectors(module, case: Case) -> None:
    call(f"{module.__name__}:prepare", dict(case.arguments))
    one, two = call(case.ours, dict(case.arguments)), call(case.other, dict(case.arguments))
    assert one["seconds"] > 0 and two["seconds"] > 0
    assert one["answer"]["rows"] == two["answer"]["rows"] == case.arguments["count"] == one["count"]
    assert one["flop"] == two["flop"] > 0
    assert module.agree(case, one["answer"], two["answer"]) is None
    moved = {"sample": one["answer"]["sample"][1:] + one["answer"]["sample"][:1]}
    assert "has the cosine" in module.agree(case, moved, two["answer"])


def test_vectors_that_point_elsewhere_or_are_missing_differ() -> None:
    assert posters.same_directions([[3.0, 4.0]], [[6.0, 8.0]]) is None
    assert posters.same_directions([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.1]]) == (
        "vector 1 of the sample has the cosine 0.99504"
    )
    assert posters.same_directions([[1.0, 0.0]], [[1.0, 0.1]], 0.99) is None
    assert posters.same_directions([[1.0]], [[1.0], [1.0]]) == "vectors of shape (1, 1) and (2, 1)"


def test_full_and_small_cases_are_the_same_but_for_their_size() -> None:
    for module in MODULES:
        for full, small in zip(module.CASES, module.SMALL, strict=True):
            same = {"arguments": None, "repeats": None}
            assert asdict(full) | same == asdict(small) | same
            assert full.arguments["count"] >= 256


@pytest.mark.parametrize("module", MODULES)
def test_only_bfloat16_may_differ_from_float32_by_more_than_rounding(module) -> None:
    one, two = {"sample": [[1.0, 0.0]]}, {"sample": [[1.0, 0.1]]}  # cosine 0.99504
    far = {"sample": [[1.0, 0.2]]}  # cosine 0.98058
    for case in module.CASES:
        fast = case.ours.endswith(":ours_bfloat16")
        assert (module.agree(case, one, two) is None) == fast
        assert "has the cosine 0.98058" in module.agree(case, one, far)
        assert case.limit == (None if fast else "matmul"), "the machine's limit is measured in float32"
    assert sum(case.ours.endswith(":ours_bfloat16") for case in module.CASES) == 1


def test_texts_are_as_long_as_said_and_always_the_same() -> None:
    texts = synopses.texts_of(400)
    words = np.array([len(text.split()) for text in texts])
    assert 80 <= np.median(words) <= 100
    assert words.min() >= synopses.FEWEST and words.max() <= synopses.MOST_WORDS
    assert np.percentile(words, 90) > 150
    assert len(set(texts)) == 400 and texts == synopses.texts_of(400)


def test_the_formula_of_a_text_is_what_pytorch_counts() -> None:
    encoder = synopses.synopses.load_encoder("all-MiniLM-L6-v2", "cpu", posters.CACHE)
    encoder.module.set_attn_implementation("eager")  # PyTorch does not count the fused one on a CPU
    tokens = {name: torch.ones(1, 50, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.module(**tokens)
    pooler = 2 * encoder.module.config.hidden_size**2
    assert synopses.flop(encoder, [50]) == counter.get_total_flops() - pooler
