"""What is asked about a picture, and which answers count: meme_describe.

Belongs here: the fields of an answer, their bounds, the picture that a model is shown, and the rule that stands in
for a model. Does not belong here: asking (`magpie/llm`), the words of the prompt (`prompts/meme_describe.md`), which
memes are asked about and what becomes of an answer (`descriptions.py`), reading text on this machine
(`magpie/media/ocr.py`).
"""

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from magpie.llm.answers import Language, Text
from magpie.llm.breaker import Trip
from magpie.llm.prompts import load
from magpie.llm.request import Image
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Pace, Row
from magpie.media.thumbnails import for_vision
from magpie.text.language import language_of
from magpie.text.readable import cleaned

DESCRIPTION_CHARS = 1000
# As much as a page of small print; a picture that holds more is no meme.
OCR_CHARS = 5000
# Of the text, as the rule that describes without a model shows it.
SHOWN_CHARS = 120
# What a picture without a word counts as: anyone can look at it.
NO_TEXT_LANGUAGE = "en"
# A run asks about a handful, each of which is opened when it is checked and when it is sent; some 200 kB each.
PICTURES_KEPT = 64


class MemeDescription(BaseModel):
    """Text, description and language of a picture; each key of a damaged answer counts by itself.

    An object with neither text nor description is no answer, so that braces in prose around one are not taken for it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    ocr_text: Text = ""
    description: Text = ""
    language: Language = None

    @model_validator(mode="after")
    def _says_something(self) -> "MemeDescription":
        if not (self.ocr_text.strip() or self.description.strip()):
            raise ValueError("ocr_text and description are both empty; describe what is seen")
        return self


def check(answer: MemeDescription, row: Row, last_try: bool) -> MemeDescription:
    """Strip and clean the texts; the text in the picture is cut at OCR_CHARS.

    Raises:
        InvalidAnswer: nothing is left, or the description is too long.
    """
    text = cleaned(answer.ocr_text)[:OCR_CHARS].rstrip()
    description = " ".join(cleaned(answer.description).split())
    if not text and not description:
        raise InvalidAnswer("ocr_text and description hold nothing that can be read; describe what is seen")
    if len(description) > DESCRIPTION_CHARS:
        raise InvalidAnswer(f"description has {len(description)} characters; {DESCRIPTION_CHARS} at most")
    return answer.model_copy(update={"ocr_text": text, "description": description})


def offline(row: Row) -> MemeDescription:
    """Describe by rule: type, size, and the text that was read on this machine, if any was."""
    read: str | None = row["local_text"]
    shown = " ".join((read or "").split())
    # The quote must not grow the description past its bound, whatever was read.
    told = "text not read" if read is None else f"text: {shown[:SHOWN_CHARS]}" if shown else "no text"
    size = f", {row['width']}x{row['height']}" if row["width"] and row["height"] else ""
    language = None if read is None else language_of(read) if shown else NO_TEXT_LANGUAGE
    return MemeDescription(ocr_text=read or "", description=f"{row['type']}{size}, {told}", language=language)


def images(row: Row) -> tuple[Image, ...]:
    """The picture as a model is shown it: JPEG, at most 1280 pixels long.

    Raises:
        OSError: there is no such file.
        UnusableMedia: it holds no picture.
    """
    return (_shown(row["path"]),)


@lru_cache(maxsize=PICTURES_KEPT)
def _shown(path: str) -> Image:
    """Files are named by their content, so what is kept stays right."""
    return Image("image/jpeg", for_vision(Path(path).read_bytes()))


# Free models are many and unsteady: the next one is asked at once, and none with less time left than an answer takes.
PACE = Pace(reserve_s=35, workers=1, reasks=0, hand_on=True, probe_key=True)

MEME_DESCRIBE = FunctionSpec(
    name="meme_describe",
    version=1,
    display_name="Describe meme",
    description="Write down the text of a picture, what it shows, and its language.",
    template=load("magpie.memes", "meme_describe"),
    output=MemeDescription,
    alias="vision-free",
    # The prompt is the same for every picture: nothing that people wrote is in it.
    inputs={},
    variables=lambda row: {},
    check=check,
    offline=offline,
    images=images,
    max_output_tokens=2000,
    temperature=0.2,
    aliases=("describe_memes",),
    pace=PACE,
    # Three batches of at least three calls within an hour, none of which brought an answer; people look then.
    trip=Trip(calls=3, pause=None),
    reasoning_off=True,
)
