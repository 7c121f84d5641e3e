"""meme_status: the state of each meme, folded from facts and decisions.

Belongs here: what holds of several decisions, the order in which facts and decisions count, which language a meme has.
Does not belong here: making decisions (`moderation.py`), facts (`curation.py`, `media.py`, `duplicates.py`), roots of
copies (`chains.py`).

The first that holds is the state: a person rejected it; it is a copy and nobody called it distinct; it is published;
its media are broken; its media are awaited; it is an ad and nobody approved it; it is an upload and nobody approved it;
its source is snoozed or disabled; ok.
"""

import polars as pl

from magpie.memes.chains import chains
from magpie.memes.tables import MEME_MODERATION, MEME_STATUS
from magpie.tables import UTC

# Languages that a description may give a meme; what it says beyond them is not reliable enough.
SPOKEN = ("ru", "en", "uk", "es", "fa", "pl", "hi", "am", "de", "fr", "pt-br", "ar", "uz")
# Decisions of one group take each other's place, the latest counts; the others stand beside.
GROUPS = {
    "approve": "verdict",
    "reject": "verdict",
    "restore": "verdict",
    "publish": "publication",
    "unpublish": "publication",
    "distinct": "distinct",
    "set_language": "language",
    "purge": "purge",
}
FOLDED = pl.Schema(
    {
        "meme_id": pl.String(),
        "verdict": pl.String(),
        "verdict_reason": pl.String(),
        "verdict_by": pl.String(),
        "published": pl.Boolean(),
        "published_by": pl.String(),
        "distinct": pl.Boolean(),
        "distinct_by": pl.String(),
        "set_language": pl.String(),
        "purged": pl.Boolean(),
        "purged_by": pl.String(),
    }
)
# Sources in these states serve nothing.
RESTING = ("snoozed", "disabled")
_STATUS_OF = {
    "ok": "ok",
    "published": "ok",
    "created": "pending",
    "waiting_review": "pending",
    "broken": "failed",
    "ad": "rejected",
    "duplicate": "rejected",
    "rejected": "rejected",
    "snoozed": "rejected",
}


def fold(decisions: pl.DataFrame) -> pl.DataFrame:
    """Return what holds of the decisions of each meme, in the columns of `FOLDED`, whatever order they come in.

    Of a group the latest counts, of several at one moment that of the highest decision_id; a restore leaves neither
    approval nor rejection.

    Args:
        decisions: rows of `meme_moderation`.
    """
    group = pl.col("action").replace_strict(GROUPS, return_dtype=pl.String)
    last = (
        decisions.select(list(MEME_MODERATION.dtypes))
        .with_columns(group.alias("group"))
        .sort("at", "decision_id")
        .group_by("meme_id", "group")
        .agg(pl.col("action", "reason", "value", "actor").last())
    )

    def of(name: str, condition: pl.Expr, column: str) -> pl.Expr:
        return pl.col(column).filter((pl.col("group") == name) & condition).first()

    judged = pl.col("action") != "restore"
    shown = pl.col("action") == "publish"
    always = pl.lit(True)
    folded = last.group_by("meme_id").agg(
        of("verdict", judged, "action").alias("verdict"),
        of("verdict", judged, "reason").alias("verdict_reason"),
        of("verdict", judged, "actor").alias("verdict_by"),
        of("publication", shown, "actor").alias("published_by"),
        of("distinct", always, "actor").alias("distinct_by"),
        of("language", always, "value").alias("set_language"),
        of("purge", always, "actor").alias("purged_by"),
    )
    return (
        folded.with_columns(
            pl.col("published_by").is_not_null().alias("published"),
            pl.col("distinct_by").is_not_null().alias("distinct"),
            pl.col("purged_by").is_not_null().alias("purged"),
        )
        .select(list(FOLDED))
        .cast(FOLDED)
        .sort("meme_id")
    )


def spoken(described: str = "described_language", otherwise: str = "language") -> pl.Expr:
    """The language of a meme: as its picture's text says, if it is one of `SPOKEN`, else that of its source."""
    named = pl.col(described).str.to_lowercase()
    return pl.when(named.is_in(SPOKEN)).then(named).otherwise(otherwise)


