"""The sections of magpie.yaml that leads has: campaigns, Reddit, thresholds for all.

Belongs here: their shape, defaults and the line that says what is wrong with a value. Does not belong here: what a
setting does (the rules), and where the sections stand in the file (`magpie/settings.py`).
"""

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from magpie.leads.keywords import compile_keyword, parse_keyword
from magpie.strict import FunctionChoice, Slug, Strict, Usd
from magpie.text.embedders import EMBEDDERS, HOSTED_EMBEDDERS


class Keyword(Strict):
    """One keyword of a campaign; `invoice*` and `crm + agency` are the grammar of `magpie/leads/keywords.py`."""

    keyword: str = Field(min_length=1, max_length=120)
    kind: Literal["include", "exclude"] = "include"
    weight: float = Field(default=1.0, gt=0, le=100)
    active: bool = True

    @field_validator("keyword")
    @classmethod
    def _parses(cls, value: str) -> str:
        parse_keyword(value)
        return value


class Campaign(Strict):
    """What is sold, the words its buyers use, and where the bar lies."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    product_description: str = Field(min_length=1, max_length=4000)
    status: Literal["draft", "active", "paused", "completed"] = "active"
    keywords: tuple[Keyword, ...] = Field(min_length=1, max_length=500)
    subreddits_allow: tuple[str, ...] = ()
    subreddits_deny: tuple[str, ...] = ()
    exclude_authors: tuple[str, ...] = ()
    gates: dict[str, Any] = {}
    llm_daily_cap_usd: Usd = Decimal("1.00")
    draft_reply: bool = False
    functions: dict[str, FunctionChoice] = {}

    @field_validator("keywords", mode="before")
    @classmethod
    def _bare_words(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [{"keyword": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("keywords")
    @classmethod
    def _each_once(cls, value: tuple[Keyword, ...]) -> tuple[Keyword, ...]:
        seen: dict[str, str] = {}
        for word in value:
            norm = compile_keyword(word.keyword).norm
            if norm in seen:
                raise ValueError(f"{word.keyword!r} and {seen[norm]!r} are the same keyword; keep one of them")
            seen[norm] = word.keyword
        return value

    @model_validator(mode="after")
    def _some_include(self) -> "Campaign":
        if not any(word.kind == "include" and word.active for word in self.keywords):
            raise ValueError("needs at least one active keyword of kind include")
        return self


class Reddit(Strict):
    """Where the posts come from: dump files, directories or globs, relative to the settings file."""

    archives: tuple[str, ...] = ()
    max_line_mib: int = Field(default=16, ge=1, le=512)
    search_limit: int = Field(default=250, ge=1, le=1000)
    max_comments_per_submission: int = Field(default=200, ge=0, le=5000)
    # One more call per subreddit; only the gate on min_sub_ratio reads it.
    count_hot_posts: bool = False


class Leads(Strict):
    """Settings for all campaigns; `gates` of a campaign wins over `gates` here."""

    embed_model: str = "offline-hash-1024"
    profile: Literal["calibrated", "reference"] = "calibrated"
    # Subreddits' activity, a mean over seven days, is counted in the same window.
    bm25_corpus_days: int = Field(default=30, ge=7, le=30)
    # Leads below are rejected low_intent; on the offline rules' scale no lead is below 40.
    min_intent_score: int = Field(default=0, ge=0, le=100)
    # Rejected posts offered for labelling per campaign and day, so that recall can be estimated.
    rejection_sample: int = Field(default=20, ge=0, le=1000)
    gates: dict[str, Any] = {}

    @field_validator("embed_model")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in EMBEDDERS and value not in HOSTED_EMBEDDERS:
            raise ValueError(f"must be one of {', '.join(sorted([*EMBEDDERS, *HOSTED_EMBEDDERS]))}")
        return value
