"""The one place where an image file from outside is checked and decoded.

Whatever lies behind a name that ends in .jpg (an error page, half a download, a picture that unpacks to gigabytes) is
either turned into a plain RGB picture here or refused with a reason. 02-Data-Enrichment uses it for posters that come
in, 03-Feature-Extraction-Poster for those it encodes.
"""

import stat
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from utils.handoff.atomic import writing

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000
MANY_PIXELS = 8_000_000
"""Pictures of more pixels are decoded one after the other: one of 40 million takes up to half a gigabyte."""
LEAST_SIDE = 16
QUALITY = 90

# The classes are called directly because Image.open reports a picture that is too large through the
# warnings filter and a global limit; here the limit is an argument, and the same in every process.
_FORMATS: dict[str, type[JpegImageFile | PngImageFile | WebPImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
}
_OTHER_FORMATS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"\0\0\1\0": "ICO",
}
_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Warning),
)
"""What Pillow's parsers raise on damaged files; warnings where the caller has turned them into errors."""
_one_at_a_time = threading.Lock()
_ORIENTATION = 0x0112
# EXIF 2.32, tag 0x0112: the transposition that brings each stored orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageRefused(ValueError):
    """An image file cannot be used; the message is a short reason for a report."""


class TooManyPixels(ImageRefused):
    """The header of an image file says that it has more pixels than allowed."""


def decode(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, target: tuple[int, int] | None = None) -> Image.Image:
    """Return a JPEG, PNG or WebP file as an upright RGB picture (alpha on white, first frame only).

    Its size is checked in the header, before memory is spent on it. With ``target`` (width, height) a JPEG, or what has
    MANY_PIXELS, may come back smaller than it is, though not below ``target``: faster, and in less memory. Raises
    ImageRefused for everything that is not a whole picture within the limits.
    """
    data = source if isinstance(source, bytes) else read(source)
    if len(data) > MAX_BYTES:
        raise ImageRefused(f"too many bytes ({len(data):,}, at most {MAX_BYTES:,})")
    kind = kind_of(data)
    if kind == "WebP":
        # Pillow's WebP reader allocates the whole canvas when it opens the file.
        _check_size(_webp_size(data), max_pixels)
    try:
        image = _FORMATS[kind](BytesIO(data))
    except _UNREADABLE as error:
        raise ImageRefused(f"damaged {kind} header ({error})") from error
    _check_size(image.size, max_pixels)
    if target is not None and kind == "JPEG":
        image.draft("RGB", target[::-1] if _orientation(image) >= 5 else target)
    try:
        if image.width * image.height <= MANY_PIXELS:
            return _loaded(image)
        # In a thread that ends: the C library keeps for each thread what that has once asked for.
        with _one_at_a_time, ThreadPoolExecutor(1) as pool:
            return pool.submit(_loaded, image, target).result()
    except _UNREADABLE as error:
        raise ImageRefused(f"truncated or damaged {kind} ({error})") from error


def _loaded(image: ImageFile, target: tuple[int, int] | None = None) -> Image.Image:
    """Return an opened image upright and in RGB, reduced to no less than twice ``target`` where that is given."""
    image.load()
    orientation = _orientation(image)
    picture = _rgb(image)
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    if target is not None:
        # As resize does for its reducing_gap of 2.
        factors = [max(1, int(side / wanted / 2)) for side, wanted in zip(picture.size, target, strict=True)]
        picture = picture.reduce((factors[0], factors[1]))
    picture.info.clear()
    return picture


def read(path: Path) -> bytes:
    """Return the bytes of a file from outside. Raises ImageRefused for what is no file, too large, or unreadable."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise ImageRefused("not a regular file")
        if state.st_size > MAX_BYTES:
            raise ImageRefused(f"too many bytes ({state.st_size:,}, at most {MAX_BYTES:,})")
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageRefused(f"cannot be read ({error.strerror})") from error


def save_jpeg(image: Image.Image, path: Path, size: tuple[int, int], comment: bytes) -> None:
    """Write ``image``, scaled as a whole to ``size`` (width, height) in pixels, as a JPEG; atomic.

    ``comment`` goes into the file's comment segment: where the picture came from, for ``comment_of``. Raises
    DataFolderError when the disk is full or the folder may not be written.
    """
    picture = image if image.mode == "RGB" else image.convert("RGB")
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    with writing(path) as temporary:
        picture.save(temporary, format="JPEG", quality=QUALITY, comment=comment)


def comment_of(path: Path) -> bytes | None:
    """Return the comment of a JPEG file from its header; None where there is no whole JPEG or no comment."""
    try:
        with path.open("rb") as stream:
            stream.seek(-2, 2)
            if stream.read(2) != b"\xff\xd9":
                return None
            stream.seek(0)
            return JpegImageFile(stream).info.get("comment")
    except _UNREADABLE:
        return None


def kind_of(data: bytes) -> str:
    """Return "JPEG", "PNG" or "WebP", by the first bytes; raise ImageRefused for everything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if not data:
        raise ImageRefused("not an image (the file is empty)")
    known = next((name for magic, name in _OTHER_FORMATS.items() if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        known = "AVIF or HEIF"
    if known is not None:
        raise ImageRefused(f"unsupported format {known} (JPEG, PNG or WebP expected)")
    start = "".join(letter if letter.isprintable() else "?" for letter in data.lstrip()[:9].decode("latin-1"))
    raise ImageRefused(f"not an image (starts with {start!r})")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from the first chunk of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ImageRefused("damaged WebP header (too short)")
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise ImageRefused("damaged WebP header (no picture in its first chunk)")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(f"too many pixels ({width:,} x {height:,}, at most {max_pixels:,})")
    if min(width, height) < LEAST_SIDE:
        raise ImageRefused(f"too small ({width} x {height}, at least {LEAST_SIDE} a side)")


def _orientation(image: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where EXIF is missing or damaged: the picture is still good."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _UNREADABLE:
        return 1
    return value if value in _UPRIGHT else 1


def _rgb(image: Image.Image) -> Image.Image:
    """Return a loaded picture as 8-bit RGB: alpha on white, 16-bit greys scaled to 8."""
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        image = Image.fromarray((np.asarray(image).astype("uint32") >> 8).clip(0, 255).astype("uint8"))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("RGBA")
        picture = Image.new("RGB", image.size, "white")
        picture.paste(layer, mask=layer.getchannel("A"))
        return picture
    return image.convert("RGB") if image.mode != "RGB" else image.copy()