def main_media(media: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """The one medium by which a meme is judged, should it ever have several rows."""
    return media.lazy().sort("meme_id", "ord").unique("meme_id", keep="first", maintain_order=True)


def meme_status(
    memes: pl.DataFrame,
    media: pl.DataFrame,
    descriptions: pl.DataFrame,
    duplicates: pl.DataFrame,
    decisions: pl.DataFrame,
    sources: pl.DataFrame,
    copies: pl.DataFrame,
) -> pl.DataFrame:
    """Return one row per meme that curation has not turned down or that is purged, in the columns of `meme_status`.

    Args:
        memes, media, descriptions, duplicates: rows of the same partitions.
        decisions: rows of `meme_moderation`, also about memes of other partitions.
        sources: rows of `meme_sources`; a source that is not among them counts as enabled.
        copies: rows of `meme_duplicates` of the whole catalogue; only copies matter.
    """
    folded = fold(decisions)
    facts = _facts(memes, media, descriptions, duplicates, sources).join(folded, on="meme_id", how="left")
    facts = facts.with_columns(pl.col("published", "distinct", "purged").fill_null(False))
    roots = chains(copies_of(copies, folded)).roots
    judged = _judged(facts.join(roots, on="meme_id", how="left"))
    return MEME_STATUS.shaped(judged).sort(MEME_STATUS.sort_by)


def copies_of(duplicates: pl.DataFrame, folded: pl.DataFrame) -> pl.DataFrame:
    """Those rows of `meme_duplicates` that are copies, without those that people called distinct."""
    distinct = folded.filter("distinct").select("meme_id")
    copies = duplicates.filter((pl.col("verdict") == "duplicate") & pl.col("duplicate_of").is_not_null())
    return copies.join(distinct, on="meme_id", how="anti").select("meme_id", "duplicate_of", "published_at")


def _facts(
    memes: pl.DataFrame,
    media: pl.DataFrame,
    descriptions: pl.DataFrame,
    duplicates: pl.DataFrame,
    sources: pl.DataFrame,
) -> pl.DataFrame:
    # Of a meme that was deleted on request a row stays, so that events of it are still of a meme that is known.
    open_ones = pl.col("status").is_in(["ok", "pending"]) | (pl.col("reason") == "purged")
    kept = memes.filter(open_ones.fill_null(False)).rename(
        {"status": "meme_fate", "reason": "meme_reason", "language": "source_language"}
    )
    seen = main_media(media).select(
        "meme_id", pl.col("status").alias("media_fate"), pl.col("reason").alias("media_reason")
    )
    told = descriptions.select("meme_id", pl.col("language").alias("described_language"))
    compared = duplicates.select("meme_id", "verdict", pl.col("rule").alias("copy_rule")).rename(
        {"verdict": "copy_verdict"}
    )
    listed = sources.select("source_id", pl.col("state").alias("source_state"), "snooze_reason")
    kept = kept.drop("observed", "threshold", "not_before")
    for facts in (seen.collect(), told, compared):
        kept = kept.join(facts, on="meme_id", how="left")
    return kept.join(listed, on="source_id", how="left")


def _judged(facts: pl.DataFrame) -> pl.DataFrame:
    """Add state, what it rests on and who decided it."""
    approved = (pl.col("verdict") == "approve").fill_null(False)
    copy = (pl.col("copy_verdict") == "duplicate").fill_null(False)
    broken = pl.col("media_fate").is_in(["failed", "rejected"]).fill_null(False)
    awaited = (pl.col("meme_fate") == "pending") | (pl.col("media_fate") != "ok").fill_null(True)
    upload = pl.col("platform") == "upload"
    # State, condition, reason, who decided.
    rules: list[tuple[str, pl.Expr, pl.Expr, pl.Expr]] = [
        # What is to be deleted is served no more, also before it is gone.
        ("rejected", pl.col("purged"), pl.lit("purged"), pl.col("purged_by")),
        ("rejected", pl.col("verdict") == "reject", pl.col("verdict_reason"), pl.col("verdict_by")),
        ("duplicate", copy & ~pl.col("distinct"), pl.col("copy_rule"), pl.col("copy_rule")),
        ("published", pl.col("published"), pl.lit(None, pl.String), pl.col("published_by")),
        ("broken", broken, pl.col("media_reason"), pl.lit("media")),
        ("created", awaited, pl.coalesce("meme_reason", "media_reason", pl.lit("awaiting_media")), pl.lit("media")),
        ("ad", pl.col("ad_flag") & ~approved, pl.col("ad_reason"), pl.lit("ad_flag")),
        ("waiting_review", upload & ~approved, pl.lit("upload"), pl.lit("upload")),
        (
            "snoozed",
            pl.col("source_state").is_in(RESTING),
            pl.coalesce("snooze_reason", "source_state"),
            pl.lit("source"),
        ),
    ]
    needed = approved & (pl.col("ad_flag") | upload)
    by_person = pl.when(needed).then("verdict_by").when(copy).then("distinct_by")
    state: pl.Expr = pl.lit("ok")
    reason: pl.Expr = pl.lit(None, pl.String)
    by: pl.Expr = pl.coalesce(by_person, pl.lit("rules"))
    for name, condition, because, decider in reversed(rules):
        holds = condition.fill_null(False)
        state = pl.when(holds).then(pl.lit(name)).otherwise(state)
        reason = pl.when(holds).then(because).otherwise(reason)
        by = pl.when(holds).then(decider).otherwise(by)
    judged = facts.with_columns(state.alias("state"), reason.alias("state_reason"), by.alias("decided_by"))
    status = pl.col("state").replace_strict(_STATUS_OF, return_dtype=pl.String)
    fate = (
        pl.when(status == "ok")
        .then(pl.lit(None, pl.String))
        .when(status == "pending")
        .then("state")
        .otherwise(pl.coalesce("state_reason", "state"))
    )
    nothing = (pl.lit(None, pl.String).alias(name) for name in ("observed", "threshold"))
    return judged.with_columns(
        status.alias("status"),
        fate.alias("reason"),
        *nothing,
        pl.lit(None, UTC).alias("not_before"),
        pl.coalesce("set_language", spoken(otherwise="source_language")).alias("language"),
        pl.when(copy & ~pl.col("distinct"))
        .then(pl.coalesce("canonical_id", "meme_id"))
        .otherwise("meme_id")
        .alias("canonical_id"),
        (pl.col("state") == "ok").alias("servable"),
    )
