"""Synopses to vectors: the published encoder, each text with its own vector, models of any origin."""

import hashlib
import json
import socket
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.numpy import save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tests.places import CACHE
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, open_store
from utils.vectors import synopses
from utils.vectors.encoders import base
from utils.vectors.encoders import text as encoders_text
from utils.vectors.encoders.base import EncoderError
from utils.vectors.shards import Item

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "in", "on", "cowboy", "comedy", "paris"]
WORDS += ["western", "romantic", "gunfight", "frontier"]


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path, "toy", 42, "04-Feature-Extraction-Text")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a tiny BERT with random weights, which reads 16 tokens at most."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        pad_token_id=0,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(folder):
    return synopses.load_encoder(str(folder), "cpu", CACHE)


@pytest.fixture(scope="module")
def minilm():
    return synopses.load_encoder("all-MiniLM-L6-v2", "cpu", CACHE)


def test_bfloat16_gives_nearly_the_same_vectors_as_float32_and_says_so(minilm):
    fast = synopses.load_encoder("all-MiniLM-L6-v2", "cpu", CACHE, "bfloat16")
    texts = ["A whale is hunted.", "Two lovers meet on a ship that sinks."]
    one, two = synopses.forward(fast, texts), synopses.forward(minilm, texts)
    assert one.dtype == np.float32 and not np.array_equal(one, two)
    assert (one * two).sum(1).min() > 0.999  # of length one
    assert (one * synopses.forward(fast, texts[:1])).sum(1)[0] > 0.999
    assert fast.settings() == minilm.settings() | {"precision": "bfloat16"}


def test_vectors_of_two_precisions_never_share_a_shard(store, folder, capsys):
    enriched = enriched_of(["cowboy", "the comedy on the frontier", "paris " * 15])
    found = {}
    for precision in ("float32", "bfloat16", "auto"):
        encoder = synopses.load_encoder(str(folder), "cpu", CACHE, precision)
        found[precision] = synopses.encode_synopses(store, enriched, encoder)
        assert ("resumed" in capsys.readouterr().out) == (precision == "auto"), "on a CPU auto is float32"
    assert [embeddings.metadata["precision"] for embeddings in found.values()] == ["float32", "bfloat16", "float32"]
    assert not np.array_equal(found["float32"].vectors, found["bfloat16"].vectors)
    np.testing.assert_array_equal(found["float32"].vectors, found["auto"].vectors)
    store.write("text_embeddings", *found["bfloat16"].hand_off())
    assert store.metadata("text_embeddings")["precision"] == "bfloat16"
    assert store.read("text_embeddings")["embedding"].type.value_type == pa.float32()


def test_an_unknown_precision_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(ParameterError, match=r"PRECISION='half' .*Choose one of: 'auto', 'float32', 'bfloat16'"):
        synopses.load_encoder("all-MiniLM-L6-v2", "cpu", tmp_path, "half")
    assert not list(tmp_path.iterdir())


def enriched_of(texts):
    return pa.table(
        {
            "movieId": pa.array(range(1, len(texts) + 1), pa.int64()),
            "synopsis": pa.array(texts, pa.string()),
            "synopsis_source": pa.array([None if text is None else "local" for text in texts], pa.string()),
        }
    )


def test_the_default_encoder_gives_the_published_vector(minilm):
    # The example on the model's page, which shows vectors scaled to length 1.
    found = synopses.forward(minilm, ["This is an example sentence"])[0]
    assert found.shape == (384,)
    assert found.dtype == np.float32
    published = [0.06765694, 0.06349581, 0.04871308, 0.07930495, 0.03744801]
    np.testing.assert_allclose((found / np.linalg.norm(found))[:5], published, atol=1e-4)
    assert minilm.settings()["weights_sha256"] == encoders_text.WEIGHTS_SHA256
    assert minilm.max_tokens == 256


def test_the_default_encoder_knows_a_western_when_it_reads_one(minilm):
    texts = ["a cowboy western", "gunfight on the frontier", "romantic comedy in Paris"]
    found = synopses.forward(minilm, texts)
    western, gunfight, comedy = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert western @ gunfight > western @ comedy + 0.1


def test_the_default_encoder_does_not_care_for_the_batch(minilm):
    items = [Item(i, "", "gunfight on the frontier " * (1 + 7 * i % 11)) for i in range(8)]
    one, _ = synopses.encode_texts(items, minilm, 1)
    eight, _ = synopses.encode_texts(items, minilm, 8)
    np.testing.assert_allclose(one, eight, atol=1e-5)


