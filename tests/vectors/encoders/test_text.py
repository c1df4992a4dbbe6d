"""Text encoders: the published vector, what sentence-transformers would give, long texts whole, nothing half loaded."""

import json
import pickle
import socket
from dataclasses import replace

import numpy as np
import pytest
import transformers
from safetensors.numpy import save
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tests.places import CACHE
from tests.vectors.tiny import WORDS, copied, edit, tiny_bert
from utils.vectors.encoders import text
from utils.vectors.encoders.base import EncoderError, model_hashes
from utils.vectors.encoders.text import encode, forward, load_encoder, windows

__all__ = ["tiny_bert"]
SHORT = ["a cowboy western", "the romantic gunfight on the frontier in paris", "paris", ""]


@pytest.fixture(scope="module")
def tiny(tiny_bert):
    return load_encoder(str(tiny_bert), "cpu", CACHE)


@pytest.fixture(scope="module")
def minilm():
    return load_encoder("all-MiniLM-L6-v2", "cpu", CACHE)


def test_the_default_encoder_gives_the_published_vector(minilm):
    # The example on the model's page, which shows vectors scaled to length 1.
    found = forward(minilm, ["This is an example sentence"])[0]
    assert found.shape == (384,)
    assert found.dtype == np.float32
    published = [0.06765694, 0.06349581, 0.04871308, 0.07930495, 0.03744801]
    np.testing.assert_allclose(found[:5], published, atol=1e-4)
    assert minilm.settings()["weights_sha256"].startswith("53aa5117")
    assert minilm.max_tokens == 256
    assert minilm.steps == "mean of the last layer over the attention mask, scaled to length 1"


def test_bfloat16_gives_nearly_the_same_vectors_as_float32_and_says_so(minilm):
    fast = load_encoder("all-MiniLM-L6-v2", "cpu", CACHE, "bfloat16")
    said = ["A whale is hunted.", "Two lovers meet on a ship that sinks."]
    one, two = forward(fast, said), forward(minilm, said)
    assert one.dtype == np.float32 and not np.array_equal(one, two)
    assert (one * two).sum(1).min() > 0.999  # of length one
    assert fast.settings() == minilm.settings() | {"precision": "bfloat16"}


def test_the_default_encoder_is_loaded_in_silence_and_without_a_network(minilm, monkeypatch, capfd):
    def refuse(*given, **named):
        raise AssertionError("a connection was tried")

    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    capfd.readouterr()
    load_encoder("all-MiniLM-L6-v2", "cpu", CACHE)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


# How a model's own files say that its tokens become one vector


def sentence_model(tiny_bert, target, pooling, *after):
    """Make a sentence-transformers folder of the tiny BERT; ``after`` are (type, files) of the steps after pooling."""
    copied(tiny_bert, target)
    steps = [("Transformer", {}), ("Pooling", {"config.json": json.dumps(pooling).encode()}), *after]
    listed = []
    for place, (kind, files) in enumerate(steps):
        path = f"{place}_{kind}" if place else ""
        listed.append({"name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"})
        (target / path).mkdir(exist_ok=True)
        for name, content in files.items():
            (target / path / name).write_bytes(content)
    (target / "modules.json").write_text(json.dumps(listed))
    return target


def mode(*names):
    return {"word_embedding_dimension": 12} | {f"pooling_mode_{name}": True for name in names}


MEAN = mode("mean_tokens")


def dense(seed=0, activation="torch.nn.modules.activation.Tanh", weights="model.safetensors"):
    weight = np.random.default_rng(seed).standard_normal((5, 12)).astype("float32")
    config = {"in_features": 12, "out_features": 5, "bias": True, "activation_function": activation}
    content = save({"linear.weight": weight, "linear.bias": np.arange(5, dtype="float32")})
    return "Dense", {"config.json": json.dumps(config).encode(), weights: content}


