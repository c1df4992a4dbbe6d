"""utils.content.images: what is refused and why, what is turned into RGB, and how posters are saved."""

import contextlib
import io
import os
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from utils.content import images
from utils.content.images import ImageRefused, comment_of, decode, save_jpeg
from utils.handoff.atomic import DataFolderError


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(width: int = 60, height: int = 90) -> Image.Image:
    """A picture whose top left quarter is red, the rest blue: every turn and flip shows."""
    image = Image.new("RGB", (width, height), (20, 40, 220))
    image.paste((220, 30, 20), (0, 0, width // 2, height // 2))
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a single row's worth of nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    data = encoded(picture())
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def webp_claiming(width: int, height: int) -> bytes:
    body = b"\0" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def is_red(pixel: tuple[int, int, int]) -> bool:
    return pixel[0] > 150 and pixel[2] < 90


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_good_picture_comes_back_as_rgb_from_bytes_and_from_a_file(kind: str, tmp_path: Path) -> None:
    data = encoded(picture(), kind)
    (tmp_path / "any-name.gif").write_bytes(data)
    for source in (data, tmp_path / "any-name.gif"):
        image = decode(source)
        assert (image.mode, image.size) == ("RGB", (60, 90))
        assert is_red(image.getpixel((10, 10)))
        assert not is_red(image.getpixel((50, 80)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html><html>Not found</html>", r"^not an image \(starts with '<!DOCTYPE'\)$"),
        (b"\n\n<html>", r"^not an image \(starts with '<html>'\)$"),
        (b"", r"^not an image \(the file is empty\)$"),
        (b"\xff\xd8\xff", "^damaged JPEG header"),
        (b"\x89PNG\r\n\x1a\n", "^damaged PNG header"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", r"^damaged WebP header \(too short\)$"),
        (b"RIFF\x10\0\0\0WEBPJUNK" + b"\0" * 20, "^damaged WebP header"),
        (encoded(picture(), "GIF"), r"^unsupported format GIF \(JPEG, PNG or WebP expected\)$"),
        (encoded(picture(), "BMP"), "^unsupported format BMP"),
        (encoded(picture(), "TIFF"), "^unsupported format TIFF"),
        (encoded(picture(1, 1), "PNG"), r"^too small \(1 x 1, at least 16 a side\)$"),
        (encoded(picture(15, 90)), r"^too small \(15 x 90"),
        (png_header(20_000, 20_000), r"^too many pixels \(20,000 x 20,000, at most 40,000,000\)$"),
        (jpeg_claiming(20_000, 20_000), r"^too many pixels \(20,000 x 20,000"),
        (webp_claiming(16_384, 16_384), r"^too many pixels \(16,384 x 16,384"),
        # Between Pillow's own warning and error: it must be refused without either.
        (png_header(10_000, 10_000), r"^too many pixels \(10,000 x 10,000"),
        (png_header(100, 100), "^truncated or damaged PNG"),
    ],
)
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_refusals_say_why_whatever_the_warnings_filter(data: bytes, reason: str, action: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # type: ignore[arg-type]
        with pytest.raises(ImageRefused, match=reason):
            decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (80, 80, 3), dtype="uint8"))
    data = encoded(noise, kind)
    with pytest.raises(ImageRefused, match=r"^truncated or damaged|^damaged"):
        decode(data[: len(data) // 2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as stream:
        stream.truncate(50 * 2**30)
    with pytest.raises(ImageRefused, match=r"^too many bytes \(53,687,091,200, at most 20,971,520\)$"):
        decode(huge)
    with pytest.raises(ImageRefused, match=r"^too many bytes"):
        decode(bytes(images.MAX_BYTES + 1))


def test_large_pictures_are_decoded_one_after_the_other_and_stay_no_larger_than_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size, at_work, most = (32, 48), [], []
    noise = np.random.default_rng(0).integers(0, 255, (500, 330, 3), dtype=np.uint8)
    data, loaded = encoded(Image.fromarray(noise), "PNG"), images._loaded

    def watched(image: ImageFile.ImageFile, target: tuple[int, int] | None = None) -> Image.Image:
        at_work.append(image)
        most.append(len(at_work))
        picture = loaded(image, target)
        at_work.pop()
        return picture

    whole = decode(data, target=size)
    monkeypatch.setattr(images, "MANY_PIXELS", 10_000)
    monkeypatch.setattr(images, "_loaded", watched)
    with ThreadPoolExecutor(8) as pool:
        small = list(pool.map(lambda _: decode(data, target=size), range(16)))
    assert most == [1] * 16 and {picture.size for picture in small} == {(66, 100)}
    resized = [np.asarray(p.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0), int) for p in (whole, small[0])]
    assert np.abs(resized[0] - resized[1]).max() <= 2


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageRefused, match=r"^not a regular file$"):
        decode(tmp_path / "pipe.jpg")
    with pytest.raises(ImageRefused, match=r"^not a regular file$"):
        decode(tmp_path)
    with pytest.raises(ImageRefused, match=r"^cannot be read \(No such file"):
        decode(tmp_path / "none.jpg")


def test_cmyk_palette_and_grey_become_the_same_colours() -> None:
    for data in (
        encoded(picture().convert("CMYK"), "JPEG", quality=95),
        encoded(picture().convert("P"), "PNG"),
        encoded(picture().convert("YCbCr"), "JPEG"),
    ):
        image = decode(data)
        assert image.mode == "RGB"
        assert is_red(image.getpixel((10, 10)))
        assert not is_red(image.getpixel((50, 80)))
    assert decode(encoded(Image.new("L", (20, 20), 77), "PNG")).getpixel((3, 3)) == (77, 77, 77)
    assert decode(encoded(Image.new("1", (20, 20), 1), "PNG")).getpixel((3, 3)) == (255, 255, 255)


def test_what_is_transparent_is_laid_on_white() -> None:
    alpha = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    alpha.paste((200, 0, 0, 255), (0, 0, 20, 40))
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.paste(1, (0, 0, 20, 40))
    for data in (
        encoded(alpha, "PNG"),
        encoded(alpha, "WEBP", lossless=True),
        encoded(palette, "PNG", transparency=0),
    ):
        assert decode(data).getpixel((35, 20)) == (255, 255, 255)
        assert is_red(decode(data).getpixel((5, 20)))
    grey = Image.merge("LA", (Image.new("L", (20, 20), 0), Image.new("L", (20, 20), 0)))
    assert decode(encoded(grey, "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bit_greys_are_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype("uint16")
    result = np.asarray(decode(encoded(Image.fromarray(levels), "PNG")))
    assert result.shape == (32, 32, 3)
    assert np.abs(result[..., 0].astype(int) - (levels >> 8)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = picture(64, 96)
    # What a camera stores is the inverse of what the tag asks the viewer to do.
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, images._UPRIGHT.get(orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    for kind in ("JPEG", "PNG", "WEBP"):
        result = decode(encoded(stored, kind, exif=exif), target=(32, 48))
        assert result.size[0] * 3 == result.size[1] * 2
        assert is_red(result.getpixel((2, 2)))
        assert not is_red(result.getpixel((result.width - 3, 2)))
        assert not is_red(result.getpixel((2, result.height - 3)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encoded(picture(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(data).size == (60, 90)


def test_a_target_lets_a_large_jpeg_come_back_smaller_but_not_too_small() -> None:
    data = encoded(picture(1600, 2400))
    assert decode(data).size == (1600, 2400)
    assert decode(data, target=(200, 300)).size == (200, 300)
    width, height = decode(data, target=(256, 384)).size
    assert 256 <= width < 1600
    assert 384 <= height < 2400


def test_random_damage_is_refused_or_decoded_never_anything_else() -> None:
    rng = random.Random(4)
    sources = [encoded(picture(), kind) for kind in ("JPEG", "PNG", "WEBP")]
    sources.append(encoded(picture().convert("P"), "PNG", transparency=0))
    for _ in range(400):
        data = bytearray(rng.choice(sources))
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ImageRefused):
            assert decode(bytes(data[: rng.randint(1, len(data))] if rng.random() < 0.3 else data)).mode == "RGB"


def test_save_jpeg_scales_the_whole_picture_and_carries_its_comment_alone(tmp_path: Path) -> None:
    path, exif = tmp_path / "1.jpg", Image.Exif()
    exif[0x010E] = "secret description"
    source = encoded(picture(300, 300), exif=exif, comment=b"theirs", icc_profile=b"icc")
    save_jpeg(decode(source), path, (64, 96), b"from here")
    assert comment_of(path) == b"from here"
    image = decode(path)
    assert image.size == (64, 96)
    assert is_red(image.getpixel((2, 2)))
    assert not is_red(image.getpixel((60, 92)))
    assert os.listdir(tmp_path) == ["1.jpg"]
    assert not any(word in path.read_bytes() for word in (b"secret", b"theirs", b"ICC_PROFILE"))


def test_save_jpeg_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.jpg"
    save_jpeg(picture(), path, (64, 96), b"old")

    def full(self: Image.Image, target: Path, **options: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataFolderError, match=r"No space left to write"):
        save_jpeg(picture(), path, (64, 96), b"new")
    assert comment_of(path) == b"old"
    assert os.listdir(tmp_path) == ["1.jpg"]


def test_comment_of_what_is_not_a_whole_jpeg_is_none(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    assert comment_of(path) is None
    save_jpeg(picture(), path, (64, 96), b"x")
    for content in (b"", b"<html>", path.read_bytes()[:-40], encoded(picture())):
        path.write_bytes(content)
        assert comment_of(path) is None
