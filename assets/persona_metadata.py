"""What the materialisations of persona show.

Belongs here: choosing and laying out rows and pictures for the UI. Does not belong here: counting that a table or mart
does, drawing the mood (`magpie/persona/mood_graph.py`), sums of calls that every product shows (`model_calls.py`).

Whatever people posted and models wrote is escaped. Pictures are embedded, so they are few and small; one that cannot be
shown any more is passed over.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import plots
from magpie.blobs import Blobs, NoBlob
from magpie.lake import Lake
from magpie.media.opening import UnusableMedia
from magpie.media.thumbnails import thumbnail
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.api_calls import client_of
from magpie.persona.outbox_states import SENDABLE
from magpie.persona.settings import Blog
from magpie.persona.slowdown import Level, reset_at
from magpie.persona.stages import Reader
from magpie.text.markdown import escaped

TOP = 10
THUMBNAILS, THUMBNAIL_PX = 6, 160
# Of JPEGs in one materialisation; in base64 they take a third more.
PICTURE_BYTES = 90_000
# So many pictures are looked at for each that is shown: where blobs are gone, they all are.
TRIES = 3
# A text that was written, or that stands in a picture, is more than a name in a table.
TEXT_CHARS = 300
# Of the document that is shown as an example.
LINES, LINE_CHARS = 40, 160
# A run is of one blog as a rule; of many, the first tell enough.
BLOGS = 3
TERMS = 10
# Versions are told apart by the beginning of their hash.
HASH_CHARS = 12
BINS = 10
DAY = timedelta(days=1)


def files_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Pages by kind and blog, and those that are of no use, with the reason, or hold items that are."""
    bad = (pl.col("status") != "ok") | (pl.col("bad_items") > 0)
    columns = ("source_file", "status", "reason", "observed", "bad_items", "bad_example")
    return {
        "files_by_kind": md.bars(_counts(found, "kind")),
        "files_by_blog": md.bars(_counts(found, "blog")),
        "items_read": dg.MetadataValue.int(int(found["items"].sum())),
        "files_of_no_use": md.markdown_table(
            found.filter(bad).sort("source_file").select(columns).head(TOP).to_dicts()
        ),
    }


def posts_metadata(found: pl.DataFrame, calls: pl.DataFrame, now: datetime) -> dict[str, Any]:
    """Posts by role and state, those that cannot be used, and calls to Tumblr where there were any.

    Args:
        calls: `tumblr_fetches` of the 24 hours before `now`.
    """
    columns = ("post_id", "role", "author_blog", "reason", "observed")
    unused = found.filter(pl.col("status") != "ok").sort("reason", "post_id")
    made: dict[str, Any] = {
        "posts_by_role": md.bars(_counts(found, "role")),
        "posts_by_state": md.bars(_counts(found, "post_state")),
        "posts_not_used": md.markdown_table(unused.select(columns).head(TOP).to_dicts()),
    }
    if calls.height:
        left = client_of(calls, now)
        made["calls_in_24_h"] = md.bars(_counts(calls, "outcome"))
        made["calls_left_today"] = dg.MetadataValue.int(left.day_left)
        made["calls_left_this_hour"] = dg.MetadataValue.int(left.hour_left)
    return made


def replies_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """Replies by who wrote them, and how many of them the bot follows."""
    return {
        "replies_by_user": md.bars(_first(_counts(found, "from_blog"))),
        "from_followed_users": dg.MetadataValue.int(int(found["followed"].sum())),
        "posts_replied_to": dg.MetadataValue.int(found["post_id"].n_unique()),
    }


def images_metadata(found: pl.DataFrame, lake: Lake, blobs: Blobs) -> dict[str, Any]:
    """Pictures by who read them, how many had been read before, what is missing, and some with their text.

    Args:
        lake: as it is before this run's rows are written.
    """
    ok = found.filter(pl.col("status") == "ok")
    over = ["blog", "media_sha256"]
    stored = lake.read(t.IMAGE_TEXTS).filter((pl.col("status") == "ok") & pl.col("text").is_not_null())
    read = ok.select(over).unique().join(stored.select(over).unique().collect(), on=over, how="anti")
    columns = ("url", "status", "reason", "observed", "threshold")
    lost = found.filter(pl.col("status") != "ok").sort("reason", "url", "day").unique("url", maintain_order=True)
    return {
        "read_by": md.bars(_counts(ok, "engine")),
        "pictures": dg.MetadataValue.int(ok["media_sha256"].n_unique()),
        "cache_hits": dg.MetadataValue.int(ok.height - read.height),
        "with_text": dg.MetadataValue.int(ok.filter(pl.col("text") != "").height),
        "not_read": md.markdown_table(lost.select(columns).head(TOP).to_dicts()),
        "thumbnails": md.markdown_table(_thumbnails(ok, blobs)),
    }


