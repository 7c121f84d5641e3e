"""What the materialisations of memes show.

Belongs here: choosing and laying out rows and pictures for the UI. Does not belong here: counting that a table or mart
does, making pictures small (`magpie/media/thumbnails.py`), sums of calls that every product shows (`model_calls.py`).

Pictures are embedded, so they are few and small: one run's metadata stays below some 150 KB. A picture that cannot be
shown any more is passed over.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import plots
from magpie.blobs import Blobs, NoBlob
from magpie.lake import Lake
from magpie.llm import spend
from magpie.llm.engine import Engine
from magpie.llm.export import llm_calls
from magpie.llm.purpose import FREE_TIER
from magpie.media.opening import UnusableMedia
from magpie.media.thumbnails import side_by_side, thumbnail
from magpie.memes import tables as t
from magpie.memes.describe import MEME_DESCRIBE
from magpie.memes.status import main_media
from magpie.tables import Table
from magpie.text.markdown import escaped

TOP = 10
BEST = 5
THUMBNAILS, PAIRS, EXAMPLES = 6, 5, 3
# Memes of phone and desktop are recognised at this size.
THUMBNAIL_PX = 160
PAIR_PX = 2 * THUMBNAIL_PX
# Of JPEGs in one materialisation; in base64 they take a third more.
PICTURE_BYTES = 90_000
# So many candidates are looked at for each picture shown: where blobs are gone, they all are.
TRIES = 3
# A text of a picture or its description is more than a name in a table.
TEXT_CHARS = 200
WEEK = timedelta(days=7)
# Who takes the next meme within it goes on.
CONTINUED = timedelta(minutes=30)
# Posts that differ in these say something new; an unchanged post comes with every fetch.
_COUNTERS = ("text", "views", "likes", "reposts", "comments")

Draw = Callable[[Mapping[str, Any]], bytes]


def files_metadata(files: pl.DataFrame) -> dict[str, Any]:
    """Files by platform, and those that are of no use, with the reason, or hold posts that are."""
    bad = (pl.col("status") != "ok") | (pl.col("bad_posts") > 0)
    columns = ("source_file", "status", "reason", "observed", "bad_posts", "bad_example")
    return {
        "files_by_platform": md.bars(_counts(files, "platform")),
        "posts_read": dg.MetadataValue.int(int(files["posts"].sum())),
        "files_of_no_use": md.markdown_table(
            files.filter(bad).sort("source_file").select(columns).head(TOP).to_dicts()
        ),
    }


def read_as_of(lake: Lake, *tables: Table) -> dict[str, Any]:
    """The versions of tables that were read as they are, which is no dependency: with them a row can be explained."""
    return {"read_as_of_versions": dg.MetadataValue.json({table.name: lake.version(table) for table in tables})}


def sources_metadata(sources: pl.DataFrame) -> dict[str, Any]:
    """Sources by state, those that sleep, and those that have brought nothing lately."""
    idle = sources.filter((pl.col("state") == "enabled") & (pl.col("empty_streak") > 0))
    chosen = idle.sort("empty_streak", "source_id", descending=[True, False])
    return {
        "sources_by_state": md.bars(_counts(sources, "state")),
        "snoozed_sources": _snoozed(sources),
        "empty_fetches": md.markdown_table(
            chosen.select("source_id", "empty_streak", "parsed_at", "last_post_at").head(TOP).to_dicts()
        ),
    }


def posts_metadata(posts: pl.DataFrame, before: pl.DataFrame, sources: pl.DataFrame) -> dict[str, Any]:
    """Sources that brought posts, posts that are new or changed, those that could not be read, sources that sleep.

    Args:
        before: the same partitions as they were.
        sources: `meme_sources`.
    """
    key = ["source_id", "post_id"]
    known = posts.join(before.select(*key, *_COUNTERS), on=key, suffix="_before")
    changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in _COUNTERS)
    unread = posts.filter(pl.col("status") == "failed").select("source_id", "post_id", "reason", "observed")
    return {
        "sources": dg.MetadataValue.int(posts["source_id"].n_unique()),
        "new_posts": dg.MetadataValue.int(posts.height - known.height),
        "updated_posts": dg.MetadataValue.int(known.filter(changed).height),
        "parse_failures": dg.MetadataValue.int(unread.height),
        "unreadable_posts": md.markdown_table(unread.head(TOP).to_dicts()),
        "snoozed_sources": _snoozed(sources),
    }


def memes_metadata(posts: pl.DataFrame, memes: pl.DataFrame) -> dict[str, Any]:
    """From posts to memes that are no ads, and why the others were left behind."""
    no_single = pl.col("reason").is_in(["source_in_moderation", "no_media", "carousel"]).fill_null(False)
    kept = memes.filter(pl.col("status") == "ok")
    steps = {
        "posts": posts.height,
        "single media": memes.filter(~no_single).height,
        "kept": kept.height,
        "not ad": kept.filter(~pl.col("ad_flag")).height,
    }
    reasons = pl.concat([posts["reason"], memes["reason"]]).drop_nulls().value_counts().sort("reason")
    top = reasons.sort("count", descending=True, maintain_order=True).head(TOP)
    return {
        "funnel": md.histogram(steps),
        "skip_reasons": md.bars(dict(top.iter_rows())),
        "ads_by_reason": md.bars(_counts(kept.filter("ad_flag"), "ad_reason")),
    }


def media_metadata(found: pl.DataFrame, stored: pl.DataFrame, blobs: Blobs) -> dict[str, Any]:
    """Bytes, what equal bytes saved, failures by what the server said, and the newest pictures.

    Args:
        stored: the same partitions as they were.
    """
    ok = found.filter(pl.col("status") == "ok")
    once = ok.unique("sha256")
    whole, distinct = int(ok["bytes"].sum()), int(once["bytes"].sum())
    broken = found.filter(pl.col("reason") == "broken_link")
    # What is new first: that is what the run did.
    fresh = pl.col("sha256").is_in(stored["sha256"].drop_nulls().unique().implode())
    pictures = (
        once.filter(pl.col("mime").str.starts_with("image/"))
        .sort(fresh, "day", "meme_id", descending=[False, True, False])
        .select("meme_id", "sha256", "width", "height", "bytes")
    )
    shown = _with_pictures(pictures, THUMBNAILS, lambda row: thumbnail(blobs.get(row["sha256"]), THUMBNAIL_PX))
    return {
        "bytes": dg.MetadataValue.int(whole),
        "bytes_saved_by_equal_files": dg.MetadataValue.int(whole - distinct),
        "failures_by_answer": md.bars(_counts(broken, "observed")),
        "thumbnails": md.markdown_table([_without(row, "sha256") for row in shown]),
    }


def descriptions_metadata(found: pl.DataFrame, blobs: Blobs, engine: Engine) -> dict[str, Any]:
    """Examples with their picture; and, where models are asked, quota, success per model and who rests until when.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    told = found.filter(
        (pl.col("status") == "ok") & pl.col("description").is_not_null() & pl.col("sha256").is_not_null()
    )
    newest = told.sort("described_at", "day", "meme_id", descending=[True, True, False], nulls_last=True)
    pictures = newest.select("meme_id", "sha256", "description", "ocr_text", "language", "model_served")
    examples = [
        {**_without(row, "sha256"), **{name: _text(row[name]) for name in ("description", "ocr_text")}}
        for row in _with_pictures(pictures, EXAMPLES, lambda row: thumbnail(blobs.get(row["sha256"]), THUMBNAIL_PX))
    ]
    asked = {} if engine.offline else _asked_today(engine)
    return {"read_by": md.bars(_counts(found, "ocr_engine")), **asked, "examples": md.markdown_table(examples)}


