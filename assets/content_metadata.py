"""What the materialisations of content show.

Belongs here: choosing and laying out rows and pictures for the UI. Does not belong here: counting that a table or mart
does, making pictures small (`magpie/media/thumbnails.py`), sums of calls that every product shows (`model_calls.py`).

Images are embedded, so they are few and small. One that cannot be shown is passed over: checks tell of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import plots
from magpie.content import tables as t
from magpie.content.quality_score import fits
from magpie.media.opening import UnusableMedia
from magpie.media.thumbnails import thumbnail

TOP = 10
# A topic is told in one line, and a batch has some thirty.
TOPICS = 30
PREVIEWS = 4
# What an image shows is recognised at this size.
PREVIEW_PX = 256
# Of JPEGs in one materialisation; in base64 they take a third more.
PICTURE_BYTES = 90_000
# So many images are looked at for each that is shown: where files are gone, they all are.
TRIES = 3
# Larger files are no images of an article, and a picture is held in memory whole.
MAX_FILE_BYTES = 32 << 20
BIN = 10
# Prompts are told apart by the beginning of their hash.
HASH_CHARS = 12


def files_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Files and lists by format and site, and those that are of no use, with the reason, or hold rows that are."""
    bad = (pl.col("status") != "ok") | (pl.col("bad_rows") > 0)
    columns = ("source_file", "status", "reason", "observed", "bad_rows", "bad_example")
    return {
        "files_by_format": md.bars(_counts(found.filter(pl.col("status") == "ok"), "format")),
        "files_by_site": md.bars(_counts(found, "site_id")),
        "keywords_read": dg.MetadataValue.int(int(found["keywords"].sum())),
        "files_of_no_use": md.markdown_table(
            found.filter(bad).sort("source_file").select(columns).head(TOP).to_dicts()
        ),
    }


def keywords_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Ok keywords by sector and intent, the most searched, and those that are not used."""
    ok = found.filter(pl.col("status") == "ok")
    volume = pl.coalesce("volume_override", "volume").alias("volume")
    best = ok.with_columns(volume).sort("volume", "keyword_norm", descending=[True, False], nulls_last=True)
    columns = ("keyword", "reason", "observed", "threshold", "source_file", "row_no")
    unused = found.filter(pl.col("status") != "ok").sort("reason", "keyword_norm", "source_file", "row_no")
    return {
        "keywords_by_sector": md.bars(_counts(ok, "sector")),
        "keywords_by_intent": md.bars(_counts(ok, "intent")),
        "most_searched": md.markdown_table(
            best.select("keyword", "sector", "volume", "difficulty", "intent").head(TOP).to_dicts()
        ),
        "keywords_not_used": md.markdown_table(unused.select(columns).head(TOP).to_dicts()),
    }


def clusters_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Topics with their figures, what was left over, and what was corrected in the answers."""
    topics = found.filter(pl.col("status") == "ok")
    left = found.filter(pl.col("cluster_key") == t.UNCLUSTERED)
    counted = found["keywords_count"].sum()
    told: dict[str, Any] = {
        "topics": md.markdown_table(
            topics.sort("volume", "name", descending=[True, False], nulls_last=True)
            .select(
                *("name", "sector", "keywords_count", "volume", "intent"),
                pl.col("avg_cosine").round(3),
                *("method", "extends_existing"),
            )
            .head(TOPICS)
            .to_dicts()
        ),
        "unclustered": md.markdown_table(
            left.sort("site_id", "day", "sector")
            .select("site_id", "day", "sector", "status", "reason", "keywords_count", "observed", "threshold")
            .head(TOP)
            .to_dicts()
        ),
        "corrections": md.bars(_listed(found, "flags")),
        **_prompts(found),
    }
    if counted:
        told["unclustered_share"] = dg.MetadataValue.float(round(int(left["keywords_count"].sum()) / int(counted), 4))
    return told


def ideas_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Ideas per topic, by approval and structure, the first of the most important, and those turned down.

    Ideas that wait for somebody's yes count among those that are good.
    """
    good = (pl.col("status") == "ok") | (pl.col("reason") == "awaiting_approval").fill_null(False)
    ok = found.filter(good)
    first = ok.sort(pl.col("priority").cast(pl.Enum(t.PRIORITIES)), "cluster_key", "idea_id")
    down = found.filter(~good).sort("reason", "title", "idea_id")
    return {
        "ideas_by_topic": md.bars(_counts(ok, "cluster_key")),
        "ideas_by_approval": md.bars(_counts(ok, "approval")),
        "ideas_by_structure": md.bars(_counts(ok, "content_structure")),
        "first_ideas": md.markdown_table(
            first.select("title", "primary_keyword", "priority", "estimated_word_count", "approval", "idea_id")
            .head(TOP)
            .to_dicts()
        ),
        "ideas_not_written": md.markdown_table(
            down.select("title", "status", "reason", "similar_to", pl.col("similarity").round(3)).head(TOP).to_dicts()
        ),
        "corrections": md.bars(_listed(found, "flags")),
        **_prompts(found),
    }


def articles_metadata(found: pl.DataFrame, tolerance: float) -> dict[str, Any]:
    """Lengths against their targets, quality and what it lacks, how answers came, and what moderation says.

    Args:
        tolerance: how far a length may be from its target, as a share of it.
    """
    ok = found.filter(pl.col("status") == "ok").sort("site_id", "day", "article_id")
    lengths = ok.select("word_count", "target_word_count").rows()
    right = [fits(words, target, tolerance) for words, target in lengths]
    told = ok.select(
        *("title", "word_count", "target_word_count"),
        pl.Series("fits", right, pl.Boolean),
        "quality_score",
        pl.col("link_suggestions").list.len().alias("links"),
        "article_id",
    )
    made: dict[str, Any] = {
        "articles": md.markdown_table(told.head(TOP).to_dicts()),
        "lengths_that_fit": dg.MetadataValue.text(f"{sum(right)} of {len(right)}, within {tolerance:.0%}"),
        "quality": md.histogram(_bins(ok["quality_score"])),
        "quality_flags": md.bars(_listed(ok, "quality_flags")),
        "parse_modes": md.bars(_counts(found.filter(pl.col("parse_mode").is_not_null()), "parse_mode")),
        "source_kinds": md.bars(_counts(found.filter(pl.col("source_kind").is_not_null()), "source_kind")),
        **_moderation(found),
        **_prompts(found),
    }
    if ok.height:
        made["median_quality"] = dg.MetadataValue.float(float(ok["quality_score"].median()))  # type: ignore[arg-type]
    return made


def prompts_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Slots by type, examples of prompts, and what moderation says."""
    ok = found.filter(pl.col("status") == "ok").sort(*_by_slot())
    columns = ("article_id", "image_type", "position", "prompt", "alt_text", "width", "height")
    return {
        "slots_by_type": md.bars(_counts(found, "image_type")),
        "examples": md.markdown_table(ok.select(columns).head(PREVIEWS).to_dicts()),
        **_moderation(found),
        **_prompts(found),
    }


