"""The gates: what each is held against, what it says, and which one decides.

Belongs here: the twelve gates as data and the one function that applies them to a frame of facts, for a fresh run
and for a replay alike. Does not belong here: where the facts come from.

All gates of a stage are evaluated, also after the first rejection, so that stored rows answer other thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from magpie.exact import divided_by, quotient
from magpie.leads.calibration import SECONDS_PER_DAY, GateSettings

GATE_LOG = pl.List(
    pl.Struct(
        {
            "gate": pl.String,
            "reason": pl.String,
            "outcome": pl.String,
            "observed": pl.Float64,
            "threshold": pl.Float64,
            "detail": pl.String,
        }
    )
)


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        number: its place in the order, as the specification numbers it.
        reason: what a rejected row says.
        setting: the threshold's name in `GateSettings`; None for gates without one.
        rejects: how the observed value must stand to the threshold to be rejected.
        needs_value: a missing observed value makes the gate not applicable; otherwise it passes.
        needs_maturity: not applicable to snapshots taken within `immature_seconds` of creation.
        off_at: the threshold that switches the gate off; then not even a missing value is rejected.
    """

    number: str
    reason: str
    setting: str | None
    rejects: str
    needs_value: bool = True
    needs_maturity: bool = False
    off_at: float | None = None

    @property
    def observed(self) -> str:
        return f"observed_{self.number}"

    @property
    def detail(self) -> str:
        return f"detail_{self.number}"

    def threshold(self, settings: GateSettings) -> float:
        match self.setting:
            case None:
                return 0.0
            case "max_post_age_months":
                return settings.max_age_days
            case "skip_nsfw":
                return 0.0 if settings.skip_nsfw else 1.0
            case name:
                return float(getattr(settings, name))


METADATA_GATES = (
    Gate("0a", "removed", None, "above"),
    Gate("0b", "excluded_subreddit", None, "above"),
    Gate("0c", "excluded_author", None, "above"),
    Gate("0d", "excluded_term", None, "above"),
    Gate("1", "duplicate", "dedup_ttl_seconds", "below", needs_value=False),
    Gate("2", "too_old", "max_post_age_months", "above"),
    Gate("3", "low_upvote_ratio", "min_upvote_ratio", "below", needs_maturity=True),
    Gate("4", "nsfw", "skip_nsfw", "above", off_at=1.0),
    Gate("5", "small_subreddit", "min_sub_subscribers", "below"),
    Gate("6", "low_activity", "min_sub_ratio", "below", off_at=0.0),
    Gate("6r", "low_activity", "min_posts_per_1k_subs_day", "below", off_at=0.0),
    Gate("7", "low_karma", "min_author_karma", "below"),
)
SCORE_GATES = (
    Gate("8", "low_cosine", "cosine_threshold", "below"),
    Gate("9", "low_engagement", "min_engagement_score", "below", needs_maturity=True),
    Gate("10", "no_keyword", "min_keyword_hits", "below"),
    Gate("11", "low_fused", "min_fused", "below"),
)
STAGES = {"8": "cosine", "9": "heuristic", "10": "heuristic", "11": "heuristic"}


def stage_of(gate: str) -> str:
    """metadata (gates 0-7) | cosine (8) | heuristic (9-11)."""
    return STAGES.get(gate, "metadata")


def decide(facts: pl.DataFrame, gates: Sequence[Gate], settings: GateSettings) -> pl.DataFrame:
    """Apply `gates` in order to every row.

    Args:
        facts: `observed_<number>` (float) per gate, `detail_<number>` (text, optional), `observed_age_s`; gate 10
            also reads `cosine`.

    Returns:
        One row per row of `facts`: gate_log, gate, status ok | rejected, reason, observed, threshold.
    """
    outcomes = facts.select(_outcome(gate, settings).alias(gate.number) for gate in gates)
    wide = facts.hstack(outcomes)
    log = wide.select(
        pl.concat_list(
            pl.struct(
                pl.lit(gate.number).alias("gate"),
                pl.lit(gate.reason).alias("reason"),
                pl.col(gate.number).alias("outcome"),
                pl.col(gate.observed).cast(pl.Float64).alias("observed"),
                pl.lit(gate.threshold(settings)).alias("threshold"),
                (pl.col(gate.detail) if gate.detail in facts.columns else pl.lit(None, pl.String)).alias("detail"),
            )
            for gate in gates
        )
        .cast(GATE_LOG)
        .alias("gate_log")
    )
    return log.hstack(log.select(*first_rejection(gates)))


def first_rejection(gates: Sequence[Gate]) -> list[pl.Expr]:
    """gate, status, reason, observed and threshold of the first rejecting entry of `gate_log`."""
    first = pl.col("gate_log").list.filter(pl.element().struct["outcome"] == "reject").list.first()
    value, bound, detail = (first.struct.field(name) for name in ("observed", "threshold", "detail"))
    return [
        first.struct.field("gate").alias("gate"),
        pl.when(first.is_null()).then(pl.lit("ok")).otherwise(pl.lit("rejected")).alias("status"),
        first.struct.field("reason").alias("reason"),
        pl.coalesce(detail, number_text(value)).alias("observed"),
        number_text(bound).alias("threshold"),
    ]


