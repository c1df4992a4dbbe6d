"""The block of facts: what has a column, what it holds, and that one movie never changes another."""

import numpy as np
import pyarrow as pa
import pytest

from tests.fakes.facts import movie_facts
from utils.features import facts, feature_store
from utils.features.facts import FactReduction
from utils.handoff.contract import BLOCKS, FACT_LISTS, table_of
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError

MOVIES = np.arange(1, 121, dtype=np.int64)
KNOWN = MOVIES[:90]
NOTHING = dict.fromkeys((*FACT_LISTS, "year", "runtime", "source"))


def table(*rows: dict) -> pa.Table:
    return table_of("movie_facts", [NOTHING | {"movieId": number} | row for number, row in enumerate(rows, start=1)])


def named(reduction: FactReduction, row: np.ndarray) -> dict[str, float]:
    return dict(zip(reduction.columns, row.tolist(), strict=True))


def fitted(rows: pa.Table, width: int = 4) -> FactReduction:
    return facts.fit(rows, rows["movieId"].to_numpy(), width)


def test_countries_and_languages_of_five_movies_have_a_column_each() -> None:
    often, seldom = {"countries": ["France", "Italy"], "languages": ["French"]}, {"countries": ["Peru"]}
    rows = table(*[often] * 5, *[seldom] * 4, {"countries": ["Italy", "Italy", "Peru"], "languages": None})
    reduction = fitted(rows.slice(0, 9))
    assert (reduction.countries.tolist(), reduction.languages.tolist()) == (["France", "Italy"], ["French"])
    first, last = (named(reduction, row) for row in reduction.project(rows)[[0, -1]])
    assert [first[name] for name in ("France", "Italy", "French")] == [1, 1, 1]
    assert [last[name] for name in ("France", "Italy", "French")] == [0, 1, 0]


@pytest.mark.parametrize("year", [1888, 1930, 1994, 1995, 2014, 2031])
def test_a_year_is_a_bump_over_its_neighbours(year: int) -> None:
    rows = table({"year": year}, {"year": None})
    there, unknown = (row[:14] for row in fitted(rows).project(rows))
    nearest = facts.YEARS[np.argmax(there[:13])]
    assert abs(nearest - np.clip(year, 1930, 2014)) <= 1 and there[:13].max() > 0.9 and there[13] == 0
    assert unknown.tolist() == [0] * 13 + [1]


def test_near_years_are_alike_and_far_ones_are_not() -> None:
    rows = table(*({"year": year} for year in (1994, 1995, 1960)))
    near, there, far = fitted(rows).project(rows)[:, :14]
    assert np.linalg.norm(near - there) < 0.5 < 1 < np.linalg.norm(far - there)


def test_runtimes_are_measured_from_the_usual_one_and_cut() -> None:
    rows = table(*({"runtime": minutes} for minutes in (80.0, 100.0, 120.0, 9000.0, 1.0)), {})
    reduction = facts.fit(rows, np.array([1, 2, 3]), 4)
    values = reduction.project(rows)[:, 14:16]
    assert values[1:].tolist() == [[0, 1], [pytest.approx(1.2247449), 1], [4, 1], [-3, 1], [0, 0]]


def test_movies_that_share_people_are_alike_and_loners_have_none() -> None:
    crew = [{"directors": ["Ann"], "cast": ["Ben", "Cy"]}, {"writers": ["Ann"], "cast": ["Cy"]}]
    others = [{"directors": ["Dan"], "cast": ["Eve"]}, {"directors": ["Dan"], "cast": ["Eve"]}]
    rows = table(*crew, *others, {"directors": ["Nobody"]}, {"directors": ["Dan"], "writers": ["Dan"]})
    reduction = facts.fit(rows, MOVIES[:5], 4)
    assert reduction.people.tolist() == ["Ann", "Cy", "Dan", "Eve"], "Ben and Nobody made one movie of train"
    people = reduction.project(rows)[:, -4:]
    lengths = np.linalg.norm(people, axis=1)
    assert lengths[:4] == pytest.approx(facts.PEOPLE_SCALE, rel=1e-5)
    assert people[0] @ people[1] > 0.99 * lengths[0] * lengths[1] and abs(people[0] @ people[2]) < 1e-3
    assert not people[4].any()
    assert people[5] @ people[2] > 0.5 * lengths[5] * lengths[2], "a director who also writes counts once"


