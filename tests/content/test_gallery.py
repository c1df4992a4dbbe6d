"""The gallery: the poster and title of a movie, and no picture where a file is none."""

from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from utils.content.gallery import SIZE, Gallery, poster


def test_a_movie_has_its_title_and_its_poster_where_it_can_be_read(tmp_path: Path) -> None:
    Image.new("RGB", (30, 45), "red").save(tmp_path / "1.png")
    Image.new("RGB", (3000, 4500), "red").save(tmp_path / "2.jpg")
    (tmp_path / "3.jpg").write_text("<html>not found</html>")
    movies = pa.table({"movieId": [5, 4, 3, 2, 1], "title": ["Five", "Four", "Three", "Two", "One"]})
    enriched = pa.table({"movieId": [1, 2, 3, 4, 5], "poster_path": ["1.png", "2.jpg", "3.jpg", "absent.jpg", None]})
    gallery = Gallery(tmp_path, movies, enriched)
    shown = {movie: gallery(movie) for movie in range(1, 6)}
    assert [title for _, title in shown.values()] == ["One", "Two", "Three", "Four", "Five"]
    assert [image is not None for image, _ in shown.values()] == [True, True, False, False, False]
    assert shown[1][0].size == (30, 45)
    assert SIZE[0] <= shown[2][0].size[0] < 3000, "a large JPEG is decoded at a fraction of its size"
    with pytest.raises(KeyError):
        gallery(6)


def test_a_truncated_picture_is_none(tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "1.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    assert poster(tmp_path / "1.png") is None
