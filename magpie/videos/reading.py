"""What is asked about a video, and which answers count: market_outlook, extract_picks, analyze_video.

Belongs here: the fields of an answer, their bounds, and the offline rules that stand in for a model. Does not belong
here: asking (`magpie/llm`), the words of the prompts (`prompts/*.md`), what becomes of an answer (`analysis.py`), and
whether a pick is true (`verify.py`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Row, Trust
from magpie.sources.youtube_info import MAX_SECONDS
from magpie.videos.analyst import outlook, pick_rows
from magpie.videos.symbols import Named

DESCRIPTION_CHARS = 1000
QUOTE_MIN_CHARS, QUOTE_MAX_CHARS = 20, 400
# A model that counts a little past the end of the video means its end; more than that is made up.
PAST_THE_END_S = 5
# More than are asked for: which of them are too many is said row by row, in verification.
PICKS_READ = 60
NO_DATE = "unknown"

_CLOCK = re.compile(r"\[?(?:(\d{1,2}):)?(\d{1,3}):(\d{2})\]?")


def _lower(value: object) -> object:
    return value.strip().casefold() if isinstance(value, str) else value


def _listed(value: object) -> object:
    """A single object stands for a list of one."""
    return [value] if isinstance(value, dict) else value


def _seconds(value: object) -> object:
    """Seconds as a number, from a number or from a mark such as 12:05, which the transcript is full of."""
    if isinstance(value, str) and (mark := _CLOCK.fullmatch(value.strip())):
        hours, minutes, seconds = (int(part or 0) for part in mark.groups())
        return hours * 3600 + minutes * 60 + seconds
    if isinstance(value, float):
        return int(value) if 0 <= value < 1e9 else None
    return None if isinstance(value, int) and value < 0 else value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


class Answer(BaseModel):
    """An extra field is ignored, a missing one is an error: null has to be said."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Pick(Answer):
    """One security that the speaker has a view on."""

    symbol: str = Field(min_length=1, max_length=20)
    company_name: Annotated[Annotated[str, Field(max_length=120)] | None, BeforeValidator(_blank_is_none)]
    action: Annotated[Literal["buy", "sell", "hold", "watch", "avoid", "short", "mention"], BeforeValidator(_lower)]
    conviction: float = Field(ge=0, le=1, allow_inf_nan=False)
    time_horizon: Annotated[Literal["intraday", "short", "medium", "long", "unspecified"], BeforeValidator(_lower)]
    claim_type: Annotated[
        Literal["recommendation", "opinion", "own_trade", "news", "quoting_others", "hypothetical", "past"],
        BeforeValidator(_lower),
    ]
    # Its bounds are the check's: a quote that is too long is cut on the last try rather than lost.
    rationale_quote: str = Field(max_length=5000)
    video_timestamp_seconds: Annotated[int | None, BeforeValidator(_seconds)]


Picks = Annotated[tuple[Pick, ...], BeforeValidator(_listed), Field(max_length=PICKS_READ)]
Phrases = Annotated[tuple[Annotated[str, Field(max_length=120)], ...], Field(max_length=10)]


class MarketOutlook(Answer):
    """What a video makes of the market."""

    market_outlook_direction: Annotated[Literal["bullish", "bearish", "neutral", "mixed"], BeforeValidator(_lower)]
    market_outlook_reasoning: str = Field(max_length=800)
    macro_themes: Phrases
    key_risks: Phrases
    summary: str = Field(max_length=1200)


class ExtractedPicks(Answer):
    """The picks of one piece of a video; an empty list says that there are none."""

    tickers: Picks


class VideoAnalysis(MarketOutlook):
    """Outlook and picks at once."""

    tickers: Picks


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompts; those that the video's makers wrote are untrusted."""
    return {
        "title": str(row["title"]),
        "description": str(row["description"])[:DESCRIPTION_CHARS],
        "published_at": str(row["published_at"] or NO_DATE),
        "transcript": str(row["transcript"]),
        "segment": str(row["segment"] or "whole video"),
    }


def check_picks(answer: ExtractedPicks, row: Row, last_try: bool) -> ExtractedPicks:
    """Drop times after the end of the video; hold quotes against their bounds.

    Raises:
        InvalidAnswer: a quote is too short or too long, and the model may be asked again.
    """
    return answer.model_copy(update={"tickers": _checked(answer.tickers, row, last_try)})


