"""What tables keep of memes that people asked to have deleted: ids, days and counts, nothing that was said or shown.

Belongs here: turning rows into tombstones. Does not belong here: who may ask for it (`moderation.py`), what lies
outside of tables (`forgetting.py`).

A tombstone keeps the sha256 of its bytes, so that they can be removed at any later time, also after an archive or a
page brought them again.
"""

import polars as pl

from magpie.memes import tables as t
from magpie.memes.status import fold
from magpie.tables import UTC, Table

PURGED = "purged"
# Of a post; what is left says where it was, when, and how often it was seen.
_SAID = ("url", "text", "forwarded_from", "forwarded_url", "reactions")
_LISTS = ("media", "out_links", "mentions", "hashtags")
_KEPT_OF_MEDIA = ("meme_id", "ord", "platform", "day", "sha256", "watermarked_sha256")


def purged(decisions: pl.DataFrame) -> list[str]:
    """The memes that are to be deleted.

    Args:
        decisions: rows of `meme_moderation`.
    """
    return fold(decisions).filter("purged")["meme_id"].to_list()


def blanked_posts(posts: pl.DataFrame, gone: list[str]) -> pl.DataFrame:
    """Rows of `meme_posts` with tombstones in the place of those of these memes."""
    mine = pl.col("meme_id").is_in(gone)
    nothing = [pl.when(mine).then(None).otherwise(name).alias(name) for name in _SAID]
    empty = [pl.when(mine).then(pl.lit([], t.MEME_POSTS.dtypes[name])).otherwise(name).alias(name) for name in _LISTS]
    fate = _fate()
    judged = [pl.when(mine).then(value).otherwise(name).alias(name) for name, value in fate.items()]
    return t.MEME_POSTS.shaped(posts.with_columns(*nothing, *empty, *judged))


def memes(posts: pl.DataFrame) -> pl.DataFrame:
    """Rows of `memes` for the tombstones among these posts, which no rule looks at."""
    rows = _only(posts).with_columns(
        *(pl.lit(None).alias(name) for name in ("caption", "caption_raw", "views_median", "ad_reason")),
        pl.lit("none").alias("type"),
        pl.lit(False).alias("ad_flag"),
        # Of no consequence, and the column is never null.
        pl.col("language").fill_null("en"),
    )
    return t.MEMES.shaped(rows)


def media(memes: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Rows of `meme_media` for the tombstones among these memes that had any.

    Args:
        stored: `meme_media` as it was.
    """
    mine = stored.join(_only(memes), on="meme_id", how="semi")
    held = mine.select(*_KEPT_OF_MEDIA, "rules_version", pl.lit(0).alias("attempts"))
    return _shaped(t.MEME_MEDIA, held.with_columns(pl.lit([], pl.List(pl.String)).alias("keyframe_phashes")))


def descriptions(memes: pl.DataFrame) -> pl.DataFrame:
    """Rows of `meme_descriptions` for the tombstones among these memes."""
    zero = (pl.lit(0).alias(name) for name in ("attempts", "failures", "cost_usd"))
    rows = _only(memes).select("meme_id", "platform", "day", pl.lit("none").alias("ocr_engine"), *zero)
    return _shaped(t.MEME_DESCRIPTIONS, rows)


def _only(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("reason") == PURGED)


def _fate() -> dict[str, pl.Expr]:
    nothing = {name: pl.lit(None, pl.String) for name in ("observed", "threshold")}
    return {
        "status": pl.lit("rejected"),
        "reason": pl.lit(PURGED),
        **nothing,
        "not_before": pl.lit(None, UTC),
    }


def _shaped(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the fate of a tombstone; columns they lack are null."""
    told = rows.with_columns(**_fate())
    missing = (pl.lit(None, dtype).alias(name) for name, dtype in table.dtypes.items() if name not in told.columns)
    return table.shaped(told.with_columns(*missing))
