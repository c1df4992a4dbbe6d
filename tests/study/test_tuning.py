"""Settings chosen on a part of train: what is set aside, that nothing else is looked at, and which row wins."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.study.test_study import movies, study  # noqa: F401
from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff.parameters import ParameterError
from utils.model.training.fit import Settings
from utils.study import tuning
from utils.study.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")


def pairs(split) -> set[tuple[int, int]]:
    return set(zip(split.codes["userId"].tolist(), split.codes["movieId_duplicate"].tolist(), strict=True))


def test_the_parts_are_train_and_do_not_overlap(study: Study) -> None:  # noqa: F811
    parts = tuning.carve(study, 1)
    train = pairs(study.splits["train"])
    fit, warm, cold = pairs(parts.fit["like"]), pairs(parts.warm), pairs(parts.cold)
    assert fit | warm | cold == train and len(fit) + len(warm) + len(cold) == len(train)
    assert warm and cold
    held_movies = {movie for _, movie in cold}
    assert not held_movies & {movie for _, movie in fit | warm}, "a cold movie has no rating left"
    assert set(parts.cold.codes["movieId"].tolist()) == {OUT_OF_VOCABULARY}
    rank = pairs(parts.fit["rank"])
    assert not rank & (warm | cold) and not held_movies & {movie for _, movie in rank}


def test_movies_unknown_to_the_fitted_part_have_no_id(study: Study) -> None:  # noqa: F811
    parts = tuning.carve(study, 1)
    fitted = set(parts.fit["like"].codes["movieId_duplicate"].tolist())
    codes = parts.recommender.catalogue.codes
    for content, code in zip(codes["movieId_duplicate"].tolist(), codes["movieId"].tolist(), strict=True):
        assert (code == OUT_OF_VOCABULARY) == (content not in fitted)


def test_the_latest_ratings_are_set_aside_where_valid_is_the_latest(study: Study) -> None:  # noqa: F811
    study.split_name = "temporal"
    parts = tuning.carve(study, 1)
    time = study.raw["train"]["timestamp"].to_numpy()
    movie = study.splits["train"].codes["movieId_duplicate"].numpy()
    cold = np.isin(movie, parts.cold.codes["movieId_duplicate"].numpy())
    late = time > np.quantile(time, 0.9)
    assert len(parts.warm) == (late & ~cold).sum() > 0


def test_valid_and_cold_are_never_looked_at(study: Study) -> None:  # noqa: F811
    study.settings = {name: Settings(2, 64, 0.01) for name in study.settings}
    first = tuning.tune(study, tuning.carve(study, 1), "multimodal", "ids+genres", "like", 2, 1)
    for path in study.store.path("checkpoints").glob("tuned_*"):
        path.unlink()
    for name in ("valid", "cold"):
        study.splits[name] = replace(study.splits[name], label=1 - study.splits[name].label)
    assert tuning.tune(study, tuning.carve(study, 1), "multimodal", "ids+genres", "like", 2, 1) == first


def test_the_best_epoch_and_rate_come_first_and_are_kept(study: Study) -> None:  # noqa: F811
    study.settings = {name: Settings(3, 64, 0.01) for name in study.settings}
    for objective, score in tuning.SCORES.items():
        study.tune("multimodal", ["ids"], objective, 3, 1)
        rows = study.tuned["multimodal" if objective == "like" else "multimodal-rank", "ids"]
        assert [row[score] for row in rows] == sorted((row[score] for row in rows), reverse=True)
        assert {row["learning_rate"] for row in rows} == {0.01, 0.005, 0.02}
        assert all(1 <= row["epochs"] <= 3 for row in rows)
        chosen = study.settings_of("multimodal", "ids", objective)
        assert (chosen.epochs, chosen.learning_rate) == (rows[0]["epochs"], rows[0]["learning_rate"])
    files = list(study.store.path("checkpoints").glob("tuned_3_*.json"))
    assert len(files) == 2
    files[0].write_text(json.dumps([{"learning_rate": 0.9, "epochs": 7, "objective": "like"}]))
    files[1].write_text(files[0].read_text())
    study.tune("multimodal", ["ids"], "like", 3, 1)
    assert study.settings_of("multimodal", "ids", "like").epochs == 7, "a finished search is not made again"


def test_gaps_are_trained_with_the_settings_of_the_full_set(study: Study) -> None:  # noqa: F811
    full = "ids+genres+poster+text"
    study.tuned["multimodal", full] = [{"learning_rate": 0.5, "epochs": 9}]
    assert study.settings_of("multimodal", f"{full}(50% missing, mean)", "like").epochs == 9
    assert study.settings_of("multimodal", f"{full}(shuffled)", "like").epochs == 1, "a control has its own budget"


@pytest.mark.parametrize("tries", [-1, 4, 1.0, True])
def test_tries_that_there_are_not(tries: object) -> None:
    with pytest.raises(ParameterError, match="TUNING="):
        tuning.check_tries(tries)
