"""How lists are judged: by held-out likes, among all movies or the cold ones, never by what a user has in train."""

import numpy as np
import pytest

from tests.conftest import FULL
from tests.study.toy import COLD, MOVIES
from utils.metrics import ranking
from utils.model.training import fit
from utils.study import lists
from utils.study.lists import Judge
from utils.study.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")
TAGS = {"trainer": "none", "model": "m", "features": "ids", "seed": 1, "split": "random"}


@pytest.fixture
def judge(study: Study) -> Judge:
    return study.judge


def nothing(users: np.ndarray) -> np.ndarray:
    """The scores of a model that knows nothing."""
    return np.zeros((len(users), 30), np.float32)


def test_a_list_never_has_a_movie_of_train(judge: Judge) -> None:
    train = judge.data.raw["train"].to_pandas()
    items, scores = judge.lists(nothing, np.arange(20), 30)
    for user, row in enumerate(items, start=1):
        own = set(MOVIES[row[row >= 0]])
        assert own == set(MOVIES) - set(train.loc[train["userId"] == user, "movieId"])
    assert (scores[items < 0] == -np.inf).all()


def test_ties_fall_by_the_seed_and_not_by_the_id(judge: Judge) -> None:
    items = judge.lists(nothing, np.arange(20), 5)[0]
    assert len(set(items[:, 0])) > 5, "the lowest ids would come first in every list"
    assert np.array_equal(items, judge.lists(nothing, np.arange(20), 5)[0])
    assert not np.array_equal(items, Judge(judge.data, 7).lists(nothing, np.arange(20), 5)[0])


def test_slices_are_judged_on_their_own_candidates(judge: Judge) -> None:
    data = judge.data
    liked = {part: set(zip(*judge._liked(part, data.masks[part][name]), strict=True))
             for part, name in (("valid", "warm"), ("cold", "cold"))}  # fmt: skip

    def knows(users: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(users), 30), np.float32)
        for row, user in enumerate(users):
            scores[row, [movie for _, pairs in liked.items() for own, movie in pairs if own == user]] = 1
        return scores

    rows, ndcg = judge.judge(knows, TAGS)
    assert {row["slice"] for row in rows} == {"warm", "cold", "cold among all"} == ndcg.keys()
    best = {row["slice"]: row["value"] for row in rows if row["metric"] == "ndcg@10"}
    assert best["cold"] == 1 and best["warm"] < 1, (
        "among all movies cold likes take places of warm ones, and the reverse"
    )

    def dislikes_the_cold(users: np.ndarray) -> np.ndarray:
        return knows(users) - 2 * np.isin(MOVIES, COLD)

    rows, _ = judge.judge(dislikes_the_cold, TAGS)
    moved = {row["slice"]: row["value"] for row in rows if row["metric"] == "ndcg@10"}
    assert moved["cold"] == 1, "the pool of the cold slice has no other movies"
    assert moved["warm"] == 1 and moved["cold among all"] < best["cold among all"]
    users, values = ndcg["cold"]
    assert np.array_equal(users, sorted({user for user, _ in liked["cold"]})) and (values == 1).all()


def test_many_users_are_judged_by_a_sample(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge.users.tolist() == list(range(20))
    monkeypatch.setattr(lists, "JUDGED", 6)
    some = Judge(judge.data, 42)
    assert len(some.users) == 6 and (np.diff(some.users) > 0).all()
    assert Judge(judge.data, 7).users.tolist() != some.users.tolist()
    place, movie = some._liked("valid", judge.data.masks["valid"]["warm"])
    every = np.column_stack(judge._liked("valid", judge.data.masks["valid"]["warm"]))
    kept = every[np.isin(every[:, 0], some.users)]
    assert np.array_equal(np.column_stack([some.users[place], movie]), kept) and 0 < len(kept) < len(every)
    rows, _ = some.judge(nothing, TAGS)
    assert {row["n"] for row in rows if row["slice"] == "warm"} == {len(set(place))}


def test_models_score_as_they_do_elsewhere(study: Study) -> None:
    judge, users = study.judge, np.array([3, 0, 11])
    run = study.run("multimodal", FULL, 1).run
    assert run is not None
    whole = fit.catalogue_scorer(run.twin, study.data.catalogue.codes)(study.data.user_codes)
    assert judge.twin_scorer(run.twin)(users) == pytest.approx(whole[users], abs=1e-6)
    model = study.fit_lists(FULL, 1)
    assert np.array_equal(judge.list_scorer(model)(users), model.scores(study.data.ratings().matrix()[users]))
    items, _ = judge.lists(judge.list_scorer(model), users, 4)
    best = model.scores(study.data.ratings().matrix()[users])
    best[study.data.ratings().matrix()[users].nonzero()] = -np.inf
    wanted = ranking.top_k(lambda a, b: best[a:b], 3, (np.zeros(4, int), np.zeros(0, int)), 4)[0]
    assert [set(row) for row in items] == [set(row) for row in wanted]
