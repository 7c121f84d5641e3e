"""What there is to be seen in a picture of a post, and the lines of text that this machine finds in it.

Belongs here: which frames of a moving picture are looked at, lines with their places, which of them are the picture's
text. Does not belong here: opening bytes and recognising letters (`magpie/media`), what models read (`image_read.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from PIL import Image

from magpie.media.ocr import MIN_SHARE_READ, RapidReader, installed_models, pixels_of
from magpie.media.opening import Unusable, UnusableMedia, frames, opened

NOT_IMAGE = "not_image"
# As much as a page of small print.
TEXT_CHARS = 5000
# Frames of a moving picture: one for each second that has begun, and no more than this.
MOST_FRAMES = 10
# A line nearer than this to a side and to top or bottom at once is a signature or a watermark; a share of the picture.
CORNER = 0.05


@dataclass(frozen=True)
class Shown:
    """What there is to be seen in some bytes.

    Attributes:
        frames: RGB; of a still picture the one, of a moving one those that differ of the `n_frames` looked at.
    """

    frames: tuple[Image.Image, ...]
    n_frames: int
    animated: bool


def frame_times(duration_s: float) -> list[float]:
    """Return when the frames of a moving picture that are read are shown, in seconds from its beginning.

    One for each second that has begun, at most `MOST_FRAMES`, evenly apart; of no duration the first one.
    """
    count = int(min(max(duration_s, 0.0), MOST_FRAMES - 1)) + 1
    return [number * duration_s / count for number in range(count)]


def shown_frames(content: bytes) -> Shown:
    """Open bytes.

    Raises:
        UnusableMedia: there is no picture in them.
    """
    found = opened(content)
    if isinstance(found, Unusable):
        raise UnusableMedia(found)
    if found.picture is None:
        raise UnusableMedia(Unusable(NOT_IMAGE, found.mime, None, found.mime))
    if found.kind == "image":
        return Shown((found.picture,), 1, False)
    # How long it takes is known in the end, and to keep all frames would take too much memory.
    ends = np.cumsum([ms for _, ms in frames(content)])
    times = frame_times(float(ends[-1]) / 1000)
    wanted = set(np.searchsorted(ends, np.array(times) * 1000, side="right").tolist())
    picked = {frame.tobytes(): frame for number, (frame, _) in enumerate(frames(content)) if number in wanted}
    return Shown(tuple(picked.values()), len(times), True)


@dataclass(frozen=True)
class Line:
    """A line of text in a picture; edges as shares of its width and height, from the left and the top."""

    text: str
    conf: float
    left: float
    top: float
    width: float
    height: float


def in_corner(line: Line) -> bool:
    """Whether a line lies in a corner of the picture."""
    aside = min(line.left, 1 - line.left - line.width)
    above = min(line.top, 1 - line.top - line.height)
    return aside <= CORNER and above <= CORNER


def text_of(seen: Sequence[Sequence[Line]], min_conf: float) -> str | None:
    """Return the text of a picture's frames, equal frames once; None: most of what was found was not understood.

    Args:
        seen: lines of each frame in reading order; those in corners are no part of the text.
        min_conf: a line that was understood less surely is left out.
    """
    found = [[line for line in lines if not in_corner(line)] for lines in seen]
    kept = [[line for line in lines if line.text and line.conf >= min_conf] for lines in found]
    whole, understood = (sum(line.width * line.height for lines in some for line in lines) for some in (found, kept))
    if understood < MIN_SHARE_READ * whole:
        return None
    texts = ("\n".join(line.text for line in lines) for lines in kept)
    return "\n".join(dict.fromkeys(text for text in texts if text))[:TEXT_CHARS]


class LineReader(Protocol):
    """Finds lines of text in pictures."""

    def lines(self, picture: Image.Image) -> list[Line] | None:
        """The lines in reading order, with what could not be recognised as empty text; None: it gave up."""


class LocalLines(RapidReader):
    """The local reader, with the place and the confidence of each line."""

    def lines(self, picture: Image.Image) -> list[Line] | None:
        from rapidocr.utils.process_img import map_boxes_to_original

        pixels = pixels_of(picture)
        height, width = pixels.shape[:2]
        seen = self.seen(pixels)
        if seen is None:
            return None
        if seen.boxes is None:
            return []
        corners = map_boxes_to_original(np.array(seen.boxes, dtype=np.float64), seen.record, height, width)
        low, high = corners.min(axis=1) / (width, height), corners.max(axis=1) / (width, height)
        texts = [" ".join(text.split()) for text in seen.texts or [""] * len(low)]
        confs = [float(conf) for conf in seen.scores or [0.0] * len(low)]
        edges = np.hstack([low, high - low]).round(4).tolist()
        return [Line(text, round(conf, 4), *edge) for text, conf, edge in zip(texts, confs, edges, strict=True)]


@cache
def local_lines() -> LocalLines | None:
    """The reader of this process; None: the extra `ocr` is not installed.

    Raises:
        UserError: it is, and a model file is missing.
    """
    models = installed_models()
    return None if models is None else LocalLines(models)
