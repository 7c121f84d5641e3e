"""The day in one page, and where a channel changed its mind.

Belongs here: what the page says and in which order. Does not belong here: the numbers in it (`consensus.py`,
`verify.py`) and making foreign text safe (`magpie/text/markdown.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import UTC
from magpie.text.markdown import escaped, link
from magpie.videos.consensus import NEUTRAL, counts, said_at, stance
from magpie.videos.tables import DAILY_DIGEST

# Older views are history rather than something that was changed; about as long as two reports of a company.
CHANGE_DAYS = 180
# A page is read in some minutes; the tables hold the rest.
TOP_MENTIONS = 5
TOP_CONSENSUS = 10
TITLE_CHARS = 200
# What verification lets through is at most 400 characters long.
QUOTE_CHARS = 400
SUMMARY_CHARS = 1200
NOTICE = "Information, not advice."

_SIDE = ("mention_id", "video_id", "day", "said_at", "action", "conviction", "rationale_quote", "deep_link")
CHANGES = pl.Schema(
    {
        "channel_id": pl.String(),
        "symbol": pl.String(),
        **{
            f"{side}_{name}": {"day": pl.Date(), "said_at": UTC, "conviction": pl.Float64()}.get(name, pl.String())
            for side in ("before", "after")
            for name in _SIDE
        },
    }
)

Row = Mapping[str, Any]


def changes_of_mind(mentions: pl.DataFrame) -> pl.DataFrame:
    """Return pairs of consecutive mentions of a channel and symbol that point in different directions (`CHANGES`).

    Mentions that count, in the order (published, located_s, mention_id), at most `CHANGE_DAYS` whole days apart; buy
    points up, hold and watch nowhere, the others down. A page of one day needs the mentions of that many days before.
    """
    over = ["channel_id", "symbol"]
    said = mentions.filter(counts()).with_columns(said_at().alias("said_at"), stance().sign().alias("sign"))
    ordered = said.filter(pl.col("sign").is_not_null()).sort(
        *over, "said_at", "located_s", "mention_id", nulls_last=False
    )
    pairs = ordered.select(
        *over,
        *(pl.col(name).shift(1).over(over).alias(f"before_{name}") for name in (*_SIDE, "sign")),
        *(pl.col(name).alias(f"after_{name}") for name in (*_SIDE, "sign")),
    )
    apart = pl.col("after_said_at").dt.date() - pl.col("before_said_at").dt.date()
    changed = (pl.col("before_sign") != pl.col("after_sign")) & (apart <= pl.duration(days=CHANGE_DAYS))
    return pairs.filter(changed).select(list(CHANGES)).cast(CHANGES)


def daily_digest(
    days: Sequence[date],
    videos: pl.DataFrame,
    transcripts: pl.DataFrame,
    analyses: pl.DataFrame,
    mentions: pl.DataFrame,
    consensus: pl.DataFrame,
    names: Mapping[str, str],
) -> pl.DataFrame:
    """Return one page per day in the columns of `daily_digest`.

    Args:
        days: whose videos are told.
        videos: with `transcripts`, `analyses` and `consensus`: of at least those days.
        mentions: of `CHANGE_DAYS` days before them too.
        names: of channels, by channel_id.
    """
    changes = changes_of_mind(mentions)
    wanted = sorted(set(days))
    tables = [_by_day(frame, wanted) for frame in (videos, transcripts, analyses, mentions, consensus)]
    rows = []
    for day in wanted:
        seen, heard, read, said, scores = (table[day] for table in tables)
        text = digest(day, seen, heard, read, said, scores, changes, names)
        rows.append((day, text, seen.height, said.filter(counts()).height))
    return DAILY_DIGEST.shaped(pl.DataFrame(rows, schema=DAILY_DIGEST.dtypes, orient="row"))


def digest(
    day: date,
    videos: pl.DataFrame,
    transcripts: pl.DataFrame,
    analyses: pl.DataFrame,
    mentions: pl.DataFrame,
    consensus: pl.DataFrame,
    changes: pl.DataFrame,
    names: Mapping[str, str],
) -> str:
    """Return the page of one day as Markdown; rows of other days are passed over.

    Args:
        changes: what `changes_of_mind` found; those that ended on this day are told.
        names: of channels, by channel_id; a channel without one is told by its id.
    """
    seen, heard, read = (frame.filter(pl.col("day") == day) for frame in (videos, transcripts, analyses))
    said = mentions.filter(counts() & (pl.col("day") == day))
    fates = _fates(seen, heard, read)
    skipped = sum(why is not None for why in fates.values())
    lines = [f"# {day}", ""]
    lines += [f"Videos read: {len(fates) - skipped}. Mentions: {said.height}. Videos skipped: {skipped}.", ""]
    channels = sorted(seen["channel_id"].unique(), key=lambda channel: (names.get(channel, channel), channel))
    for channel in channels:
        lines += [f"## {escaped(names.get(channel, channel))}", ""]
        lines += _channel_lines(seen.filter(pl.col("channel_id") == channel), fates, read, said)
    lines += _consensus_lines(consensus.filter(pl.col("day") == day))
    lines += _change_lines(changes.filter(pl.col("after_day") == day), names)
    return "\n".join([*lines, NOTICE, ""])


def page(lake: Lake, day: date | None = None) -> str:
    """Return the stored page of a day; default: of the last day with a video.

    Raises:
        UserError: there is none.
    """
    stored = lake.read(DAILY_DIGEST)
    told = stored.filter(pl.col("videos") > 0).select(pl.min("day").alias("first"), pl.max("day").alias("last"))
    first, last = told.collect().row(0)
    if last is None:
        raise UserError("no page is stored yet; run `magpie run videos` first")
    found = stored.filter(pl.col("day") == (day or last)).select("markdown").collect()["markdown"]
    if found.is_empty():
        raise UserError(f"there is no page of {day}; videos are of {first} to {last}, more days by `magpie run videos`")
    return str(found[0])


def _by_day(frame: pl.DataFrame, days: Sequence[date]) -> dict[date, pl.DataFrame]:
    held = frame.filter(pl.col("day").is_in(list(days))).partition_by("day", as_dict=True, maintain_order=True)
    return {day: held.get((day,), frame.clear()) for day in days}


def _fates(videos: pl.DataFrame, transcripts: pl.DataFrame, analyses: pl.DataFrame) -> dict[str, str | None]:
    """For each video None if it was read, else why not: the reason of the first stage that stopped it."""
    stages = [
        {row["video_id"]: row for row in frame.iter_rows(named=True)}
        for frame in (videos, transcripts, analyses.filter(pl.col("is_active")))
    ]
    fates: dict[str, str | None] = {}
    for video in videos["video_id"]:
        rows = [stage[video] for stage in stages if video in stage]
        stopped = next((row for row in rows if row["status"] != "ok"), None)
        fates[video] = _why(stopped) if stopped else None if video in stages[-1] else "not read yet"
    return fates


def _why(row: Row) -> str:
    told = f"{row['status']}: {row['reason']}"
    told += f" ({row['observed']})" if row["observed"] else ""
    return told + (f", next try after {row['not_before']:%Y-%m-%d %H:%M} UTC" if row["not_before"] else "")


def _channel_lines(
    videos: pl.DataFrame, fates: Mapping[str, str | None], analyses: pl.DataFrame, mentions: pl.DataFrame
) -> Iterator[str]:
    ordered = videos.sort("published_at", "video_id", nulls_last=True).to_dicts()
    for video in ordered:
        if fates[video["video_id"]] is None:
            mine = pl.col("video_id") == video["video_id"]
            analysis = analyses.filter(mine & pl.col("is_active")).row(0, named=True)
            yield from _video_lines(video, analysis, mentions.filter(mine))
    skipped = [video for video in ordered if fates[video["video_id"]] is not None]
    if skipped:
        yield from ("Skipped:", "")
        for video in skipped:
            yield f"- {_title(video)}: {escaped(fates[video['video_id']], TITLE_CHARS)}"
        yield ""


def _title(video: Row) -> str:
    return link(video["title"] or video["video_id"], video["url"], TITLE_CHARS)


def _video_lines(video: Row, analysis: Row, mentions: pl.DataFrame) -> Iterator[str]:
    yield from (f"### {_title(video)}", "")
    if analysis["outlook_direction"] is not None:
        reasoning = escaped(analysis["outlook_reasoning"], SUMMARY_CHARS)
        yield from (f"Outlook: **{escaped(analysis['outlook_direction'])}**. {reasoning}".rstrip(), "")
    if analysis["summary"]:
        yield from (escaped(analysis["summary"], SUMMARY_CHARS), "")
    by_conviction = mentions.sort("conviction", "located_s", "mention_id", descending=[True, False, False])
    for mention in by_conviction.head(TOP_MENTIONS).iter_rows(named=True):
        name = f" ({escaped(mention['company_name'])})" if mention["company_name"] else ""
        view = f"{escaped(mention['action'])}, conviction {mention['conviction']:.2f}"
        seconds = mention["llm_time_s"] if mention["located_s"] is None else mention["located_s"]
        quote = _quote(mention["rationale_quote"], mention["deep_link"], seconds)
        yield f"- **{escaped(mention['symbol'])}**{name}: {view}. {quote}"
    if mentions.height > TOP_MENTIONS:
        yield f"- and {mentions.height - TOP_MENTIONS} more"
    if mentions.is_empty():
        yield "No stock mention holds."
    yield ""


def _quote(quote: str, address: str, seconds: int | None) -> str:
    clock = "watch" if seconds is None else f"{seconds // 60}:{seconds % 60:02d}"
    return f"“{escaped(quote, QUOTE_CHARS)}” {link(clock, address)}"


def _consensus_lines(consensus: pl.DataFrame) -> Iterator[str]:
    published = consensus.filter(pl.col("published")).sort("score", "symbol", descending=[True, False])
    yield from ("## Consensus", "")
    above = published.filter(pl.col("score") >= NEUTRAL).head(TOP_CONSENSUS)
    below = published.filter(pl.col("score") < NEUTRAL).sort("score", "symbol").head(TOP_CONSENSUS)
    for heading, rows in (("Highest", above), ("Lowest", below)):
        if rows.height:
            yield from (f"{heading}:", "", "| symbol | score | votes | agreement |", "| --- | ---: | ---: | ---: |")
            for row in rows.iter_rows(named=True):
                agreement = "" if row["agreement"] is None else f"{row['agreement']:.2f}"
                yield f"| {escaped(row['symbol'])} | {row['score']:.1f} | {row['n_votes']} | {agreement} |"
            yield ""
    if published.is_empty():
        yield from ("No symbol is far enough from neutral.", "")
    contested = consensus.filter(pl.col("contested"))["symbol"].sort()
    if contested.len():
        yield from (f"Contested: {', '.join(escaped(symbol) for symbol in contested)}.", "")


def _change_lines(changes: pl.DataFrame, names: Mapping[str, str]) -> Iterator[str]:
    if changes.is_empty():
        return
    yield from ("## Changes of mind", "")
    for row in changes.sort("channel_id", "symbol", "after_said_at", "after_mention_id").iter_rows(named=True):
        channel = escaped(names.get(row["channel_id"], row["channel_id"]))
        yield f"- {channel} on **{escaped(row['symbol'])}**"
        for side in ("before", "after"):
            quote = f"“{escaped(row[f'{side}_rationale_quote'], QUOTE_CHARS)}”"
            address = link(str(row[f"{side}_day"]), row[f"{side}_deep_link"])
            yield f"  - {address} {escaped(row[f'{side}_action'])}: {quote}"
    yield ""