def number_text(value: pl.Expr) -> pl.Expr:
    """A float as people write it: 0.35, and 15 instead of 15.0."""
    return value.cast(pl.String).str.strip_suffix(".0")


def _outcome(gate: Gate, settings: GateSettings) -> pl.Expr:
    observed = pl.col(gate.observed)
    bound = gate.threshold(settings)
    rejected = observed > bound if gate.rejects == "above" else observed < bound
    if gate.number == "10":
        rejected = rejected & (pl.col("cosine") < settings.keyword_alt_cosine)
    missing = "pass"
    if gate.needs_value:
        policy = settings.missing_policy.get(gate.reason, "skip")  # type: ignore[call-overload]
        missing = "reject" if policy == "reject" and bound != gate.off_at else "not_applicable"
    outcome = (
        pl.when(observed.is_null())
        .then(pl.lit(missing))
        .when(rejected)
        .then(pl.lit("reject"))
        .otherwise(pl.lit("pass"))
    )
    if gate.needs_maturity:
        immature = (pl.col("observed_age_s") < settings.immature_seconds).fill_null(False)
        outcome = pl.when(immature).then(pl.lit("not_applicable")).otherwise(outcome)
    return outcome


def metadata_facts(
    *,
    denied: Sequence[str],
    allowed: Sequence[str],
    excluded_authors: Sequence[str],
) -> list[pl.Expr]:
    """The observed values of gates 0-7, from a matched row.

    The row has content_state, eff_title, text_chars, subreddit, author, excluded_terms (list), duplicate_after_s,
    age_days, upvote_ratio, eff_over_18, eff_sub_subscribers, sub_hot_posts, posts_per_day, author_karma.
    """
    subreddit = pl.col("subreddit").str.to_lowercase()
    deny = subreddit.is_in([name.lower() for name in denied])
    outside = ~subreddit.is_in([name.lower() for name in allowed]) if allowed else pl.lit(False)
    authors = [name.casefold() for name in excluded_authors]
    author = pl.col("author").str.to_lowercase().is_in(authors).fill_null(False)
    gone = (pl.col("content_state") != "ok") | (pl.col("text_chars") == 0)
    subscribers = pl.col("eff_sub_subscribers").cast(pl.Float64)
    per_hot = pl.when(pl.col("sub_hot_posts") > 0).then(quotient(subscribers, pl.col("sub_hot_posts")))
    per_1k = pl.when(subscribers > 0).then(quotient(1000 * pl.col("posts_per_day"), subscribers))

    def detail_if(condition: pl.Expr, text: pl.Expr) -> pl.Expr:
        return pl.when(condition).then(text)

    return [
        gone.cast(pl.Float64).alias("observed_0a"),
        detail_if(
            gone, pl.when(pl.col("content_state") != "ok").then(pl.col("content_state")).otherwise(pl.lit("empty"))
        ).alias("detail_0a"),
        (deny | outside).cast(pl.Float64).alias("observed_0b"),
        detail_if(deny | outside, pl.col("subreddit")).alias("detail_0b"),
        author.cast(pl.Float64).alias("observed_0c"),
        detail_if(author, pl.col("author")).alias("detail_0c"),
        pl.col("excluded_terms").list.len().cast(pl.Float64).alias("observed_0d"),
        pl.col("excluded_terms").list.first().alias("detail_0d"),
        pl.col("duplicate_after_s").cast(pl.Float64).alias("observed_1"),
        pl.col("age_days").alias("observed_2"),
        pl.col("upvote_ratio").alias("observed_3"),
        pl.col("eff_over_18").cast(pl.Float64).alias("observed_4"),
        subscribers.alias("observed_5"),
        per_hot.alias("observed_6"),
        per_1k.alias("observed_6r"),
        pl.col("author_karma").cast(pl.Float64).alias("observed_7"),
    ]


def score_facts() -> list[pl.Expr]:
    """The observed values of gates 8-11, from a scored row with cosine, score, keyword_hits and fused."""
    return [
        pl.col("cosine").alias("observed_8"),
        pl.col("score").cast(pl.Float64).alias("observed_9"),
        pl.col("keyword_hits").cast(pl.Float64).alias("observed_10"),
        pl.col("fused").alias("observed_11"),
    ]


def logged_facts(rows: pl.DataFrame, gates: Sequence[Gate]) -> pl.DataFrame:
    """Read the facts back from stored gate logs: the inverse of `decide`, for replay."""
    entries = pl.col("gate_log")
    return rows.with_columns(
        entry
        for position, gate in enumerate(gates)
        for entry in (
            entries.list.get(position, null_on_oob=True).struct.field("observed").alias(gate.observed),
            entries.list.get(position, null_on_oob=True).struct.field("detail").alias(gate.detail),
        )
    )


def days_of(seconds: pl.Expr) -> pl.Expr:
    """Seconds as days."""
    return divided_by(seconds, SECONDS_PER_DAY)