def check_outlook(answer: MarketOutlook, row: Row, last_try: bool) -> MarketOutlook:
    """Every outlook that fits its schema counts."""
    return answer


def check_analysis(answer: VideoAnalysis, row: Row, last_try: bool) -> VideoAnalysis:
    """As `check_picks`."""
    return answer.model_copy(update={"tickers": _checked(answer.tickers, row, last_try)})


def _checked(picks: Sequence[Pick], row: Row, last_try: bool) -> tuple[Pick, ...]:
    for number, pick in enumerate(picks):
        length = len(pick.rationale_quote.strip())
        if not QUOTE_MIN_CHARS <= length <= QUOTE_MAX_CHARS and not last_try:
            raise InvalidAnswer(
                f"tickers.{number}.rationale_quote has {length} characters; copy {QUOTE_MIN_CHARS} to "
                f"{QUOTE_MAX_CHARS} characters of the transcript word for word"
            )
    end = row["duration_s"]
    bound = MAX_SECONDS if end is None else float(end) + PAST_THE_END_S
    return tuple(
        pick.model_copy(
            update={
                "rationale_quote": pick.rationale_quote.strip()[:QUOTE_MAX_CHARS],
                "video_timestamp_seconds": _within(pick.video_timestamp_seconds, bound),
            }
        )
        for pick in picks
    )


def _within(seconds: int | None, bound: float) -> int | None:
    return seconds if seconds is not None and 0 <= seconds <= bound else None


def offline_picks(row: Row) -> ExtractedPicks:
    """Find picks by the rules of `analyst.py`, without a model and free of charge."""
    return ExtractedPicks.model_validate({"tickers": _picks_of(row)})


def offline_outlook(row: Row) -> MarketOutlook:
    """Judge the outlook by counting words."""
    return MarketOutlook.model_validate(_outlook_of(row))


def offline_analysis(row: Row) -> VideoAnalysis:
    """Both."""
    return VideoAnalysis.model_validate({**_outlook_of(row), "tickers": _picks_of(row)})


def _picks_of(row: Row) -> list[dict[str, Any]]:
    lines = [(line["start_s"], line["end_s"], line["text"]) for line in row["lines"]]
    named = [[Named(**found) for found in line] for line in row["named"]]
    return pick_rows(lines, named)


def _outlook_of(row: Row) -> dict[str, Any]:
    return outlook(" ".join(line["text"] for line in row["lines"]))


_INPUTS: Mapping[str, Trust] = {
    "title": "untrusted",
    "description": "untrusted",
    "published_at": "trusted",
    "transcript": "untrusted",
    "segment": "untrusted",
}

Found = TypeVar("Found", bound=Answer)


def _about_a_video(
    name: str,
    title: str,
    description: str,
    output: type[Found],
    check: Callable[[Found, Row, bool], Found],
    offline: Callable[[Row], Found],
    max_output_tokens: int,
) -> FunctionSpec[Found]:
    """What the three have in common: inputs, model, and that the same video is read the same way twice."""
    return FunctionSpec(
        name=name,
        version=1,
        display_name=title,
        description=description,
        template=load("magpie.videos", name),
        output=output,
        alias="fast",
        inputs=_INPUTS,
        variables=variables,
        check=check,
        offline=offline,
        max_output_tokens=max_output_tokens,
        temperature=0.0,
    )


MARKET_OUTLOOK = _about_a_video(
    "market_outlook",
    "Market outlook",
    "Sum up what a video says of the market as a whole: direction, reasons, themes, risks.",
    MarketOutlook,
    check_outlook,
    offline_outlook,
    max_output_tokens=1500,
)
EXTRACT_PICKS = _about_a_video(
    "extract_picks",
    "Extract picks",
    "List the securities that the speaker of a piece of a video has a view on, each with a quote.",
    ExtractedPicks,
    check_picks,
    offline_picks,
    max_output_tokens=4000,
)
ANALYZE_VIDEO = _about_a_video(
    "analyze_video",
    "Analyze video",
    "Outlook and picks of a whole video in one answer.",
    VideoAnalysis,
    check_analysis,
    offline_analysis,
    max_output_tokens=5000,
)