def images_metadata(found: pl.DataFrame, home: Path) -> dict[str, Any]:
    """The first images, their bytes, sizes and makers, and those that were not made.

    Args:
        home: the paths of images are below it.
    """
    ok = found.filter(pl.col("status") == "ok").sort(*_by_slot())
    failed = found.filter(pl.col("status") != "ok").sort(*_by_slot())
    columns = ("article_id", "image_type", "position", "status", "reason", "observed", "size_requested")
    return {
        "bytes": dg.MetadataValue.int(int(ok["bytes"].sum())),
        "images_by_type": md.bars(_counts(ok, "image_type")),
        "sizes_used": md.bars(_counts(ok, "size_used")),
        "other_size_than_requested": dg.MetadataValue.int(
            ok.filter(pl.col("size_used") != pl.col("size_requested")).height
        ),
        "images_by_state": md.bars(_counts(found, "prompt_status")),
        "images_not_made": md.markdown_table(failed.select(columns).head(TOP).to_dicts()),
        **_prompts(found),
        "previews": md.markdown_table(_previews(ok, home)),
    }


def _previews(rows: pl.DataFrame, home: Path) -> list[dict[str, Any]]:
    """The first images that can be shown, as far as there is room; equal ones once."""
    found: list[dict[str, Any]] = []
    room = PICTURE_BYTES
    chosen = rows.unique("sha256", keep="first", maintain_order=True).head(TRIES * PREVIEWS)
    for row in chosen.iter_rows(named=True):
        picture = _drawn(home, row)
        if picture is None or len(picture) > room:
            continue
        room -= len(picture)
        shown = md.Markup(plots.photo(picture, f"{row['image_type']} {row['position']}"))
        names = ("article_id", "image_type", "position", "size_used", "bytes")
        found.append({"image": shown, **{name: row[name] for name in names}})
        if len(found) == PREVIEWS:
            break
    return found


def _drawn(home: Path, row: Mapping[str, Any]) -> bytes | None:
    try:
        file = home / row["path"]
        return thumbnail(file.read_bytes(), PREVIEW_PX) if file.stat().st_size <= MAX_FILE_BYTES else None
    except (OSError, UnusableMedia):
        # Deleted since, or damaged: a view of what there is goes on.
        return None


def _moderation(found: pl.DataFrame) -> dict[str, Any]:
    """What was found, and what nobody has looked at; categories of what was turned down."""
    flagged = pl.col("moderation_flagged")
    verdict = pl.when(flagged).then(pl.lit("flagged")).when(~flagged).then(pl.lit("passed"))
    told = found.select(verdict.otherwise(pl.lit("not looked at")).alias("verdict"))
    return {
        "moderation": md.bars(_counts(told, "verdict")),
        "moderation_categories": md.bars(_listed(found.filter(flagged), "moderation_categories")),
        "moderated_by": md.bars(_counts(found.filter(flagged.is_not_null()), "moderation_provider")),
    }


def _prompts(found: pl.DataFrame) -> dict[str, Any]:
    """Where the words of the questions come from, and their version."""
    version = pl.format("{} {}", "prompt_source", pl.col("prompt_version").str.slice(0, HASH_CHARS))
    told = found.filter(pl.col("prompt_source").is_not_null()).select(version.alias("prompt"))
    return {"prompt_source_and_version": md.bars(_counts(told, "prompt"))}


def _by_slot() -> tuple[str | pl.Expr, ...]:
    return ("site_id", "day", "article_id", pl.col("image_type").cast(pl.Enum(t.IMAGE_TYPES)), "position")


def _bins(scores: pl.Series) -> dict[str, int]:
    """Counts of scores from 0 to 100 by tens, the last bin with 100."""
    tens = (scores // BIN).clip(0, 9)
    counts = dict(tens.value_counts().iter_rows())
    return {f"{BIN * ten} to {100 if ten == 9 else BIN * ten + 9}": counts.get(ten, 0) for ten in range(10)}


def _listed(frame: pl.DataFrame, column: str) -> dict[str, int]:
    """How often each word stands in lists."""
    words = frame.select(pl.col(column).explode(empty_as_null=False, keep_nulls=False))
    return _counts(words, column)


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(pl.col(column).cast(pl.String).fill_null("(none)")).len().sort(column)
    return dict(counted.iter_rows())