def test_the_default_encoder_is_loaded_without_a_network(minilm, monkeypatch, capfd):
    def refuse(*given, **named):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    capfd.readouterr()
    synopses.load_encoder("all-MiniLM-L6-v2", "cpu", CACHE)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_a_default_model_that_was_changed_is_refused(folder, monkeypatch):
    monkeypatch.setattr(encoders_text, "default_folder", lambda cache: folder)
    with pytest.raises(EncoderError, match=r"does not hold the published model. Delete it"):
        synopses.load_encoder("all-MiniLM-L6-v2", "cpu", CACHE)


def test_the_vector_is_the_mean_over_the_mask(tiny):
    tokens = tiny.tokenizer(["a cowboy western"], return_tensors="pt")
    with torch.inference_mode():
        expected = tiny.module(**tokens).last_hidden_state[0].mean(0).numpy()
    padded = synopses.forward(tiny, ["a cowboy western", "the romantic gunfight on the frontier in paris"])
    np.testing.assert_allclose(padded[0], expected, atol=1e-5)


def test_each_text_gets_its_own_vector_whatever_its_length_or_batch(store, tiny):
    texts = ["paris " * n for n in (9, 1, 5)] + ["cowboy", "the comedy on the frontier", "western western"]
    one, _ = synopses.encode_texts([Item(i, "", text) for i, text in enumerate(texts)], tiny, 1)
    four, _ = synopses.encode_texts([Item(i, "", text) for i, text in enumerate(texts)], tiny, 4)
    alone = np.concatenate([synopses.forward(tiny, [text]) for text in texts])
    np.testing.assert_allclose(one, alone, atol=1e-5)
    np.testing.assert_allclose(four, alone, atol=1e-5)
    assert len(np.unique(alone.round(4), axis=0)) == len(texts)


def test_texts_without_content_are_missing_and_long_ones_counted(store, tiny, capsys):
    texts = ["cowboy", None, "", " \n\t", "paris " * 14, "paris " * 15]
    found = synopses.encode_synopses(store, enriched_of(texts), tiny, 4)
    assert found.ids.tolist() == [1, 5, 6]
    assert found.failures == ()
    # 14 words and the two tokens around them just fit.
    assert found.metadata["windowed"] == 1
    assert found.metadata["source"] == {"local": 3}
    assert "1 of 3 texts are longer than 16 tokens: read in several windows." in capsys.readouterr().out
    again = synopses.encode_synopses(store, enriched_of(texts), tiny, 4)
    assert again.metadata == found.metadata
    assert "resumed 1 of 1 shards" in capsys.readouterr().out


def test_the_end_of_a_long_text_counts(tiny):
    long = "paris " * 14
    found = synopses.forward(tiny, [long, long + "cowboy cowboy western", long + "romantic comedy paris"])
    assert abs(found[1] - found[0]).max() > 1e-3
    assert abs(found[1] - found[2]).max() > 1e-3
    # 14 and 3 words: the mean of the windows' vectors, weighted by their tokens.
    first, second = synopses.forward(tiny, [long, "cowboy cowboy western"])
    np.testing.assert_allclose(found[1], (14 * first + 3 * second) / 17, atol=1e-5)


def test_windows_end_between_words_unless_a_word_fills_one(folder, tmp_path):
    copy = copied(folder, tmp_path)
    (copy / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))
    words = [*WORDS, "gun", "##fight", "##s"]
    (copy / "vocab.txt").write_text("\n".join(words) + "\n")
    transformers.BertTokenizerFast(vocab=str(copy / "vocab.txt")).save_pretrained(copy)
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    one = tokenizer("gunfights", add_special_tokens=False)["input_ids"]
    encoder = replace(synopses.load_encoder(str(folder), "cpu", CACHE), tokenizer=tokenizer, max_tokens=6)
    assert len(one) >= 2
    paris = tokenizer("paris", add_special_tokens=False)["input_ids"][0]
    assert encoders_text.windows(encoder, ["paris paris paris gunfights", ""]) == [[[paris] * 3, one], [[]]]
    parts = encoders_text.windows(replace(encoder, max_tokens=3), ["gunfights paris"])[0]
    assert [token for part in parts for token in part] == [*one, paris]
    assert all(len(part) == 1 for part in parts)


def test_a_text_that_is_no_text_is_a_failure(store, tiny, monkeypatch):
    monkeypatch.setattr(synopses, "MAX_CHARACTERS", 100)
    found = synopses.encode_synopses(store, enriched_of(["cowboy", "x" * 101, "paris"]), tiny)
    assert found.ids.tolist() == [1, 3]
    assert found.failures[0].reason == "the text has 101 characters, at most 100 are read"


