"""Every picture is drawn once from realistic data, once from data with holes, and once from nothing."""

import base64
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image, ImageDraw

from utils.handoff import contract
from utils.metrics import calibration, click
from utils.plots import boxes, charts, graphs, results, style
from utils.plots import posters as poster_pictures
from utils.plots.style import PlotError
from utils.study import missing_content

TITLES = [
    "Toy Story (1995)",
    "$9.99 (2008)",
    "千と千尋 (2001)",
    "A\x00broken\ntitle",
    "",
    "Amélie $x^{$ (2001)",
    "x" * 90,
]


@pytest.fixture(scope="module", autouse=True)
def headless():
    backend = mpl.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.switch_backend(backend)


@pytest.fixture(scope="module")
def posters(tmp_path_factory) -> list[Path | None]:
    """One poster each: fine, missing, absent, not an image, truncated, wide, one grey pixel wide."""
    folder = tmp_path_factory.mktemp("posters")
    paths = [folder / f"{number}.png" for number in range(7)]
    picture = Image.linear_gradient("L").resize((342, 513)).convert("RGB")
    ImageDraw.Draw(picture).ellipse((60, 100, 280, 320), fill=(200, 60, 40))
    picture.save(paths[0])
    paths[3].write_text("<html>not found</html>")
    paths[4].write_bytes(paths[0].read_bytes()[:400])
    picture.resize((900, 300)).save(paths[5])
    Image.new("L", (1, 400)).save(paths[6])
    return [paths[0], None, *paths[2:]]


def png(figure: Figure) -> bytes:
    """Return the figure as PNG after checking what holds for all: size, weight, closed."""
    assert isinstance(figure, Figure)
    width, height = figure.get_size_inches()
    assert width <= style.WIDTH + 1e-6 and height <= style.HEIGHT + 0.01
    stream = BytesIO()
    figure.savefig(stream)
    data = figure.png()
    assert 500 < len(data) < 60_000
    with Image.open(stream) as full, Image.open(BytesIO(data)) as packed:
        assert packed.format == "PNG" and packed.size == full.size
    assert not plt.get_fignums(), "the figure would be shown twice in a notebook"
    return data


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def table(
    features=("ids", "ids+genres", "ids+genres (shuffled)"), seeds=(1, 2), slices=("cold", "warm"), **tags
) -> pd.DataFrame:
    rows = [
        click.metric_row(
            "auc", 0.7 + place / 100, (0.69, 0.75), 100, **{**common, "slice": name, "seed": seed, "features": feature}
        )
        for common in [{"trainer": "torch", "model": "seed", "split": "random"} | tags]
        for name in slices
        for place, feature in enumerate(features)
        for seed in seeds
    ]
    return click.metrics_table(rows)


def test_a_notebook_shows_the_packed_picture_once():
    shell = InteractiveShell.instance()
    figure = charts.rating_histogram(np.array([3.0, 4.0]))
    with capture_output() as captured:
        formats, _ = shell.display_formatter.format(figure)
    assert formats == {}, "IPython would show it a second time"
    (shown,) = captured.outputs
    assert base64.b64decode(shown.data["image/png"]) == figure.png()
    InteractiveShell.clear_instance()


# --- charts


def test_rating_histogram_colours_likes():
    figure = charts.rating_histogram(np.array([1, 3, 3, 3.5, 4, 5], np.float32))
    png(figure)
    colours = [bar.get_facecolor() for bar in figure.axes[0].patches]
    assert len(colours) == 5
    assert colours[0] == colours[1] != colours[2] == colours[4]
    assert "6 ratings, 50% liked" in words(figure)


def test_long_tail_counts_the_head_and_marks_cold_movies():
    cold = np.zeros(100, bool)
    cold[[3, 50]] = True
    figure = charts.long_tail(np.r_[90, np.ones(89, int), np.zeros(10, int)], cold)
    png(figure)
    assert "1 of 90 rated movies have half of the 179 ratings" in words(figure)
    assert "2 cold movies" in words(figure)
    assert len(figure.axes[0].lines) == 2


def test_activity_over_time():
    figure = charts.activity_over_time(np.arange(874_724_710, 893_286_638, 40_000))
    png(figure)
    assert "Ratings from 1997-09-20 to 1998-04-22" in words(figure)