def _asked_today(engine: Engine) -> dict[str, Any]:
    gateway = engine.gateway
    now = gateway.clock()
    quotas = [row for row in spend.left_today(gateway) if row["scope"].startswith(FREE_TIER)]
    calls = llm_calls(gateway.store, [now.date()]).filter(
        (pl.col("kind") == "call") & (pl.col("function") == MEME_DESCRIBE.name)
    )
    models = calls.group_by(pl.col("model_asked").alias("model")).agg(
        pl.len().alias("attempts"),
        (pl.col("verdict") == "accepted").sum().alias("ok"),
        pl.col("error_class").drop_nulls().unique().sort().str.join(", ").alias("errors"),
    )
    cooling = [one for one in spend.obstacles(gateway.store, now).cooling if one.until > now]
    first = min((one.until for one in cooling), default=None)
    return {
        "requests_today": md.markdown_table(
            [{name: row[name] for name in ("scope", "calls", "used")} for row in quotas]
        ),
        "models_today": md.markdown_table(models.sort("model").to_dicts()),
        "earliest_cool_down_end": dg.MetadataValue.text(
            "nobody rests" if first is None else f"{first:%Y-%m-%d %H:%M:%S}"
        ),
    }


def duplicates_metadata(found: pl.DataFrame, lake: Lake, blobs: Blobs) -> dict[str, Any]:
    """Verdicts, rules, how far apart the pictures are, and pairs beside each other, some of each rule."""
    matched = found.filter(pl.col("duplicate_of").is_not_null())
    by_rule = matched.sort("rule", "day", "meme_id").with_columns(nth=pl.int_range(pl.len()).over("rule"))
    columns = ("meme_id", "duplicate_of", "verdict", "rule", "phash_distance", "text_similarity")
    first = by_rule.sort("nth", "rule").select(columns).head(TRIES * PAIRS * len(t.VERDICTS))
    named = pl.concat([first["meme_id"], first["duplicate_of"]]).unique()
    media = main_media(lake.read(t.MEME_MEDIA).filter(pl.col("meme_id").is_in(named.implode())))
    shas = media.filter(pl.col("mime").str.starts_with("image/")).select("meme_id", "sha256").collect()
    pairs = first.join(shas, on="meme_id", maintain_order="left").join(
        shas, left_on="duplicate_of", right_on="meme_id", suffix="_of", maintain_order="left"
    )
    shown = _with_pictures(
        pairs.with_columns(pl.col("text_similarity").round(3)),
        PAIRS,
        lambda row: _pair(blobs.get(row["sha256_of"]), blobs.get(row["sha256"])),
    )
    distances = matched["phash_distance"].drop_nulls()
    counted = dict(distances.value_counts().iter_rows())
    return {
        "verdicts": md.bars(_counts(found.filter(pl.col("verdict").is_not_null()), "verdict")),
        "rules": md.bars(_counts(matched, "rule")),
        "picture_distances_bits": md.histogram({str(bits): counted[bits] for bits in sorted(counted)}),
        "pairs_original_left": md.markdown_table([_without(row, "sha256", "sha256_of") for row in shown]),
    }