def test_any_shard_and_batch_size_gives_the_same(tmp_path, tiny):
    texts = [" ".join(WORDS[5 + (i * j) % 11] for j in range(1 + 5 * i)) for i in range(12)]
    found = []
    for batch, shard in ((1, 1), (64, 256), (3, 5)):
        store = open_store(tmp_path, f"of-{batch}-{shard}", 42, "04-Feature-Extraction-Text")
        found.append(synopses.encode_synopses(store, enriched_of(texts), tiny, batch, shard_size=shard).vectors)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


def test_a_changed_text_is_encoded_again(store, tiny):
    before = synopses.encode_synopses(store, enriched_of(["cowboy", "paris"]), tiny)
    after = synopses.encode_synopses(store, enriched_of(["cowboy", "western"]), tiny)
    np.testing.assert_allclose(before.vectors[0], after.vectors[0], atol=1e-5)
    assert abs(before.vectors[1] - after.vectors[1]).max() > 1e-3


def test_a_catalogue_without_texts(store, tiny):
    found = synopses.encode_synopses(store, enriched_of([None, ""]), tiny)
    assert found.vectors.shape == (0, 12)
    store.write("text_embeddings", *found.hand_off())
    assert store.metadata("text_embeddings")["encoder"] == tiny.name


# The text of a movie

MOVIES = pa.table(
    {
        "movieId": pa.array([1, 2, 3], pa.int64()),
        "title": ["Heat", "Big", None],
        "year": pa.array([1995, None, 1990], pa.int16()),
        "genres": pa.array([["Action", "Crime"], [], ["Drama"]], pa.list_(pa.string())),
    }
)


def texts_of(enriched, template, movies=MOVIES):
    return {item.movieId: item.content for item in synopses.synopsis_items(enriched, movies, template)}


def test_the_text_is_put_together_by_the_template():
    enriched = enriched_of(["A  cop.\n", "A boy.", "A man."]).append_column("tagline", pa.array(["Crime.", None, ""]))
    assert texts_of(enriched, synopses.TEMPLATE) == {
        1: "Heat. Crime. A cop. Genres: Action, Crime",
        2: "Big. A boy.",
        3: ". A man. Genres: Drama",
    }
    assert texts_of(enriched, "{title} ({year}): {synopsis}")[1] == "Heat (1995): A cop."
    assert texts_of(enriched, "{synopsis}", None) == {1: "A cop.", 2: "A boy.", 3: "A man."}
    assert texts_of(enriched_of(["A cop."]), synopses.TEMPLATE)[1] == "Heat. A cop. Genres: Action, Crime"


def test_a_movie_without_a_synopsis_has_no_text_whatever_else_is_known():
    assert texts_of(enriched_of([None, " \n", "A man."]), synopses.TEMPLATE).keys() == {3}


