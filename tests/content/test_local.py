"""The provider local: the reader's own folder, of which nothing is trusted."""

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.fakes.tmdb import catalogue, row
from utils.content import images
from utils.content.enrichment import enrich, open_providers
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store

SIZE = (32, 48)
SYNOPSES = os.environ.get("SYNOPSES")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    (own / "posters").mkdir(parents=True)
    return own


def write_csv(folder: Path, text: str, name: str = "synopses.csv") -> None:
    (folder / name).write_text(text)


def write_poster(path: Path, colour: str = "red", kind: str = "JPEG", size: tuple[int, int] = (40, 60)) -> None:
    Image.new("RGB", size, colour).save(path, kind)


def run(store: Store, folder: Path | None, ids: list[int]) -> tuple[list[dict], dict[tuple, tuple]]:
    """Return the rows of enriched, and (outcome, detail) by (movieId, modality)."""
    movies = catalogue([row(number) for number in ids])
    enriched, report = enrich(store, movies, open_providers(store, "local", folder, movies), SIZE)
    told = {(line["movieId"], line["modality"]): (line["outcome"], line["detail"]) for line in report.to_pylist()}
    return enriched.to_pylist(), told


def refused(store: Store, folder: Path | None, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        run(store, folder, [1, 2])


def test_a_folder_that_is_not_there_or_holds_nothing(store: Store, folder: Path) -> None:
    refused(store, None, r"ENRICHMENT_DIR=None, but ENRICHMENT names 'local'. Set ENRICHMENT_DIR")
    refused(store, folder / "nowhere", r"ENRICHMENT_DIR=.*nowhere' is not a folder")
    (folder / "posters" / "readme.jpg").write_text("no number")
    os.mkfifo(folder / "synopses.csv")
    refused(store, folder, r"holds neither synopses.parquet or synopses.csv .* nor posters/<movieId>.jpg")


def test_the_output_folder_cannot_be_the_source(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(store.folder.parent))
    for folder in (store.folder, Path("~") / store.folder.name):
        refused(store, folder, r"its posters/ is where this notebook writes")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("what,synopsis\n1,x\n", r"has no column movieId. Found: what, synopsis"),
        ("movieId,poem\n1,x\n", "has no column synopsis. Found"),
        ("movieId,synopsis\nx,text\n", r"none of its 1 movieIds is in this catalogue of 2 movies \(first: x\)"),
        ("movieId,synopsis\n1,text,more\n", "line 2: more than 2 fields"),
        ("", "cannot be read as csv .*has no column movieId, synopsis. Found: nothing"),
        ("movieId,synopsis\n7,x\n8,y\n", r"none of its 2 movieIds is in this catalogue of 2 movies \(first: 7\)"),
    ],
)
def test_a_csv_that_cannot_be_used(store: Store, folder: Path, text: str, reason: str) -> None:
    (folder / "synopses.csv").write_bytes(text.encode(errors="surrogateescape"))
    refused(store, folder, f"synopses.csv.*{reason}")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (None, "cannot be read as parquet"),
        ({"movieId": [1]}, r"has no column 'synopsis', only \['movieId'\]"),
        ({"movieId": ["one"], "synopsis": ["x"]}, "none of its 1 movieIds is in this catalogue"),
        ({"movieId": [1], "synopsis": [[1, 2]]}, "cannot be read as parquet"),
        ({"movieId": [1], "synopsis": ["x" * 100_000]}, "unpacks to .* more than 1,000"),
    ],
)
def test_a_parquet_file_that_cannot_be_used(
    store: Store, folder: Path, table: dict | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.content.providers.local.MOST_BYTES", 1000)
    if table is None:
        (folder / "synopses.parquet").write_bytes(b"<html>")
    else:
        pq.write_table(pa.table(table), folder / "synopses.parquet")
    refused(store, folder, f"synopses.parquet.*{reason}")


def test_synopses_are_cleaned_counted_and_the_first_of_an_id_wins(store: Store, folder: Path) -> None:
    write_csv(
        folder,
        'movieId,extra,synopsis\n1,a,"A ""quoted""\n\x00second\x07 line, here"\n1,b,Later\n'
        "2,c,   \n3,d,\n,e,No id\n9,f,Unknown\n"
        "4,g," + "long " * 10_000 + "\n5,h,NA\n",
    )
    rows, _ = run(store, folder, [1, 2, 3, 4, 5])
    assert rows[0]["synopsis"] == 'A "quoted" second line, here'
    assert 19_000 < len(rows[3]["synopsis"]) <= 20_000
    assert rows[4]["synopsis"] == "NA"
    assert [each["synopsis_source"] for each in rows] == ["local", None, None, "local", "local"]
    (local,) = open_providers(store, "local", folder, catalogue([row(n) for n in range(1, 6)]))
    assert local.describe() == (
        "local: 3 synopses from synopses.csv (2 rows of repeated or null movieId, 1 of unknown movies, 2 blank) in own/"
    )


def test_parquet_of_other_integer_and_string_types(store: Store, folder: Path) -> None:
    texts, ids = pa.array(["x", "y"]).dictionary_encode(), pa.array([1, 2], pa.int32())
    pq.write_table(
        pa.table({"synopsis": texts, "other": [1, 2], "movieId": ids}), folder / "wikipedia-synopses.parquet"
    )
    assert [each["synopsis"] for each in run(store, folder, [1, 2])[0]] == ["x", "y"]


def test_one_file_whose_name_ends_so_is_taken_and_two_are_an_error(store: Store, folder: Path) -> None:
    write_csv(folder, "movieId,synopsis\n1,mine\n", "my-synopses.csv")
    assert run(store, folder, [1])[0][0]["synopsis"] == "mine"
    write_csv(folder, "movieId,synopsis\n1,yours\n", "your-synopses.csv")
    refused(store, folder, r"several synopsis files \(my-synopses.csv, your-synopses.csv\)")
    write_csv(folder, "movieId,synopsis\n1,exact\n")
    assert run(store, folder, [1])[0][0]["synopsis"] == "exact"


def test_posters_of_every_kind_and_every_bad_one_has_its_reason(store: Store, folder: Path) -> None:
    posters = folder / "posters"
    for name, kind in {"1.jpg": "JPEG", "2.JPEG": "JPEG", "3.png": "PNG", "4.webp": "WEBP", "8.jpg": "GIF"}.items():
        write_poster(posters / name, kind=kind)
    (posters / "5.jpg").write_text("<!DOCTYPE html>")
    whole = io.BytesIO()
    Image.effect_noise((90, 90), 90).convert("RGB").save(whole, "JPEG")
    (posters / "6.jpg").write_bytes(whole.getvalue()[:2000])
    write_poster(posters / "7.png", kind="PNG", size=(1, 1))
    os.mkfifo(posters / "10.jpg")
    for name in ("77.jpg", "seven.jpg"):
        write_poster(posters / name)
    rows, told = run(store, folder, list(range(1, 11)))
    assert [each["movieId"] for each in rows if each["poster_source"] == "local"] == [1, 2, 3, 4]
    assert sorted(os.listdir(store.path("posters"))) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert all(images.decode(path).size == SIZE for path in store.path("posters").iterdir())
    assert told[5, "poster"] == ("refused", "not an image (starts with '<!DOCTYPE')")
    assert told[6, "poster"][0] == "refused" and "truncated" in told[6, "poster"][1]
    assert told[7, "poster"] == ("refused", "too small (1 x 1, at least 16 a side)")
    assert told[8, "poster"][0] == "refused" and "GIF" in told[8, "poster"][1]
    assert told[9, "poster"] == ("missing", None)
    assert told[10, "poster"] == ("refused", "not a regular file")


@pytest.mark.parametrize(
    ("name", "taken", "why"),
    [
        ("0002.jpg", True, ""),
        ("2.JPG", True, ""),
        ("2.Png", True, ""),
        ("000000002.WEBP", True, ""),
        ("0-306-40615-2.jpg", True, ""),
        ("B00X.JPEG", True, ""),
        ("3.0.jpg", False, "its name is no movieId"),
        ("tt0000004.jpg", False, "its name is no movieId"),
        ("2 (1).jpg", False, "its name is no movieId"),
        ("2.gif", False, "no .jpg, .jpeg, .png or .webp"),
        ("Thumbs.db", False, "no .jpg, .jpeg, .png or .webp"),
        ("small/", False, "a folder"),
        ("01.jpg", False, "1.jpg is of the same movie"),
    ],
)
def test_posters_by_the_names_that_people_give_and_those_passed_over_are_named(
    store: Store, folder: Path, name: str, taken: bool, why: str
) -> None:
    write_poster(folder / "posters" / "1.jpg")
    if name.endswith("/"):
        (folder / "posters" / name).mkdir()
    else:
        write_poster(folder / "posters" / name)
    originals = {2: "2", 3: "0-306-40615-2", 4: "B00X"}
    movies = catalogue([row(number, originalId=originals.get(number)) for number in range(1, 5)])
    (local,) = open_providers(store, "local", folder, movies)
    passed = f"; 1 passed over in posters/ (such as {name.rstrip('/')}: {why})" * (not taken)
    assert local.describe() == f"local: {1 + taken} posters (0 of unknown movies){passed} in own/"


def test_of_several_files_of_a_movie_jpg_is_preferred_and_a_change_is_seen(store: Store, folder: Path) -> None:
    write_poster(folder / "posters" / "1.png", "blue", "PNG")
    write_poster(folder / "posters" / "2.png", "blue", "PNG")
    run(store, folder, [1, 2])
    kept = (store.path("posters") / "2.jpg").stat().st_mtime_ns
    write_poster(folder / "posters" / "1.jpg", "red")
    run(store, folder, [1, 2])
    assert images.decode(store.path("posters") / "1.jpg").getpixel((5, 5))[0] > 200
    assert (store.path("posters") / "2.jpg").stat().st_mtime_ns == kept


def test_links_that_leave_the_folder_are_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    write_poster(tmp_path / "outside.jpg")
    write_poster(folder / "inside.jpg")
    (folder / "posters" / "1.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "posters" / "2.jpg").symlink_to(folder / "inside.jpg")
    (folder / "posters" / "3.jpg").symlink_to(folder / "posters" / "3.jpg")
    rows, told = run(store, folder, [1, 2, 3])
    assert [each["poster_source"] for each in rows] == [None, "local", None]
    assert told[1, "poster"] == ("refused", "1.jpg is a link that leaves own/")
    assert told[3, "poster"][0] == "refused" and told[3, "poster"][1].startswith("cannot be read")
    (tmp_path / "elsewhere.csv").write_text("movieId,synopsis\n1,x\n")
    (folder / "synopses.csv").symlink_to(tmp_path / "elsewhere.csv")
    refused(store, folder, r"synopses.csv is a link that leaves ENRICHMENT_DIR")


def test_posters_of_another_catalogue(store: Store, folder: Path) -> None:
    write_poster(folder / "posters" / "500.jpg")
    refused(store, folder, r"posters/<movieId>.jpg.*none of its 1 movieIds is in this catalogue of 2 movies")


def test_a_catalogue_without_any_poster_or_without_any_text(store: Store, folder: Path) -> None:
    write_csv(folder, "movieId,synopsis\n1,A text\n")
    rows, _ = run(store, folder, [1, 2])
    assert [(each["synopsis"], each["poster_path"]) for each in rows] == [("A text", None), (None, None)]
    (folder / "synopses.csv").unlink()
    write_poster(folder / "posters" / "1.jpg")
    rows, _ = run(store, folder, [1, 2])
    assert [(each["synopsis"], each["poster_path"]) for each in rows] == [(None, "posters/1.jpg"), (None, None)]


@pytest.mark.skipif(SYNOPSES is None, reason="SYNOPSES does not name the file of real Wikipedia synopses")
def test_real_synopses(store: Store, folder: Path) -> None:
    assert SYNOPSES is not None
    (folder / "wikipedia-synopses.parquet").symlink_to(folder / "real.parquet")
    (folder / "real.parquet").write_bytes(Path(SYNOPSES).read_bytes())
    ids = pq.read_table(SYNOPSES, columns=["movieId"]).column("movieId").to_pylist()
    rows, told = run(store, folder, sorted([*ids, *range(10**7, 10**7 + 9742 - 6306)]))
    outcomes = [told[each["movieId"], "synopsis"][0] for each in rows]
    assert (len(rows), outcomes.count("found"), outcomes.count("missing")) == (9742, 6306, 3436)
    texts = [each["synopsis"] for each in rows if each["synopsis"]]
    assert all(text.isprintable() or max(text) >= "\u200b" for text in texts)
    assert sorted(map(len, texts))[len(texts) // 2] > 200


def test_posters_and_synopses_are_found_by_original_ids(store: Store, folder: Path) -> None:
    """In a csv as a shop's program writes it: semicolons, the letters of Windows, another name of its column."""
    for name in ("SKU-1.PNG", "0002.png", "SKU-9.png"):
        write_poster(folder / "posters" / name, kind="PNG")
    lines = 'sku;description\nSKU-1;"Schön; rot"\n0002;Blau\nSKU-9;Nobody has it\n'
    (folder / "synopses.csv").write_bytes(lines.encode("cp1252"))
    movies = catalogue([row(701, originalId="SKU-1"), row(2, originalId="0002")])
    (local,) = open_providers(store, "local", folder, movies)
    assert "2 synopses from synopses.csv" in local.describe() and "1 of unknown movies" in local.describe()
    enriched = {each["movieId"]: each for each in enrich(store, movies, [local], SIZE)[0].to_pylist()}
    assert {number: each["synopsis"] for number, each in enriched.items()} == {701: "Schön; rot", 2: "Blau"}
    assert {number: each["poster_path"] for number, each in enriched.items()} == {
        701: "posters/701.jpg", 2: "posters/2.jpg",
    }  # fmt: skip
