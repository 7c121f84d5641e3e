"""The sections of magpie.yaml that content has: sites, and how articles for them come about.

Belongs here: their shape, defaults and the line that says what is wrong with a value. Does not belong here: what a
setting does (the rules), and where the sections stand in the file (`magpie/settings.py`).
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from magpie.strict import FunctionChoice, Slug, Strict

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=64, le=4096)]
Size = Annotated[str, Field(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")]
# Hash vectors are sparse: unrelated words have a cosine near 0, so the same closeness is a smaller number.
CLUSTER_SIMILARITY = {"offline-hash-1024": 0.20, "text-embedding-3-small": 0.45}
DUPLICATE_SIMILARITY = {"offline-hash-1024": 0.60, "text-embedding-3-small": 0.88}
LINK_MIN_COSINE = {"offline-hash-1024": 0.15, "text-embedding-3-small": 0.35}
# Of an embedder that is none of these: MiniLM and its like.
OTHER_SIMILARITY, OTHER_DUPLICATE, OTHER_LINK = 0.45, 0.85, 0.35


class Page(Strict):
    """A page that the site has already."""

    url: str = Field(pattern=r"^https?://\S+$", max_length=2000)
    title: str = Field(min_length=1, max_length=300)
    keyword: str | None = Field(default=None, max_length=100)


class KeywordList(Strict):
    """Keywords written into the settings: one batch."""

    day: date | None = None
    sector: str = Field(default="general", min_length=1, max_length=60)
    keywords: tuple[str, ...] = Field(min_length=1)


class Site(Strict):
    """One site that articles are written for."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}(-[a-z]{2})?$")
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    industry: str = Field(default="", max_length=500)
    brand_voice: str = Field(default="", max_length=2000)
    audience: str = Field(default="", max_length=1000)
    existing_pages: tuple[Page, ...] = ()
    categories: tuple[str, ...] = ()
    # Keyword files in `keywords/<site>/`, by the folder below it; a file there itself is of the first sector.
    sectors: tuple[str, ...] = ("general",)
    exclude_keywords: tuple[str, ...] = ()
    disabled_keywords: tuple[str, ...] = ()
    lists: tuple[KeywordList, ...] = ()
    # off: nothing is made of its own accord; people may still materialise.
    active: bool = True
    schedule: Literal["daily", "weekly", "monthly", "off"] = "off"
    idea_approval: Literal["auto", "manual"] = "auto"
    image_style: str = Field(default="clean editorial illustration", max_length=300)
    negative_prompt: str = Field(default="", max_length=500)
    forbid_names: bool = True
    functions: dict[str, FunctionChoice] = {}


class Content(Strict):
    """How keywords become topics, ideas, articles and images."""

    # Folders `<site>/` or `<site>/<sector>/` with keyword files, relative to the settings file.
    keyword_files: tuple[str, ...] = ()
    # First partition; default: start_day.
    start_day: date | None = None
    embed_model: str = "offline-hash-1024"
    min_keywords: int = Field(default=5, ge=1, le=1000)
    min_cluster_size: int = Field(default=3, ge=1, le=1000)
    max_cluster_size: int = Field(default=10, ge=1, le=1000)
    # None: what suits the embedder.
    cluster_similarity: Share | None = None
    cluster_batch: int = Field(default=150, ge=5, le=5000)
    ideas_min: int = Field(default=3, ge=1, le=20)
    ideas_max: int = Field(default=7, ge=1, le=20)
    duplicate_similarity: Share | None = None
    word_count_tolerance: Share = 0.25
    publish_min_quality: int = Field(default=70, ge=0, le=100)
    max_in_article_images: int = Field(default=3, ge=0, le=8)
    desktop_enabled: bool = False
    mobile_enabled: bool = False
    featured_size: Size = "1536x1024"
    desktop_size: Size = "1536x1024"
    mobile_size: Size = "1024x1536"
    in_article_size: Size = "1024x1024"
    image_provider: Literal["offline", "openai", "runware"] = "offline"
    image_format: Literal["webp", "png", "jpeg"] = "webp"
    link_suggestions_max: int = Field(default=5, ge=0, le=50)
    link_min_cosine: Share | None = None
    moderation_fail_mode: Literal["closed", "open"] = "closed"

    @field_validator("embed_model")
    @classmethod
    def _known(cls, value: str) -> str:
        from magpie.text.embedders import EMBEDDERS, HOSTED_EMBEDDERS  # heavy, and few change it

        known = (*EMBEDDERS, *HOSTED_EMBEDDERS)
        if value not in known:
            raise ValueError(f"no such embedder; one of {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Content":
        if self.min_cluster_size > self.max_cluster_size:
            raise ValueError("min_cluster_size must not be above max_cluster_size")
        if self.ideas_min > self.ideas_max:
            raise ValueError("ideas_min must not be above ideas_max")
        return self

    @property
    def merge_floor(self) -> float:
        """Average cosine down to which clusters are merged."""
        given = self.cluster_similarity
        return CLUSTER_SIMILARITY.get(self.embed_model, OTHER_SIMILARITY) if given is None else given

    @property
    def duplicate_floor(self) -> float:
        """Cosine of titles from which two are the same topic."""
        given = self.duplicate_similarity
        return DUPLICATE_SIMILARITY.get(self.embed_model, OTHER_DUPLICATE) if given is None else given

    @property
    def link_floor(self) -> float:
        """Cosine from which a page is worth a link."""
        given = self.link_min_cosine
        return LINK_MIN_COSINE.get(self.embed_model, OTHER_LINK) if given is None else given
