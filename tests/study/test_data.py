"""What runs share: rows that are proved to be aligned, biases, content as a feature set has it."""

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import FULL, SETS, Open
from tests.study.toy import COLD, GENRES, MOVIES, NAMES, open_data, ratings, write
from utils.handoff.contract import BLOCKS
from utils.handoff.own_data import STARS
from utils.handoff.store import HandOffError
from utils.metrics.click import auc
from utils.model import baselines
from utils.model.feature_sets import CONTROLS, FeatureSet, parse
from utils.model.training import fit
from utils.study.catalogue import check_alignment, check_codes
from utils.study.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")


# Alignment


def test_rows_in_another_order_are_refused(study: Study) -> None:
    raw = study.data.raw["valid"]
    codes = pa.table({"movieId": MOVIES, "content_code": MOVIES + 2})
    encoded = {name: values.numpy() for name, values in study.data.splits["valid"].codes.items()}
    encoded["label"] = study.data.splits["valid"].label.numpy()
    users = dict(zip(raw["userId"].to_pylist(), encoded["userId"].tolist(), strict=True))
    check_alignment("valid", raw, encoded, codes, users, STARS)
    wanted = r"valid-hugectr does not have the rows of valid.parquet in the same order: \w+ differs. Run notebook 06"
    for broken in (
        {name: values[::-1] for name, values in encoded.items()},
        {name: values[:-1] for name, values in encoded.items()},
        encoded | {"label": 1 - encoded["label"]},
        encoded | {"movieId_duplicate": encoded["movieId_duplicate"] + 1},
        encoded | {"userId": encoded["userId"] + 1},
    ):
        with pytest.raises(HandOffError, match=wanted):
            check_alignment("valid", raw, broken, codes, users, STARS)


@pytest.mark.parametrize(("column", "code"), [("userId", 23), ("movieId_duplicate", -1), ("genres", 6)])
def test_codes_without_a_row_are_refused(study: Study, column: str, code: int) -> None:
    split = study.data.splits["valid"]
    check_codes("valid", split, study.data.inputs)
    split.codes[column].view(-1)[3] = code
    with pytest.raises(HandOffError, match=f"valid-hugectr: column '{column}' has codes from .* Run notebook 06 again"):
        check_codes("valid", split, study.data.inputs)


def test_rows_of_another_run_do_not_open(open_for: Open) -> None:
    parts = ratings()
    write(open_for, parts)
    for name in ("train", "cold"):
        open_for("train").write(name, parts[name].take(np.arange(len(parts[name]))[::-1]))
        with pytest.raises(HandOffError, match=f"{name}-hugectr does not have the rows of {name}.parquet"):
            open_data(open_for("metrics"))
        open_for("train").write(name, parts[name])


def test_places_and_rated_rows_are_the_raw_ones(study: Study) -> None:
    data = study.data
    for part, raw in data.raw.items():
        user, movie = data.places(part)
        assert np.array_equal(data.users[user], raw["userId"]) and np.array_equal(MOVIES[movie], raw["movieId"])
        judged = data.rated(part)
        assert np.array_equal(judged.movie, raw["movieId"]) and np.array_equal(judged.user, raw["userId"])
        assert np.array_equal(judged.label == 1, raw["rating"].to_numpy() > STARS.above)
    train = data.ratings()
    assert np.array_equal(train.liked, data.raw["train"]["rating"].to_numpy() > STARS.above)
    assert (train.n_users, train.n_movies) == (20, 30)


# Biases


def test_unknown_users_and_movies_start_at_the_mean(study: Study) -> None:
    biases, mean = study.data.biases(), study.data.splits["train"].label.mean().item()
    assert biases["userId"][2] == pytest.approx(0, abs=1e-6)
    assert biases["movieId"][2] == pytest.approx(np.log(mean / (1 - mean)), rel=1e-5)
    assert not biases["genres"].any() and biases["movieId"][3:].std() > 0 and biases["userId"][3:].std() > 0
    some = study.data.biases(np.arange(len(study.data.splits["train"])) % 2 == 0)
    assert not np.allclose(some["movieId"], biases["movieId"])


@pytest.mark.parametrize("features", SETS, ids=str)
def test_an_untrained_model_orders_as_the_biases_do(study: Study, features: FeatureSet) -> None:
    data = study.data
    label = data.splits["train"].label.numpy()
    fitted = baselines.fit("user+movie bias", *data.places("train"), label, 20, 30)
    twin = study.job("multimodal", features, 1).twin().eval()
    for part in ("train", "valid", "cold"):
        user, movie = data.places(part)
        bias, score = fitted.user[user] + fitted.movie[movie], fit.score(twin, data.splits[part])
        label = data.splits[part].label.numpy()
        assert auc(label, score) == pytest.approx(auc(label, bias), abs=5e-3), "but for ties that rounding makes"
        assert np.corrcoef(np.log(score / (1 - score)), bias)[0, 1] > 1 - 1e-9


# Content


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_leaves_reserved_rows_and_other_columns(study: Study, control: str) -> None:
    data, block = study.data, BLOCKS[-1]
    assert data.frozen(FULL, 1) is data.content.vectors
    table = data.frozen(parse(f"ids+{block}({control})"), 1)
    changed = table != data.content.vectors
    start, stop = data.content.columns[block]
    assert changed[3:, start:stop].any(axis=1).mean() > 0.8 and not changed[:3].any()
    assert not np.delete(changed, [*range(start, stop), data.content.columns[f"has_{block}"][0]], axis=1).any()


def test_what_is_hidden_is_flagged_and_no_other_movie_changes(study: Study) -> None:
    data, block = study.data, BLOCKS[-1]
    table = data.frozen(FULL.without(0.5, "mean"), 1)
    flag = data.content.columns[f"has_{block}"][0]
    hidden = (data.content.vectors[:, flag] == 1) & (table[:, flag] == 0)
    assert 5 < hidden.sum() < 25
    start, stop = data.content.columns[block]
    kept = np.flatnonzero(table[:, flag] == 1)  # what was missing before is filled with what is left
    assert np.array_equal(table[kept, start:stop], data.content.vectors[kept, start:stop])
    assert len(np.unique(table[hidden, start:stop], axis=0)) == 1, "all hidden ones have the mean"
    start, stop = data.content.columns["facts"]
    assert np.array_equal(table[3:, start:stop], data.content.vectors[3:, start:stop])


def test_what_a_set_says_of_a_movie(study: Study) -> None:
    data = study.data
    assert data.described(SETS[0], 1).shape == (30, 0)
    genres = data.described(SETS[1], 1)
    assert [[NAMES[place] for place in np.flatnonzero(row)] for row in genres] == [
        sorted(g, key=NAMES.index) for g in GENRES
    ]
    whole = data.described(FULL, 1)
    width = data.content.vectors.shape[1]
    assert np.array_equal(whole[:, :3], genres) and whole.shape == (30, 3 + width)
    assert np.array_equal(np.sort(whole[:, 3:], axis=1), np.sort(data.content.vectors[3:], axis=1))
    assert not np.array_equal(data.described(parse(f"{FULL}(shuffled)"), 1), whole)
    assert np.array_equal(data.catalogue.codes["movieId_duplicate"], MOVIES + 2)
    assert (data.catalogue.codes["movieId"][COLD - 1] == 2).all()