def test_a_rare_name_weighs_more() -> None:
    rows = table(*[{"cast": ["Often"]}] * 8, *[{"cast": ["Often", "Seldom"]}] * 2)
    reduction = fitted(rows)
    weights = dict(zip(reduction.people.tolist(), reduction.weights.tolist(), strict=True))
    assert weights == pytest.approx({"Often": 0.0, "Seldom": np.log(11 / 3)})


@pytest.mark.parametrize("width", [1, 8, 200])
def test_directions_that_are_not_there_are_columns_of_zeros(width: int) -> None:
    part = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, width)
    assert part.vectors.shape == (120, part.reduction.width) and part.vectors.dtype == np.float32
    directions = min(width, len(part.reduction.people))
    assert part.vectors[:, -width:].any(axis=0).tolist() == [True] * directions + [False] * (width - directions)


def test_what_is_known_of_no_movie_leaves_the_flags() -> None:
    part = feature_store.reduce_facts(table({}, {}), MOVIES, 3)
    assert part.vectors.tolist() == [[0] * 13 + [1, 0, 0, 0, 0, 0]] * 2 and not part.present.any()


@pytest.mark.parametrize("known", [{"year": 1990}, {"runtime": 90.0}, {"languages": ["French"]}, {"cast": ["Ann"]}])
def test_any_fact_is_a_fact(known: dict) -> None:
    assert facts.known(table(known, {}, {"cast": [], "source": "x"})).tolist() == [True, False, False]


@pytest.mark.parametrize("new", [5, 88, 99])
def test_adding_a_movie_changes_no_other_row(new: int) -> None:
    old, known = np.setdiff1d(MOVIES, [new]), np.setdiff1d(KNOWN, [new])
    before, after = (feature_store.reduce_facts(movie_facts(ids), known, 8) for ids in (old, MOVIES))
    assert np.array_equal(before.vectors, after.vectors[new != MOVIES])
    assert before.reduction.sha256() == after.reduction.sha256()


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    reduction = facts.fit(movie_facts(MOVIES), KNOWN, 8)
    whole = reduction.project(movie_facts(MOVIES))
    alone = [reduction.project(movie_facts(np.array([movie])))[0] for movie in MOVIES]
    assert np.array_equal(whole, alone)


def test_only_movies_of_train_are_fitted_on_and_all_where_there_is_none() -> None:
    rows = movie_facts(MOVIES)
    wanted = facts.fit(rows.slice(0, 90), MOVIES, 8).sha256()
    assert facts.fit(rows, KNOWN, 8).sha256() == wanted != facts.fit(rows, MOVIES, 8).sha256()
    assert facts.fit(rows, np.array([], np.int64), 8).sha256() == facts.fit(rows, MOVIES, 8).sha256()


def test_neither_the_order_of_the_movies_nor_that_of_names_matters() -> None:
    rows = movie_facts(MOVIES).take(np.random.default_rng(0).permutation(len(MOVIES)))
    turned = [row | {name: row[name][::-1] for name in FACT_LISTS} for row in rows.to_pylist()]
    one, two = (
        feature_store.reduce_facts(each, KNOWN, 8) for each in (movie_facts(MOVIES), table_of("movie_facts", turned))
    )
    assert np.array_equal(one.vectors, two.vectors)


def test_a_movie_that_is_there_twice_is_refused() -> None:
    rows = pa.concat_tables([movie_facts(MOVIES), movie_facts(MOVIES[3:4])])
    with pytest.raises(HandOffError, match=r"movie_facts.parquet: movieId 4 is there twice. Run 02-Data-Enrichment"):
        feature_store.reduce_facts(rows, KNOWN, 8)


def test_blocks_that_are_too_wide_together_are_refused() -> None:
    part = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, 800)
    other = feature_store.Vectors(np.zeros((120, 100), np.float32), np.ones(120, bool), np.zeros(100, np.float32))
    wanted = r"The columns of content are 1,021 together \(facts 821, poster 100, text 100\)"
    parts = dict.fromkeys(BLOCKS, other) | {"facts": part}
    assert feature_store.table(MOVIES, parts).num_rows == 120
    wider = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, 804)
    with pytest.raises(ParameterError, match=wanted.replace("1,021", "1,025").replace("821", "825")):
        feature_store.table(MOVIES, parts | {"facts": wider})
