"""Work in shards: what was finished is never done again, and nothing stale is ever used."""

import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.places import ROOT
from utils.vectors import shards
from utils.vectors.shards import Failure, Item

SETTINGS = {"encoder": "toy", "weights_sha256": "0", "width": 3, "preprocessing": "none"}


class Toy:
    """An encoder that remembers what it was given; it cannot do content below 0 and gives NaN for 13."""

    def __init__(self):
        self.calls = []

    def __call__(self, items):
        self.calls.append([item.movieId for item in items])
        failures = [Failure(item.movieId, "negative") for item in items if item.content < 0]
        values = [item.content for item in items if item.content >= 0]
        found = np.array([[v, v + 1, np.nan if v == 13 else 0] for v in values], "float32").reshape(-1, 3)
        return found, failures


def items_of(contents, first=1):
    return [Item(first + i, f"key of {content}", content) for i, content in enumerate(contents)]


def encode(store, items, toy, settings=SETTINGS, size=4):
    return shards.encode_in_shards(store, "poster_embeddings", items, toy, settings, size)


def test_all_movies_come_back_in_order_of_id_with_their_own_vector(store):
    items = items_of(range(10))
    found = encode(store, items[::-1], Toy())
    assert found.ids.tolist() == [item.movieId for item in items]
    assert found.ids.dtype == np.int64
    assert found.vectors.dtype == np.float32
    assert found.vectors[:, 0].tolist() == list(range(10))
    assert found.failures == ()


def test_a_second_call_encodes_nothing_and_says_so(store, capsys):
    first, again = Toy(), Toy()
    contents = [5, -1, 7, 13, 8, 9, -2]
    one = encode(store, items_of(contents), first)
    two = encode(store, items_of(contents), again)
    assert [len(call) for call in first.calls] == [4, 3]
    assert again.calls == []
    assert "poster_embeddings: resumed 2 of 2 shards." in capsys.readouterr().out
    np.testing.assert_array_equal(one.vectors, two.vectors)
    np.testing.assert_array_equal(one.ids, two.ids)
    assert one.failures == two.failures


def test_failures_are_named_and_nothing_else_is_lost(store, capsys):
    found = encode(store, items_of([5, -1, 13, 8]), Toy())
    assert found.ids.tolist() == [1, 4]
    assert found.failures == (Failure(2, "negative"), Failure(3, "the encoder gave a vector that is not finite"))
    printed = capsys.readouterr().out
    assert "2 of 4 could not be encoded and count as missing: movieId 2: negative; movieId 3" in printed


def test_a_changed_content_or_encoder_is_encoded_again(store):
    encode(store, items_of([1, 2, 3, 4, 5, 6, 7, 8]), Toy())
    changed = Toy()
    found = encode(store, items_of([1, 2, 3, 4, 5, 6, 7, 9]), changed)
    assert changed.calls == [[5, 6, 7, 8]]
    assert found.vectors[-1, 0] == 9
    for other in ({"weights_sha256": "1"}, {"preprocessing": "other"}, {"encoder": "other"}):
        changed = Toy()
        encode(store, items_of([1, 2, 3, 4, 5, 6, 7, 8]), changed, SETTINGS | other)
        assert len(changed.calls) == 2, other


def test_a_damaged_or_foreign_shard_is_encoded_again(store, capsys):
    items = items_of(range(8))
    encode(store, items, Toy())
    folder = store.folder / ".poster_embeddings.shards"
    first, second = (folder / f"{shards.fingerprint(part, SETTINGS)}.parquet" for part in (items[:4], items[4:]))
    first.write_bytes(second.read_bytes())
    second.write_bytes(second.read_bytes()[:100])
    toy = Toy()
    found = encode(store, items, toy)
    assert len(toy.calls) == 2
    assert found.vectors[:, 0].tolist() == list(range(8))
    printed = capsys.readouterr().out
    assert "is damaged" in printed
    assert "does not hold the movies it should" in printed


def test_no_movie_at_all_gives_an_empty_table_of_the_right_width(store):
    toy = Toy()
    found = encode(store, [], toy)
    assert toy.calls == []
    assert found.vectors.shape == (0, 3)
    table, metadata = found.hand_off()
    path = store.write("poster_embeddings", table, metadata)
    assert pq.read_schema(path).field("embedding").type.list_size == 3
    assert store.read("poster_embeddings").num_rows == 0


def test_the_hand_off_is_written_and_the_shards_removed(store):
    found = encode(store, items_of([1, -1, 2]), Toy())
    store.write("poster_embeddings", *found.hand_off())
    shards.clear(store, "poster_embeddings")
    assert not (store.folder / ".poster_embeddings.shards").exists()
    said = store.metadata("poster_embeddings")
    assert said["encoder"] == "toy"
    assert said["width"] == 3
    assert said["failed"] == 1
    assert store.read("poster_embeddings")["movieId"].to_pylist() == [1, 3]
    shards.clear(store, "poster_embeddings")


def test_a_movie_that_comes_twice_is_refused(store):
    with pytest.raises(ValueError, match=r"movieId 1 is there more than once"):
        encode(store, [Item(1, "a", 1), Item(1, "b", 2)], Toy())


def test_an_encoder_of_another_width_is_refused_and_writes_nothing(store):
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(2, 5\)"):
        encode(store, items_of([1, 2]), Toy(), SETTINGS | {"width": 5})
    assert list((store.folder / ".poster_embeddings.shards").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{repository!r}]
from tests.vectors import test_shards as t
from utils.handoff.store import open_store

class Killed(t.Toy):
    def __call__(self, items):
        if len(self.calls) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(items)

t.encode(open_store({folder!r}, "toy", 42, "03-Feature-Extraction-Poster"), t.items_of(range(10)), Killed())
"""


def test_after_kill_9_only_the_unfinished_shards_are_done(store, tmp_path, capsys):
    script = KILLED.format(repository=str(ROOT), folder=str(tmp_path))
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    toy = Toy()
    found = encode(store, items_of(range(10)), toy)
    assert toy.calls == [[5, 6, 7, 8], [9, 10]]
    assert "resumed 1 of 3 shards" in capsys.readouterr().out
    assert found.vectors[:, 0].tolist() == list(range(10))
