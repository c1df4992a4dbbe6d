"""The two models: every feature set builds, reads what it names and nothing else."""

from dataclasses import replace

import pytest

from tests.conftest import FULL, SETS
from utils.model import architectures
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import CONTENT, FeatureSet, parse
from utils.model.frozen_table import content_columns
from utils.model.graph import MOST_CONSUMERS, GraphError


@pytest.mark.parametrize("features", SETS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_feature_set_builds(inputs: Inputs, model: str, features: FeatureSet) -> None:
    graph = MODELS[model](inputs, features)
    wanted = {"userId": inputs.users, "movieId": inputs.movies}
    wanted |= {"genres": inputs.genres} if "genres" in features.blocks else {}
    wanted |= {"movieId_duplicate": inputs.content_rows} if features.content else {}
    assert {slot.column: slot.rows for slot in graph.slots} == wanted
    assert graph.slots_behind()[graph.logit] == wanted.keys()
    assert {slot.column for slot in graph.slots if slot.frozen} == wanted.keys() & {"movieId_duplicate"}
    assert {slot.column: slot.most_items for slot in graph.slots if slot.is_list} == (
        {"genres": inputs.most_genres} if "genres" in features.blocks else {}
    )
    assert graph.widths[graph.logit] == 1
    assert max(sum(layer.bottoms.count(t) for layer in graph.layers) for t in graph.widths) <= MOST_CONSUMERS
    read = {bottom for layer in graph.layers for bottom in layer.bottoms}
    assert set(graph.widths) - read == {"loss"}, "a tensor is computed and not used"
    cuts = [layer for layer in graph.layers if layer.bottoms == ("movieId_duplicate_vector",)]
    own = {name for block in features.content for name in (block, f"has_{block}")}
    assert {top: span for cut in cuts for top, span in zip(cut.tops, cut.arguments["ranges"], strict=True)} == {
        name: span for name, span in inputs.content_columns.items() if name in own
    }


@pytest.mark.parametrize("model", MODELS)
def test_a_control_and_a_list_of_one_have_the_same_layers(inputs: Inputs, model: str) -> None:
    plain = MODELS[model](inputs, FULL)
    controlled = MODELS[model](inputs, parse(f"{FULL}(shuffled)"))
    single = MODELS[model](replace(inputs, most_genres=1), FULL)
    assert plain.layers == controlled.layers == single.layers and plain.slots == controlled.slots
    assert [slot.column for slot in single.slots if slot.is_list] == ["genres"]


@pytest.mark.parametrize("model", MODELS)
def test_flags_are_left_out_where_they_do_not_fit(inputs: Inputs, model: str) -> None:
    first, *rest = CONTENT
    for width, flagged in ((1024 - len(CONTENT) - len(rest), True), (1024 - len(CONTENT) - len(rest) + 1, False)):
        columns = content_columns({first: width} | dict.fromkeys(rest, 1))
        graph = MODELS[model](replace(inputs, content_columns=columns), FULL)
        assert (f"has_{first}" in graph.widths) == flagged
    wide = replace(inputs, content_columns=content_columns({first: 1025}))
    with pytest.raises(GraphError, match=r"embedding of 'movieId_duplicate': width 1025 is not in 1..1024"):
        MODELS[model](wide, parse(f"ids+{first}"))
    with pytest.raises(GraphError, match=rf"ids\+{rest[0]} needs '{rest[0]}', and the feature store has \['{first}'"):
        MODELS[model](wide, parse(f"ids+{rest[0]}"))


def test_a_former_name_of_a_model_is_told_and_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert architectures.current("seed") == "original"
    assert capsys.readouterr().out == 'MODEL="seed" is called "original" now.\n'
    assert architectures.current("multimodal") == "multimodal" and not capsys.readouterr().out
