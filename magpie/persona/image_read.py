"""What is asked about a picture of a post, and what becomes of bytes that are read: image_read.

Belongs here: the fields of an answer, what a model is shown, the rule that stands in for a model, the fate of bytes.
Does not belong here: asking (`magpie/llm`), the words of the prompt (`prompts/image_read.md`), where bytes come from
(`image_texts.py`), reading on this machine (`image_lines.py`).

Where a model can be asked, it reads. Where none can, this machine does, if the extra `ocr` is installed; if it is not,
pictures wait (`no_reader`): a picture that nobody has read is not one without text. While a picture waits for its
model, the text read here stands in for it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, model_validator

from magpie.blobs import Blobs, NoBlob
from magpie.llm.answers import Language, Text
from magpie.llm.breaker import Trip
from magpie.llm.engine import OFFLINE
from magpie.llm.models import FREE_ALIAS
from magpie.llm.prompts import load
from magpie.llm.request import Image
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Pace, Row
from magpie.media.ocr import MIN_SHARE_READ
from magpie.media.opening import UnusableMedia
from magpie.media.thumbnails import VISION_PX, VISION_QUALITY, jpeg
from magpie.persona.image_lines import NOT_IMAGE, TEXT_CHARS, LineReader, Shown, shown_frames, text_of
from magpie.persona.image_texts import LOCAL, OBSERVED_CHARS, UNREADABLE
from magpie.persona.settings import Blog
from magpie.text.language import language_of
from magpie.text.readable import cleaned

NO_READER, ILLEGIBLE, OCR_FAILED = "no_reader", "illegible", "ocr_failed"
# What the engine writes before the reason of a row that has failed.
MODEL_FAILED = "llm_error:"
CAPTION_CHARS = 300
# What a picture without a word counts as: anyone can look at it.
NO_TEXT_LANGUAGE = "en"
# As wide as blogs show them: many frames go into one question.
FRAME_PX = 640
# Of a picture whose text fills it; what goes beyond is noise.
MOST_LINES = 300
# A run asks about a handful, each of which is opened when it is checked and when it is sent.
PICTURES_KEPT = 64

QUESTIONS = pl.Schema(dict.fromkeys(("row_ref", "path", "local_text"), pl.String()) | {"animated": pl.Boolean()})
Ask = Callable[[pl.DataFrame], pl.DataFrame]
# Columns of a row, or those of them that an outcome decides.
Fields = dict[str, Any]


class ImageReading(BaseModel):
    """Text, caption and language of a picture; an object with neither text nor caption is no answer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ocr_text: Text = ""
    caption: Text = ""
    language: Language = None

    @model_validator(mode="after")
    def _says_something(self) -> "ImageReading":
        if not (self.ocr_text.strip() or self.caption.strip()):
            raise ValueError("ocr_text and caption are both empty; say what is seen")
        return self


def check(answer: ImageReading, row: Row, last_try: bool) -> ImageReading:
    """Strip and clean the texts; the text in the picture is cut at TEXT_CHARS.

    Raises:
        InvalidAnswer: nothing is left, or the caption is too long.
    """
    text = cleaned(answer.ocr_text)[:TEXT_CHARS].rstrip()
    caption = " ".join(cleaned(answer.caption).split())
    if not text and not caption:
        raise InvalidAnswer("ocr_text and caption hold nothing that can be read; say what is seen")
    if len(caption) > CAPTION_CHARS:
        raise InvalidAnswer(f"caption has {len(caption)} characters; {CAPTION_CHARS} at most")
    return answer.model_copy(update={"ocr_text": text, "caption": caption})


def offline(row: Row) -> ImageReading:
    """The text read on this machine speaks for itself; of a picture without any it is said only that there is one."""
    text: str = row["local_text"]
    if text:
        return ImageReading(ocr_text=text, language=language_of(text))
    return ImageReading(caption="a moving picture" if row["animated"] else "a picture", language=NO_TEXT_LANGUAGE)


def images(row: Row) -> tuple[Image, ...]:
    """The frames as a model is shown them: JPEG, at most 1280 pixels long.

    Raises:
        OSError: there is no such file.
        UnusableMedia: it holds no picture.
    """
    return _shown(row["path"])


@lru_cache(maxsize=PICTURES_KEPT)
def _shown(path: str) -> tuple[Image, ...]:
    """Files are named by their content, so what is kept stays right."""
    found = shown_frames(Path(path).read_bytes())
    px = FRAME_PX if found.animated else VISION_PX
    return tuple(Image("image/jpeg", jpeg(frame, px, VISION_QUALITY)) for frame in found.frames)


# Free models are many and unsteady: the next one is asked at once, and none with less time left than an answer takes.
# Several frames take a model longer than one picture; what half an hour does not bring waits for the next run.
PACE = Pace(
    request_s=60,
    row_s=180,
    batch_s=1800,
    reserve_s=35,
    stop_after=3,
    workers=1,
    reasks=0,
    tries=3,
    hand_on=True,
    probe_key=True,
)

