"""memes: posts with one picture or video each, from sources that may show some, that people look at.

Belongs here: which posts become memes and why the others do not, their type, and medians of views. Does not belong
here: cleaning captions and their language (`captions.py`), the signs of an ad (`ads.py`), bytes (`media.py`).

Everything is counted from the post's own day: the median of views looks at the source's posts of that day and the days
before it, all of them, whatever became of them. Of a post that several channels forward, the earliest copy is kept.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from magpie.memes.ads import AdRules, with_ads
from magpie.memes.captions import cleaned, displayed, language_of
from magpie.memes.settings import Memes
from magpie.memes.tables import MEMES
from magpie.tables import UTC

# Until then a post may yet find those who look at it.
SETTLING = timedelta(hours=24)
PICTURES = ("photo", "image")
MOVING = ("video", "animation")
_MP4 = r"(?i)\.mp4(?:[?#]|$)"


@dataclass(frozen=True)
class CurationRules:
    """What decides whether a post is a meme, and whether that is an ad.

    Attributes:
        min_views_ratio: of the median; a post with fewer views is dropped.
        median_days: a median looks at so many days, the post's own among them.
        median_min_posts: fewer posts with views give no median.
    """

    min_views_ratio: float
    median_days: int
    median_min_posts: int
    ads: AdRules

    @classmethod
    def of(cls, settings: Memes) -> "CurationRules":
        return cls(settings.min_views_ratio, settings.median_days, settings.median_min_posts, AdRules.of(settings))


def memes(
    posts: pl.DataFrame, history: pl.DataFrame, sources: pl.DataFrame, rules: CurationRules, now: datetime
) -> pl.DataFrame:
    """Return one row per ok post, in the columns of `memes`.

    Args:
        posts: `meme_posts` of whole days of one platform or several.
        history: `meme_posts` of the same days and the `median_days - 1` before the first: source_id, day and views.
        sources: `meme_sources`; a source that is not there is taken to be in moderation.
        now: a post younger than 24 hours with few views waits.
    """
    rows = (
        posts.filter(pl.col("status") == "ok")
        .join(sources.select("source_id", "state", source_language="language"), on="source_id", how="left")
        .join(_medians(history, rules), on=["source_id", "day"], how="left")
        .pipe(_with_types)
        .pipe(_with_captions)
        .pipe(with_ads, rules.ads)
        .pipe(_judged, rules, now)
    )
    return MEMES.shaped(rows).sort(MEMES.sort_by)


def _medians(history: pl.DataFrame, rules: CurationRules) -> pl.DataFrame:
    """Return views_median by source_id and day, where there are posts enough."""
    seen = history.filter(pl.col("views") > 0).select("source_id", "day", "views")
    # A post counts for its own day and those after it; so a day's window does not depend on which days are made.
    ahead = pl.lit([timedelta(days=n) for n in range(rules.median_days)], pl.List(pl.Duration("us")))
    return (
        seen.with_columns((pl.col("day").cast(pl.Datetime("us"))).alias("at"), ahead.alias("ahead"))
        .explode("ahead")
        .with_columns((pl.col("at") + pl.col("ahead")).cast(pl.Date).alias("day"))
        .group_by("source_id", "day")
        .agg(pl.col("views").median().alias("views_median"), pl.len().alias("n"))
        .filter(pl.col("n") >= rules.median_min_posts)
        .drop("n")
    )


def _with_types(rows: pl.DataFrame) -> pl.DataFrame:
    """Add n_media, the kind of the first medium, and the type: `none` where it can be no meme."""
    first = pl.col("media").list.first()
    kind, mime = first.struct.field("kind"), first.struct.field("mime").fill_null("")
    mp4 = pl.any_horizontal(first.struct.field(name).str.contains(_MP4).fill_null(False) for name in ("url", "file"))
    document = kind == "document"
    moves = kind.is_in(MOVING) | (document & mime.str.starts_with("video/"))
    shown = kind.is_in(PICTURES) | moves | (document & mime.str.starts_with("image/"))
    type_ = (
        pl.when(~shown.fill_null(False))
        .then(pl.lit("none"))
        .when(pl.col("platform") == "vk")
        .then(pl.lit("image"))
        .when(first.struct.field("duration_s").is_not_null())
        .then(pl.lit("video"))
        .when(moves | mp4)
        .then(pl.lit("animation"))
        .otherwise(pl.lit("image"))
    )
    return rows.with_columns(pl.col("media").list.len().alias("n_media"), kind.alias("kind"), type_.alias("type"))


def _with_captions(rows: pl.DataFrame) -> pl.DataFrame:
    """Add caption, caption_raw, caption_whole (cleaned, not cut) and language, which uploaders say for themselves."""
    made = []
    for text, own, of_source in rows.select("text", "language", "source_language").iter_rows():
        raw = (text or "").strip() or None
        whole = cleaned(raw, english=(own or of_source) == "en")
        language = own or language_of(of_source or "en", raw)
        made.append((displayed(whole), raw, whole, language))
    names = ("caption", "caption_raw", "caption_whole", "language")
    captions = pl.DataFrame(made, schema=dict.fromkeys(names, pl.String), orient="row")
    return pl.concat([rows.drop("language"), captions], how="horizontal")


def _judged(rows: pl.DataFrame, rules: CurationRules, now: datetime) -> pl.DataFrame:
    """Add the columns of `Fate`; the first reason decides, and only posts that got so far compete for a repost."""
    ripe = pl.col("published_at") + SETTLING
    before = (
        ("source_in_moderation", pl.col("state").fill_null("in_moderation") == "in_moderation"),
        ("no_media", pl.col("n_media") == 0),
        ("carousel", pl.col("n_media") > 1),
        ("no_media", pl.col("type") == "none"),
    )
    early = pl.coalesce(*(pl.when(sign).then(pl.lit(reason)) for reason, sign in before))
    low = (pl.col("views") > 0) & (pl.col("views") / pl.col("views_median") < rules.min_views_ratio)
    late = (
        pl.when(pl.col("meme_id") != pl.col("kept_id"))
        .then(pl.lit("repost"))
        .when(low.fill_null(False))
        .then(pl.when(ripe > now).then(pl.lit("views_settling")).otherwise(pl.lit("low_engagement")))
    )
    judged = rows.with_columns(early.alias("reason")).pipe(_with_kept)
    judged = judged.with_columns(pl.coalesce("reason", late).alias("reason"))
    status = (
        pl.when(pl.col("reason").is_null())
        .then(pl.lit("ok"))
        .when(pl.col("reason") == "views_settling")
        .then(pl.lit("pending"))
        .otherwise(pl.lit("rejected"))
    )
    not_before = pl.when(pl.col("reason") == "views_settling").then(ripe).cast(UTC)
    return judged.with_columns(status.alias("status"), *_bounds(rules), not_before.alias("not_before"))


def _with_kept(rows: pl.DataFrame) -> pl.DataFrame:
    """Add kept_id: of the posts of a platform and day that forward one post, the earliest; null without such a post."""
    competing = rows.filter(pl.col("reason").is_null() & pl.col("forwarded_url").is_not_null())
    key = ["platform", "day", "forwarded_url"]
    kept = competing.group_by(key).agg(pl.col("meme_id").sort_by("published_at", "meme_id").first().alias("kept_id"))
    return rows.join(kept, on=key, how="left")


def _bounds(rules: CurationRules) -> tuple[pl.Expr, pl.Expr]:
    """What decided, and what it was held against."""
    reason = pl.col("reason")
    views = reason.is_in(["low_engagement", "views_settling"])
    counted = (reason == "no_media") & (pl.col("n_media") > 0)
    observed = (
        pl.when(reason == "source_in_moderation")
        .then(pl.col("state").fill_null("unknown"))
        .when(counted)
        .then("kind")
        .when(reason.is_in(["no_media", "carousel"]))
        .then(pl.col("n_media").cast(pl.String))
        .when(reason == "repost")
        .then("forwarded_url")
        .when(views)
        .then(pl.col("views").cast(pl.String))
    )
    threshold = (
        pl.when(counted)
        .then(pl.lit("image, video or animation"))
        .when(reason.is_in(["no_media", "carousel"]))
        .then(pl.lit("1"))
        .when(reason == "repost")
        .then(pl.format("kept {}", "kept_id"))
        .when(views)
        .then(pl.format("{} x median {}", pl.lit(f"{rules.min_views_ratio:g}"), "views_median"))
    )
    return observed.alias("observed"), threshold.alias("threshold")
