"""What bytes are, as the bytes themselves say, and the picture in them.

Belongs here: telling formats apart, refusing what is no picture or too large, decoding to upright RGB. Does not belong
here: hashes (`phash.py`), frames of videos (`video_frames.py`), what a product accepts.

Names and content types are claims of whoever sent the bytes. They never decide how bytes are read; they only show,
when the bytes turn out to be neither picture nor video, that they were passed off as such.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

Kind = Literal["image", "animation", "video"]

# A phone's 48 megapixel photo fits; decoded it takes 200 MB. Larger ones are refused before they are decoded.
MAX_PIXELS = 50_000_000
# Beyond any screenshot that can be read as one picture; such a strip leaves nothing to hash at 32x32 either.
MAX_ASPECT = 20
# Frames of an animation, and pixels over all of them: some seconds of decoding.
MAX_FRAMES = 3000
MAX_FRAME_PIXELS = 1_000_000_000
# Browsers show a frame that asks for 10 ms or less, which most mean as unset, for 100 ms.
MIN_FRAME_MS, DEFAULT_FRAME_MS = 20, 100
OBSERVED_CHARS = 200

# Pillow's name of each format that is read, by media type: no other decoder ever sees the bytes.
DECODERS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
}
VIDEOS = ("video/mp4", "video/quicktime", "video/webm")
# Pillow's decoders raise all of these on bytes that are not what they begin as.
BROKEN = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError),
    *(SyntaxError, EOFError, AssertionError, struct.error, zlib.error),
)
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".avif")
_VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".webm")
_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"%PDF", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"Rar!", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b", "application/gzip"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"\x7fELF", "application/x-elf"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"OggS", "application/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"#!", "text/x-script"),
)
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"qt  ": "video/quicktime"}
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The tag of EXIF, and its value for a picture that needs no turning.
_ORIENTATION, _UPRIGHT = 0x0112, 1


@dataclass(frozen=True)
class Opened:
    """A picture, or the signature of a video.

    Attributes:
        width, height: in pixels as displayed, so after the orientation of EXIF; None for a video.
        picture: 8-bit RGB, upright, on white; of an animation the first frame; None for a video.
    """

    mime: str
    kind: Kind
    width: int | None = None
    height: int | None = None
    picture: Image.Image | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Unusable:
    """Why bytes are neither picture nor video.

    Attributes:
        reason: empty_file, unsupported_type, mislabelled, zero_size, too_many_pixels, absurd_aspect, unreadable,
            too_many_frames; of videos also those of `video_frames.py`.
        mime: what the bytes look like.
    """

    reason: str
    observed: str | None = None
    threshold: str | None = None
    mime: str | None = None


class UnusableMedia(ValueError):
    """Bytes without a picture where one is needed."""

    def __init__(self, why: Unusable) -> None:
        super().__init__(f"{why.reason}: {why.observed}")
        self.why = why


class _Refused(Exception):
    def __init__(self, why: Unusable) -> None:
        super().__init__(why.reason)
        self.why = why


def sniffed(content: bytes) -> str:
    """Return the media type that the bytes begin like; `application/octet-stream` if like none that is known."""
    for signature, mime in _SIGNATURES:
        if content.startswith(signature):
            return mime
    if content[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(content[8:12], "application/octet-stream")
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        return _BRANDS.get(brand, "image/heif" if brand in _HEIF else "video/mp4")
    if content[:4] == b"\x1a\x45\xdf\xa3":
        return "video/webm" if b"webm" in content[:64] else "video/x-matroska"
    # QuickTime files of old begin without a brand.
    if content[4:8] in (b"moov", b"mdat", b"wide"):
        return "video/quicktime"
    return _sniffed_text(content)


def _sniffed_text(content: bytes) -> str:
    head = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in head:
        return "image/svg+xml"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "text/html"
    return "text/xml" if head.startswith(b"<?xml") else "application/octet-stream"


def opened(content: bytes, claimed: str | None = None) -> Opened | Unusable:
    """Return what the bytes are, decoded if it is a picture, or why they are of no use. Never raises.

    Args:
        claimed: file name, address or media type that came with them.
    """
    if not content:
        return Unusable("empty_file", "0 bytes")
    mime = sniffed(content)
    if mime in VIDEOS:
        return checked_claim(Opened(mime, "video"), claimed)
    if mime not in DECODERS:
        return checked_claim(Unusable("unsupported_type", mime, mime=mime), claimed)
    try:
        return checked_claim(_opened_image(content, mime), claimed)
    except _Refused as refused:
        return refused.why
    except BOMBS:
        return Unusable("too_many_pixels", None, str(MAX_PIXELS), mime)
    except BROKEN as error:
        return unreadable(error, mime)


def checked_claim(found: Opened | Unusable, claimed: str | None) -> Opened | Unusable:
    """Return `found`, or that it is `mislabelled`: something else that was passed off as a picture or video."""
    family = _family(claimed)
    if isinstance(found, Unusable):
        wrong = found.reason == "unsupported_type" and family is not None
    else:
        # What people call a GIF is mostly a video by now, and a moving picture may go by either name.
        wrong = (family == "image" and found.kind == "video") or (family == "video" and found.kind == "image")
    return Unusable("mislabelled", found.mime, claimed and claimed[:OBSERVED_CHARS], found.mime) if wrong else found


def _family(claimed: str | None) -> str | None:
    if not claimed:
        return None
    name = claimed.partition("?")[0].partition("#")[0].strip().lower()
    if name == "image/gif" or name.endswith(".gif"):
        return "moving"
    if name.startswith("image/") or name.endswith(_PICTURE_ENDINGS):
        return "image"
    return "video" if name.startswith("video/") or name.endswith(_VIDEO_ENDINGS) else None


def unreadable(error: BaseException, mime: str) -> Unusable:
    """What became of bytes that a decoder gave up on."""
    # Its message names the object by its address in memory, which differs from run to run.
    told = "no such picture inside" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
    return Unusable("unreadable", (told or type(error).__name__)[:OBSERVED_CHARS], None, mime)


def _opened_image(content: bytes, mime: str) -> Opened:
    with _source(content, mime) as source:
        # A JPEG may carry more pictures behind the one that is shown.
        animated = mime != "image/jpeg" and bool(getattr(source, "is_animated", False))
        picture = upright_rgb(source)
    width, height = picture.size
    return Opened(mime, "animation" if animated else "image", width, height, picture)


def _source(content: bytes, mime: str) -> Image.Image:
    """Open without decoding; sizes are checked by what the header says."""
    source = Image.open(io.BytesIO(content), formats=[DECODERS[mime]])
    _check_size(source, mime)
    return source


def _check_size(source: Image.Image, mime: str) -> None:
    width, height = source.size
    told = f"{width}x{height}"
    if width <= 0 or height <= 0:
        raise _Refused(Unusable("zero_size", told, None, mime))
    if width * height > MAX_PIXELS:
        raise _Refused(Unusable("too_many_pixels", told, str(MAX_PIXELS), mime))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise _Refused(Unusable("absurd_aspect", told, f"{MAX_ASPECT}:1", mime))


def upright_rgb(source: Image.Image) -> Image.Image:
    """Return the frame at which `source` stands as 8-bit RGB on white, turned as EXIF says; `source` if it is that."""
    source.load()
    image = source
    if image.mode.startswith("I"):
        # Conversion would clip 16 bits at 255 instead of scaling them.
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    turn = _TURNS.get(_orientation(source))
    if turn is not None:
        image = image.transpose(turn)
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(source: Image.Image) -> int:
    # A PNG or JPEG with broken metadata still shows its picture, the way it lies.
    try:
        value = source.getexif().get(_ORIENTATION)
    except BROKEN:
        return _UPRIGHT
    return value if isinstance(value, int) else _UPRIGHT


def frames(content: bytes) -> Iterator[tuple[Image.Image, int]]:
    """Yield each frame of an animation as RGB, with the milliseconds it is shown.

    Raises:
        UnusableMedia: a frame cannot be decoded, or there are too many of them.
    """
    mime = sniffed(content)
    try:
        with _source(content, mime) as source:
            pixels = 0
            for number in range(MAX_FRAMES + 1):
                try:
                    source.seek(number)
                except EOFError:
                    return
                _check_size(source, mime)
                pixels += source.size[0] * source.size[1]
                if number == MAX_FRAMES or pixels > MAX_FRAME_PIXELS:
                    limits = f"{MAX_FRAMES} frames, {MAX_FRAME_PIXELS} pixels"
                    raise _Refused(Unusable("too_many_frames", f"{number + 1} frames, {pixels} pixels", limits, mime))
                picture = upright_rgb(source)
                shown = round(float(source.info.get("duration") or 0))
                # The next frame is decoded in the place of this one.
                picture = picture.copy() if picture is source else picture
                yield picture, shown if shown >= MIN_FRAME_MS else DEFAULT_FRAME_MS
    except _Refused as refused:
        raise UnusableMedia(refused.why) from None
    except BOMBS:
        raise UnusableMedia(Unusable("too_many_pixels", None, str(MAX_PIXELS), mime)) from None
    except BROKEN as error:
        raise UnusableMedia(unreadable(error, mime)) from error
