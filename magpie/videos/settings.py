"""The sections of magpie.yaml that videos has: channels, and how their videos are read.

Belongs here: their shape, defaults and the line that says what is wrong with a value. Does not belong here: what a
setting does (the rules), and where the sections stand in the file (`magpie/settings.py`).
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from magpie.strict import FunctionChoice, Strict

SECONDS_PER_HOUR = 3600
HOURS_PER_DAY = 24
ChannelId = Annotated[str, Field(pattern=r"^UC[A-Za-z0-9_-]{22}$")]


class Channel(Strict):
    """One YouTube channel that is watched."""

    channel_id: ChannelId
    name: str = Field(min_length=1, max_length=200)
    handle: str | None = Field(default=None, pattern=r"^@[^\s/]{1,60}$")
    # Of the captions that are read: the language that is spoken.
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    # How much a vote of this channel weighs in the consensus; 0 leaves it out.
    reliability: float = Field(default=1.0, ge=0, le=2)
    active: bool = True
    # Videos published earlier are rejected `before_since`.
    since: date | None = None
    functions: dict[str, FunctionChoice] = {}


class AnalysisVersion(Strict):
    """One way to read a video; versions stand side by side, and one of them counts."""

    label: str = Field(min_length=1, max_length=40)
    # An alias or provider/model; None: what the functions' own settings say.
    model: str | None = Field(default=None, min_length=1, max_length=200)
    # By function: market_outlook, extract_picks, analyze_video.
    prompts: dict[Literal["market_outlook", "extract_picks", "analyze_video"], str] = {}
    active: bool = False


class Videos(Strict):
    """How videos are found, read, verified and measured."""

    # Folders with yt-dlp's info.json and caption files, relative to the settings file.
    archives: tuple[str, ...] = ()
    # Ask YouTube too: the poll reads feeds, and captions that no file holds are fetched.
    live: bool = False
    # First partition; default: start_day.
    start_day: date | None = None
    poll_seconds: int = Field(default=3 * SECONDS_PER_HOUR, ge=SECONDS_PER_HOUR, le=24 * SECONDS_PER_HOUR)
    max_visits_per_poll: int = Field(default=60, ge=1, le=1000)
    # Reference files: CSV or Parquet of symbols (or SEC company_tickers.json), of prices, of early closes.
    symbols: str | None = None
    prices: tuple[str, ...] = ()
    early_closes: str | None = None

    caption_retry_hours: tuple[int, ...] = (0, 1, 6, 24, 72)
    no_captions_cache_days: int = Field(default=14, ge=0, le=365)
    min_duration_s: int = Field(default=61, ge=0, le=3600)

    llm_min_interval_s: float = Field(default=30, ge=0, le=3600)
    analysis_mode: Literal["segmented", "whole"] = "segmented"
    analysis_versions: tuple[AnalysisVersion, ...] = (AnalysisVersion(label="v1", active=True),)
    segment_target_chars: int = Field(default=6000, ge=500, le=100_000)
    segment_max_chars: int = Field(default=8000, ge=500, le=200_000)
    segment_overlap_chars: int = Field(default=300, ge=0, le=5000)
    whole_max_chars: int = Field(default=100_000, ge=5000, le=1_000_000)
    max_picks_per_video: int = Field(default=15, ge=1, le=200)

    quote_fuzzy_min: float = Field(default=90, ge=50, le=100)
    time_tolerance_s: int = Field(default=90, ge=0, le=3600)
    name_match_min: float = Field(default=80, ge=0, le=100)
    suggest_min: float = Field(default=90, ge=0, le=100)

    consensus_days: int = Field(default=14, ge=1, le=365)
    half_life_days: float = Field(default=7, gt=0, le=365)
    prior_mass: float = Field(default=1.0, ge=0, le=100)
    publish_margin: float = Field(default=15, ge=0, le=50)
    consensus_min_channels: int = Field(default=1, ge=1, le=100)
    contested_ratio: float = Field(default=0.25, ge=0, le=1)

    outcome_horizons: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = (5, 10, 20)
    benchmark_symbol: str = Field(default="SPY", min_length=1, max_length=12)

    @field_validator("poll_seconds")
    @classmethod
    def _a_schedule(cls, value: int) -> int:
        hours = value / SECONDS_PER_HOUR
        if not hours.is_integer() or HOURS_PER_DAY % hours:
            raise ValueError("must be 3600, 7200, 10800, 14400, 21600, 28800, 43200 or 86400: hours that divide a day")
        return value

    @field_validator("caption_retry_hours", "outcome_horizons")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] < 0:
            raise ValueError("must be one or more numbers in ascending order, none of them twice or below 0")
        return value

    @field_validator("analysis_versions")
    @classmethod
    def _one_active(cls, value: tuple[AnalysisVersion, ...]) -> tuple[AnalysisVersion, ...]:
        labels = [version.label for version in value]
        if len(set(labels)) != len(labels):
            raise ValueError("two versions have the same label")
        if sum(version.active for version in value) != 1:
            raise ValueError("exactly one version must be active")
        return value

    @model_validator(mode="after")
    def _segments_fit(self) -> "Videos":
        if not self.segment_overlap_chars < self.segment_target_chars <= self.segment_max_chars:
            raise ValueError("segment_overlap_chars < segment_target_chars <= segment_max_chars must hold")
        return self

    @property
    def active_version(self) -> AnalysisVersion:
        return next(version for version in self.analysis_versions if version.active)