IMAGE_READ = FunctionSpec(
    name="image_read",
    version=1,
    display_name="Read image",
    description="Write down the text of a picture in a post, and what it shows.",
    template=load("magpie.persona", "image_read"),
    output=ImageReading,
    alias=FREE_ALIAS,
    # The prompt is the same for every picture: nothing that people wrote is in it.
    inputs={},
    variables=lambda row: {},
    check=check,
    offline=offline,
    images=images,
    max_output_tokens=2000,
    temperature=0.2,
    pace=PACE,
    # Three batches of at least three calls within an hour, none of which brought an answer; people look then.
    trip=Trip(calls=3, pause=None),
    reasoning_off=True,
)


@dataclass(frozen=True)
class ImageReader:
    """Reads pictures in the store, by a model or on this machine.

    Attributes:
        ask: answers rows of `image_read` (`QUESTIONS`), in the columns of the engine.
        by_model: a model can be asked; else `ask` answers by rule, from what was read here.
        local: None: nothing can be read here.
        min_conf: of a line read here.
    """

    ask: Ask
    by_model: bool
    local: LineReader | None
    blobs: Blobs
    min_conf: float

    @classmethod
    def of(cls, blog: Blog, ask: Ask, by_model: bool, local: LineReader | None, blobs: Blobs) -> "ImageReader":
        """A reader by the settings of a blog."""
        return cls(ask, by_model, local, blobs, blog.tuned().ocr_min_conf_local)

    def read(self, shas: Sequence[str], before: Mapping[str, Fields]) -> dict[str, Fields]:
        """Return the fate of each of these bytes, and what was read in them, in the columns of `image_texts`.

        Args:
            before: what was read here before, by sha256, so that nothing is read here twice.
        """
        rows = {sha: self._seen(sha, None if self.by_model else before) for sha in shas}
        for sha, answer in self._answers({sha: row for sha, row in rows.items() if "status" not in row}).items():
            if answer["status"] == "ok":
                rows[sha] |= {"status": "ok", **_answered(answer)}
            else:
                stand_in = self._seen(sha, before) if self.by_model else rows[sha]
                rows[sha] = {**stand_in, **_fate(answer)}
        return rows

    def _seen(self, sha: str, before: Mapping[str, Fields] | None) -> Fields:
        """What can be told of bytes without a model; with a status if no model needs to be asked any more.

        Args:
            before: as of `read`; None: they are not to be read here.
        """
        try:
            shown = shown_frames(self.blobs.get(sha))
        except NoBlob as error:
            return _turned("failed", UNREADABLE, str(error))
        except UnusableMedia as error:
            why = error.why
            if why.reason == NOT_IMAGE:
                return _turned("rejected", NOT_IMAGE, why.mime)
            return _turned("failed", UNREADABLE, f"{why.reason}: {why.observed}", why.threshold)
        facts = {"n_frames": shown.n_frames, "animated": shown.animated}
        return facts if before is None else facts | (before.get(sha) or self._read_here(shown))

    def _read_here(self, shown: Shown) -> Fields:
        if self.local is None:
            return _turned("pending", NO_READER, None, "the extra `ocr`, or a key")
        frames = [self.local.lines(frame) for frame in shown.frames]
        seen = [lines for lines in frames if lines is not None]
        if len(seen) < len(frames):
            return _turned("failed", OCR_FAILED, f"{len(frames) - len(seen)} of {len(frames)} frames")
        lines = [asdict(line) for lines in seen for line in lines if line.text][:MOST_LINES]
        text = text_of(seen, self.min_conf)
        if text is None:
            sure = sum(line["conf"] >= self.min_conf for line in lines)
            threshold = f"{self.min_conf:g} on {MIN_SHARE_READ:.0%} of the text"
            return _turned("rejected", ILLEGIBLE, f"{sure} of {sum(map(len, seen))} lines", threshold) | {
                "lines": lines
            }
        return {"text": text, "lines": lines, "engine": LOCAL}

    def _answers(self, rows: Mapping[str, Fields]) -> dict[str, Fields]:
        """The engine's row for each of these bytes."""
        if not rows:
            return {}
        questions = [(sha, str(self.blobs.path(sha)), row.get("text"), row["animated"]) for sha, row in rows.items()]
        answers = self.ask(pl.DataFrame(questions, schema=QUESTIONS, orient="row"))
        return {answer["row_ref"]: answer for answer in answers.iter_rows(named=True)}


def _answered(answer: Mapping[str, Any]) -> Fields:
    value = json.loads(answer["value"])
    told: Fields = {"caption": value["caption"] or None}
    if answer["provider"] == OFFLINE:
        return told
    return {
        **told,
        "text": value["ocr_text"],
        "engine": answer["model"],
        "request_key": answer["input_hash"],
    }


def _fate(answer: Mapping[str, Any]) -> Fields:
    fate = {name: answer[name] for name in ("status", "reason", "observed", "threshold", "not_before")}
    return {**fate, "reason": fate["reason"].removeprefix(MODEL_FAILED)}


def _turned(status: str, reason: str, observed: str | None, threshold: str | None = None) -> Fields:
    told = observed and observed[:OBSERVED_CHARS]
    return {"status": status, "reason": reason, "observed": told, "threshold": threshold}
