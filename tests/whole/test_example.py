"""The example on data of one's own, executed from its own folder as JupyterLab does it."""

from pathlib import Path

import nbformat
import pandas as pd

from utils.series import committed_outputs

NOTEBOOK = "your-own-data.ipynb"


def test_the_board_games_go_through_all_eight_notebooks(example: Path) -> None:
    assert len(list((example / "runs" / "board-games").glob("0*.ipynb"))) == 8
    results = example / "data" / "board-games"
    assert pd.read_parquet(results / "rejected.parquet")["reason"].nunique() == 3
    features = pd.read_parquet(results / "feature_store.parquet")
    assert len(features) == 40 and features[["has_facts", "has_poster", "has_text"]].all().all()
    metrics = pd.read_csv(results / "metrics.csv").query("metric == 'auc' and model == 'multimodal'")
    auc = metrics.set_index(["slice", "features"])["value"]
    assert auc["cold", "ids+genres+facts+poster+text"] > auc["cold", "ids"] + 0.1, (
        "content is all there is of a cold game"
    )
    assert pd.read_parquet(results / "recommendations.parquet")["userId"].nunique() == 120


def test_its_outputs_can_be_committed(example: Path) -> None:
    written, executed = (
        nbformat.read(path, 4) for path in (example / "examples" / NOTEBOOK, example / "executed.ipynb")
    )
    cleaned = committed_outputs.with_outputs(written, executed, NOTEBOOK, example)
    assert any("image/png" in output.get("data", {}) for cell in cleaned.cells for output in cell.get("outputs", []))