def _thumbnails(ok: pl.DataFrame, blobs: Blobs) -> list[dict[str, Any]]:
    """The first pictures that can be shown, those with text before the others, as far as there is room."""
    rows = ok.drop_nulls("media_sha256").unique("media_sha256", keep="first", maintain_order=True)
    found: list[dict[str, Any]] = []
    room = PICTURE_BYTES
    ordered = rows.sort(pl.col("text") == "", "day", "url")
    for row in ordered.head(TRIES * THUMBNAILS).iter_rows(named=True):
        picture = _thumbnail(blobs, row["media_sha256"])
        if picture is None or len(picture) > room:
            continue
        room -= len(picture)
        shown = md.Markup(plots.photo(picture, row["caption"] or "picture"))
        found.append({"picture": shown, "text": text(row["text"]), "caption": text(row["caption"])})
        if len(found) == THUMBNAILS:
            break
    return found


def _thumbnail(blobs: Blobs, sha256: str) -> bytes | None:
    try:
        return thumbnail(blobs.get(sha256), THUMBNAIL_PX)
    except (NoBlob, UnusableMedia):
        # Deleted since, or damaged: the row of the next run tells of that, a view of what there is goes on.
        return None


def threads_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """How long threads are, those that could not be read, and the newest as the writer learns it: a talk if any is."""
    unread = found.filter(pl.col("status") == "failed").sort("post_id")
    told = found.filter(pl.col("text_full").is_not_null()).sort(pl.col("n_posts") > 1, "day", "post_id")
    document = told["text_full"][-1].splitlines()[:LINES] if told.height else []
    return {
        "parse_failures": dg.MetadataValue.int(unread.height),
        "not_parsed": md.markdown_table(unread.select("post_id", "reason", "observed").head(TOP).to_dicts()),
        "posts_per_thread": md.histogram(by_number(found["n_posts"])),
        "document": md.markdown_table([{"document": md.Markup(escaped(line, LINE_CHARS))} for line in document]),
    }


def models_metadata(found: pl.DataFrame) -> dict[str, Any]:
    """The newest versions with their labels and AUC; of each blog's newest one in use, how far it can be believed.

    Args:
        found: all versions of some blogs.
    """
    newest = found.sort("effective_from", "version", descending=True)
    versions = newest.select(
        "blog",
        pl.col("version").str.head(HASH_CHARS),
        pl.col("effective_from").dt.strftime("%Y-%m-%d %H:%M"),
        *("n_pos", "n_neg", pl.col("auc_oof").round(4), "status", "reason", "observed"),
    )
    made: dict[str, Any] = {"versions": md.markdown_table(versions.head(TOP).to_dicts())}
    usable = newest.filter(pl.col("status") == "ok").unique("blog", keep="first", maintain_order=True)
    for row in usable.sort("blog").head(BLOGS).iter_rows(named=True):
        made |= _model(row)
    return made


def _model(row: Mapping[str, Any]) -> dict[str, Any]:
    """How far a version can be believed, its cuts, and the words that weigh most on either side."""
    blog, told = row["blog"], json.loads(row["evaluation"])
    cuts = [{"cut": name, **cut} for name, cut in json.loads(row["thresholds"]).items()]
    columns = ("cut", "value", "source", "trained", "labels")
    terms = sorted(told.get("terms", ()), key=lambda one: (-one["weight"], one["term"]))
    pairs = zip(terms[:TERMS], terms[::-1][:TERMS], strict=True)
    made: dict[str, Any] = {
        f"reliability_{blog}": plots.reliability(
            told.get("reliability", ()), f"{blog}: share of labels by score, AUC {row['auc_oof']:.3f}"
        ),
        f"terms_{blog}": md.markdown_table(
            [
                {"for": one["term"], "weight": one["weight"], "against": other["term"], "its weight": other["weight"]}
                for one, other in pairs
            ]
        ),
    }
    if cuts:
        made[f"thresholds_{blog}"] = md.markdown_table([{name: cut.get(name) for name in columns} for cut in cuts])
    return made