def test_genre_counts_shows_movies_without_genre():
    figure = charts.genre_counts(pd.DataFrame({"genres": [np.array(["Drama", "War"]), np.array(["Drama"]), []]}))
    png(figure)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1, 1, 2]
    assert "(none listed)" in words(figure)


def test_explained_variance_with_one_modality_missing():
    figure = charts.explained_variance(None, np.array([0.5, 0.25]), stand_in=True)
    png(figure)
    assert "text 75%" in words(figure) and "poster 0%" not in words(figure)
    assert style.STAND_IN in words(figure)


def test_movie_map_gives_colours_to_the_most_frequent_genres():
    generator = np.random.default_rng(0)
    genres = ["Drama"] * 300 + ["Comedy"] * 200 + ["War"] * 5 + [""] * 10
    figure = charts.movie_map(generator.normal(size=(515, 2)), genres, top=2)
    png(figure)
    for label in ("Drama (300)", "Comedy (200)", "other (15)"):
        assert label in words(figure)
    assert "War" not in words(figure)


def test_learning_curves_draw_a_line_a_seed():
    history = [
        {"features": f, "seed": s, "epoch": e, "train_loss": 0.6 / e, "valid_auc": 0.7}
        for f in ("ids", "ids+genres")
        for s in (1, 2, 3)
        for e in (2, 1)
    ]
    figure = results.learning_curves(history)
    png(figure)
    loss, auc = figure.axes
    assert len(loss.lines) == len(auc.lines) == 6
    assert list(loss.lines[0].get_xdata()) == [1, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ids", "ids+genres"]


def test_ablation_has_warm_then_cold_with_split_seeds_and_n():
    figure = results.ablation(table(), stand_in=True)
    png(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["warm movies, n = 100", "cold movies, n = 100"]
    assert "random split · mean of 2 seeds" in words(figure) and style.STAND_IN in words(figure)
    points = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert points == pytest.approx([0.70, 0.71, 0.72])


def test_ablation_of_one_feature_set_and_one_seed_with_nan():
    frame = table(features=("ids+genres",), seeds=(1,))
    frame.loc[frame["slice"] == "cold", ["value", "low", "high"]] = np.nan
    png(results.ablation(frame))


def test_ablation_refusals():
    with pytest.raises(PlotError, match=r"No row of metric 'ndcg@10': the frame has \['auc'\]"):
        results.ablation(table(), metric="ndcg@10")
    mixed = pd.concat([table(), table(split="temporal")])
    with pytest.raises(PlotError, match=r"mix several values of split: \['random', 'temporal'\]. Select one"):
        results.ablation(mixed)


SIX = ("warm", "few-shot", "new users", "cold", "cold with poster", "cold with text")


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_ablation_draws_the_slices_it_is_asked_for_in_that_order():
    frame = table(slices=SIX)
    assert titles(results.ablation(frame)) == ["warm movies, n = 100", "cold movies, n = 100"]
    figure = results.ablation(frame, slices=("cold with text", "unknown", "few-shot"))
    assert titles(figure) == ["cold with text, n = 100", "few-shot, n = 100"]
    figure = results.ablation(frame, slices=SIX)
    png(figure)
    assert titles(figure)[1] == "few-shot\nn = 100" and len(figure.axes) == 6
    with pytest.raises(
        PlotError, match=r"No row of 'auc' is of the slices \['all'\]: the frame has \['cold', 'cold with"
    ):
        results.ablation(frame, slices=("all",))


@pytest.mark.parametrize("slices", [("warm", "cold"), SIX])
def test_values_of_ten_feature_sets_lie_on_nothing(slices):
    full = "ids+genres+poster+text"
    real = ("ids", "ids+genres", "ids+genres+poster", "ids+genres+text", full)
    features = (*real, *(f"{name}({what})" for name in (full, "ids+genres+text") for what in ("shuffled", "random")))
    figure = results.ablation(table(features=(*features, "ids+genres+poster(random)"), slices=slices), slices=slices)
    png(figure)
    figure.draw_without_rendering()
    boxes_ = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    assert len(boxes_) == 10 * len(slices)
    for number, box in enumerate(boxes_):
        assert not any(box.overlaps(other) for other in boxes_[:number])
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert box.x1 <= figure.bbox.x1
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(a.y0 > b.y1 for a, b in pairwise(labels)) and min(box.x0 for box in labels) >= 0


def test_controls_and_ids_are_quiet_in_the_ablation():
    dots = [line for line in results.ablation(table()).axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_color() for dot in dots] == [style.QUIET, style.COLOURS[0], style.QUIET]


# --- missing content


FULL = "ids+genres+poster+text"


def sweep(shares=(0.5, 0.0, 0.9), strategies=missing_content.STRATEGIES, full=FULL, **tags) -> pd.DataFrame:
    names = [missing_content.name(full, share, strategy) for strategy in strategies for share in shares]
    return table(features=("ids", "ids+genres", FULL, *names), **tags)


def test_missing_sweep_has_a_line_a_strategy_with_its_band():
    frame = sweep(slices=("cold", "few-shot", "warm"))
    figure = results.missing_sweep(frame, stand_in=True)
    png(figure)
    assert titles(figure) == ["warm movies, n = 100", "cold movies, n = 100"]
    assert (
        style.STAND_IN in words(figure) and FULL in words(figure) and "random split · mean of 2 seeds" in words(figure)
    )
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        assert list(lines) == ["gaps: mean", "gaps: zero", "gaps: neighbour", "ids+genres", "ids"]
        assert len({lines[f"gaps: {strategy}"].get_color() for strategy in missing_content.STRATEGIES}) == 3
        # The frame has 0.5, 0.0, 0.9 for mean, then for zero: values 0.73, 0.74, 0.75, then 0.76 on.
        assert list(lines["gaps: zero"].get_xdata()) == [0, 50, 90]
        assert lines["gaps: zero"].get_ydata() == pytest.approx([0.77, 0.76, 0.78])
        assert lines["ids+genres"].get_ydata() == pytest.approx([0.71, 0.71])
        assert lines["ids"].get_ydata() == pytest.approx([0.70, 0.70])
        assert len(axes.collections) == 3
        corners = axes.collections[0].get_paths()[0].vertices
        assert (corners[:, 1].min(), corners[:, 1].max()) == (0.69, 0.75)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "50", "90"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(lines)


def test_missing_sweep_of_one_strategy_and_one_slice_without_reference():
    frame = sweep(strategies=("neighbour",), slices=("cold",))
    figure = results.missing_sweep(frame[frame["features"].str.contains("missing")])
    png(figure)
    assert [line.get_label() for line in figure.axes[0].lines] == ["gaps: neighbour"]
    assert titles(figure) == ["cold movies, n = 100"]


def test_missing_sweep_refusals():
    with pytest.raises(
        PlotError, match=r"No row has features such as 'ids\+genres\+poster\+text\(30% missing, mean\)'"
    ):
        results.missing_sweep(table())
    with pytest.raises(PlotError, match="No row of metric 'gauc'"):
        results.missing_sweep(sweep(), metric="gauc")
    with pytest.raises(
        PlotError, match=r"The sweep mixes several feature sets: \['ids', 'ids\+genres\+poster\+text'\]"
    ):
        results.missing_sweep(pd.concat([sweep(), sweep(full="ids")]))
    with pytest.raises(PlotError, match="mix several values of model: .* Select one"):
        results.missing_sweep(pd.concat([sweep(), sweep(model="multimodal")]))


# --- calibration


def test_reliability_draws_dots_with_bars_beside_the_diagonal():
    generator = np.random.default_rng(0)
    score = generator.random(900)
    label = generator.random(900) < score
    curve = calibration.reliability(np.arange(900), label, score, replicates=20)
    figure = results.reliability({"warm": curve, "cold with text": curve[:3]}, stand_in=True)
    png(figure)
    assert titles(figure) == ["warm movies, n = 900", "cold with text, n = 270"]
    assert style.STAND_IN in words(figure) and "share of likes" in words(figure)
    assert words(figure).count("predicted probability of a like") == 2
    for axes, count in zip(figure.axes, (10, 3), strict=True):
        diagonal, dots = axes.lines
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
        assert list(dots.get_xdata()) == list(curve["score"][:count])
        assert list(dots.get_ydata()) == list(curve["share"][:count])
        bars = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
        assert bars == curve[["low", "high"]][:count].to_numpy().tolist()


@pytest.mark.parametrize("count", [1, 4])
def test_reliability_of_one_and_of_many_fits_the_page(count):
    curve = calibration.reliability(np.arange(50), np.arange(50) % 2, np.linspace(0, 1, 50), replicates=20)
    figure = results.reliability({f"slice {number}": curve for number in range(count)})
    png(figure)
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1


# --- posters


def test_thumbnail_crops_to_a_poster_and_refuses_what_is_no_image(posters):
    fine, wide = poster_pictures.thumbnail(posters[0], 60), poster_pictures.thumbnail(posters[5], 60)
    assert fine.shape == wide.shape == (90, 60, 3) and fine.dtype == np.uint8
    for path in (None, *posters[2:5]):
        assert poster_pictures.thumbnail(path, 60) is None


def test_poster_wall_draws_a_card_for_each_missing_poster(posters):
    figure = poster_pictures.poster_wall(posters, TITLES, columns=4, stand_in=True)
    png(figure)
    images, cards = figure.axes[0].images, figure.findobj(FancyBboxPatch)
    assert len(images) + len(cards) == len(TITLES) and len(cards) >= 4
    assert style.STAND_IN in words(figure)
    assert "A broken title" in words(figure).replace("\n", " ")
    png(poster_pictures.poster_wall(posters * 6, TITLES * 6, columns=14))


@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_neighbours(posters, rows):
    found = [(path, title, 0.5) for path, title in zip(posters, TITLES, strict=True)][:5]
    figure = poster_pictures.neighbours([((posters[0], "query"), found)] * rows, "By poster", stand_in=True)
    png(figure)
    assert words(figure).count("0.50") == 5 * rows
    assert words(figure).count("query") == rows


@pytest.mark.parametrize(("queries", "views", "each"), [(1, 1, 1), (3, 3, 3), (4, 2, 5), (6, 3, 4)])
def test_neighbour_columns(posters, queries, views, each):
    near = [(path, title, 0.5) for path, title in zip(posters, TITLES, strict=True)][:each]
    names = ["by poster", "by text", "by both"][:views]
    figure = poster_pictures.neighbour_columns(
        [(posters[0], "query")] * queries, {name: [near] * queries for name in names}, stand_in=True
    )
    png(figure)
    lines = min(queries, 4)
    assert words(figure).count("0.50") == lines * views * each
    assert words(figure).count("query") == lines
    assert all(name in words(figure) for name in names) and style.STAND_IN in words(figure)


def test_neighbour_columns_want_an_answer_to_each_query():
    with pytest.raises(PlotError, match="'by text' has neighbours of 1 movies, but 2 were asked for"):
        poster_pictures.neighbour_columns([(None, "a"), (None, "b")], {"by text": [[]]})


def test_shelf(posters):
    liked = list(zip(posters, TITLES, strict=True))
    recommended = [(path, title, 0.9, "near Toy Story by synopsis") for path, title in liked]
    figure = poster_pictures.shelf(liked, recommended * 2, "For user 7", stand_in=True)
    png(figure)
    assert words(figure).count("0.90") == 10
    assert style.STAND_IN in words(figure)


# --- boxes and arrows


def test_data_flow_map_names_every_file_of_the_contract():
    figure = boxes.data_flow_map()
    png(figure)
    flat = words(figure).replace("\n", "").replace(" ", "")
    for artefact in contract.ARTEFACTS.values():
        assert artefact.path.removesuffix(".parquet") in flat
    drawn = figure.findobj(lambda artist: type(artist) is FancyBboxPatch)
    assert len(drawn) == 7 and len(figure.findobj(FancyArrowPatch)) == 9


NODES = [("u", "userId", "column"), ("m", "movieId", "column"), ("cu", "Categorify\n943 users", "operator")]
NODES += [("cm", "Categorify", "operator"), ("all", "a long label of the output that is wrapped in lines", "output")]
EDGES = [("u", "cu"), ("m", "cm"), ("cu", "all"), ("cm", "all"), ("u", "all")]


def test_graph_drawing():
    figure = graphs.graph_drawing(NODES, EDGES, "Workflow")
    png(figure)
    assert len(figure.findobj(FancyBboxPatch)) == len(NODES)
    assert len(figure.findobj(FancyArrowPatch)) == len(EDGES)
    for kind in ("column", "operator", "output"):
        assert kind in words(figure)


def test_graph_layers_go_by_the_longest_path_and_inputs_stand_before_their_use():
    names = ["a", "b", "c", "d", "late"]
    layers, chains = graphs._layers(names, [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("late", "d")])
    assert [{slot[0] for slot in layer if len(slot) == 1} for layer in layers] == [{"a"}, {"b"}, {"c", "late"}, {"d"}]
    assert [len(chain) for chain in chains] == [2, 2, 3, 2, 2]


def test_graph_order_undoes_a_crossing():
    layers, _ = graphs._layers(["a", "b", "x", "y"], [("a", "y"), ("b", "x")])
    links = [(("a",), ("y",)), (("b",), ("x",))]
    assert graphs._crossings(layers, links) == 0
    assert graphs._crossings([[("a",), ("b",)], [("x",), ("y",)]], links) == 1


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 14), st.data())
def test_no_boxes_of_any_graph_overlap_or_leave_the_page(size, data):
    pairs = [(str(a), str(b)) for b in range(size) for a in range(b)]
    edges = data.draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    labels = {str(number): f"layer {number}\nof the model" for number in range(size)}
    layers, chains = graphs._layers(list(labels), list(dict.fromkeys(edges)))
    layout = graphs._best_layout(layers, chains, labels)
    boxes = [box for slot, box in layout.boxes.items() if len(slot) == 1]
    assert layout.extent[0] <= style.WIDTH + 1e-6 and layout.extent[1] <= style.HEIGHT + 1e-6
    for number, (x, y, width, height) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + width <= layout.extent[0] and y + height <= layout.extent[1]
        for left, top, wide, high in boxes[:number]:
            apart = left + wide <= x or x + width <= left or top + high <= y or y + height <= top
            assert apart
    axis = 0 if layout.across else 1
    for chain in chains:
        assert all(layout.boxes[a][axis] < layout.boxes[b][axis] for a, b in pairwise(chain))


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (NODES, [("u", "cu"), ("cu", "u")], "has a cycle through some of"),
        (NODES, [("u", "nowhere")], "Edge 'u' -> 'nowhere': there is no node 'nowhere'"),
        ([*NODES, NODES[0]], [], "Node 'u' is there twice"),
    ],
)
def test_graph_refusals(nodes, edges, message):
    with pytest.raises(PlotError, match=message):
        graphs.graph_drawing(nodes, edges)


