"""The models of the series as graphs: ``original``, of NVIDIA's series, mended, and ``multimodal``, ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from utils.model.feature_sets import FeatureSet
from utils.model.graph import Graph, GraphError


@dataclass(frozen=True)
class Inputs:
    """What the encoded data and the frozen table look like: all that a model must know to be built.

    ``users``, ``movies`` and ``genres`` are the rows of their embedding tables, reserved codes included.
    ``content_columns`` are ranges of the frozen table by name: the blocks and, where they fit, their flags.
    """

    users: int
    movies: int
    genres: int
    most_genres: int
    content_rows: int
    content_columns: Mapping[str, tuple[int, int]]


def _content(graph: Graph, inputs: Inputs, features: FeatureSet) -> dict[str, list[str]]:
    """Add the frozen table and cut it into the blocks asked for; return each block's tensors: vector and flag."""
    blocks: dict[str, list[str]] = {}
    for block in features.content:
        if block not in inputs.content_columns:
            raise GraphError(f"{features} needs {block!r}, and the feature store has {[*inputs.content_columns]}.")
        blocks[block] = [name for name in (block, f"has_{block}") if name in inputs.content_columns]
    if blocks:
        width = max(stop for _, stop in inputs.content_columns.values())
        table = graph.embedding("movieId_duplicate", inputs.content_rows, width, frozen=True)
        read = {name for names in blocks.values() for name in names}
        ranges = {name: span for name, span in inputs.content_columns.items() if name in read}
        graph.slice(table, ranges, why="the row of the frozen table is the movie's feature vector")
    return blocks


def original(inputs: Inputs, features: FeatureSet) -> Graph:
    """The graph of the original series: ids 16 wide, genres, frozen content, then 128, 128, 1."""
    graph = Graph("original")
    parts = [
        graph.embedding("userId", inputs.users, 16),
        graph.embedding("movieId", inputs.movies, 16),
    ]
    if "genres" in features.blocks:
        parts.append(graph.embedding("genres", inputs.genres, 16, most_items=inputs.most_genres))
    parts += [name for names in _content(graph, inputs, features).values() for name in names]
    hidden = graph.concat(parts, "all_features")
    for number in (1, 2):
        hidden = graph.relu(graph.inner_product(hidden, 128, f"dense_{number}"), f"relu_{number}")
    return graph.loss(graph.inner_product(hidden, 1, "logit"))


def multimodal(inputs: Inputs, features: FeatureSet, factors: int = 32) -> Graph:
    """Two towers that meet in a dot product; the movie's id is a residual on what its content says.

    logit = user . movie + user bias + movie bias, where movie, bias included, is the sum of an id embedding, its
    genres, and a linear map of each block of content. A movie nobody has rated has the out-of-vocabulary id, whose
    embedding is what id dropout taught; the rest comes from its content.
    """
    graph = Graph("multimodal")
    width = factors + 1  # the last column is the bias
    user = graph.embedding("userId", inputs.users, width)
    parts = [graph.embedding("movieId", inputs.movies, width)]
    if "genres" in features.blocks:
        parts.append(graph.embedding("genres", inputs.genres, width, most_items=inputs.most_genres))
    for block, names in _content(graph, inputs, features).items():
        known = graph.concat(names, f"{block}_flagged", "the vector, and whether it is real or filled in")
        parts.append(graph.inner_product(known, width, f"{block}_factors", "starts at 0", zero=True))
    movie = graph.add(parts, "movie", "the id is a residual on the content")
    graph.slice(user, {"user_factors": (0, factors), "user_bias": (factors, width)})
    graph.slice(movie, {"movie_factors": (0, factors), "movie_bias": (factors, width)})
    product = graph.multiply(["user_factors", "movie_factors"], "product")
    product = graph.dropout(product, 0.6, "product_dropout", "no factor may be relied on alone")
    match = graph.reduce_sum(product, "match", "the dot product of the two towers")
    return graph.loss(graph.add([match, "user_bias", "movie_bias"], "logit"))


MODELS: Mapping[str, Callable[[Inputs, FeatureSet], Graph]] = {"original": original, "multimodal": multimodal}
FORMER = {"seed": "original"}
"""Names that MODEL had before, and what they are called now."""


def current(model: str) -> str:
    """Return the name of a model; one that it had before is told and replaced."""
    if model in FORMER:
        print(f'MODEL="{model}" is called "{FORMER[model]}" now.')
    return FORMER.get(model, model)
