"""The same shards on a Dask cluster: the same vectors, each encoder loaded once, and no work lost with a worker."""

import importlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pyarrow as pa
import pytest

from tests.vectors.tiny import WORDS, draw, tiny, tiny_bert, tiny_tower
from utils.handoff.store import DataFolderError, Store, open_store
from utils.machine.dask_cluster import cluster
from utils.vectors import on_dask, posters, shards, texts
from utils.vectors.encoders.base import EncoderError
from utils.vectors.on_dask import OnWorker
from utils.vectors.shards import Item

__all__ = ["tiny", "tiny_bert"]
SETTINGS = '{"encoder": "toy", "width": 2}'


class Toy:
    """An encoder that is loaded by workers and leaves a line in a file for each time that it is."""

    def __init__(self, log: str) -> None:
        self.log = Path(log)
        note(self.log, f"load {os.getpid()}")

    def settings(self) -> dict[str, Any]:
        return {"encoder": "toy", "width": 2}


def note(log: Path, line: str) -> None:
    with log.open("a") as sink:
        sink.write(line + "\n")


def run_toy(items: list[Item], encoder: Toy, batch_size: int) -> tuple[np.ndarray, list[Any]]:
    """Encode; kill this process at the movie whose content is "kill once", the first time, or "kill", each time."""
    for item in items:
        note(encoder.log, f"movie {item.movieId}")
        died = encoder.log.with_name("died")
        if item.content == "kill" or (item.content == "kill once" and not died.exists()):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if item.content == "raise":
            raise ValueError("what the encoder said")
    return np.array([[item.movieId, batch_size] for item in items], "float32"), []


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    importlib.import_module("distributed")  # First, or its settings would go away with the one that is changed here.
    # A worker takes seconds to come back, so one that dies twice on the same shard is enough here; Dask says four.
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), cluster("local:2") as client:
        yield client


def encode_toys(store: Store, client: Any, contents: dict[int, str], movies: int = 24) -> shards.Embeddings:
    encode = OnWorker(Toy, (str(store.folder / "log"),), run_toy, 7, SETTINGS)
    items = [Item(movie, str(movie), contents.get(movie, "")) for movie in range(1, movies + 1)]
    settings = {"encoder": "toy", "width": 2}
    return shards.encode_in_shards(store, "poster_embeddings", items, encode, settings, 2, client)


def logged(store: Store) -> list[str]:
    return (store.folder / "log").read_text().splitlines()


def enriched_of(store: Store, said: list[str]) -> pa.Table:
    count = len(said)
    return pa.table(
        {
            "movieId": pa.array(range(1, count + 1), pa.int64()),
            "poster_path": [draw(store, number) for number in range(count)],
            "poster_source": ["local"] * count,
            "synopsis": said,
            "synopsis_source": ["local"] * count,
        }
    )


