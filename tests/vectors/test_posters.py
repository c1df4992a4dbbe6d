"""Posters to vectors: whole pictures, and nothing lost but what cannot be decoded."""

import threading

import numpy as np
import pytest
from PIL import Image

from tests.places import CACHE
from tests.vectors.tiny import draw, enriched_posters, tiny, tiny_tower
from utils.content.images import decode
from utils.handoff.parameters import ParameterError
from utils.vectors import posters
from utils.vectors.encoders import image

__all__ = ["tiny"]


def test_the_whole_poster_is_seen_up_to_its_edges(store):
    picture = Image.new("RGB", (300, 450), "black")
    picture.paste("red", (0, 0, 300, 30))
    picture.paste("blue", (0, 420, 300, 450))
    picture.save(store.folder / "edges.png")
    pixels = posters.read_pixels(store.folder / "edges.png", 30)
    assert pixels.shape == (30, 30, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 15].tolist() == [255, 0, 0]
    assert pixels[-1, 15].tolist() == [0, 0, 255]
    assert pixels[15, 15].tolist() == [0, 0, 0]


def test_what_cannot_be_decoded_is_named_and_the_rest_is_there(store, tiny):
    paths = [draw(store, 1), None, draw(store, 3), "posters/html.jpg", draw(store, 5), "posters/absent.jpg"]
    (store.folder / "posters" / "html.jpg").write_text("<html>not found</html>")
    found = posters.encode_posters(store, enriched_posters(paths), tiny, 2)
    assert found.ids.tolist() == [1, 3, 5]
    reasons = {failure.movieId: failure.reason for failure in found.failures}
    assert set(reasons) == {4, 6}
    assert "not an image" in reasons[4]
    assert "cannot be read" in reasons[6]
    assert found.metadata["source"] == {"local": 3}
    assert found.metadata["encoder"] == "tiny"
    for place, number in enumerate((1, 3, 5)):
        pixels = posters.read_pixels(store.folder / f"posters/{number}.png", 32)
        np.testing.assert_allclose(found.vectors[place], image.forward(tiny, np.stack([pixels]))[0], atol=1e-5)


def test_large_pictures_are_decoded_one_after_the_other_and_too_large_ones_not_at_all(store, tiny, monkeypatch):
    monkeypatch.setattr(posters, "MANY_PIXELS", 10_000)
    decoded = []

    def watched(path, max_pixels):
        picture = decode(path, max_pixels=max_pixels)
        decoded.append((picture.width, threading.current_thread() is threading.main_thread()))
        return picture

    monkeypatch.setattr(posters, "decode", watched)
    paths = [draw(store, number, (200, 300) if number % 2 else (60, 90)) for number in range(12)]
    found = posters.encode_posters(store, enriched_posters([*paths, draw(store, 12, (6400, 6300))]), tiny)
    assert found.ids.tolist() == list(range(1, 13)) and len(np.unique(found.vectors, axis=0)) == 12
    assert sorted(decoded) == [(60, False)] * 6 + [(200, True)] * 6
    assert "too many pixels (6,400 x 6,300, at most 40,000,000)" in found.failures[0].reason


def test_a_poster_that_changed_or_arrived_is_encoded_again(store, tiny):
    path = draw(store, 1)
    (store.folder / "posters" / "late.png").write_bytes(b"")
    paths = [path, "posters/late.png", "posters/later.png"]
    before = posters.encode_posters(store, enriched_posters(paths), tiny)
    for number, name in ((2, "1"), (3, "late"), (4, "later")):
        (store.folder / draw(store, number)).replace(store.folder / f"posters/{name}.png")
    after = posters.encode_posters(store, enriched_posters(paths), tiny)
    assert before.ids.tolist() == [1]
    assert after.ids.tolist() == [1, 2, 3]
    assert abs(before.vectors[0] - after.vectors[0]).max() > 1e-3


def test_a_batch_size_of_zero_is_refused(store, tiny):
    with pytest.raises(ParameterError, match=r"BATCH_SIZE=0 must be a whole number of at least 1"):
        posters.encode_posters(store, enriched_posters([None]), tiny, 0)


def test_posters_are_resized_as_their_encoder_wants(store, tmp_path):
    encoder = posters.load_encoder(str(tiny_tower("clip", tmp_path / "clip")[1]), "cpu", CACHE)
    found = posters.encode_posters(store, enriched_posters([draw(store, n) for n in range(5)]), encoder, 2)
    pictures = [
        Image.open(store.folder / f"posters/{n}.png").resize((32, 32), Image.Resampling.BICUBIC) for n in range(5)
    ]
    np.testing.assert_allclose(found.vectors, image.forward(encoder, np.stack(pictures)), atol=1e-5)
