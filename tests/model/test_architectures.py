"""The two models: every feature set builds, reads what it names and nothing else."""

from dataclasses import replace

import pytest

from utils.model.architectures import FEATURE_SETS, MODELS, Inputs, modalities
from utils.model.frozen_table import content_columns
from utils.model.graph import MOST_CONSUMERS, GraphError


@pytest.mark.parametrize("features", FEATURE_SETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_feature_set_builds(inputs: Inputs, model: str, features: str) -> None:
    graph = MODELS[model](inputs, features)
    behind = graph.slots_behind()[graph.logit]
    wanted = {"userId", "movieId"}
    wanted |= {"genres"} if "genres" in features else set()
    wanted |= {"movieId_duplicate"} if modalities(features) else set()
    assert behind == wanted == {slot.column for slot in graph.slots}
    assert graph.widths[graph.logit] == 1
    assert {slot.column for slot in graph.slots if slot.frozen} == wanted & {"movieId_duplicate"}
    assert max(sum(layer.bottoms.count(t) for layer in graph.layers) for t in graph.widths) <= MOST_CONSUMERS
    read = {bottom for layer in graph.layers for bottom in layer.bottoms}
    assert set(graph.widths) - read == {"loss"}, "a tensor is computed and not used"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("features", "columns"), [("ids+genres+poster", "poster"), ("ids+genres+text", "text")])
def test_one_modality_reads_its_own_columns(inputs: Inputs, model: str, features: str, columns: str) -> None:
    graph = MODELS[model](inputs, features)
    cut = next(layer for layer in graph.layers if layer.bottoms == ("movieId_duplicate_vector",))
    assert cut.tops == (columns, f"has_{columns}")
    assert cut.arguments["ranges"] == [inputs.content_columns[name] for name in cut.tops]


def test_rows_and_items_of_the_tables(inputs: Inputs) -> None:
    graph = MODELS["multimodal"](inputs, "ids+genres+poster+text")
    slots = {slot.column: slot for slot in graph.slots}
    assert (slots["userId"].rows, slots["movieId"].rows, slots["genres"].rows) == (15, 21, 8)
    assert slots["genres"].most_items == 3
    assert (slots["movieId_duplicate"].rows, slots["movieId_duplicate"].width) == (21, 9)


@pytest.mark.parametrize("model", MODELS)
def test_a_knocked_out_set_has_the_same_graph(inputs: Inputs, model: str) -> None:
    plain, shuffled = (MODELS[model](inputs, f"ids+genres+text{end}") for end in ("", "(shuffled)"))
    assert plain.layers == shuffled.layers
    assert plain.slots == shuffled.slots


@pytest.mark.parametrize("features", ["", "genres", "poster", "ids+poster", "ids+genres+text+poster"])
def test_an_unknown_feature_set(inputs: Inputs, features: str) -> None:
    wanted = r"FEATURES='.*' is not known. Choose one of: ids, ids\+genres, .*ids\+genres\+poster\+text."
    with pytest.raises(GraphError, match=wanted):
        modalities(features)
    with pytest.raises(GraphError, match=wanted):
        MODELS["multimodal"](inputs, features)


def test_modalities() -> None:
    assert [modalities(name) for name in FEATURE_SETS] == [[], [], ["poster"], ["text"], ["poster", "text"]]
    assert modalities("ids+genres+poster+text(random)") == ["poster", "text"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("poster", "text", "width"), [(512, 510, 1024), (512, 511, 1023), (512, 512, 1024)])
def test_flags_are_left_out_where_they_do_not_fit(
    inputs: Inputs, model: str, poster: int, text: int, width: int
) -> None:
    wide = replace(inputs, content_columns=content_columns({"poster": poster, "text": text}))
    graph = MODELS[model](wide, "ids+genres+poster+text")
    frozen = next(slot for slot in graph.slots if slot.frozen)
    assert frozen.width == width
    assert ("has_poster" in graph.widths) == (poster + text + 2 <= 1024)


def test_content_wider_than_hugectr_allows(inputs: Inputs) -> None:
    wide = replace(inputs, content_columns=content_columns({"poster": 512, "text": 513}))
    with pytest.raises(GraphError, match=r"embedding of 'movieId_duplicate': width 1025 is not in 1..1024"):
        MODELS["multimodal"](wide, "ids+genres+poster+text")
