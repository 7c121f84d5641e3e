"""Perceptual hashes, and all facts about bytes in one pass.

Belongs here: the 64-bit DCT hash and what goes with it, for one picture and for many. Does not belong here: which
distance makes two pictures the same (the products).

The transform is done in whole numbers: 8-bit grey times cosines in steps of 2**-20. So sums are exact, their order and
the machine do not matter, and coefficients that are equal on paper, as in symmetric pictures, are equal here too,
where floating point would let noise decide a bit.
"""

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from magpie.media.opening import Kind, Opened, Unusable, UnusableMedia, frames, opened
from magpie.media.thumbnails import jpeg
from magpie.media.video_frames import SHARES, Clip, video_clip

SIDE = 32
LOW = 8
BITS = LOW * LOW
# 255 * 32 * 32 * 2**40 < 2**59, so that twice a coefficient fits into 64 bits.
_STEPS = 2**20
# Flat pictures have no structure to tell them apart by: below this there is no hash.
FLAT_STD = 5.0
# Pillow and hashlib let go of the interpreter's lock while they work.
THREADS = 2


def _cosines() -> npt.NDArray[np.int64]:
    k, n = np.arange(LOW)[:, None], np.arange(SIDE)[None, :]
    return np.rint(np.cos(math.pi * (2 * n + 1) * k / (2 * SIDE)) * _STEPS).astype(np.int64)


_DCT = _cosines()


def phash64(image: Image.Image) -> int:
    """Return the DCT hash of a picture as 64 bits.

    32x32 grey by Lanczos, DCT-II on both axes (unscaled), the 8x8 lowest frequencies row by row from the constant one
    in the highest bit, each 1 if greater than their median, which is the mean of the middle two.
    """
    return _hash_of(_grey(image))


def grey_std(image: Image.Image) -> float:
    """Return the standard deviation of the grey values (0..255) of all pixels."""
    return _std(_grey(image))


def hex16(value: int) -> str:
    """A hash as 16 hex digits."""
    return f"{value:016x}"


def hamming(left: int, right: int) -> int:
    """Number of bits in which two hashes differ."""
    return (left ^ right).bit_count()


def _grey(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("L")


def _hash_of(grey: Image.Image) -> int:
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).astype(np.int64)
    low = (_DCT @ small @ _DCT.T).ravel()
    ordered = np.sort(low)
    above = 2 * low > ordered[BITS // 2 - 1] + ordered[BITS // 2]
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def _std(grey: Image.Image) -> float:
    counts = np.asarray(grey.histogram(), np.int64)
    values = np.arange(len(counts))
    # Sums of whole numbers, then Python's own: the square of a sum may be beyond 64 bits.
    n, first, second = (int((counts * values**power).sum()) for power in (0, 1, 2))
    return math.sqrt((n * second - first * first) / (n * n))


@dataclass(frozen=True)
class Facts:
    """What is known of a picture or video.

    Attributes:
        size: in bytes.
        phash64: of a picture, or of an animation's first frame; None if it is flat, and for a video.
        keyframe_phashes: at 10, 50 and 90 % of what moves; flat frames are left out.
        thumbnail: JPEG, where one was asked for; of a video its middle frame.
    """

    sha256: str
    size: int
    mime: str
    kind: Kind
    width: int
    height: int
    duration_s: float | None = None
    phash64: str | None = None
    keyframe_phashes: tuple[str, ...] = ()
    grey_std: float | None = None
    thumbnail: bytes | None = None


def facts_of(content: bytes, thumbnail_px: int | None = None) -> Facts | Unusable:
    """Return all facts of the bytes, or why they are of no use. Never raises on what is in them."""
    found = opened(content)
    if isinstance(found, Unusable):
        return found
    if found.kind == "video":
        clip = video_clip(content, found.mime)
        return clip if isinstance(clip, Unusable) else _video_facts(content, found, clip, thumbnail_px)
    return _picture_facts(content, found, thumbnail_px)


def facts(contents: Iterable[bytes], thumbnail_px: int | None = None) -> Iterator[Facts | Unusable]:
    """Yield the facts of each, in order, made on two threads; only some few contents are held at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        running: deque[Future[Facts | Unusable]] = deque()
        for content in contents:
            running.append(pool.submit(facts_of, content, thumbnail_px))
            if len(running) > 2 * THREADS:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _picture_facts(content: bytes, found: Opened, thumbnail_px: int | None) -> Facts | Unusable:
    picture = found.picture
    assert picture is not None
    duration_s: float | None = None
    keys: tuple[str, ...] = ()
    if found.kind == "animation":
        try:
            duration_s, keys = _key_hashes(content)
        except UnusableMedia as unusable:
            return unusable.why
    grey = _grey(picture)
    std = _std(grey)
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        mime=found.mime,
        kind=found.kind,
        width=picture.width,
        height=picture.height,
        duration_s=duration_s,
        phash64=None if std < FLAT_STD else hex16(_hash_of(grey)),
        keyframe_phashes=keys,
        grey_std=std,
        thumbnail=jpeg(picture, thumbnail_px) if thumbnail_px else None,
    )


def _key_hashes(content: bytes) -> tuple[float, tuple[str, ...]]:
    """Duration in seconds, and the hashes of the frames shown at the shares of it."""
    starts: list[int] = []
    hashes: list[str | None] = []
    end = 0
    # How long it is shows at its end, and frames can only be decoded in order; a hash is smaller than its frame.
    for frame, shown_ms in frames(content):
        starts.append(end)
        hashes.append(_unless_flat(frame))
        end += shown_ms
    return end / 1000, _present([hashes[_shown_at(starts, share * end)] for share in SHARES])


def _shown_at(starts: Sequence[int], moment_ms: float) -> int:
    return max(number for number, start in enumerate(starts) if start <= moment_ms)


def _unless_flat(picture: Image.Image) -> str | None:
    grey = _grey(picture)
    return None if _std(grey) < FLAT_STD else hex16(_hash_of(grey))


def _present(hashes: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(value for value in hashes if value is not None)


def _video_facts(content: bytes, found: Opened, clip: Clip, thumbnail_px: int | None) -> Facts:
    middle = clip.frames[len(clip.frames) // 2]
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        mime=found.mime,
        kind=found.kind,
        width=clip.width,
        height=clip.height,
        duration_s=clip.duration_s,
        keyframe_phashes=_present([_unless_flat(frame) for frame in clip.frames]),
        grey_std=grey_std(middle),
        thumbnail=jpeg(middle, thumbnail_px) if thumbnail_px else None,
    )
