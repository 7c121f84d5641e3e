"""The text in a picture, read on this machine by rapidocr (extra `ocr`).

Belongs here: running detection and recognition, putting what was found into reading
order, and saying when a picture holds text that could not be read. Does not belong here: telling
pictures from other bytes (`opening.py`), which pictures are read and what becomes of their text (the products).

The models are those inside the wheel (PP-OCRv6 small); their paths are given, so nothing is ever downloaded. They know
Latin letters with the accents of Europe, digits, Chinese and Japanese. They know no Cyrillic, Arabic, Devanagari or
Ethiopic letter: words in these scripts come out as nothing, or, in Cyrillic capitals, as Latin letters of the same
shape and with full confidence. So text is looked for only where `reads` says that the language is written in letters
that they know, and a picture most of whose text was found and not understood counts as not read.
"""

import importlib.util
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from magpie.errors import UserError
from magpie.media.opening import Unusable, opened

# Read from the wheel, by the names that it gives them.
DETECTION, RECOGNITION = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
_LIBRARIES = ("rapidocr", "onnxruntime", "cv2")
# Latin captions on noisy pictures were read at 0.95 and more; other scripts taken for Latin mostly stay below this.
MIN_CONFIDENCE = 0.9
# Where less of the found text (by area) was understood, what was understood is no reading of the picture.
MIN_SHARE_READ = 0.5
# The detector shrinks to this itself; doing it first bounds memory.
MAX_SIDE = 2000
# As long as the text of several screenshots; what is longer is no meme.
MAX_CHARS = 5000
# Parts of one line overlap in height by at least this share of the lower one.
SAME_LINE = 0.5
# Languages of the catalogue that are written in letters which the models do not know.
UNREAD_LANGUAGES = frozenset({"ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "tg", "mn", "fa", "ar", "ur", "he"})
UNREAD_LANGUAGES |= {"hi", "mr", "ne", "bn", "ta", "te", "th", "am", "ti", "ka", "hy", "el", "ko"}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """What the models found.

    Attributes:
        boxes: corners of each piece of text, in the picture as `record` says it was prepared; None: there is none.
        texts, scores: of each piece, in the order of the boxes; empty if nothing could be recognised.
    """

    boxes: Any
    record: Any
    texts: Sequence[str]
    scores: Sequence[float]


class Reader(Protocol):
    """Reads pictures."""

    def reads(self, language: str) -> bool:
        """Whether it knows the letters of a language (ISO 639-1)."""

    def read(self, content: bytes) -> str | None:
        """The lines of text in a picture, in reading order; "": there is none; None: it could not be read."""


class RapidReader:
    """Reads with the models of the wheel, one picture at a time; they are loaded when the first one is read.

    On one thread, since sums in another order would move a confidence over the bound. On another type of processor
    the last digits of a confidence may still differ.

    Args:
        models: the folder of the models.

    Raises:
        UserError: a model is missing.
    """

    def __init__(self, models: Path) -> None:
        for name in (DETECTION, RECOGNITION):
            if not (models / name).is_file():
                raise UserError(f"{models} lacks {name}, which reads text in pictures; reinstall the extra `ocr`")
        self._models = models
        self._turn = threading.Lock()

    def reads(self, language: str) -> bool:
        return language.partition("-")[0].lower() not in UNREAD_LANGUAGES

    def read(self, content: bytes) -> str | None:
        pixels = _pixels(content)
        if pixels is None:
            return None
        seen = self.seen(pixels)
        if seen is None:
            return None
        if seen.boxes is None:
            return ""
        return _text(np.asarray(seen.boxes, dtype=np.float64), seen.texts, seen.scores)

    def seen(self, pixels: Pixels) -> "Seen | None":
        """What the models find in a picture; None: they gave up."""
        with self._turn:
            engine, faults = self._engine
            try:
                prepared, record = engine.preprocess_img(pixels)
                detected, _, recognised, _ = engine.run_ocr_steps(prepared, record)
            except faults:
                return None
        return Seen(detected.boxes, record, recognised.txts or (), recognised.scores or ())

    @cached_property
    def _engine(self) -> tuple[Any, tuple[type[Exception], ...]]:
        """The engine, and what it raises for pictures that it cannot take."""
        import cv2
        from rapidocr import RapidOCR
        from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError

        # It has a handler of its own that writes to the terminal, also for pictures without text.
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        parameters = {
            "Global.log_level": "critical",
            # Text upside down is seldom, and the classifier sometimes turns what stands upright.
            "Global.use_cls": False,
            "Global.model_root_dir": str(self._models),
            "Det.model_path": str(self._models / DETECTION),
            "Rec.model_path": str(self._models / RECOGNITION),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
        return RapidOCR(params=parameters), (ONNXRuntimeError, cv2.error)


@cache
def local_reader() -> Reader | None:
    """The reader of this process; None: the extra `ocr` is not installed.

    Raises:
        UserError: it is, and a model file is missing.
    """
    models = installed_models()
    return None if models is None else RapidReader(models)


def installed_models() -> Path | None:
    """The folder of the models in the wheel; None: the extra `ocr` is not installed."""
    if not all(importlib.util.find_spec(name) for name in _LIBRARIES):
        return None
    found = importlib.util.find_spec("rapidocr")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "models"


def _pixels(content: bytes) -> Pixels | None:
    """`pixels_of` a file; None: it holds no picture."""
    found = opened(content)
    if isinstance(found, Unusable) or found.picture is None:
        return None
    return pixels_of(found.picture)


def pixels_of(picture: Image.Image) -> Pixels:
    """The picture, at most MAX_SIDE long, in the order of colours that the models take."""
    small = picture.convert("RGB")
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(small)[:, :, ::-1])


def _text(boxes: npt.NDArray[np.float64], texts: Sequence[str], scores: Sequence[float]) -> str | None:
    """The understood parts as lines; None where most of the text was not understood.

    Args:
        boxes: shape (n, 4, 2), corners in pixels; texts, scores: of each box, empty if none was recognised.
    """
    corners = boxes.reshape(-1, 4, 2)
    low, high = corners.min(axis=1), corners.max(axis=1)
    areas = (high - low).prod(axis=1)
    parts = [" ".join(text.split()) for text in texts] or [""] * len(corners)
    sure = [score >= MIN_CONFIDENCE for score in scores] or [False] * len(corners)
    held = [bool(part) and good for part, good in zip(parts, sure, strict=True)]
    if areas[held].sum() < MIN_SHARE_READ * areas.sum():
        return None
    found = [(float(low[n][1]), float(high[n][1]), float(low[n][0]), parts[n]) for n in range(len(parts)) if held[n]]
    return "\n".join(_lines(found))[:MAX_CHARS]


def _lines(parts: Sequence[tuple[float, float, float, str]]) -> list[str]:
    """Join parts (top, bottom, left, text) into lines, from top to bottom and left to right."""
    lines: list[list[tuple[float, float, float, str]]] = []
    for part in sorted(parts, key=lambda part: (part[0] + part[1], part)):
        top, bottom = (lines[-1][0][0], lines[-1][0][1]) if lines else (0.0, 0.0)
        shared = min(bottom, part[1]) - max(top, part[0])
        if lines and shared >= SAME_LINE * min(bottom - top, part[1] - part[0]):
            lines[-1].append(part)
        else:
            lines.append([part])
    return [" ".join(text for *_, text in sorted(line, key=lambda part: (part[2], part))) for line in lines]
