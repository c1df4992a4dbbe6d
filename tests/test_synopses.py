"""Synopses to vectors: the published encoder, each text with its own vector, models of any origin."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError

from utils import encoders, encoders_text, synopses
from utils.artefacts import open_store
from utils.encoders import EncoderError
from utils.parameters import ParameterError
from utils.shards import Item

CACHE = Path(os.environ.get("MULTIMODAL_CACHE", Path(__file__).parents[1] / "data" / ".cache"))
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
    assert found.metadata["truncated"] == 1
    assert found.metadata["source"] == {"local": 3}
    # 14 words and the two tokens around them just fit; a fifteenth is cut.
    np.testing.assert_allclose(found.vectors[1], found.vectors[2], atol=1e-5)
    assert "1 of 3 texts have more than 16 tokens: their ends are cut." in capsys.readouterr().out
    again = synopses.encode_synopses(store, enriched_of(texts), tiny, 4)
    assert again.metadata == found.metadata
    assert "resumed 1 of 1 shards" in capsys.readouterr().out


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


def test_the_text_of_a_movie():
    assert synopses.compose_text("  A cowboy. ") == "A cowboy."
    assert synopses.compose_text(" \n") is None
    assert synopses.compose_text(None) is None


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

    monkeypatch.setattr(encoders, "snapshot_download", offline)
    with pytest.raises(EncoderError) as refused:
        synopses.load_encoder("bert-base-uncased", "cpu", CACHE)
    message = str(refused.value)
    assert "TEXT_ENCODER='bert-base-uncased' is not a folder here and cannot be fetched" in message
    assert "local folder" in message
    assert "'all-MiniLM-L6-v2'" in message
    assert "PRECOMPUTED" in message


def test_an_id_that_can_be_fetched_is_loaded_from_its_folder(folder, monkeypatch):
    monkeypatch.setattr(encoders, "snapshot_download", lambda name, **named: str(folder))
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
