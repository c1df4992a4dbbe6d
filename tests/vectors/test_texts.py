"""Synopses to vectors: what is read of a movie, and each text with its own vector."""

import hashlib

import pyarrow as pa
import pytest

from tests.places import CACHE
from tests.vectors.tiny import enriched_texts, tiny_bert
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, open_store
from utils.vectors import texts

__all__ = ["tiny_bert"]


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path, "toy", 42, "04-Feature-Extraction-Text")


@pytest.fixture(scope="module")
def tiny(tiny_bert):
    return texts.load_encoder(str(tiny_bert), "cpu", CACHE)


def test_texts_without_content_are_missing_and_long_ones_counted(store, tiny, capsys):
    synopses = ["cowboy", None, "", " \n\t", "paris " * 14, "paris " * 15]
    found = texts.encode_synopses(store, enriched_texts(synopses), tiny, 4)
    assert found.ids.tolist() == [1, 5, 6]
    assert found.failures == ()
    # 14 words and the two tokens around them just fit.
    assert found.metadata["windowed"] == 1
    assert found.metadata["source"] == {"local": 3}
    assert "1 of 3 texts are longer than 16 tokens: read in several windows." in capsys.readouterr().out
    again = texts.encode_synopses(store, enriched_texts(synopses), tiny, 4)
    assert again.metadata == found.metadata
    assert "resumed 1 of 1 shards" in capsys.readouterr().out


def test_a_text_that_is_no_text_is_a_failure(store, tiny, monkeypatch):
    monkeypatch.setattr(texts, "MAX_CHARACTERS", 100)
    found = texts.encode_synopses(store, enriched_texts(["cowboy", "x" * 101, "paris"]), tiny)
    assert found.ids.tolist() == [1, 3]
    assert found.failures[0].reason == "the text has 101 characters, at most 100 are read"


# The text of a movie

MOVIES = pa.table(
    {
        "movieId": pa.array([1, 2, 3], pa.int64()),
        "title": ["Heat", "Big", None],
        "year": pa.array([1995, None, 1990], pa.int16()),
        "genres": pa.array([["Action", "Crime"], [], ["Drama"]], pa.list_(pa.string())),
    }
)


def texts_of(enriched, template, movies=MOVIES):
    return {item.movieId: item.content for item in texts.synopsis_items(enriched, movies, template)}


def test_the_text_is_put_together_by_the_template():
    enriched = enriched_texts(["A  cop.\n", "A boy.", "A man."])
    assert texts_of(enriched, "{title}. {synopsis} Genres: {genres}") == {
        1: "Heat. A cop. Genres: Action, Crime",
        2: "Big. A boy.",
        3: ". A man. Genres: Drama",
    }
    assert texts_of(enriched, "{title} ({year}): {synopsis}")[1] == "Heat (1995): A cop."
    assert texts_of(enriched, "{synopsis}", None) == {1: "A cop.", 2: "A boy.", 3: "A man."}


def test_a_movie_without_a_synopsis_has_no_text_whatever_else_is_known():
    assert texts_of(enriched_texts([None, " \n", "A man."]), texts.TEMPLATE).keys() == {3}


def test_the_key_is_of_the_whole_text():
    enriched = enriched_texts(["A cop."])
    keys = {texts.synopsis_items(enriched, MOVIES, t)[0].key for t in ("{synopsis}", "{title} {synopsis}")}
    assert keys == {hashlib.sha256(text).hexdigest() for text in (b"A cop.", b"Heat A cop.")}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{synopsis} {plot}", r"has the placeholder \{plot\}. Those known are \{title\}, \{year\}, \{synopsis\}"),
        ("{synopsis} {tagline}", r"has the placeholder \{tagline\}"),
        ("{synopsis} {title.__class__}", r"has the placeholder \{title.__class__\}"),
        ("{synopsis} {title!r}", r"has the placeholder \{title!r\}"),
        ("{synopsis:>1000000000}", r"has the placeholder \{synopsis:>1000000000\}"),
        ("{synopsis} {}", r"has the placeholder \{\}"),
        ("{title}", r"has no \{synopsis\}"),
        ("", r"has no \{synopsis\}"),
        ("{synopsis", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_templates_that_are_refused(template, message):
    with pytest.raises(ParameterError, match=message) as refused:
        texts.check_template(template)
    assert str(refused.value).startswith(f"TEMPLATE={template!r} ")


def test_a_template_that_wants_what_is_not_there():
    with pytest.raises(ParameterError, match=r"TEMPLATE has \['genres', 'title'\], which needs movies_converted"):
        texts.synopsis_items(enriched_texts(["A cop."]), None, "{title} {synopsis} {genres}")
    with pytest.raises(HandOffError, match=r"movieId 4 of enriched.parquet is not in movies_converted.parquet. Run 02"):
        texts_of(enriched_texts(["A."] * 4), "{title}. {synopsis}")


def test_the_template_is_in_the_metadata_and_decides_the_vector(store, tiny):
    enriched = enriched_texts(["cowboy", "paris", None])
    one = texts.encode_synopses(store, enriched, tiny, movies=MOVIES, template="{synopsis} {genres} western")
    two = texts.encode_synopses(store, enriched, tiny)
    assert one.ids.tolist() == two.ids.tolist() == [1, 2]
    assert one.metadata["template"] == "{synopsis} {genres} western"
    assert abs(one.vectors - two.vectors).max() > 1e-3
