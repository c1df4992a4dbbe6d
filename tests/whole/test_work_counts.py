"""How much work is done, counted and not timed: a step that is done twice shows here on any machine."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.content.test_tmdb import Hosts, Store, hosts, row, run
from tests.vectors.tiny import WORDS, draw, enriched_posters, enriched_texts, tiny, tiny_bert
from utils.handoff.store import open_store
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import parse
from utils.model.torch_model import Twin
from utils.model.training import fit
from utils.model.training.fit import Split
from utils.vectors import posters, texts
from utils.vectors.encoders import image, text

__all__ = ["hosts", "tiny", "tiny_bert"]
FULL = parse("ids+genres+poster+text")
FACTORS = 32
pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Collect the arguments of every call of ``module``."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = module.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    yield calls
    hook.remove()


def _linear_flops(x: tuple[int, ...], weight: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * math.prod(x) * weight[0]


def _linear_backward_flops(
    x: tuple[int, ...], grad: Any, weight: tuple[int, ...], mask: list[bool], **_: Any
) -> int:  # fmt: skip
    return sum(mask[:2]) * _linear_flops(x, weight)


ONEDNN = {
    torch.ops.aten.mkldnn_linear: _linear_flops,
    torch.ops.aten.mkldnn_linear_backward: _linear_backward_flops,
}
"""What PyTorch's counter does not know of: it counts the products of its own kernels."""


def flops(work: Callable[[], object]) -> int:
    """Return the floating point operations of all matrix products in ``work``."""
    with FlopCounterMode(display=False, custom_mapping=ONEDNN) as counter:
        work()
    return counter.get_total_flops()


# 03 and 04


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path, "toy", 42, "03-Feature-Extraction-Poster")


def test_a_poster_is_decoded_once_and_not_again_on_resume(store, tiny, monkeypatch):
    decoded: list[str] = []
    real = posters.decode

    def counting(path: Path, **options: Any) -> Any:
        decoded.append(path.name)
        return real(path, **options)

    monkeypatch.setattr(posters, "decode", counting)
    enriched = enriched_posters([draw(store, number) for number in range(11)])
    with inputs_of(tiny.module) as passes:
        posters.encode_posters(store, enriched, tiny, 3, shard_size=5)
        assert sorted(decoded) == sorted(f"{number}.png" for number in range(11))
        assert [len(args[0]) for args, _ in passes] == [3, 2, 3, 2, 1], "batches end with their shard"
        posters.encode_posters(store, enriched, tiny, 3, shard_size=5)
        assert len(decoded) == 11 and len(passes) == 5, "what is in a shard is neither decoded nor encoded again"
        draw(store, 12)
        (store.folder / "posters" / "12.png").replace(store.folder / "posters" / "7.png")
        posters.encode_posters(store, enriched, tiny, 3, shard_size=5)
        assert len(decoded) == 16 and len(passes) == 7, "one changed poster costs its own shard"


