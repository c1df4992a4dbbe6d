"""Someone who is in no training set gets the lists, and the kind of scores, of those who are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit

from tests.conftest import FULL, Open
from tests.study import toy
from tests.study.toy import MOVIES
from utils.handoff.own_data import STARS
from utils.handoff.parameters import ParameterError
from utils.metrics.click import auc
from utils.model.list_model import ListModel
from utils.recommend import new_user
from utils.recommend.retrieval import recommendations
from utils.study.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def study(open_for: Open) -> Study:
    return toy.open_study(open_for, epochs=30)


@pytest.fixture
def lists(study: Study) -> ListModel:
    return study.fit_lists(FULL, 1)


def rated(study: Study, user: int) -> tuple[list[int], list[int]]:
    """What a user of train liked and disliked."""
    train = study.data.raw["train"].to_pandas()
    own = train[train["userId"] == user]
    liked = own["rating"] > STARS.above
    return own.loc[liked, "movieId"].tolist(), own.loc[~liked, "movieId"].tolist()


def test_the_same_ratings_give_the_lists_of_the_user_who_has_them_in_train(study: Study, lists: ListModel) -> None:
    table = recommendations(study.judge, lists, k=6).to_pandas()
    assert sorted(table["userId"].unique()) == list(range(1, 21))
    for user, own in table.groupby("userId"):
        liked, disliked = rated(study, user)
        assert own["rank"].tolist() == [1, 2, 3, 4, 5, 6] and own["score"].is_monotonic_decreasing
        assert not set(own["movieId"]) & {*liked, *disliked}
        found = new_user.recommend(study.data, lists, liked, disliked, k=6)
        assert found["movieId"].tolist() == own["movieId"].tolist()
        assert found["score"].to_numpy() == pytest.approx(own["score"].to_numpy(), abs=1e-5)
    whole = recommendations(study.judge, lists, k=50).to_pandas()
    assert (whole.groupby("userId").size() == 30 - study.data.raw["train"].to_pandas().groupby("userId").size()).all()


def test_a_few_likes_are_enough_and_none_give_what_is_liked_lately(study: Study, lists: ListModel) -> None:
    nobody = new_user.recommend(study.data, lists, [], k=30)
    assert len(nobody) == 30 and nobody["score"].to_numpy() == pytest.approx(np.sort(lists.recent)[::-1])
    likes_alone = replace(lists, trend=0.0, blend=0.0, prior=0.0, few=0)
    even = new_user.recommend(study.data, likes_alone, [2, 4, 6], k=8)["movieId"]
    odd = new_user.recommend(study.data, likes_alone, [1, 3, 5], k=8)["movieId"]
    assert set(even) & {2, 4, 6} == set(odd) & {1, 3, 5} == set()
    assert (even % 2 == 0).sum() > 4 > (odd % 2 == 0).sum()
    disliked = new_user.recommend(study.data, lists, [2, 4], [6], k=30)
    assert not disliked["movieId"].isin([2, 4, 6]).any() and len(disliked) == 27


def test_click_scores_put_what_is_like_a_liked_movie_above_what_is_like_a_disliked_one(study: Study) -> None:
    run = study.run("multimodal", FULL, 1).run
    assert run is not None
    found = new_user.click_scores(study.data, run.twin, [2, 4, 6, 8, 10], [1, 3, 5, 7, 9])
    turned = new_user.click_scores(study.data, run.twin, [1, 3, 5, 7, 9], [2, 4, 6, 8, 10])
    assert found.shape == (30,) and found.dtype == np.float32 and (found > 0).all() and (found < 1).all()
    others = MOVIES[10:24]
    assert auc(others % 2 == 0, (found - turned)[others - 1]) > 0.9
    nobody = new_user.click_scores(study.data, run.twin, [])
    assert nobody == pytest.approx(
        expit(study.data.biases()["movieId"])[study.data.catalogue.codes["movieId"]], abs=0.3
    )


def test_the_vector_of_a_new_user_is_the_ridge_regression_of_their_ratings(study: Study) -> None:
    run = study.run("multimodal", FULL, 1).run
    assert run is not None
    liked, disliked = [2, 4, 6], [1, 9]
    codes = {name: torch.from_numpy(values) for name, values in study.data.catalogue.codes.items()}
    with torch.inference_mode():
        side = run.twin.movie_side(codes)
    own = np.column_stack([side["movie_factors"][0].numpy(), np.ones(30)]).astype(float)
    bias, sign = side["movie_bias"][0, :, 0].numpy(), np.repeat([1, -1], [3, 2])
    places = np.array([*liked, *disliked]) - 1

    def loss(user: np.ndarray) -> float:
        logit = own[places] @ user + bias[places]
        return float(np.log1p(np.exp(-sign * logit)).sum() + new_user.RIDGE / 2 * user @ user)

    best = minimize(loss, np.zeros(own.shape[1])).x
    found = new_user.click_scores(study.data, run.twin, liked, disliked)
    assert found == pytest.approx(expit(own @ best + bias), abs=1e-4)


@pytest.mark.parametrize(
    ("liked", "disliked", "message"),
    [
        ([2, 99], [], "movieId 99 is not in the catalogue. Choose among movies_converted.parquet"),
        ([], [0], "movieId 0 is not in the catalogue"),
        ([2, 2], [], "A movie is named twice"),
        ([2], [2], "A movie is named twice: give each movie once, as liked or as disliked"),
    ],
)
def test_movies_that_cannot_be_used(
    study: Study, lists: ListModel, liked: list[int], disliked: list[int], message: str
) -> None:
    twin = study.job("multimodal", FULL, 1).twin()
    with pytest.raises(ParameterError, match=message):
        new_user.recommend(study.data, lists, liked, disliked)
    with pytest.raises(ParameterError, match=message):
        new_user.click_scores(study.data, twin, liked, disliked)