def test_the_key_is_of_the_whole_text():
    enriched = enriched_of(["A cop."])
    keys = {synopses.synopsis_items(enriched, MOVIES, t)[0].key for t in ("{synopsis}", "{title} {synopsis}")}
    assert keys == {hashlib.sha256(text).hexdigest() for text in (b"A cop.", b"Heat A cop.")}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{synopsis} {plot}", r"has the placeholder \{plot\}. Those known are \{title\}, \{year\}, \{tagline\}"),
        ("{synopsis} {title.__class__}", r"has the placeholder \{title.__class__\}"),
        ("{synopsis} {title!r}", r"has the placeholder \{title!r\}"),
        ("{synopsis:>1000000000}", r"has the placeholder \{synopsis:>1000000000\}"),
        ("{synopsis} {}", r"has the placeholder \{\}"),
        ("{title}", r"has no \{synopsis\}"),
        ("", r"has no \{synopsis\}"),
        ("{synopsis", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_templates_that_are_refused(template, message):
    with pytest.raises(ParameterError, match=message) as refused:
        synopses.check_template(template)
    assert str(refused.value).startswith(f"TEMPLATE={template!r} ")


def test_a_template_that_wants_what_is_not_there():
    with pytest.raises(ParameterError, match=r"TEMPLATE has \['genres', 'title'\], which needs movies_converted"):
        synopses.synopsis_items(enriched_of(["A cop."]), None, synopses.TEMPLATE)
    with pytest.raises(HandOffError, match=r"movieId 4 of enriched.parquet is not in movies_converted.parquet. Run 02"):
        texts_of(enriched_of(["A."] * 4), synopses.TEMPLATE)


def test_the_template_is_in_the_metadata_and_decides_the_vector(store, tiny):
    enriched = enriched_of(["cowboy", "paris", None])
    one = synopses.encode_synopses(store, enriched, tiny, movies=MOVIES, template="{synopsis} {genres} western")
    two = synopses.encode_synopses(store, enriched, tiny)
    assert one.ids.tolist() == two.ids.tolist() == [1, 2]
    assert one.metadata["template"] == "{synopsis} {genres} western"
    assert abs(one.vectors - two.vectors).max() > 1e-3


# How a model's own files say that its tokens become one vector


def sentence_model(folder, tmp_path, pooling, *after, limit=None):
    """Make a sentence-transformers folder of a tiny BERT; ``after`` are (type, files) of the steps after pooling."""
    target = copied(folder, tmp_path)
    steps = ["Transformer", "Pooling", *(kind for kind, _ in after)]
    listed = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(steps)
    ]
    (target / "modules.json").write_text(json.dumps(listed))
    (target / "1_Pooling").mkdir()
    (target / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for place, (kind, files) in enumerate(after, start=2):
        (target / f"{place}_{kind}").mkdir()
        for name, content in files.items():
            (target / f"{place}_{kind}" / name).write_bytes(content)
    if limit:
        (target / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    return target


def mode(**on):
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    return {"word_embedding_dimension": 12} | {f"pooling_mode_{name}": bool(on.get(name)) for name in names}


@pytest.mark.parametrize(
    ("pooling", "reference"),
    [
        (mode(cls_token=True), lambda h: h[0]),
        (mode(mean_tokens=True), lambda h: h.mean(0)),
        (mode(max_tokens=True), lambda h: h.max(0)),
        (mode(cls_token=True, mean_tokens=True), lambda h: np.concatenate([h[0], h.mean(0)])),
        ({"pooling_mode": "max"}, lambda h: h.max(0)),
    ],
)
def test_the_pooling_of_the_model_is_kept(folder, tmp_path, tiny, pooling, reference):
    encoder = synopses.load_encoder(str(sentence_model(folder, tmp_path, pooling)), "cpu", CACHE)
    with torch.inference_mode():
        hidden = tiny.module(**tiny.tokenizer(["a cowboy western"], return_tensors="pt")).last_hidden_state[0].numpy()
    # In a batch with a longer text, so that padding is there to be left out.
    found = synopses.forward(encoder, ["a cowboy western", "the romantic gunfight on the frontier in paris"])[0]
    np.testing.assert_allclose(found, reference(hidden), atol=1e-5)


def test_dense_and_normalize_come_after_pooling_and_after_the_windows(folder, tmp_path, tiny):
    weight = np.random.default_rng(0).standard_normal((5, 12)).astype("float32")
    bias = np.arange(5, dtype="float32")
    activation = json.dumps({"activation_function": "torch.nn.modules.activation.Tanh"}).encode()
    dense = {"config.json": activation, "model.safetensors": save({"linear.weight": weight, "linear.bias": bias})}
    target = sentence_model(folder, tmp_path, mode(mean_tokens=True), ("Dense", dense), ("Normalize", {}), limit=9)
    encoder = synopses.load_encoder(str(target), "cpu", CACHE)
    assert (encoder.width, encoder.max_tokens) == (5, 9)
    plain = replace(tiny, max_tokens=9)
    texts = ["a cowboy western", "paris " * 10]
    expected = np.tanh(synopses.forward(plain, texts) @ weight.T + bias)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(synopses.forward(encoder, texts), expected, atol=1e-5)
    assert "dense 5 (Tanh), scaled to length 1" in encoder.preprocessing
    before = encoder.weights_sha256
    (target / "2_Dense" / "model.safetensors").write_bytes(save({"linear.weight": weight + 1, "linear.bias": bias}))
    assert synopses.load_encoder(str(target), "cpu", CACHE).weights_sha256 != before


@pytest.mark.parametrize(
    ("pooling", "after", "message"),
    [
        (mode(lasttoken=True), [], r"pooling \['pooling_mode_lasttoken'\] is not supported, only mean, cls and max"),
        (mode(), [], "pooling of no kind is not supported"),
        (mode(mean_tokens=True), [("LSTM", {})], r"the steps .*'LSTM'\] are not supported"),
        (mode(mean_tokens=True), [("Normalize", {}), ("Dense", {})], "are not supported: after Pooling come Dense"),
        (
            mode(mean_tokens=True),
            [("Dense", {"config.json": b'{"activation_function": "os.system"}'})],
            "'system' is none",
        ),
        (
            mode(mean_tokens=True),
            [("Dense", {"config.json": b'{"activation_function": "Tanh"}', "model.safetensors": b"half"})],
            "holds no dense layer that can be read",
        ),
    ],
)
def test_steps_that_are_not_supported_are_refused(folder, tmp_path, pooling, after, message):
    with pytest.raises(EncoderError, match=message):
        synopses.load_encoder(str(sentence_model(folder, tmp_path, pooling, *after)), "cpu", CACHE)


@pytest.mark.parametrize("path", ["../outside", "/etc", "a/../../b", 3])
def test_steps_outside_the_folder_are_refused(folder, tmp_path, path):
    target = sentence_model(folder, tmp_path, mode(mean_tokens=True))
    steps = json.loads((target / "modules.json").read_text())
    (target / "modules.json").write_text(json.dumps([steps[0], steps[1] | {"path": path}]))
    with pytest.raises(EncoderError, match=r"modules.json names .* which is not below it"):
        synopses.load_encoder(str(target), "cpu", CACHE)


def test_an_encoder_with_late_positions_reads_what_it_can(tmp_path):
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *WORDS[5:], "movie"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    wrapped.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=len(words), hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=18, pad_token_id=1,
    )  # fmt: skip
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    encoder = synopses.load_encoder(str(tmp_path), "cpu", CACHE)
    assert encoder.max_tokens == 16
    assert np.isfinite(synopses.forward(encoder, ["paris " * 40])).all()


def test_a_limit_that_the_folder_states_is_kept(folder, tmp_path):
    copy = copied(folder, tmp_path)
    (copy / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    assert synopses.load_encoder(str(copy), "cpu", CACHE).max_tokens == 9
    (copy / "sentence_bert_config.json").write_text("[]")
    with pytest.raises(EncoderError, match=r"is not JSON with a max_seq_length"):
        synopses.load_encoder(str(copy), "cpu", CACHE)


def test_settings_that_change_while_loading_are_put_back(folder):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    synopses.load_encoder(str(folder), "cpu", CACHE)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_an_id_that_cannot_be_fetched_names_the_remedies(monkeypatch):
    def offline(*given, **named):
        raise LocalEntryNotFoundError("no connection\nmore")

    monkeypatch.setattr(base, "snapshot_download", offline)
    with pytest.raises(EncoderError) as refused:
        synopses.load_encoder("bert-base-uncased", "cpu", CACHE)
    message = str(refused.value)
    assert "TEXT_ENCODER='bert-base-uncased' is not a folder here and cannot be fetched" in message
    assert "local folder" in message
    assert "'all-MiniLM-L6-v2'" in message
    assert "PRECOMPUTED" in message


def test_an_id_that_can_be_fetched_is_loaded_from_its_folder(folder, monkeypatch):
    monkeypatch.setattr(base, "snapshot_download", lambda name, **named: str(folder))
    encoder = synopses.load_encoder("someone/tiny-bert", "cpu", CACHE)
    assert encoder.name == "someone/tiny-bert"
    assert encoder.width == 12


def test_a_name_that_is_neither_folder_nor_id():
    with pytest.raises(ParameterError, match=r"TEXT_ENCODER='./no/such/folder' is neither a folder"):
        synopses.load_encoder("./no/such/folder", "cpu", CACHE)


def test_a_folder_with_other_weights_than_safetensors(folder, tmp_path):
    copy = copied(folder, tmp_path)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"has no \*.safetensors file. Weights in other formats are not read"):
        synopses.load_encoder(str(copy), "cpu", CACHE)


def test_a_folder_with_damaged_weights(folder, tmp_path):
    copy = copied(folder, tmp_path)
    (copy / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(EncoderError, match=r"holds no model that transformers .* can load"):
        synopses.load_encoder(str(copy), "cpu", CACHE)


def test_a_folder_whose_weights_lack_layers(folder, tmp_path):
    copy = copied(folder, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(EncoderError, match=r"lack 16 layers of the model, such as 'encoder.layer.2.*would be random"):
        synopses.load_encoder(str(copy), "cpu", CACHE)


def test_a_folder_that_wants_its_own_code_run(folder, tmp_path):
    copy = copied(folder, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (copy / "config.json").write_text(json.dumps(config | own))
    (copy / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(EncoderError, match=r"holds no model that transformers"):
        synopses.load_encoder(str(copy), "cpu", CACHE)
    assert not (tmp_path / "ran").exists()


def copied(folder, tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target