def status_metadata(found: pl.DataFrame, before: pl.DataFrame) -> dict[str, Any]:
    """Memes by state, how many may be served, and which states changed since the last run.

    Args:
        before: the same partitions as they were.
    """
    both = found.select("meme_id", "state").join(
        before.select("meme_id", was="state"), on="meme_id", how="full", coalesce=True
    )
    moved = both.filter(pl.col("state").ne_missing(pl.col("was"))).select(
        pl.concat_str(pl.col("was").fill_null("(new)"), pl.col("state").fill_null("(gone)"), separator=" -> ").alias(
            "move"
        )
    )
    return {
        "states": md.bars(_counts(found, "state")),
        "servable": dg.MetadataValue.int(int(found["servable"].sum())),
        "transitions": md.bars(_counts(moved, "move")),
    }


def stats_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Memes that were touched, what people thought of them, and the best and the worst.

    Of a meme that several days of the run touched, the last counts. Means and lists are over those with a rating.
    """
    last = found.sort("day", "meme_id").unique("meme_id", keep="last", maintain_order=True)
    likes, reactions = int(last["nlikes"].sum()), int((last["nlikes"] + last["ndislikes"]).sum())
    rated = last.filter(pl.col("n_lr") > 0)
    listed = rated.select(
        *("meme_id", "nlikes", "ndislikes", "nsent"), pl.col("lr_smoothed", "engagement").round(4), "raw_rank"
    )
    best = listed.sort("lr_smoothed", "meme_id", descending=[True, False])
    worst = listed.sort("lr_smoothed", "meme_id")
    made: dict[str, Any] = {
        "touched_memes": dg.MetadataValue.int(last.height),
        "top": md.markdown_table(best.head(BEST).to_dicts()),
        "bottom": md.markdown_table(worst.head(BEST).to_dicts()),
    }
    if reactions:
        made["like_rate"] = dg.MetadataValue.float(round(likes / reactions, 4))
    if rated.height:
        made["mean_lr_smoothed"] = dg.MetadataValue.float(round(float(rated["lr_smoothed"].sum()) / rated.height, 4))
    return made


def candidates_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """What each engine offered, in rows and per refill, and which offered nothing."""
    refills = ("day", "user_id", "refill_no")
    asked = found.select(refills).unique().height
    pools = found.group_by("engine").agg(
        pl.len().alias("candidates"),
        pl.col("meme_id").n_unique().alias("memes"),
        pl.struct(refills).n_unique().alias("refills_with_any"),
    )
    empty = [engine for engine in t.ENGINES if engine not in set(pools["engine"])]
    return {
        "refills": dg.MetadataValue.int(asked),
        "pools": md.markdown_table(pools.sort("candidates", "engine", descending=[True, False]).to_dicts()),
        "empty_engines": dg.MetadataValue.text(", ".join(empty) or "none"),
    }


def queues_metadata(found: pl.DataFrame, lake: Lake, day: date) -> dict[str, Any]:
    """People whose queues were filled, which engines filled them, and how each engine did in the week up to the day."""
    events = lake.read_days(t.MEME_REACTIONS, day - WEEK + timedelta(days=1), day)
    return {
        "users_refilled": dg.MetadataValue.int(found["user_id"].n_unique()),
        "refills": dg.MetadataValue.int(found.select("day", "user_id", "refill_no").unique().height),
        "engine_mix": md.bars(_counts(found, "engine")),
        "engines_in_7_days": md.markdown_table(_engine_rates(events).to_dicts()),
    }


def _engine_rates(events: pl.LazyFrame) -> pl.DataFrame:
    """Per engine: sends, the share of likes among first reactions, and how often the next send followed soon.

    A send of the last half hour before the last event says nothing yet about whether the person goes on.
    """
    ok = events.filter((pl.col("status") == "ok") & pl.col("meme_id").is_not_null())
    pair = ["user_id", "meme_id"]
    first = (
        ok.filter(pl.col("kind").is_in(["like", "dislike"]))
        .sort("at", "event_id")
        .unique(pair, keep="first", maintain_order=True)
        .select(*pair, liked=pl.col("kind") == "like")
    )
    end = ok.select(pl.col("at").max().alias("end"))
    following = (pl.col("at").shift(-1) - pl.col("at")).over("user_id")
    sends = (
        ok.filter(pl.col("kind") == "sent")
        .sort("user_id", "at", "event_id")
        .with_columns((following <= CONTINUED).fill_null(False).alias("continued"))
        .join(end, how="cross")
        .with_columns(pl.when(pl.col("at") <= pl.col("end") - CONTINUED).then("continued").alias("continued"))
    )
    # A meme that was sent twice was reacted to once.
    once = sends.unique(pair, keep="first", maintain_order=True).join(first, on=pair).select("event_id", "liked")
    rates = (
        sends.join(once, on="event_id", how="left")
        .group_by(pl.col("engine").fill_null("(none)"))
        .agg(
            pl.len().alias("sends"),
            pl.col("liked").count().alias("reactions"),
            pl.col("liked").mean().round(4).alias("like_rate"),
            pl.col("continued").mean().round(4).alias("continuation_rate"),
        )
    )
    return rates.sort("sends", "engine", descending=[True, False]).collect()


def _with_pictures(rows: pl.DataFrame, count: int, draw: Draw) -> list[dict[str, Any]]:
    """The first rows of which a picture can be drawn, with it in front, as far as there is room."""
    found: list[dict[str, Any]] = []
    room = PICTURE_BYTES
    for row in rows.head(TRIES * count).iter_rows(named=True):
        picture = _drawn(draw, row)
        if picture is None or len(picture) > room:
            continue
        room -= len(picture)
        found.append({"picture": md.Markup(plots.photo(picture, row["meme_id"])), **row})
        if len(found) == count:
            break
    return found


def _drawn(draw: Draw, row: Mapping[str, Any]) -> bytes | None:
    try:
        return draw(row)
    except (NoBlob, UnusableMedia):
        # Deleted since, or damaged: checks tell of that, a view of what there is goes on.
        return None


def _pair(left: bytes, right: bytes) -> bytes:
    """Two pictures beside each other; shrunk first, so that little is held in memory of a very wide one."""
    both = side_by_side(thumbnail(left, THUMBNAIL_PX), thumbnail(right, THUMBNAIL_PX), THUMBNAIL_PX)
    return thumbnail(both, PAIR_PX)


def _snoozed(sources: pl.DataFrame) -> dg.MarkdownMetadataValue:
    snoozed = sources.filter(pl.col("state") == "snoozed").sort("source_id")
    return md.markdown_table(snoozed.select("source_id", "snooze_reason").head(TOP).to_dicts())


def _text(value: str | None) -> md.Markup:
    return md.Markup(escaped(value, TEXT_CHARS))


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(pl.col(column).cast(pl.String).fill_null("(none)")).len().sort(column)
    return dict(counted.iter_rows())