def test_one_and_two_workers_and_any_batch_and_shard_give_what_this_process_gives(tmp_path, two, tiny_bert):
    _, tower = tiny_tower("clip", tmp_path / "clip")
    image = posters.load_encoder(str(tower), "cpu", tmp_path)
    text = texts.load_encoder(str(tiny_bert), "cpu", tmp_path)
    said = [" ".join(WORDS[5 + (i * j) % 11] for j in range(1 + 4 * i)) for i in range(13)]

    def encode(name: str, client: Any, batch: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
        store = open_store(tmp_path, name, 42, "03-Feature-Extraction-Poster")
        enriched = enriched_of(store, said)
        options = {"client": client, "shard_size": shard}
        looks = posters.encode_posters(store, enriched, image, batch, **options)
        reads = texts.encode_synopses(store, enriched, text, batch, **options)
        assert looks.ids.tolist() == reads.ids.tolist() == list(range(1, 14))
        assert looks.metadata["source"] == reads.metadata["source"] == {"local": 13}
        return looks.vectors, reads.vectors

    here = encode("here", None, 1, 256)
    found = [encode("two-1", two, 1, 2), encode("two-64", two, 64, 5)]
    with cluster("local:1") as one:
        found.append(encode("one-64", one, 64, 3))
    assert len(np.unique(here[0].round(4), axis=0)) == len(np.unique(here[1].round(4), axis=0)) == 13
    for looks, reads in found:
        np.testing.assert_allclose(looks, here[0], atol=1e-5)
        np.testing.assert_allclose(reads, here[1], atol=1e-5)


def test_each_worker_loads_the_encoder_once_and_a_second_run_encodes_nothing(store, two, capsys):
    found = encode_toys(store, two, {})
    assert found.ids.tolist() == list(range(1, 25))
    assert found.vectors.tolist() == [[movie, 7] for movie in range(1, 25)]
    loads = [line for line in logged(store) if line.startswith("load")]
    assert 1 <= len(loads) == len(set(loads)) <= 2
    assert Counter(line for line in logged(store) if line.startswith("movie")).most_common(1)[0][1] == 1
    before = logged(store)
    again = encode_toys(store, two, {})
    assert logged(store) == before
    assert "resumed 12 of 12 shards" in capsys.readouterr().out
    np.testing.assert_array_equal(again.vectors, found.vectors)


def test_the_shard_of_a_worker_that_is_killed_is_done_by_another_and_no_other_shard_twice(store, two):
    found = encode_toys(store, two, {10: "kill once"})
    assert found.ids.tolist() == list(range(1, 25))
    times = Counter(line for line in logged(store) if line.startswith("movie"))
    assert {line for line, count in times.items() if count > 1} == {"movie 9", "movie 10"}
    assert len(times) == 24 and sum(times.values()) == 26


def test_a_shard_that_kills_every_worker_is_named_and_the_others_are_kept(store, two, capsys):
    with pytest.raises(EncoderError, match=r"Shard .*\.parquet: worker after worker died while encoding it") as refused:
        encode_toys(store, two, {23: "kill"})
    assert "smaller BATCH_SIZE" in str(refused.value)
    finished = len(list((store.folder / ".poster_embeddings.shards").glob("[!.]*.parquet")))
    capsys.readouterr()
    (store.folder / "log").unlink()
    with pytest.raises(ValueError, match="what the encoder said"):
        encode_toys(store, two, {23: "raise"})
    assert f"resumed {finished} of 12 shards" in capsys.readouterr().out
    assert len([line for line in logged(store) if line.startswith("movie")]) <= 24 - 2 * finished


def test_a_worker_with_another_encoder_is_refused(store, two):
    encode = OnWorker(Toy, (str(store.folder / "log"),), run_toy, 7, '{"encoder": "toy", "width": 3, "precision": "x"}')
    with pytest.raises(EncoderError, match="precision is None instead of 'x', width is 2 instead of 3") as refused:
        shards.encode_in_shards(store, "poster_embeddings", [Item(1, "1", "")], encode, {"width": 3}, 2, two)
    assert "the same DEVICE" in str(refused.value)


def test_a_disk_that_workers_do_not_share_is_named(tmp_path):
    with pytest.raises(DataFolderError, match=r"A Dask worker does not find .*DATA_DIR must be on a disk that this"):
        shards.shard_task(tmp_path / "absent" / "1.parquet", [], None, 2)


def test_an_encoder_made_by_hand_cannot_be_sent(store, tiny, two):
    with pytest.raises(EncoderError, match=r"was not made by load_encoder, so that no Dask worker can load it"):
        posters.encode_posters(store, enriched_of(store, ["a"]), tiny, client=two)


def test_a_cluster_without_workers_is_named(monkeypatch):
    class Empty:
        def wait_for_workers(self, count: int, timeout: float) -> None:
            raise TimeoutError

    with pytest.raises(EncoderError, match=r"has had no worker for 60 seconds. Start one with `dask worker`"):
        next(on_dask.completed(Empty(), print, {"a": ()}))
