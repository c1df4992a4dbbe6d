"""Speed of 04: texts to the written hand-off, against one text at a time and sentence-transformers' algorithm.

The texts are made of seeded stand-in sentences, as long as the plots of Wikipedia: median 90 words, at most 400.
"""

import importlib.util
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case
from benchmarks.speed.posters import CACHE, CLOSE, CLOSE_BFLOAT16, GENRES, same_directions, sample, write_plainly
from utils.content import stand_ins
from utils.content.movie import Movie
from utils.handoff.store import open_store
from utils.handoff.vector_columns import vectors
from utils.vectors import shards
from utils.vectors import texts as synopses
from utils.vectors.encoders.text import default_folder

MEDIAN_WORDS, SPREAD, FEWEST, MOST_WORDS = 90, 0.55, 10, 400
"""Words of a text: log-normal around the median, SPREAD in units of the logarithm, cut at both ends."""
THEIR_BATCH = 32
"""The default of sentence-transformers' ``encode``."""


def prepare(count: int, batch: int) -> None:
    """Fetch the weights, before anything is timed."""
    _warm(batch)


def texts_of(count: int) -> list[str]:
    """Return ``count`` texts; the same for the same number."""
    generator = np.random.default_rng(42)
    words = generator.lognormal(np.log(MEDIAN_WORDS), SPREAD, count).clip(FEWEST, MOST_WORDS).astype(int)
    texts = []
    for number, length in enumerate(words):
        written: list[str] = []
        while len(written) < length:
            about = tuple(generator.choice(GENRES, 2, replace=False).tolist())
            movie = Movie(len(written), f"Film {number}", int(generator.integers(1930, 2020)), about, None, None)
            written += stand_ins.synopsis(movie).split()
        texts.append(" ".join(written[:length]))
    return texts


def ours(count: int, batch: int, precision: str = "auto") -> dict[str, Any]:
    """Encode all texts as notebook 04 does, shards and hand-off included."""
    encoder, texts = _warm(batch, precision), texts_of(count)
    enriched = pa.table(
        {
            "movieId": pa.array(range(1, count + 1), pa.int64()),
            "synopsis": texts,
            "synopsis_source": ["offline"] * count,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "speed", 42, "04-Feature-Extraction-Text")
        with timed() as clock:
            found = synopses.encode_synopses(store, enriched, encoder, batch)
            path = store.write("text_embeddings", *found.hand_off())
            shards.clear(store, "text_embeddings")
        return _result(clock.seconds, vectors(pq.read_table(path)["embedding"]), encoder, texts)


def ours_bfloat16(count: int, batch: int) -> dict[str, Any]:
    """The same with PRECISION="bfloat16"."""
    return ours(count, batch, "bfloat16")


def one_by_one(count: int, batch: int) -> dict[str, Any]:
    """Tokenise, encode and pool one text after the other, as the original series did."""
    encoder, texts = _warm(1), texts_of(count)
    with tempfile.TemporaryDirectory() as folder, timed() as clock:
        rows = [_forward(encoder, [text])[0] for text in texts]
        write_plainly(rows, folder)
    return _result(clock.seconds, np.stack(rows), encoder, texts)


def sentence_transformers(count: int, batch: int) -> dict[str, Any]:
    """Encode with sentence-transformers where it is installed, else by its algorithm.

    That is (``SentenceTransformer.encode``): sort by length in characters, longest first, cut batches of 32,
    tokenise each with padding to its longest, mean of the tokens, length 1, back into the given order.
    """
    encoder, texts = _warm(THEIR_BATCH), texts_of(count)
    encode = partial(_sorted_batches, encoder)
    if importlib.util.find_spec("sentence_transformers"):
        from sentence_transformers import SentenceTransformer

        encode = SentenceTransformer(str(default_folder(CACHE)), device="cpu").encode
    with tempfile.TemporaryDirectory() as folder, timed() as clock:
        rows = list(encode(texts))
        write_plainly(rows, folder)
    return _result(clock.seconds, np.stack(rows), encoder, texts)


def agree(case: Case, ours_answer: Mapping[str, Any], other_answer: Mapping[str, Any]) -> str | None:
    """Return None where the kept vectors point the same way, else what differs."""
    close = CLOSE_BFLOAT16 if case.ours.endswith("bfloat16") else CLOSE
    return same_directions(ours_answer["sample"], other_answer["sample"], close)


def _sorted_batches(encoder: synopses.TextEncoder, texts: list[str]) -> list[np.ndarray]:
    order = np.argsort([-len(text) for text in texts], kind="stable")
    rows: list[np.ndarray] = [np.empty(0)] * len(texts)
    for start in range(0, len(order), THEIR_BATCH):
        chosen = order[start : start + THEIR_BATCH]
        for place, row in zip(chosen, _forward(encoder, [texts[i] for i in chosen]), strict=True):
            rows[place] = row
    return rows


@torch.inference_mode()
def _forward(encoder: synopses.TextEncoder, texts: list[str]) -> np.ndarray:
    """Return float32 [n, width] of one batch: what the model card of all-MiniLM-L6-v2 does."""
    tokens = encoder.tokenizer(texts, padding=True, truncation=True, max_length=encoder.max_tokens, return_tensors="pt")
    hidden = encoder.module(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1).float()
    mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, dim=1).numpy()


