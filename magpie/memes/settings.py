"""The sections of magpie.yaml that memes has: sources, and how posts become a rated catalogue.

Belongs here: their shape, defaults and the line that says what is wrong with a value. Does not belong here: what a
setting does (the rules), and where the sections stand in the file (`magpie/settings.py`).
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from magpie.memes.tables import PLATFORMS, PREFIXES
from magpie.strict import Strict

Platform = Literal["telegram", "vk", "instagram"]
Share = Annotated[float, Field(ge=0, le=1)]
SourceId = Annotated[str, Field(pattern=r"^(tg|vk|ig):[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
ADDRESSES = {
    "telegram": "https://t.me/s/{}",
    "vk": "https://vk.com/{}",
    "instagram": "https://www.instagram.com/{}/",
}


class MemeSource(Strict):
    """One channel; listed here it counts as enabled until an event says otherwise."""

    id: SourceId
    # Of its captions, ISO 639-1.
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}(-[a-z]{2})?$")

    @property
    def platform(self) -> str:
        return next(name for name in PLATFORMS if self.id.startswith(PREFIXES[name] + ":"))

    @property
    def name(self) -> str:
        return self.id.partition(":")[2]

    @property
    def url(self) -> str:
        return ADDRESSES[self.platform].format(self.name)


class SourcesPerRun(Strict):
    """How many sources one fetch asks, by platform."""

    telegram: int = Field(default=25, ge=1, le=1000)
    vk: int = Field(default=10, ge=1, le=1000)
    instagram: int = Field(default=5, ge=1, le=1000)


class Memes(Strict):
    """How memes are found, cleaned, described, compared, rated and recommended."""

    # Folders `<platform>/<source>/` with exports and saved pages, relative to the settings file.
    archives: tuple[str, ...] = ()
    # Folders or files of reactions, one JSON object a line (*.ndjson), relative to the settings file.
    events: tuple[str, ...] = ()
    # Platforms that are asked over the network.
    live: tuple[Platform, ...] = ()
    # First partition; default: start_day.
    start_day: date | None = None

    sources_per_run: SourcesPerRun = SourcesPerRun()
    posts_per_source: int = Field(default=10, ge=1, le=1000)
    max_pages: int = Field(default=5, ge=1, le=100)
    min_views_ratio: Share = 0.3
    ad_views_ratio: Share = 0.5
    median_days: int = Field(default=7, ge=1, le=60)
    median_min_posts: int = Field(default=5, ge=1, le=1000)
    ad_caption_max: int = Field(default=200, ge=1, le=10_000)
    # Off: a link beside a long caption alone makes no ad.
    ad_long_link_caption: bool = False
    vk_text_max: int = Field(default=200, ge=1, le=10_000)

    media_batch: int = Field(default=100, ge=1, le=10_000)
    media_stop_after: int = Field(default=5, ge=1, le=1000)
    media_max_attempts: int = Field(default=5, ge=1, le=100)
    # Empty: no watermark.
    watermark_text: str = Field(default="", max_length=60)

    phash_max: int = Field(default=9, ge=0, le=32)
    phash_plain_max: int = Field(default=4, ge=0, le=32)
    near_text_min: Share = 0.40
    text_only_min: Share = 0.60
    min_text_len: int = Field(default=12, ge=1, le=1000)
    text_only_len: int = Field(default=20, ge=1, le=1000)

    describe_batch: int = Field(default=9, ge=1, le=1000)
    describe_every_min: int = Field(default=15, ge=1, le=1440)
    describe_spacing_s: float = Field(default=10, ge=0, le=3600)
    describe_request_s: float = Field(default=30, ge=1, le=3600)
    describe_meme_s: float = Field(default=120, ge=1, le=3600)
    describe_batch_s: float = Field(default=780, ge=1, le=36_000)
    describe_max_failures: int = Field(default=3, ge=1, le=100)
    describe_stop_after: int = Field(default=3, ge=1, le=100)
    local_ocr: Literal["all", "uncertain", "off"] = "all"

    lr_min_user: int = Field(default=10, ge=1, le=1000)
    lr_min_meme: int = Field(default=3, ge=1, le=1000)
    es_min_meme: int = Field(default=3, ge=1, le=1000)
    skip_lookback_d: int = Field(default=7, ge=1, le=365)
    session_gap_min: float = Field(default=30, gt=0, le=1440)
    active_gap_s: float = Field(default=120, gt=0, le=3600)

    queue_ttl_s: int = Field(default=3600, ge=1, le=7 * 86_400)
    refill_at: int = Field(default=8, ge=0, le=1000)
    refill_n: int = Field(default=15, ge=1, le=1000)
    pop_tries: int = Field(default=10, ge=1, le=1000)
    soft_demote: bool = True
    hard_block: bool = False
    source_diversity: bool = False

    @field_validator("watermark_text")
    @classmethod
    def _drawable(cls, value: str) -> str:
        if value:
            # Here, because few set one, and pictures take their time to import.
            from magpie.media.watermark import check_text

            check_text(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Memes":
        if self.phash_plain_max > self.phash_max:
            raise ValueError("phash_plain_max must not be above phash_max")
        if not self.describe_request_s <= self.describe_meme_s <= self.describe_batch_s:
            raise ValueError("describe_request_s <= describe_meme_s <= describe_batch_s must hold")
        return self
