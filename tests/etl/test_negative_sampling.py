"""Rows to learn ranking from: what is drawn, how often, and that it is of train alone."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from utils.etl import negative_sampling
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError
from utils.metrics import ranking

DAY = 86_400


def table(rows: list[tuple[int, int, float, float]]) -> pa.Table:
    """Ratings of (user, movie, rating, day)."""
    user, movie, rating, day = np.array(rows, float).reshape(-1, 4).T
    columns = {"userId": user.astype(int), "movieId": movie.astype(int), "rating": rating.astype("f4")}
    return pa.table(columns | {"timestamp": (day * DAY).astype(int)})


def pairs(rows: pa.Table) -> list[tuple[int, int]]:
    return list(zip(rows["userId"].to_pylist(), rows["movieId"].to_pylist(), strict=True))


def parts(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Likes and negatives."""
    liked = rows["rating"].to_numpy() > 3
    return rows.filter(liked), rows.filter(~liked)


def some_ratings(seed: int = 0, users: int = 60, movies: int = 40, share: float = 0.3) -> pa.Table:
    """A share of all pairs, popular movies more often, ids with gaps, days without a meaning."""
    generator = np.random.default_rng(seed)
    chance = share * 2 * np.linspace(0, 1, movies)
    user, movie = np.nonzero(generator.random((users, movies)) < chance)
    order = generator.permutation(len(user))
    rating, day = generator.integers(1, 6, len(user)), generator.integers(0, 1000, len(user))
    return table(list(zip(7 * user[order], 3 * movie[order] + 1, rating, day, strict=True)))


# Weights and draws


def test_weights_by_hand() -> None:
    timestamp = np.array([30, 20, 10, 0]) * DAY
    assert negative_sampling.weights(timestamp, 10).tolist() == [1, 0.5, 0.25, 0.125]
    assert negative_sampling.weights(timestamp[1:], 20.0).tolist() == pytest.approx([1, 0.5**0.5, 0.5])
    assert negative_sampling.weights(timestamp, None).tolist() == [1, 1, 1, 1]
    for half_life in (None, 7.0):
        assert negative_sampling.weights(timestamp[:0], half_life).dtype == np.float64