def _warm(batch: int, precision: str = "auto") -> synopses.TextEncoder:
    encoder = synopses.load_encoder(synopses.DEFAULT, "cpu", CACHE, precision)
    synopses.forward(encoder, ["A film about a film."] * batch)
    return encoder


def _result(seconds: float, found: np.ndarray, encoder: synopses.TextEncoder, texts: list[str]) -> dict[str, Any]:
    # Texts that the model cannot read whole are read in windows here and cut by the others: not compared.
    lengths = [len(ids) for ids in encoder.tokenizer(texts, verbose=False)["input_ids"]]
    whole = found[np.array(lengths) <= encoder.max_tokens]
    return {
        "seconds": seconds,
        "answer": {"rows": len(found), "sample": sample(whole), "windowed": len(found) - len(whole)},
        "count": len(texts),
        "flop": flop(encoder, lengths),
    }


def flop(encoder: synopses.TextEncoder, lengths: list[int]) -> int:
    """Return the least floating point operations of texts of so many tokens: matrix products of a BERT, no padding.

    A layer of width d and inner width i takes, for n tokens, 2n(4d² + 2di) in its six linear maps and 4n²d in
    attention (Vaswani et al., 2017, table 1, with a multiplication and an addition counted as two).
    """
    config = encoder.module.config
    width, inner = config.hidden_size, config.intermediate_size
    tokens = np.array(lengths, "float64")
    layer = 2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * tokens**2 * width
    return int(config.num_hidden_layers * layer.sum())


def _cases(count: int, batch: int, repeats: int) -> tuple[Case, ...]:
    both = {
        "stage": "04 texts to vectors",
        "arguments": {"count": count, "batch": batch},
        "repeats": repeats,
    }
    in_float32 = {
        "ours": "benchmarks.speed.synopses:ours",
        "checked": f"cosine of 16 vectors at least {CLOSE}",
        "limit": "matmul",
    }
    # Without a limit: the machine's is measured in float32.
    in_bfloat16 = {
        "ours": "benchmarks.speed.synopses:ours_bfloat16",
        "checked": f"cosine of 16 vectors to float32 at least {CLOSE_BFLOAT16}",
    }
    return (
        Case(against="one text at a time: tokenise, forward, pool, as the original series did",
             other="benchmarks.speed.synopses:one_by_one", at_least=3.0, **both, **in_float32),
        Case(against="one text at a time, as above, in float32; ours with PRECISION=\"bfloat16\"",
             other="benchmarks.speed.synopses:one_by_one", at_least=3.0, **both, **in_bfloat16),
        Case(against="sentence-transformers' encode: sorted by length, batches of 32, padded to the longest",
             other="benchmarks.speed.synopses:sentence_transformers", at_least=1.0, **both, **in_float32),
    )  # fmt: skip


CASES = _cases(512, 64, 5)
SMALL = _cases(24, 8, 1)
