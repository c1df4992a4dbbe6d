"""The models of the series, as graphs: ``seed``, the original one mended, and ``multimodal``, ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from utils.model.graph import Graph, GraphError

FEATURE_SETS = (
    "ids",
    "ids+genres",
    "ids+genres+poster",
    "ids+genres+text",
    "ids+genres+poster+text",
)


@dataclass(frozen=True)
class Inputs:
    """What the encoded data and the frozen table look like: all a model needs to know to be built."""

    users: int
    movies: int
    genres: int
    """Rows of the user, movie and genre tables (their cardinalities, reserved codes included)."""
    most_genres: int
    content_rows: int
    content_columns: Mapping[str, tuple[int, int]]
    """Column ranges of the frozen table by name: poster, text and, where they fit, the flags."""


def modalities(features: str) -> list[str]:
    """The content modalities of a feature set: a sub-list of poster, text. Raises GraphError if unknown."""
    plain = features.split("(")[0]
    if plain not in FEATURE_SETS:
        raise GraphError(f"FEATURES={features!r} is not known. Choose one of: {', '.join(FEATURE_SETS)}.")
    return [part for part in plain.split("+") if part in ("poster", "text")]


def _content(graph: Graph, inputs: Inputs, features: str) -> dict[str, str]:
    """Add the frozen table and cut it into the modalities asked for; return modality to tensor."""
    wanted = modalities(features)
    if not wanted:
        return {}
    width = max(stop for _, stop in inputs.content_columns.values())
    table = graph.embedding("movieId_duplicate", inputs.content_rows, width, frozen=True)
    flags = [f"has_{modality}" for modality in wanted if f"has_{modality}" in inputs.content_columns]
    ranges = {name: inputs.content_columns[name] for name in wanted + flags}
    graph.slice(table, ranges, why="the row of the frozen table is the movie's feature vector")
    return {name: name for name in wanted + flags}


def seed(inputs: Inputs, features: str) -> Graph:
    """The graph of the original series: ids 16 wide, genres, frozen content, then 128, 128, 1."""
    graph = Graph("seed")
    parts = [
        graph.embedding("userId", inputs.users, 16),
        graph.embedding("movieId", inputs.movies, 16),
    ]
    if "genres" in features:
        parts.append(graph.embedding("genres", inputs.genres, 16, most_items=inputs.most_genres))
    parts += _content(graph, inputs, features).values()
    hidden = graph.concat(parts, "all_features")
    for number in (1, 2):
        hidden = graph.relu(graph.inner_product(hidden, 128, f"dense_{number}"), f"relu_{number}")
    return graph.loss(graph.inner_product(hidden, 1, "logit"))


def multimodal(inputs: Inputs, features: str, factors: int = 16, hidden: int = 32) -> Graph:
    """Two towers that meet in a dot product; the movie's id is a residual on what its content says.

    logit = user . movie + user bias + movie bias, where movie (and its bias) is the sum of an id
    embedding, the sum of its genres, and one small network a modality. A movie nobody rated has the
    out-of-vocabulary id, whose embedding is what id dropout taught: the rest comes from content.
    """
    graph = Graph("multimodal")
    width = factors + 1  # the last column is the bias
    user = graph.embedding("userId", inputs.users, width)
    parts = [graph.embedding("movieId", inputs.movies, width)]
    if "genres" in features:
        parts.append(graph.embedding("genres", inputs.genres, width, most_items=inputs.most_genres))
    content = _content(graph, inputs, features)
    for name in modalities(features):
        flagged = [content[part] for part in (name, f"has_{name}") if part in content]
        seen = graph.concat(flagged, f"{name}_flagged", "the vector, and whether it is real or imputed")
        tower = graph.relu(graph.inner_product(seen, hidden, f"{name}_dense"), f"{name}_relu")
        tower = graph.dropout(tower, 0.5, f"{name}_dropout", "content must not be learned by heart")
        parts.append(graph.inner_product(tower, width, f"{name}_factors"))
    movie = graph.add(parts, "movie", "the id is a residual on the content")
    graph.slice(user, {"user_factors": (0, factors), "user_bias": (factors, width)})
    graph.slice(movie, {"movie_factors": (0, factors), "movie_bias": (factors, width)})
    product = graph.multiply(["user_factors", "movie_factors"], "product")
    product = graph.dropout(product, 0.3, "product_dropout", "no factor may be relied on alone")
    match = graph.reduce_sum(product, "match", "the dot product of the two towers")
    return graph.loss(graph.add([match, "user_bias", "movie_bias"], "logit"))


MODELS: Mapping[str, Callable[[Inputs, str], Graph]] = {"seed": seed, "multimodal": multimodal}
