"""Stage 07: the whole catalogue in codes, and the proof that encoded rows are the raw rows they claim to be."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from utils.etl import workflow
from utils.handoff.own_data import Likes
from utils.handoff.store import HandOffError, Store
from utils.model.architectures import Inputs
from utils.model.training.fit import Split


@dataclass(frozen=True)
class Catalogue:
    """All movies in ascending movieId, as the model reads them: column to int32 [movies] or [movies, items]."""

    movie_ids: np.ndarray
    codes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.movie_ids)

    @classmethod
    def of(cls, store: Store, movies: pa.Table, codes: pa.Table, most_genres: int) -> "Catalogue":
        """Encode ``movies`` (movies_converted) with the vocabularies of 06; ``codes`` is movie_codes."""
        movies = movies.sort_by("movieId")
        known = workflow.vocabulary(store, "genres")
        genres = np.zeros((movies.num_rows, most_genres), dtype=np.int32)
        for row, names in enumerate(movies["genres"].to_pylist()):
            codes_of = [known.get(genre, workflow.OUT_OF_VOCABULARY) for genre in workflow.genres_of(names)]
            genres[row, : len(codes_of)] = codes_of
        columns = {
            "movieId": codes["code"].to_numpy().astype(np.int32),
            "movieId_duplicate": codes["content_code"].to_numpy().astype(np.int32),
            "genres": genres,
        }
        return cls(movies["movieId"].to_numpy(), columns)


def look_up(codes: Mapping[int, int], values: np.ndarray) -> np.ndarray:
    """Return the code of each of ``values`` int64 [n], OUT_OF_VOCABULARY for those without one."""
    place = pc.index_in(pa.array(values), pa.array(codes.keys(), pa.int64())).fill_null(len(codes)).to_numpy()
    return np.array([*codes.values(), workflow.OUT_OF_VOCABULARY], np.int64)[place]


def check_alignment(
    name: str,
    raw: pa.Table,
    encoded: Mapping[str, np.ndarray],
    codes: pa.Table,
    known_users: Mapping[int, int],
    likes: Likes,
) -> None:
    """Raise HandOffError unless every encoded row carries the user, the content code and the label of its raw row."""
    content = dict(zip(codes["movieId"].to_pylist(), codes["content_code"].to_pylist(), strict=True))
    wanted = {
        "userId": look_up(known_users, raw["userId"].to_numpy()),
        "movieId_duplicate": look_up(content, raw["movieId"].to_numpy()),
        "label": likes.of(raw["rating"].to_numpy()),
    }
    for column, values in wanted.items():
        if not np.array_equal(values, encoded[column]):
            raise HandOffError(
                f"{name}-hugectr does not have the rows of {name}.parquet in the same order: {column} differs. "
                "Run notebook 06 again."
            )


def check_codes(name: str, split: Split, inputs: Inputs) -> None:
    """Raise HandOffError for a code that has no row in its table: the split is of another run of notebook 06."""
    rows = {
        "userId": inputs.users,
        "movieId": inputs.movies,
        "genres": inputs.genres,
        "movieId_duplicate": inputs.content_rows,
    }
    for column, count in rows.items():
        codes = split.codes[column]
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < count:
            raise HandOffError(
                f"{name}-hugectr: column {column!r} has codes from {codes.min()} to {codes.max()}, but its table has "
                f"the rows 0 to {count - 1}. Run notebook 06 again."
            )