FOLDERS = {
    "no folder of steps": (),
    "mean": (MEAN,),
    "cls": (mode("cls_token"),),
    "max": (mode("max_tokens"),),
    "last": (mode("lasttoken"),),
    "cls and mean": (mode("cls_token", "mean_tokens"),),
    "since 5": ({"pooling_mode": "max", "embedding_dimension": 12},),
    "normalize": (MEAN, ("Normalize", {})),
    "dense, normalize": (MEAN, dense(), ("Normalize", {})),
    "dense alone": (mode("cls_token"), dense(activation="torch.nn.modules.linear.Identity")),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_texts_that_fit_get_the_vector_that_sentence_transformers_gives(tiny_bert, tmp_path, case):
    folder = sentence_model(tiny_bert, tmp_path / "model", *FOLDERS[case]) if FOLDERS[case] else tiny_bert
    encoder = load_encoder(str(folder), "cpu", CACHE)
    reference = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(SHORT)
    assert encoder.width == reference.shape[1]
    np.testing.assert_allclose(forward(encoder, SHORT), reference, atol=1e-5)


def test_dense_and_normalize_come_after_pooling_and_after_the_windows(tiny_bert, tmp_path, tiny):
    folder = sentence_model(tiny_bert, tmp_path / "model", MEAN, dense(), ("Normalize", {}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    encoder = load_encoder(str(folder), "cpu", CACHE)
    assert (encoder.width, encoder.max_tokens) == (5, 9)
    said = ["a cowboy western", "paris " * 10]
    weight = np.random.default_rng(0).standard_normal((5, 12)).astype("float32")
    expected = np.tanh(forward(replace(tiny, max_tokens=9), said) @ weight.T + np.arange(5))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(forward(encoder, said), expected, atol=1e-5)
    assert "dense 5 (Tanh), scaled to length 1" in encoder.preprocessing


CHANGES = {
    "tokenizer": lambda folder: (folder / "tokenizer.json").write_bytes(b"{}"),
    "pooling": lambda folder: edit(folder / "1_Pooling" / "config.json", pooling_mode_max_tokens=True),
    "pooling gone": lambda folder: (folder / "1_Pooling" / "config.json").unlink(),
    "steps gone": lambda folder: (folder / "modules.json").unlink(),
    "configuration": lambda folder: edit(folder / "config.json", hidden_act="relu"),
    "limit": lambda folder: (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}'),
    "weights": lambda folder: (folder / "model.safetensors").write_bytes(b"half"),
    "weights behind": lambda folder: (folder / "2_Dense" / "model.safetensors").write_bytes(b"half"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_file_that_decides_a_vector_is_in_the_hash_and_the_default_must_be_as_published(
    tiny_bert, tmp_path, monkeypatch, change
):
    folder = sentence_model(tiny_bert, tmp_path / "model", MEAN, dense())
    before = model_hashes("TEXT_ENCODER", "model", folder)
    monkeypatch.setattr(text, "default_folder", lambda cache: folder)
    monkeypatch.setattr(text, "FILES_SHA256", before["files_sha256"])
    assert load_encoder(text.DEFAULT, "cpu", CACHE).files_sha256 == before["files_sha256"]
    CHANGES[change](folder)
    after = model_hashes("TEXT_ENCODER", "model", folder)
    assert after["files_sha256"] != before["files_sha256"]
    assert (after["weights_sha256"] != before["weights_sha256"]) == change.startswith("weights")
    with pytest.raises(EncoderError, match=r"does not hold the published model. Delete the folder and run this again"):
        load_encoder(text.DEFAULT, "cpu", CACHE)


def steps(folder, **changes):
    listed = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([listed[0], listed[1] | changes]))


def own(folder):
    (folder / "own.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w')\n")
    return {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}


class Trap:
    def __reduce__(self):
        return (open, ("ran", "w"))


def pickled(folder):
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    (folder / "2_Dense" / "model.safetensors").unlink()


def limit(said):
    return lambda folder: (folder / "sentence_bert_config.json").write_text(said)


REFUSED = {
    "other weights": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "safetensors"),
    "a pickle behind": (pickled, r"2_Dense has no \*.safetensors file. Weights in other formats are not read"),
    "damaged weights": (lambda f: (f / "model.safetensors").write_bytes(b"half a file"), "header"),
    "damaged behind": (lambda f: (f / "2_Dense" / "model.safetensors").write_bytes(b"half"), "header|deserializ"),
    "layers are missing": (lambda f: edit(f / "config.json", num_hidden_layers=3), "lack 16 layers.*would be random"),
    "own code": (lambda f: edit(f / "config.json", **own(f)), "contains custom code"),
    "an own step": (lambda f: (own(f), steps(f, type="own.Pooling")), r"'own.Pooling'.*not Transformer, Pooling"),
    "unknown step": (lambda f: steps(f, type="sentence_transformers.models.LSTM"), "LSTM.*not Transformer, Pooling"),
    "dense first": (lambda f: steps(f, type="sentence_transformers.models.Dense"), "Dense.*not Transformer, Pooling"),
    "above": (lambda f: steps(f, path="../outside"), r"modules.json names '../outside', which is no folder beside it"),
    "parent": (lambda f: steps(f, path=".."), "which is no folder beside it"),
    "elsewhere": (lambda f: steps(f, path="/etc"), "which is no folder beside it"),
    "deeper, where nothing is hashed": (lambda f: steps(f, path="a/b"), "which is no folder beside it"),
    "a number": (lambda f: steps(f, path=3), "no model that can be loaded"),
    "steps gone": (lambda f: (f / "modules.json").unlink(), "modules.json is missing"),
    "steps empty": (lambda f: (f / "modules.json").write_text(""), "Expecting value"),
    "pooling gone": (lambda f: (f / "1_Pooling" / "config.json").unlink(), "embedding_dimension"),
    "unknown pooling": (lambda f: edit(f / "1_Pooling" / "config.json", pooling_mode="psychic"), "psychic"),
    "pooling too wide": (lambda f: edit(f / "1_Pooling" / "config.json", word_embedding_dimension=13), "shape|size"),
    "untrusted activation": (
        lambda f: edit(f / "2_Dense" / "config.json", activation_function="os.system"),
        "the activation of 2_Dense is 'os.system', which is none of PyTorch's",
    ),
    "limit is no number": (limit('{"max_seq_length": "9"}'), "str"),
    "limit is a list": (limit("[9]"), "list"),
    "limit too low": (limit('{"max_seq_length": 2}'), "reads 2 tokens, of which the text may have none"),
    "no tokenizer": (lambda f: [(f / n).unlink() for n in ("tokenizer.json", "vocab.txt")], "knows no words"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_cannot_be_used_is_refused(tiny_bert, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    folder = sentence_model(tiny_bert, tmp_path / "model", MEAN, dense())
    change, message = REFUSED[case]
    change(folder)
    with pytest.raises(EncoderError, match=message) as refused:
        load_encoder(str(folder), "cpu", CACHE)
    assert str(refused.value).startswith(f"TEXT_ENCODER={str(folder)!r}")
    assert not (tmp_path / "ran").exists(), "no code and no pickle of a model is run"


# Texts of any length


def test_each_text_gets_its_own_vector_whatever_its_length_or_batch(tiny):
    texts = ["paris " * n for n in (9, 1, 5, 40)] + ["cowboy", "the comedy on the frontier", "western western", ""]
    alone = np.concatenate([forward(tiny, [each]) for each in texts])
    assert len(np.unique(alone.round(4), axis=0)) == len(texts)
    for batch in (1, 4, 64):
        np.testing.assert_allclose(encode(tiny, texts, batch), alone, atol=1e-5)
    assert encode(tiny, [], 4).shape == (0, 12)


def test_a_long_text_gets_the_mean_of_its_windows_weighted_by_their_tokens(tiny):
    long = "paris " * 14
    found = forward(tiny, [long + "cowboy cowboy western"])[0]
    first, second = forward(tiny, [long, "cowboy cowboy western"])
    np.testing.assert_allclose(found, (14 * first + 3 * second) / 17, atol=1e-5)
    assert abs(found - first).max() > 1e-3


def test_windows_end_between_words_unless_a_word_fills_one(tiny_bert, tmp_path):
    folder = copied(tiny_bert, tmp_path / "model")
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:-2], "gun", "##fight", "##s"]) + "\n")
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    edit(folder / "config.json", vocab_size=len(WORDS) + 1)
    transformers.BertModel(transformers.BertConfig.from_pretrained(folder)).save_pretrained(folder)
    encoder = replace(load_encoder(str(folder), "cpu", CACHE), max_tokens=6)
    one = encoder.tokenizer("gunfights", add_special_tokens=False)["input_ids"]
    paris = encoder.tokenizer("paris", add_special_tokens=False)["input_ids"][0]
    assert len(one) == 3
    assert list(windows(encoder, ["paris paris paris gunfights", ""])) == [[[paris] * 3, one], [[]]]
    parts = next(windows(replace(encoder, max_tokens=3), ["gunfights paris"]))
    assert parts == [[token] for token in [*one, paris]]


def save_words(folder, words, special, post=None, **options):
    """Save a tokenizer that knows whole words, the numbers of which are their places."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token=special))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = post or tokenizer.post_processor
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=special, **options).save_pretrained(
        folder
    )
    return len(words)


def test_an_encoder_with_late_positions_reads_what_it_can(tmp_path):
    framed = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS[5:], "movie"]
    size = save_words(tmp_path, words, "<unk>", framed, pad_token="<pad>")
    small = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.RobertaConfig(vocab_size=size, max_position_embeddings=18, pad_token_id=1, **small)
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path), "cpu", CACHE)
    assert encoder.max_tokens == 16
    assert np.isfinite(forward(encoder, ["paris " * 40])).all()


def test_a_decoder_without_a_padding_token_is_padded_behind(tmp_path):
    size = save_words(tmp_path, [*WORDS, "movie", "</s>"], "[UNK]", eos_token="</s>", padding_side="left")
    config = transformers.GPT2Config(vocab_size=size, n_embd=12, n_layer=1, n_head=2, n_positions=16)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path), "cpu", CACHE)
    alone = np.concatenate([forward(encoder, [each]) for each in SHORT[:3]])
    np.testing.assert_allclose(forward(encoder, SHORT[:3]), alone, atol=1e-5)
