"""Settings chosen on a part of train: what is set aside, that nothing else is looked at, and which row wins."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import FULL, SETS, Open
from tests.study import toy
from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff.parameters import ParameterError
from utils.model.feature_sets import parse
from utils.model.training.fit import Split
from utils.study import tuning
from utils.study.study import Study
from utils.study.tuning import Parts

pytestmark = pytest.mark.usefixtures("one_thread")
IDS, GENRES = SETS[:2]


def pairs(split: Split) -> set[tuple[int, int]]:
    return set(zip(split.codes["userId"].tolist(), split.codes["movieId_duplicate"].tolist(), strict=True))


def test_the_parts_are_train_and_do_not_overlap(study: Study) -> None:
    parts = Parts.of(study.data, 1)
    fit, warm, cold = pairs(parts.fit), pairs(parts.warm), pairs(parts.cold)
    assert fit | warm | cold == pairs(study.data.splits["train"])
    assert len(fit) + len(warm) + len(cold) == len(study.data.splits["train"]) and warm and cold
    assert not {movie for _, movie in cold} & {movie for _, movie in fit | warm}, "a cold movie has no rating left"
    assert set(parts.cold.codes["movieId"].tolist()) == {OUT_OF_VOCABULARY}
    known = {movie for _, movie in fit}
    for part in (parts.warm, parts.cold):
        codes = zip(part.codes["movieId"].tolist(), part.codes["movieId_duplicate"].tolist(), strict=True)
        assert all((code == OUT_OF_VOCABULARY) == (movie not in known) for code, movie in codes)
    whole = study.data.biases()
    for column in ("userId", "movieId"):
        assert not np.allclose(parts.start[column], whole[column]), "biases of the rest alone"


def test_the_latest_ratings_are_set_aside_where_valid_is_the_latest(study: Study) -> None:
    time = study.data.raw["train"]["timestamp"].to_numpy()
    late, cold = tuning.held_out(replace(study.data, split_name="temporal"), 1)
    assert np.array_equal(late, (time > np.quantile(time, 0.9)) & ~cold) and late.any()
    assert np.array_equal(tuning.held_out(study.data, 1)[1], cold)


def test_valid_and_cold_are_never_looked_at(study: Study) -> None:
    def best(splits: dict[str, Split]) -> list[dict]:
        data = replace(study.data, splits=splits)
        other = Study(data, toy.SETTINGS, "torch", toy.fit_here)
        return tuning.tune(other.job("multimodal", GENRES, 1), Parts.of(data, 1), 2, data.store.folder / "none.json")

    splits = dict(study.data.splits)
    first = best(splits)
    (study.data.store.folder / "none.json").unlink()
    turned = {name: Split(splits[name].codes, 1 - splits[name].label) for name in ("valid", "cold")}
    assert best(splits | turned) == first
    (study.data.store.folder / "none.json").unlink()
    assert best(splits | {"train": Split(splits["train"].codes, splits["train"].label.roll(7))}) != first


def test_the_best_epoch_and_rate_come_first_and_are_kept(open_for: Open, capsys: pytest.CaptureFixture[str]) -> None:
    study = toy.open_study(open_for, epochs=3)
    (shown,) = study.tune("multimodal", [IDS], 3, 1)
    rows = study.tuned["multimodal", IDS]
    assert [row["tuning_auc"] for row in rows] == sorted((row["tuning_auc"] for row in rows), reverse=True)
    assert {row["learning_rate"] for row in rows} == {0.01, 0.005, 0.02}
    assert all(1 <= row["epoch"] <= 3 for row in rows)
    assert shown == {"model": "multimodal", "features": "ids"} | rows[0]
    chosen = study.settings_of("multimodal", IDS)
    assert (chosen.epochs, chosen.learning_rate) == (rows[0]["epoch"], rows[0]["learning_rate"])
    (kept,) = study.data.store.path("checkpoints").glob("tuned_3_*.json")
    kept.write_text(json.dumps([{"learning_rate": 0.9, "epoch": 7}]))
    study.tune("multimodal", [IDS], 3, 1)
    assert study.settings_of("multimodal", IDS).epochs == 7, "a finished search is not made again"
    kept.write_bytes(b"")
    study.tune("multimodal", [IDS], 3, 1)
    assert study.tuned["multimodal", IDS] == rows and f"{kept} is damaged and is made again" in capsys.readouterr().out


def test_gaps_are_trained_with_the_settings_of_the_full_set(study: Study) -> None:
    study.tuned["multimodal", FULL] = [{"learning_rate": 0.5, "epoch": 9}]
    assert study.settings_of("multimodal", FULL.without(0.5, "mean")).epochs == 9
    assert study.settings_of("multimodal", parse(f"{FULL}(shuffled)")).epochs == 1, "a control has its own budget"


@pytest.mark.parametrize("tries", [-1, 4, 1.0, True])
def test_tries_that_there_are_not(tries: object) -> None:
    with pytest.raises(ParameterError, match="TUNING="):
        tuning.check_tries(tries)
