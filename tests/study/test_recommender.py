"""Lists for users nobody knows, and what counts as lately."""

import numpy as np
import pyarrow as pa
import pytest

from tests.study.test_study import movies, study  # noqa: F401
from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.study import recommender
from utils.study.recommender import Recommender
from utils.study.study import Study

DAY = 86_400
pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_user_nobody_knows_gets_what_was_liked_lately_then_what_the_model_says(study: Study) -> None:  # noqa: F811
    run = study.run("multimodal", "ids+genres+poster+text", 1)
    known = study.recommender
    codes = known.user_codes.copy()
    codes[0] = OUT_OF_VOCABULARY
    lately = np.zeros(len(study.catalogue))
    lately[[4, 9, 2]] = [3, 5, 1]
    one = Recommender(known.users, codes, study.catalogue, (np.zeros(21, int), np.zeros(0, int)), lately)
    items, scores = one.lists(run.twin, len(study.catalogue))
    assert items[0, :3].tolist() == [9, 4, 2]
    assert scores[0, :3] == pytest.approx([1, 0.8, 0.6])
    assert (np.diff(scores[0]) <= 0).all() and scores[0].min() >= 0 and scores[0, 3] <= 0.5
    others, _ = Recommender(known.users, codes, study.catalogue, one.seen, 0 * lately).lists(run.twin, 30)
    rest = [item for item in others[0].tolist() if item not in (9, 4, 2)]
    assert items[0, 3:].tolist() == rest, "the model orders what nobody liked"
    assert np.array_equal(items[1:], others[1:]), "who is known is not affected"


def test_lately_counts_likes_of_train_by_their_age(study: Study) -> None:  # noqa: F811
    ids = study.catalogue.movie_ids
    train = pa.table(
        {
            "userId": pa.array([1, 2, 3, 4]),
            "movieId": pa.array([ids[0], ids[0], ids[1], ids[2]]),
            "rating": pa.array([5, 4, 5, 2], pa.float32()),
            "timestamp": pa.array([0, 10 * DAY, 10 * DAY, 10 * DAY]),
        }
    )
    aged = Recommender.of(study.users, study.user_codes, study.catalogue, train, half_life=10.0)
    assert aged.lately[:3].tolist() == [1.5, 1.0, 0.0]
    ageless = Recommender.of(study.users, study.user_codes, study.catalogue, train, half_life=None)
    assert ageless.lately[:3].tolist() == [2.0, 1.0, 0.0]


def test_lists_of_some_users_are_theirs_among_all(study: Study) -> None:  # noqa: F811
    run = study.run("multimodal", "ids+genres", 1)
    rows = np.array([1, 4, 5, 19])
    whole, some = study.recommender.lists(run.twin, 5), study.recommender.of_some(rows).lists(run.twin, 5)
    assert np.array_equal(some[0], whole[0][rows]) and some[1] == pytest.approx(whole[1][rows])


def test_many_users_are_judged_by_a_sample_that_does_not_depend_on_their_order(monkeypatch) -> None:
    users = np.arange(100, 150)
    assert recommender.judged(users, 1).tolist() == list(range(50))
    monkeypatch.setattr(recommender, "JUDGED", 10)
    rows = recommender.judged(users, 1)
    assert len(rows) == 10 and (np.diff(rows) > 0).all()
    assert set(users[::-1][recommender.judged(users[::-1], 1)]) == set(users[rows])
    assert recommender.judged(users, 2).tolist() != rows.tolist()
    stranger = next(user for user in range(50) if user not in rows)
    place, movie = recommender.among(rows, np.array([rows[3], stranger, rows[0]]), np.array([7, 8, 9]))
    assert place.tolist() == [3, 0] and movie.tolist() == [7, 9]