def test_pictures_go_through_the_network_in_as_few_passes_as_the_cache_allows(tiny):
    pixels = np.zeros((37, 32, 32, 3), "uint8")
    with inputs_of(tiny.module) as passes:
        assert image.forward(tiny, pixels).shape == (37, 16)
    most = image.PICTURES_AT_ONCE
    assert len(passes) == -(-37 // most) and max(len(args[0]) for args, _ in passes) == most


def words_of(lengths: list[int]) -> list[str]:
    return [" ".join(WORDS[5 + (length + at) % 11] for at in range(length)) for length in lengths]


def test_texts_take_the_fewest_passes_and_little_padding(tmp_path, tiny_bert, monkeypatch):
    encoder = texts.load_encoder(str(tiny_bert), "cpu", tmp_path)
    lengths = np.random.default_rng(0).integers(1, 15, 200).tolist()
    with inputs_of(encoder.transformer) as passes:
        text.encode(encoder, words_of(lengths), 16)
    assert len(passes) == -(-200 // 16)
    masks = [features["attention_mask"] for (features,), _ in passes]
    assert sum(int(mask.sum()) for mask in masks) == sum(lengths) + 2 * 200, "each token is read once"
    assert sum(mask.numel() for mask in masks) <= 1.1 * (sum(lengths) + 2 * 200), "sorted by length, little is padding"
    monkeypatch.setattr(text, "TOKENS_AT_ONCE", 64)
    with inputs_of(encoder.transformer) as passes:
        text.encode(encoder, words_of(lengths), 16)
    sizes = [features["attention_mask"].numel() for (features,), _ in passes]
    assert max(sizes) <= 64 and np.mean(sizes) > 48, "a batch on a CPU fills its cache and no more"
    elsewhere = text._batches(replace(encoder, device=torch.device("meta")), np.full(40, 14), 16)
    assert [len(batch) for batch in elsewhere] == [16, 16, 8], "the limit is the cache of a CPU, not of a GPU"


def test_a_text_is_not_encoded_again_on_resume(tmp_path, tiny_bert):
    store = open_store(tmp_path, "toy", 42, "04-Feature-Extraction-Text")
    encoder = texts.load_encoder(str(tiny_bert), "cpu", tmp_path)
    enriched = enriched_texts(words_of(list(range(1, 12))))
    with inputs_of(encoder.transformer) as passes:
        texts.encode_synopses(store, enriched, encoder, 4, shard_size=6)
        once = len(passes)
        assert once == 2 + 2
        texts.encode_synopses(store, enriched, encoder, 4, shard_size=6)
        assert len(passes) == once


# 02


def test_a_second_run_asks_no_provider(hosts: Hosts, store: Store) -> None:
    for movie in range(1, 21):
        hosts.add(movie)
    run(hosts, store, [row(movie) for movie in range(1, 21)])
    # One for the facts and the overview, one for the picture.
    assert (len(hosts.api.log), len(hosts.images.log)) == (20, 20)
    run(hosts, store, [row(movie) for movie in range(1, 22)])
    assert (len(hosts.api.log), len(hosts.images.log)) == (22, 20), "only what is new is asked for: by id, by IMDb id"


# 07

MOVIES, WIDTH = 300, 128
BIG = Inputs(
    users=103, movies=MOVIES + 3, genres=8, most_genres=3, content_rows=MOVIES + 3,
    content_columns={"poster": (0, 64), "text": (64, WIDTH)},
)  # fmt: skip


def batch_of(rows: int, movies: int) -> dict[str, Tensor]:
    """Codes of ``rows`` ratings of ``movies`` distinct movies."""
    generator = torch.Generator().manual_seed(0)
    movie = torch.arange(rows) % movies + 3
    return {
        "userId": torch.randint(3, 103, (rows,), generator=generator),
        "movieId": movie,
        "movieId_duplicate": movie,
        "genres": torch.randint(3, 8, (rows, 3), generator=generator),
    }


def big_twin(model: str) -> Twin:
    codes = batch_of(MOVIES, MOVIES)
    split = Split(codes, torch.zeros(MOVIES))
    frozen = torch.randn(MOVIES + 3, WIDTH)
    return Twin(MODELS[model](BIG, FULL), {"movieId_duplicate": frozen}, fit.seen_codes(split, BIG), 0)


@pytest.mark.parametrize("model", MODELS)
def test_the_frozen_table_is_read_once_for_each_distinct_movie(model: str) -> None:
    twin = big_twin(model)
    with inputs_of(twin.tables["movieId_duplicate"]) as looks:
        twin(batch_of(2048, 40))
    assert [args[0].numel() for args, _ in looks] == [40]


@pytest.mark.parametrize("training_now", [True, False])
@pytest.mark.parametrize("movies", [10, 160])
def test_content_is_projected_once_for_each_distinct_movie_and_not_for_each_row(
    movies: int, training_now: bool
) -> None:
    twin = big_twin("multimodal").train(training_now)
    few, many = (flops(lambda n=n: twin(batch_of(n, movies))) for n in (512, 2048))
    projection = 2 * WIDTH * (FACTORS + 1)  # of one movie, by the linear maps of poster and text
    assert few >= movies * projection
    # What differs from row to row is the dot product, which is no matrix product, and the counts of genres.
    assert many - few == (2048 - 512) * 2 * BIG.genres * (FACTORS + 1)


def test_a_step_of_the_original_graph_stays_below_its_bound() -> None:
    twin, rows = big_twin("original"), 2048
    wide, hidden = 16 * 3 + WIDTH, 128

    def step(movies: int) -> int:
        codes = batch_of(rows, movies)
        twin.zero_grad()
        return flops(lambda: twin(codes).sum().backward())

    # Forward, and backward twice as much (for the weights and for what came in), a multiplication and an addition each.
    bound = 6 * rows * (wide * hidden + hidden * hidden + hidden)
    assert 6 * rows * hidden * hidden < step(40) <= 1.02 * bound
    assert step(40) <= step(MOVIES), "fewer distinct movies never cost more"


@pytest.mark.parametrize("model", MODELS)
def test_the_catalogue_is_read_once_and_not_once_a_user_or_a_block(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = big_twin(model).eval()
    codes = batch_of(MOVIES, MOVIES)
    movies = {name: codes[name].numpy() for name in ("movieId", "movieId_duplicate", "genres")}
    for numbers in (MOVIES, 1 << 24):  # a block of one user, and one of all
        monkeypatch.setattr(fit, "GRID_NUMBERS", numbers)
        with inputs_of(twin.tables["movieId_duplicate"]) as looks:
            scores = fit.catalogue_scorer(twin, movies)(np.arange(3, 67))
        assert scores.shape == (64, MOVIES)
        assert [args[0].numel() for args, _ in looks] == [MOVIES]


def test_scoring_another_user_costs_no_content() -> None:
    twin = big_twin("multimodal").eval()
    codes = batch_of(MOVIES, MOVIES)
    movies = {name: codes[name] for name in ("movieId", "movieId_duplicate", "genres")}
    users = {count: {"userId": torch.arange(3, 3 + count)} for count in (1, 50)}
    one, many = (flops(lambda n=n: twin.meet(users[n], twin.movie_side(movies))) for n in users)
    assert one > 2 * MOVIES * WIDTH * FACTORS
    assert many - one == 49 * 2 * MOVIES * FACTORS, "a user costs the dot products of the factors with each movie"