# --- all


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.rating_histogram(np.zeros(0)),
        lambda: charts.long_tail(np.zeros(3, int)),
        lambda: charts.activity_over_time(np.zeros(0, int)),
        lambda: charts.genre_counts(pd.DataFrame({"genres": []})),
        lambda: charts.explained_variance(None, []),
        lambda: charts.movie_map(np.zeros((0, 2)), []),
        lambda: results.learning_curves([]),
        lambda: results.reliability({}),
        lambda: results.reliability({"cold": calibration.reliability(*np.zeros((3, 0)))}),
        lambda: poster_pictures.poster_wall([], []),
        lambda: poster_pictures.neighbours([]),
        lambda: poster_pictures.neighbours([((None, "alone"), [])]),
        lambda: poster_pictures.neighbour_columns([], {"by poster": []}),
        lambda: poster_pictures.neighbour_columns([], {}),
        lambda: poster_pictures.neighbour_columns([(None, "alone")], {"by poster": [[]], "by text": [[]]}),
        lambda: poster_pictures.shelf([], []),
        lambda: graphs.graph_drawing([], []),
    ],
)
@pytest.mark.filterwarnings("error")
def test_nothing_to_show_is_said_in_the_picture(draw):
    png(draw())


@pytest.mark.filterwarnings("error")
def test_titles_from_outside_are_no_formulas_and_warn_of_no_glyphs():
    png(poster_pictures.poster_wall([None] * len(TITLES), TITLES))
    assert style.printable("千\x00 $x$\n") == "? $x$"


def test_settings_of_matplotlib_are_left_alone():
    before = dict(mpl.rcParams)
    charts.rating_histogram(np.array([3.0, 4.0]))
    boxes.data_flow_map()
    assert dict(mpl.rcParams) == before