def inbox_metadata(found: pl.DataFrame, now: datetime) -> dict[str, Any]:
    """How many inputs came in, were accepted and admitted; by kind and state; the dearest, and those that wait longest.

    Args:
        now: of an archive, ages are told as of the end of its last day.
    """
    admitted = pl.col("state").is_in(["admitted", "done"])
    steps = {
        "received": found.height,
        "accepted": found.filter(pl.col("state") != "ignored").height,
        "admitted": found.filter(admitted).height,
    }
    dear = found.drop_nulls("cost").sort("cost", "input_id", descending=[True, False])
    waiting = found.filter(pl.col("state") == "waiting").sort("created_at", "input_id")
    until = min([now, *(datetime.combine(day + DAY, time(), UTC) for day in found["day"].unique().sort().tail(1))])
    age = ((pl.lit(until) - pl.col("created_at")).dt.total_seconds() / 3600).round(1).alias("hours")
    return {
        "funnel": md.histogram(steps),
        "inputs_by_kind": md.bars(_counts(found, "kind")),
        "inputs_by_state": md.bars(_counts(found, "state")),
        "top_costs": md.markdown_table(
            dear.select("input_id", pl.col("cost").round(2), "state", "reason").head(TOP).to_dicts()
        ),
        "waiting_longest": md.markdown_table(waiting.select("input_id", "kind", age).head(TOP).to_dicts()),
    }


def paces(reader: Reader, blogs: Iterable[Blog]) -> dict[str, tuple[Level, int]]:
    """By blog, its level of slowdown and how many posts Tumblr still takes today."""
    now = reader.clock()
    midnight = reset_at(now) - DAY
    found = {}
    for blog in blogs:
        posted = logs.DELIVERIES.read(reader.control, blog=blog.name).filter(
            (pl.col("phase") == "done") & (pl.col("remote_state") == "published") & (pl.col("at") >= midnight)
        )
        found[blog.name] = (reader.pace(blog, now), blog.tuned().post_limit - posted.height)
    return found


def outbox_metadata(found: pl.DataFrame, paces: Mapping[str, tuple[Level, int]]) -> dict[str, Any]:
    """Posts by state and kind, the next that go out, and how fast each blog may go.

    Args:
        paces: by blog, its level of slowdown and how many posts Tumblr still takes today.
    """
    open_slots = found.filter(pl.col("publish_at").is_not_null() & pl.col("state").is_in([*SENDABLE, "queued"]))
    columns = ("outbox_id", "kind", "state", pl.col("publish_at").dt.strftime("%Y-%m-%d %H:%M"), "body")
    slots = open_slots.sort("publish_at", "outbox_id").select(columns).head(TOP).to_dicts()
    held = found.filter(pl.col("state").is_in(["draft", "held"])).sort("day", "outbox_id")
    drafts = held.select("outbox_id", "kind", "state", "reason", "observed", "body").head(TOP).to_dicts()
    return {
        "posts_by_state": md.bars(_counts(found, "state")),
        "posts_by_kind": md.bars(_counts(found, "kind")),
        "next_slots": md.markdown_table([{**row, "body": text(row["body"])} for row in slots]),
        "waiting_for_people": md.markdown_table([{**row, "body": text(row["body"])} for row in drafts]),
        "pace": md.markdown_table(
            [
                {"blog": blog, "slowdown": level.name, "posts_left_today": left}
                for blog, (level, left) in sorted(paces.items())
            ]
        ),
    }


def of(frame: pl.DataFrame, blog: str) -> pl.DataFrame:
    return frame.filter(pl.col("blog") == blog)


def text(value: str | None) -> md.Markup:
    return md.Markup(escaped(value, TEXT_CHARS))


def bins(values: pl.Series) -> dict[str, int]:
    """Probabilities in tenths, and how many there are none of."""
    held = values.drop_nulls()
    places = (held * BINS).floor().clip(0, BINS - 1).cast(pl.Int64)
    counted = dict(places.value_counts().iter_rows())
    told = {f"{place / BINS:.1f}-{(place + 1) / BINS:.1f}": counted.get(place, 0) for place in range(BINS)}
    return told | ({"none": values.null_count()} if values.null_count() else {})


def by_number(values: pl.Series) -> dict[str, int]:
    counted = dict(values.value_counts().iter_rows())
    return {str(number): counted[number] for number in sorted(counted)}


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(pl.col(column).cast(pl.String).fill_null("(none)")).len().sort(column)
    return dict(counted.iter_rows())


def _first(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest of many counts."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP])
