"""The report of the full study: its words follow its numbers, and what is not there leaves no trace."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.evidence import checks, conclusion, figures, report, results, tables
from benchmarks.evidence.study import CONTROLS, FULL
from utils.metrics import click as evaluation
from utils.model.architectures import FEATURE_SETS
from utils.study import missing_content

SLICES = {"warm": 4000, "few-shot": 300, "new users": 50, "cold": 1500, "cold with poster": 900}
GENRES, TEXT, POSTER = "ids+genres", "ids+genres+text", "ids+genres+poster"
BASE = {"warm": 0.77, "few-shot": 0.72, "new users": 0.69, "cold": 0.72, "cold with poster": 0.73}
GAIN = {"ids": 0.0, GENRES: 0.02, POSTER: 0.025, TEXT: 0.04, FULL: 0.05} | dict.fromkeys(CONTROLS, 0.02)
HALF = 0.004


def auc(features: str, slice: str, gains: dict) -> float:
    """Gains count in full when cold and a tenth when warm; ``gains`` has (features, slice) of its own."""
    own = GAIN[missing_base(features)] * (1.0 if "cold" in slice else 0.1)
    return BASE[slice] + gains.get((features, slice), own)


def missing_base(features: str) -> str:
    return features if features in GAIN else GENRES


def rows(model: str, features: str, seeds, values: dict, trainer: str = "torch", split: str = "random") -> list:
    """Rows of metrics.csv: ``values`` has (slice, metric) to value; seeds differ by a little that averages out."""
    tags = {"trainer": trainer, "model": model, "features": features, "split": split}
    return [
        evaluation.metric_row(
            metric,
            value + 0.001 * (place - (len(seeds) - 1) / 2),
            (value - 0.01, value + 0.01),
            SLICES.get(slice, SLICES["cold"]) // (1 if metric in ("auc", "logloss", "ece") else 10),
            **tags,
            slice=slice,
            seed=seed,
        )
        for place, seed in enumerate(seeds)
        for (slice, metric), value in values.items()
    ]


def click(features: str, gains: dict) -> dict:
    found = {}
    for name in SLICES:
        value = auc(features, name, gains)
        found |= {(name, "auc"): value, (name, "gauc"): value - 0.05, (name, "logloss"): 1.3 - value}
        found |= {(name, "ece"): 0.02, (name, "recall@10"): 0.06, (name, "ndcg@10"): 0.09}
    return found | {("cold among all", "recall@10"): 0.002, ("cold among all", "ndcg@10"): 0.004}


def difference(features, against, slice, value, model="multimodal", metric="auc", seeds=3, p_holm=None) -> dict:
    p = 0.001 if abs(value) > HALF else 0.4
    return {
        "model": model, "metric": metric, "slice": slice, "against": against, "features": features,
        "difference": value, "low": value - HALF, "high": value + HALF, "p": p,
        "p_holm": min(1, 4 * p) if p_holm is None else p_holm, "seeds": seeds, "n": SLICES[slice],
    }  # fmt: skip


def make(folder: Path, dataset="ml-100k", split="random", stand_in=True, gains=None, ndcg=0.2, files=None, sets=None):
    """Write a consistent case; ``gains`` change AUCs, ``ndcg`` is that of the model that ranks. Return the folder."""
    gains, sets = gains or {}, list(sets or (*FEATURE_SETS, *CONTROLS))
    folder = folder / f"{dataset}-{split}"
    folder.mkdir(parents=True)
    metrics = rows("popularity", "ids", [0], {("warm", "auc"): 0.67, ("warm", "ndcg@10"): 0.12}, "baseline", split)
    metrics += rows("item-knn", "ids", [0], {("warm", "ndcg@10"): 0.19, ("warm", "recall@10"): 0.2}, "baseline", split)
    gaps = [
        missing_content.name(FULL, share, how) for share in (0.0, 0.3) for how in missing_content.STRATEGIES[:2]
    ] * (split == "random")
    for features in (*sets, *gaps):
        metrics += rows("multimodal", features, (42, 43, 44), click(features, gains), split=split)
    for features in FEATURE_SETS:
        ranks = {("warm", "auc"): 0.6, ("warm", "ndcg@10"): ndcg, ("cold", "ndcg@10"): 0.1}
        metrics += rows("multimodal-rank", features, (42, 43), ranks, split=split)
    tags = {"trainer": "torch", "model": "multimodal", "features": "ids", "seed": 42, "split": split}
    nan = float("nan")
    broken = evaluation.metric_row("auc", nan, (nan, nan), 0, **tags, slice="cold with text")
    found = [
        difference(features, against, name, auc(features, name, gains) - auc(against, name, gains))
        for against in ("ids", GENRES)
        for name in SLICES
        for features in sets
        if features != against
    ]
    found += [
        difference(name, f"{name}(shuffled)", part, auc(name, part, gains) - auc(f"{name}(shuffled)", part, gains))
        for name in sets
        for part in SLICES
        if f"{name}(shuffled)" in sets
    ]
    ranking = {"model": "multimodal-rank", "metric": "ndcg@10"}
    found.append(difference(f"multimodal-rank {FULL}", "popularity", "warm", ndcg - 0.12, **ranking))
    found.append(difference("item-knn", "popularity", "warm", 0.07, "item-knn", "ndcg@10", seeds=1))
    tuned = [
        {"objective": objective, "model": "multimodal", "features": features, "learning_rate": rate, "epochs": epochs,
         "tuning_auc": 0.7 + epochs / 1000, "tuning_ndcg@10": 0.1 - epochs / 1000}
        for objective in ("like", "rank") for features in sets for rate, epochs in ((0.002, 12), (0.001, 20))
    ]  # fmt: skip
    scores = np.linspace(0.1, 0.9, 5)
    curve = [
        {"slice": name, "score": s, "share": s, "low": s - 0.05, "high": s + 0.05, "n": SLICES[name] // 5}
        for name in ("warm", "cold")
        for s in scores
    ]
    written = {
        "metrics": evaluation.metrics_table([*metrics, broken]),
        "differences": pd.DataFrame(found),
        "tuned": pd.DataFrame(tuned),
        "reliability": pd.DataFrame(curve),
    }
    if split == "random":
        written |= {"peers": peers(), "peers-metrics": evaluation.metrics_table(peer_rows())}
    for name, table in written.items():
        if files is None or name in files:
            table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "about.json").write_text(json.dumps(about(dataset, split, stand_in)))
    return folder


def about(dataset: str, split: str, stand_in: bool) -> dict:
    return {
        "dataset": dataset, "split": split, "stand_in": stand_in, "poster_source": "offline", "text_source": "offline",
        "rows": {"train": 76078, "valid": 4000, "cold": 1500}, "movies": 1682, "cold_movies": 84, "users": 943,
        "new_users": 12, "movies_with_poster": 900, "movies_with_text": 1682, "seeds": [42, 43, 44],
        "rank_seeds": [42, 43], "half_life": None, "negatives": 4, "versions": {"torch": "2.14.1"},
        "better_ranker": "rank",
    }  # fmt: skip


def peers() -> pd.DataFrame:
    common = {"features": "ids", "settings": '{"factors": 16}', "tuning_ndcg@10": 0.11, "seconds": 2.5}
    done = [{"model": "implicit-als", "package": "implicit", "version": "0.7.2", "seed": s} | common for s in (42, 43)]
    popular = {"model": "popularity", "package": "numpy", "version": "2.1.0", "seed": 42} | common
    failed = {"model": "lightfm", "features": "ids", "package": "lightfm", "error": "does not install: a|b `c`"}
    columns = list(results.COLUMNS["peers"])
    return pd.DataFrame([*done, popular | {"settings": "{}", "tuning_ndcg@10": None}, failed], columns=columns)


def peer_rows() -> list:
    best = rows("implicit-als", "ids", (42, 43), {("warm", "ndcg@10"): 0.21, ("warm", "recall@10"): 0.2}, "peer")
    return best + rows("popularity", "ids", [42], {("warm", "ndcg@10"): 0.12}, "peer")


def written(tmp_path: Path, *cases: Path) -> str:
    report.write(cases, tmp_path / "out" / "evidence.md", tmp_path / "out" / "images")
    return (tmp_path / "out" / "evidence.md").read_text()


def sentences(text: str) -> list[str]:
    """The sentences of the conclusion, of its paragraph and of its list."""
    part = text.partition("## Conclusion\n")[2].partition("\n## ")[0]
    return [sentence for line in part.splitlines() if line for sentence in re.split(r"(?<=\.) (?=[A-Z])", line)]


def told(case: Path) -> list[str]:
    """The conclusion on one case: the paragraph, an empty line, a list."""
    return conclusion.conclusion([results.read(case)])


def test_the_whole_report(tmp_path):
    real = make(tmp_path, "ml-latest-small", stand_in=False)
    cases = [make(tmp_path), make(tmp_path, split="temporal", sets=(*FEATURE_SETS, CONTROLS[0])), real]
    text = written(tmp_path, *cases)
    heads = [line for line in text.splitlines() if line.startswith(("# ", "## "))]
    assert heads == [
        "# Does it help to see the poster and read the plot?",
        "## How to read",
        "## Conclusion",
        "## ml-latest-small (real content, random split)",
        "## ml-100k (stand-in posters and synopses, random split)",
        "## ml-100k (stand-in posters and synopses, temporal split)",
        "## What was checked",
    ]
    assert not re.search(r"\b(nan|None|NaN|inf)\b", text)
    assert "-0.0000" not in text
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    names = ["ablation", "slices", "missing", "reliability"]
    assert pictures[4:8] == [f"images/ml-100k-random-{name}.png" for name in names]
    assert pictures[8:] == [f"images/ml-100k-temporal-{name}.png" for name in names if name != "missing"]
    for picture in pictures:
        path = tmp_path / "out" / picture
        assert path.stat().st_size < 60_000
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width <= 10 * figures.DPI
            assert image.width == 9 * figures.DPI or "ablation" not in picture


def test_every_row_of_results_tells_its_split_slice_n_and_seeds(tmp_path):
    text = written(tmp_path, make(tmp_path))
    seen = 0
    for columns, body in re.findall(r"\*\*\n\n\| (.+) \|\n\| ---.*\n((?:\|.*\n)+)", text):
        columns = columns.split(" | ")
        assert "seeds" in columns or columns[0] in ("what", "model")
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in body.splitlines()]
        assert all(len(row) == len(columns) for row in rows)
        if "slice" in columns:
            seen += len(rows)
            for row in rows:
                cells = dict(zip(columns, row, strict=True))
                assert cells["split"] == "random" and cells["slice"] in (*SLICES, "cold among all")
                assert int(cells["seeds"]) in (1, 2, 3)
                n = next(cells[name] for name in ("n ratings", "n users") if name in cells)
                assert int(n.replace(",", "")) > 0
    assert seen > 100


def test_values_are_means_over_seeds_with_their_widest_interval(tmp_path):
    case = results.read(make(tmp_path, gains={(TEXT, "cold"): 0.0312}))
    text = "\n".join(tables.click(case, ["cold"], "AUC"))
    assert f"| random | cold | multimodal | {TEXT} | 0.7512 [0.7412, 0.7612] | 0.7012 [0.6912, 0.7112] |" in text
    assert "| 1,500 | 150 | 3 |" in text
    assert "missing" not in text, "gaps have a table of their own"


@pytest.mark.parametrize(
    ("gain", "cold", "warm"),
    [(0.03, "raises", "helps"), (0.002, "does not raise", "does not help"), (-0.03, "lowers", "costs")],
)
def test_verbs_follow_the_sign_of_the_interval(tmp_path, gain, cold, warm):
    case = make(tmp_path, gains={(FULL, "cold"): gain, (FULL, "warm"): gain})
    paragraph, _, *bullets = told(case)
    number = f"{gain:+.4f} [{gain - HALF:+.4f}, {gain + HALF:+.4f}], n = "
    unclear = "; not distinguishable from nothing" if abs(gain) < HALF else ""
    cold = f"content (genres, poster, text) {cold} the AUC on cold movies over ids ({number}1,500, 3 seeds{unclear})"
    warm = f"on warm movies content {warm} (AUC over ids {number}4,000, 3 seeds{unclear})"
    where = "ml-100k (stand-in posters and synopses, random split)"
    assert paragraph.startswith(f"> On {where}, {cold}; ") and f"; {warm}; " in paragraph
    assert f"- **{where}**: {cold}." in bullets and f"- **{where}**: {warm}." in bullets


def test_modalities_are_judged_beyond_genres_where_they_can_be(tmp_path):
    gains = {(GENRES, "cold with poster"): 0.02, (POSTER, "cold with poster"): 0.01, (TEXT, "cold"): 0.021}
    said = next(line for line in told(make(tmp_path, gains=gains)) if line.startswith("- ") and "beyond genres" in line)
    text = "the text does not help (AUC on cold +0.0010 [-0.0030, +0.0050], n = 1,500, 3 seeds; not distinguishable"
    poster = "the poster costs (AUC on cold with poster -0.0100 [-0.0140, -0.0060], n = 900, 3 seeds)"
    assert f"beyond genres {text} from nothing) and {poster}." in said


def test_a_difference_that_does_not_survive_holm_is_said_to_be_doubtful():
    sure, doubtful, nothing = (
        results.Estimate(value, value - 0.01, value + 0.01, 10, 2, 0.01, p_holm)
        for value, p_holm in ((0.02, 0.04), (0.02, 0.06), (0.0, 0.9))
    )
    assert conclusion.evidence(sure) == "+0.0200 [+0.0100, +0.0300], n = 10, 2 seeds"
    assert conclusion.evidence(doubtful).endswith("after Holm's correction p = 0.0600, so this may be luck")
    assert "luck" not in conclusion.evidence(nothing)


def test_what_does_not_help_is_listed_and_only_that(tmp_path):
    everything = {(name, part): 0.1 for name in (TEXT, POSTER, FULL) for part in SLICES}
    (none,) = [s for s in told(make(tmp_path, "all", gains=everything)) if "every content" in s]
    assert none.endswith(": every content set adds AUC to genres on every slice.")
    gains = everything | {(POSTER, "warm"): -0.1}
    (some,) = [s for s in told(make(tmp_path, "one", gains=gains)) if "not everything" in s]
    assert ": not everything adds AUC to genres: poster costs on warm (-0.1020 [-0.1060, -0.0980], n = 4,000" in some
    assert "text" not in some and "cold" not in some


def test_real_content_comes_first_and_stand_ins_are_called_so_in_every_sentence(tmp_path):
    cases = [make(tmp_path), make(tmp_path, "ml-latest-small", stand_in=False), make(tmp_path, split="temporal")]
    said = sentences(written(tmp_path, *cases))
    assert len(said) > 20
    assert said[0].startswith("> On ml-latest-small (real content, random split)")
    start = r"(> |- )?(On |\*\*)(ml-100k \(stand-in posters and synopses|ml-latest-small \(real content), "
    for sentence in said:
        assert re.match(start, sentence), sentence


@pytest.mark.parametrize(
    ("ndcg", "popular", "neighbours", "peer"),
    [
        (0.30, "above", "above", "above"),
        (0.20, "above", "not distinguishable from", "not distinguishable from"),
        (0.122, "not distinguishable from", "below", "below"),
        (0.05, "below", "below", "below"),
    ],
)
def test_ranking_against_popularity_neighbours_and_the_best_peer(tmp_path, ndcg, popular, neighbours, peer):
    said = next(s for s in told(make(tmp_path, ndcg=ndcg)) if "NDCG" in s)
    assert f"multimodal-rank ({FULL}) reach an NDCG@10 of {ndcg:.4f}" in said
    assert f"among all movies, {popular} popularity (difference {ndcg - 0.12:+.4f} [" in said
    assert f", {neighbours} item-kNN (0.1900 [" in said
    assert f", {peer} the best of the other libraries, implicit-als (0.2100 [" in said


def test_controls_are_told_from_their_numbers(tmp_path):
    gains = {(CONTROLS[1], "cold"): -0.01, (f"{TEXT}(shuffled)", "cold"): 0.05}
    sentences = told(make(tmp_path, gains=gains))
    (said,) = [s for s in sentences if "shuffled twin in cold" in s]
    assert f": not distinguishable from {GENRES} in cold AUC: {FULL}(shuffled) (+0.0000 [" in said
    assert f"; below {GENRES} in cold AUC: {FULL}(random) (-0.0300 [" in said
    assert f"; above {GENRES} in cold AUC: {TEXT}(shuffled) (+0.0300 [" in said
    assert f"; below its shuffled twin in cold AUC: {TEXT} (-0.0100 [" in said
    assert any(f"{GENRES} in warm AUC: {FULL}(shuffled)" in s for s in sentences)


# --- checks


def verdicts(case: Path) -> dict[str, checks.Check]:
    return {check.claim: check for check in checks.checks(results.read(case))}


def named(found: dict, *words: str) -> checks.Check:
    (claim,) = [claim for claim in found if all(word in claim for word in words)]
    return found[claim]


def test_checks_hold_on_a_case_made_to_pass(tmp_path):
    case = make(tmp_path)
    found = verdicts(case)
    assert len(found) == 3 + 2 + 2 + 2 * len(CONTROLS) + 1
    failed = [check.line for check in found.values() if not check.holds]
    assert failed == [], failed
    assert f"**{results.read(case).title}**: 18 of 18 hold" in checks.lines([results.read(case)])


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({(TEXT, "cold"): 0.0299}, ("at least 0.03",)),
        ({(FULL, "warm"): -0.006}, ("warm", FULL, "not below ids")),
        ({(FULL, "cold"): 0.003}, ("cold", FULL, "above ids")),
        ({(FULL, "cold"): 0.0389}, ("cold AUC of each",)),
        ({("ids", "warm"): 0.05}, ("warm AUC of each",)),
        ({(POSTER, "cold with poster"): 0.0199}, ("cold with poster", "not below ids+genres")),
        ({(f"{POSTER}(shuffled)", "cold with poster"): 0.0211}, ("cold with poster", "shuffled twin")),
        ({(f"{FULL}(random)", "cold"): 0.03}, ("cold", "(random)", "within noise")),
        ({(f"{FULL}(zeros)", "warm"): -0.01}, ("warm", "(zeros)", "within noise")),
    ],
)
def test_a_check_fails_on_its_number(tmp_path, gains, words):
    case = make(tmp_path, gains=gains)
    check = named(verdicts(case), *words)
    assert not check.holds
    assert (
        check.line in checks.lines([results.read(case)])
        and check.line.startswith("- **no**: ")
        and "n = " in check.line
    )


def test_recommendations_are_checked_against_popularity(tmp_path):
    assert not named(verdicts(make(tmp_path, ndcg=0.123)), "popularity").holds
    assert named(verdicts(make(tmp_path, "other", ndcg=0.125)), "popularity").holds


def test_a_larger_set_may_be_below_by_the_tolerance_and_no_more(tmp_path):
    near, far = ({(FULL, "cold"): GAIN[TEXT] - lost} for lost in (0.0009, 0.0011))
    assert named(verdicts(make(tmp_path, "near", gains=near)), "cold AUC of each").holds
    check = named(verdicts(make(tmp_path, "far", gains=far)), "cold AUC of each")
    assert f"9 pairs, below {FULL} against {TEXT}: -0.0011" in check.numbers


def test_pairs_of_contained_sets():
    pairs = checks.contained()
    assert len(pairs) == 9 and (POSTER, TEXT) not in pairs and (TEXT, FULL) in pairs


# --- what is not there, and what is broken


def test_a_case_with_nothing_but_its_description(tmp_path):
    text = written(tmp_path, make(tmp_path, files=()))
    assert "Result files that are not there: metrics.csv, differences.csv, tuned.csv, reliability.csv." in text
    assert "> No case has the numbers for a conclusion." in text
    assert "\n### " not in text and "![" not in text and "nan" not in text
    assert "| ratings, train | 76,078 |" in text


@pytest.mark.parametrize("file", ["metrics", "differences", "tuned", "reliability", "peers", "peers-metrics"])
def test_a_missing_file_leaves_the_rest(tmp_path, file):
    files = {"metrics", "differences", "tuned", "reliability", "peers", "peers-metrics"} - {file}
    text = written(tmp_path, make(tmp_path, files=files))
    assert (f"not there: {file}.csv." in text) == (not file.startswith("peers"))
    gone = {
        "metrics": "### Missing content", "differences": "### Differences", "tuned": "Settings chosen by tuning",
        "reliability": "### Can the probabilities", "peers": "could not be compared",
        "peers-metrics": "warm | implicit-als",
    }  # fmt: skip
    assert [one for one, words in gone.items() if words not in text] == [file]


def test_an_empty_file_counts_as_no_rows(tmp_path):
    case = make(tmp_path)
    (case / "reliability.csv").write_text("")
    (case / "tuned.csv").write_text("\n")
    text = written(tmp_path, case)
    assert "### Can the probabilities" not in text and "Settings chosen by tuning" not in text


def test_refusals_name_the_file_and_change_nothing(tmp_path):
    case = make(tmp_path)
    before = written(tmp_path, case)
    (case / "metrics.csv").write_text("model,features\nseed,ids\n")
    with pytest.raises(results.EvidenceError, match=r"metrics.csv has no columns \['trainer', 'seed'"):
        written(tmp_path, case)
    (case / "about.json").write_text('{"dataset": "ml-100k"}')
    (case / "metrics.csv").unlink()
    with pytest.raises(results.EvidenceError, match=r"about.json does not say \['split'"):
        written(tmp_path, case)
    (case / "about.json").unlink()
    with pytest.raises(results.EvidenceError, match=r"about.json cannot be read .* Run python -m benchmarks.evidence"):
        written(tmp_path, case)
    assert (tmp_path / "out" / "evidence.md").read_text() == before


def test_peers_with_their_versions_settings_and_errors(tmp_path):
    text = written(tmp_path, make(tmp_path))
    assert "| random | warm | implicit-als | ids | implicit 0.7.2 | 0.2100 [0.2000, 0.2200] |" in text
    assert "| implicit-als | ids | implicit 0.7.2 | factors 16 | 0.1100 | 2.5 | 2 |" in text
    assert "| lightfm | lightfm | `does not install: a\\|b 'c'` |" in text


def test_peers_are_not_counted_twice_when_metrics_has_them(tmp_path):
    case = make(tmp_path)
    own, more = pd.read_csv(case / "metrics.csv"), pd.read_csv(case / "peers-metrics.csv")
    pd.concat([own, more]).to_csv(case / "metrics.csv", index=False)
    assert len(results.read(case).metrics) == len(own.dropna(subset=["value"])) + len(more)


def test_the_setting_chosen_is_the_best_of_its_objective(tmp_path):
    text = "\n".join(tables.settings(results.read(make(tmp_path))))
    assert f"| multimodal | like | {FULL} | 0.001 | 20 | tuning_auc | 0.7200 | 2 | 1 |" in text
    assert f"| multimodal | rank | {FULL} | 0.002 | 12 | tuning_ndcg@10 | 0.0880 | 2 | 1 |" in text


def test_tables_leave_out_empty_columns_and_escape_bars():
    assert tables.table("nothing", ("a",), []) == []
    told = tables.table("some", ("a", "b", "c"), [(1234, None, "x|y\nz"), (float("nan"), None, "w")])
    assert told == ["**some**", "", "| a | c |", "| --- | --- |", "| 1,234 | x\\|y z |", "|  | w |", ""]


def test_numbers_have_four_decimals_and_no_negative_zero():
    assert [results.decimals(x) for x in (-0.00001, 0.5, float("nan"))] == ["0.0000", "0.5000", ""]
    assert results.decimals(-0.00004, "+") == "+0.0000" and results.decimals(-0.00006, "+") == "-0.0001"
    unknown = results.Estimate(0.5, float("nan"), float("nan"), 1, 1)
    assert unknown.text == "0.5000" and unknown.sign == 0 and unknown.of == "n = 1, 1 seed"