def test_likes_are_drawn_systematically() -> None:
    # Weights 1, 1/4, 1/2, 1/4 in order of movie, then day: of 4 likes 2, 0.5, 1, 0.5, cumulated 2, 2.5, 3.5, 4.
    rows = [(1, 10, 5, 20), (2, 20, 4, 0), (1, 20, 4.5, 10), (2, 30, 3.5, 0), (3, 40, 3, 20), (1, 50, 1, 90)]
    likes, _ = parts(negative_sampling.rank_rows(table(rows[::-1]), 1, half_life=10, seed=0))
    assert Counter(pairs(likes)) == {(1, 10): 2, (2, 20): 1, (1, 20): 1}
    assert dict(zip(pairs(likes), likes["rating"].to_pylist(), strict=True)) == {(1, 10): 5, (2, 20): 4, (1, 20): 4.5}
    days = {pair: time // DAY for pair, time in zip(pairs(likes), likes["timestamp"].to_pylist(), strict=True)}
    assert days == {(1, 10): 20, (2, 20): 0, (1, 20): 10}


def test_the_movies_share_of_the_draws_is_their_share_of_the_weights() -> None:
    train = some_ratings(users=400)
    likes, _ = parts(negative_sampling.rank_rows(train, 1, half_life=100, seed=0))
    of_train, _ = parts(train)
    assert len(likes) == len(of_train)
    weight = negative_sampling.weights(of_train["timestamp"].to_numpy(), 100)
    for movie in set(of_train["movieId"].to_pylist()):
        expected = weight[of_train["movieId"].to_numpy() == movie].sum() / weight.sum() * len(likes)
        assert abs((likes["movieId"].to_numpy() == movie).sum() - expected) <= 1


def test_likes_that_do_not_age_come_once_each() -> None:
    train = some_ratings()
    likes, _ = parts(negative_sampling.rank_rows(train, 2, None, seed=3))
    columns = [("userId", "ascending"), ("movieId", "ascending")]
    assert likes.sort_by(columns).equals(parts(train)[0].sort_by(columns))


def test_an_old_like_does_not_vanish_in_rounding() -> None:
    # A rating that is no like is 100 years younger: counted from it, all weights of likes would be 0.
    likes, _ = parts(negative_sampling.rank_rows(table([(1, 1, 5, 0), (2, 2, 4, 0), (3, 3, 1, 36_500)]), 1, 7, seed=0))
    assert sorted(pairs(likes)) == [(1, 1), (2, 2)]


# Negatives


@pytest.mark.parametrize("half_life", [None, 50.0])
def test_negatives_are_unrated_even_and_have_the_user_and_time_of_their_like(half_life: float | None) -> None:
    train = some_ratings(users=200)
    rows = negative_sampling.rank_rows(train, 5, half_life, seed=1)
    likes, drawn = parts(rows)
    assert set(drawn["rating"].to_pylist()) == {0.0}
    assert not set(pairs(drawn)) & set(pairs(train))
    assert set(drawn["movieId"].to_pylist()) == set(train["movieId"].to_pylist()), "only movies that are rated in train"
    counts = np.unique(drawn["movieId"].to_numpy(), return_counts=True)[1]
    assert counts.max() - counts.min() <= 1
    who = [
        Counter(zip(part["userId"].to_pylist(), part["timestamp"].to_pylist(), strict=True)) for part in (likes, drawn)
    ]
    assert who[1] == Counter({key: 5 * count for key, count in who[0].items()})


def test_users_of_one_movies_negatives_are_mixed() -> None:
    _, drawn = parts(negative_sampling.rank_rows(some_ratings(users=200), 5, None, seed=1))
    of_users = {movie: set() for movie in drawn["movieId"].to_pylist()}
    for user, movie in pairs(drawn):
        of_users[movie].add(user)
    assert min(len(users) for users in of_users.values()) > 30


def test_a_user_who_rated_all_but_one_movie_gets_that_one_and_who_rated_all_gets_none() -> None:
    rows = [(1, movie, 5, 0) for movie in range(5)] + [(2, movie, 5, 0) for movie in range(4)] + [(3, 0, 4, 0)]
    likes, drawn = parts(negative_sampling.rank_rows(table(rows), 2, None, seed=0))
    assert len(likes) == 10
    users = drawn["userId"].to_numpy()
    assert 1 not in users and (users == 3).sum() == 2
    assert (users == 2).sum() >= 6 and set(drawn["movieId"].to_numpy()[users == 2]) == {4}


def test_nothing_to_draw_from() -> None:
    schema = pa.schema(list(ARTEFACTS["train"].columns.items()))
    for rows in ([], [(1, 1, 3, 0), (2, 5, 0.5, 0)]):
        empty = negative_sampling.rank_rows(table(rows), 4, 30, seed=0)
        assert empty.num_rows == 0 and empty.schema == schema
    lonely = negative_sampling.rank_rows(table([(1, 7, 4, 2)]), 4, 30, seed=0)
    assert lonely.schema == schema and lonely.to_pylist() == [
        {"userId": 1, "movieId": 7, "rating": 4.0, "timestamp": 2 * DAY}
    ]
    with pytest.raises(ParameterError, match="NEGATIVES=0"):
        negative_sampling.rank_rows(table([(1, 7, 4, 2)]), 0, None, seed=0)


def test_rows_depend_on_the_seed_and_not_on_the_order_of_train() -> None:
    train = some_ratings()
    rows = negative_sampling.rank_rows(train, 3, 100, seed=5)
    order = np.random.default_rng(1).permutation(len(train))
    assert negative_sampling.rank_rows(train.take(order), 3, 100, seed=5) == rows
    assert negative_sampling.rank_rows(train, 3, 100, seed=6) != rows


def test_rows_are_shuffled() -> None:
    rows = negative_sampling.rank_rows(some_ratings(users=400), 4, None, seed=5)
    user, label = rows["userId"].to_numpy(), rows["rating"].to_numpy() > 3
    assert abs(np.corrcoef(user[1:], user[:-1])[0, 1]) < 0.05
    assert [part.mean() for part in np.array_split(label, 5)] == pytest.approx([0.2] * 5, abs=0.03)


# The half-life


def fashions(random_days: bool = False) -> pa.Table:
    """60 movies, of which six are in fashion for 20 of 200 days; each user rates five of one fashion, one day."""
    generator = np.random.default_rng(0)
    rows = []
    for user in range(600):
        day = generator.integers(0, 200)
        for movie in generator.permutation(6)[:5]:
            time = generator.integers(0, 200) if random_days else day + 0.01 * movie
            rows.append((user, 6 * (day // 20) + movie, generator.choice([2, 4, 5]), time))
    return table(rows)


def test_where_fashions_pass_a_short_half_life_is_chosen() -> None:
    assert negative_sampling.half_life(fashions(), "temporal", seed=1) in (7.0, 14.0)


def test_without_time_likes_do_not_age() -> None:
    train = fashions()
    still = train.set_column(3, "timestamp", pa.array(np.full(len(train), 10**9)))
    assert negative_sampling.half_life(still, "random", seed=1) is None
    assert negative_sampling.half_life(still, "temporal", seed=1) is None


def test_equals_go_to_the_slowest() -> None:
    # Every order of the two movies is the same: one has all the likes.
    rows = [(user, 1, 5, user) for user in range(50)] + [(user, 2, 1, user) for user in range(50, 60)]
    assert negative_sampling.half_life(table(rows), "temporal", seed=0) is None


def test_half_lives_of_too_little() -> None:
    for how in ("random", "temporal"):
        assert negative_sampling.half_life(table([]), how, seed=0) is None
        assert negative_sampling.half_life(table([(1, 1, 5, 0), (1, 2, 5, 1)]), how, seed=0) is None
        assert negative_sampling.half_life(table([(user, user, 2, user) for user in range(50)]), how, seed=0) is None
    with pytest.raises(ParameterError, match="SPLIT='sorted' is not known"):
        negative_sampling.half_life(table([]), "sorted", seed=0)


@pytest.mark.parametrize("movies", [4, 40])
def test_the_best_unseen_are_those_of_top_k(movies: int) -> None:
    generator = np.random.default_rng(3)
    scores = generator.integers(0, 10, movies).astype(float)
    users = 30
    chance = np.linspace(0, 1.01, users)[:, None]
    user, movie = np.nonzero(generator.random((users, movies)) < chance)
    seen = np.searchsorted(user, np.arange(users + 1)), movie
    whole = np.broadcast_to(scores.astype("f4"), (users, movies))
    expected, _ = ranking.top_k(lambda start, stop: whole[start:stop], users, seen, 10)
    order = generator.permutation(len(user))
    found = negative_sampling._best_unseen(scores, user[order], movie[order], users, 10)
    assert found.tolist() == expected.tolist()
    assert (found == -1).any() and (found >= 0).any()
