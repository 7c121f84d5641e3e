"""The thresholds of the gates: defaults, calibration per embedding model, overrides.

Belongs here: every number a gate is held against and where it came from. Does not belong here: how a gate decides
(`magpie/leads/gates.py`).
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from magpie.errors import UserError
from magpie.yaml_text import read_yaml

SECONDS_PER_DAY = 86_400
# Looking further back for an equal text than the corpus window reaches would make a day depend on data that its
# upstream partitions do not cover.
LONGEST_DEDUP_SECONDS = 29 * SECONDS_PER_DAY

GateReason = Literal[
    "low_upvote_ratio",
    "nsfw",
    "small_subreddit",
    "low_activity",
    "low_karma",
    "too_old",
    "low_engagement",
]


class GateSettings(BaseModel):
    """Every threshold of one campaign; a comparison at the threshold passes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dedup_ttl_seconds: int = Field(default=604_800, ge=0, le=LONGEST_DEDUP_SECONDS)
    max_post_age_months: float = Field(default=18.0, ge=0)
    min_upvote_ratio: float = Field(default=0.40, ge=0, le=1)
    skip_nsfw: bool = True
    min_sub_subscribers: int = Field(default=1000, ge=0)
    min_sub_ratio: float = Field(default=0.0, ge=0)
    min_posts_per_1k_subs_day: float = Field(default=0.0, ge=0)
    min_author_karma: int = 15
    min_engagement_score: int = 1
    min_keyword_hits: int = Field(default=1, ge=0)
    immature_seconds: int = Field(default=3600, ge=0)
    missing_policy: dict[GateReason, Literal["skip", "reject"]] = {}
    w_cos: float = Field(ge=0, lt=1)
    cosine_threshold: float = Field(ge=-1, le=1)
    keyword_alt_cosine: float = Field(ge=-1, le=1)
    min_fused: float = Field(ge=0)
    k1: float = Field(default=1.2, ge=0)
    b: float = Field(default=0.75, ge=0, le=1)
    bm25_idf_floor: float = Field(default=0.5, ge=0)
    formula_version: Literal["v1", "v0"] = "v1"
    similarity_mode: Literal["centroid", "max"] = "centroid"

    @classmethod
    def resolve(cls, profile: str, given: Mapping[str, Any], where: str) -> "GateSettings":
        """Return the calibration of `profile` (an embedding model, or `reference`) under the values given.

        `where` comes before the name of a setting in an error: `leads.gates.`, `--set `.

        Raises:
            UserError: the model has no calibration and the values given do not replace it, or a value is wrong.
        """
        row = calibrations().get(profile)
        calibrated = ("w_cos", "cosine_threshold", "keyword_alt_cosine", "min_fused")
        if row is None and not all(name in given for name in calibrated):
            models = ", ".join(sorted(calibrations().keys() - {"reference"}))
            raise UserError(
                f"embed_model {profile!r} has no calibrated thresholds; choose one of {models}, or set "
                f"{', '.join(where + name for name in calibrated)} from the percentiles that the mart "
                "cosine_percentiles shows"
            )
        try:
            return cls.model_validate({**(row or {}), **given})
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
            if problem["type"] == "extra_forbidden":
                raise UserError(f"{where}{key} is not a gate setting; known: {', '.join(cls.model_fields)}") from None
            raise UserError(f"{where}{key} = {problem['input']!r}: {problem['msg']}") from None

    @property
    def max_age_days(self) -> float:
        """A month is 30.4375 days, a twelfth of a Julian year."""
        return self.max_post_age_months * 30.4375

    def dead_gates(self) -> list[str]:
        """Return one line per gate that can never reject under these thresholds."""
        lines = []
        if self.keyword_alt_cosine <= self.cosine_threshold:
            lines.append(
                f"gate 10 no_keyword can never reject: keyword_alt_cosine {self.keyword_alt_cosine:g} <= "
                f"cosine_threshold {self.cosine_threshold:g}"
            )
        floor = self.w_cos * self.cosine_threshold
        if self.min_fused <= floor + 1e-12:
            lines.append(
                f"gate 11 low_fused can never reject: min_fused {self.min_fused:g} <= "
                f"w_cos x cosine_threshold {floor:g}"
            )
        return lines


@cache
def calibrations() -> dict[str, dict[str, float]]:
    """Return model -> w_cos, cosine_threshold, keyword_alt_cosine, min_fused."""
    loaded: dict[str, dict[str, float]] = read_yaml((files("magpie.leads") / "calibration.yaml").read_text("utf-8"))
    return loaded
