"""What may be wrong with the tables of videos although every row is well formed.

Belongs here: one function per finding, over the partitions just made. Does not belong here: rules that refuse rows
(the schemas in `tables.py`), and who is told (asset checks).
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from magpie.lake import Lake
from magpie.llm import history
from magpie.llm.purpose import Purpose
from magpie.llm.store import Store
from magpie.quality import Finding
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.videos import tables as t
from magpie.videos.stages import PRODUCT

# Shares beyond which something is wrong with the model, the prompt, the captions or the symbol table.
UNGROUNDED_SHARE = 0.10
UNKNOWN_SHARE = 0.10
MISMATCH_SHARE = 0.05
TIME_OFF_SHARE = 0.10
NO_CAPTIONS_SHARE = 0.20
NO_PICKS_SHARE = 0.70
# The last look for captions is at 72 h; a day later whatever waits still has been forgotten.
PENDING_FOR = timedelta(hours=96)
# A channel that has been silent for three of its usual gaps has stopped, or its feed has.
SILENT_GAPS = 3
# A median of fewer gaps says little.
LEAST_GAPS = 3
ALPHA_TOLERANCE = 1e-12

DESCRIPTIONS = {
    "one_active_version": "Every video that was read has exactly one active analysis.",
    "mentions_have_analyses": "Every mention is of an analysis that is there, and ok.",
    "costs_are_booked": "What the analyses say they cost is what the ledger booked for them.",
    "alpha_recomputes": "Outcomes follow from their entry, exit and benchmark prices.",
    "quotes_grounded": "At least 90 % of the quotes were said.",
    "symbols_known": "At most 10 % of the picks have a symbol that the symbol table lacks.",
    "symbols_match": "At most 5 % of the picks have the symbol of another company than they name.",
    "times_right": "At least 90 % of the quotes are where the model said.",
    "captions_there": "At most 20 % of the videos lack captions.",
    "videos_have_picks": "At most 70 % of the videos that were read hold no pick.",
    "pending_videos": "Nothing waits for 96 hours beyond its time.",
    "segments_cover": "The segments of a transcript hold all of it.",
    "channels_publish": "No channel is silent for three times its usual gap.",
}


def one_active_version(lake: Lake, partitions: Partitions) -> Finding:
    """Videos with none or several active analyses of their transcript."""
    read = lake.read(t.VIDEO_ANALYSES, partitions).group_by("channel_id", "day", "video_id")
    wrong = read.agg(pl.col("is_active").sum().alias("active")).filter(pl.col("active") != 1).collect()
    return Finding.of(
        wrong.sort("channel_id", "day", "video_id"),
        "every video has one active analysis",
        "{n} videos have no or several active analyses; make their days again",
    )


def mentions_have_analyses(lake: Lake, partitions: Partitions) -> Finding:
    """Mentions whose analysis is not there."""
    ok = lake.read(t.VIDEO_ANALYSES, partitions).filter(pl.col("status") == "ok").select("analysis_id")
    lost = lake.read(t.STOCK_MENTIONS, partitions).join(ok, on="analysis_id", how="anti")
    return Finding.of(
        lost.select("channel_id", "day", "mention_id", "analysis_id").collect(),
        "every mention has its analysis",
        "{n} mentions are of analyses that are gone; make stock_mentions of their days again",
    )


def costs_are_booked(lake: Lake, partitions: Partitions, store: Store) -> Finding:
    """Analyses whose cost is not the sum of the calls that the ledger has for their questions."""
    read = lake.read(t.VIDEO_ANALYSES, partitions)
    paid = read.filter(pl.col("provider").is_null() | (pl.col("provider") != "offline"))
    told = paid.select("channel_id", "day", "analysis_id", "cost_usd", "questions").collect()
    asked = told.explode("questions").unnest("questions").filter(pl.col("input_hash").is_not_null())
    purposes = [
        Purpose(
            PRODUCT,
            row["function"],
            t.VIDEO_ANALYSES.name,
            f"{row['channel_id']}|{row['day']}",
            row["row_ref"],
            row["input_hash"],
        )
        for row in asked.iter_rows(named=True)
    ]
    costs = pl.Series("booked_usd", history.booked(store, purposes), dtype=told.schema["cost_usd"])
    sums = asked.with_columns(costs).group_by("analysis_id").agg(pl.sum("booked_usd"))
    wrong = (
        told.drop("questions")
        .join(sums, on="analysis_id", how="left")
        .with_columns(pl.col("booked_usd").fill_null(0))
        .filter(pl.col("cost_usd") != pl.col("booked_usd"))
    )
    return Finding.of(
        wrong,
        "analyses and ledger agree on what was spent",
        "{n} analyses say another cost than the ledger booked for them; make their days again",
    )


def alpha_recomputes(lake: Lake, partitions: Partitions) -> Finding:
    """Outcomes that do not follow from their prices."""
    ok = lake.read(t.PICK_OUTCOMES, partitions).filter(pl.col("status") == "ok")
    ret = pl.col("exit_price") / pl.col("entry_price") - 1
    found = {"ret": ret, "signed_ret": pl.col("direction") * ret}
    found["alpha"] = pl.col("direction") * (ret - pl.col("bench_ret"))
    off = pl.sum_horizontal(((pl.col(name) - value).abs() for name, value in found.items()), ignore_nulls=False)
    right = (off <= ALPHA_TOLERANCE) & (pl.col("hit") == (pl.col("alpha") > 0))
    # A number that is missing proves nothing.
    wrong = ok.filter(~right.fill_null(False))
    return Finding.of(
        wrong.select("channel_id", "day", "mention_id", "horizon_sessions", "ret", "alpha").collect(),
        "returns and alpha follow from the prices",
        "{n} outcomes do not follow from their prices; make pick_outcomes of their days again",
    )


def _share(
    table: Table, of: pl.Expr, bad: pl.Expr, bound: float, good: str, some: str
) -> Callable[[Lake, Partitions], Finding]:
    """A finding for each channel of which more than a share of the rows is bad."""

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        rows = lake.read(table, partitions).filter(of)
        counted = rows.group_by("channel_id").agg(pl.len().alias("rows"), bad.sum().alias("bad"))
        shares = counted.with_columns((pl.col("bad") / pl.col("rows")).round(4).alias("share"))
        wrong = shares.filter(pl.col("bad") > bound * pl.col("rows")).sort("channel_id").collect()
        return Finding.of(wrong, good, some)

    return judge


_ACTIVE = pl.col("is_active")
_VIEWS = _ACTIVE & ~pl.col("reason").is_in(["bad_symbol", "not_a_pick"]).fill_null(False)

quotes_grounded = _share(
    t.STOCK_MENTIONS,
    _VIEWS,
    pl.col("quote_match") == "none",
    UNGROUNDED_SHARE,
    "at least 90 % of the quotes were said",
    "{n} channels have more than 10 % quotes that were not said; look at the prompt or the model",
)
symbols_known = _share(
    t.STOCK_MENTIONS,
    _VIEWS,
    (pl.col("reason") == "unknown_symbol").fill_null(False),
    UNKNOWN_SHARE,
    "at most 10 % of the symbols are unknown",
    "{n} channels have more than 10 % unknown symbols; add them to the file that videos.symbols names",
)
symbols_match = _share(
    t.STOCK_MENTIONS,
    _VIEWS,
    (pl.col("reason") == "symbol_mismatch").fill_null(False),
    MISMATCH_SHARE,
    "at most 5 % of the symbols belong to another company than is named",
    "{n} channels have more than 5 % symbols of another company; add aliases to the symbol table or change the model",
)
times_right = _share(
    t.STOCK_MENTIONS,
    _VIEWS & pl.col("time_ok").is_not_null(),
    ~pl.col("time_ok"),
    TIME_OFF_SHARE,
    "at least 90 % of the quotes are where the model said",
    "{n} channels have more than 10 % quotes elsewhere than the model said; their links use the captions' time",
)
captions_there = _share(
    t.TRANSCRIPTS,
    pl.col("status").is_in(["ok", "failed"]),
    pl.col("status") == "failed",
    NO_CAPTIONS_SHARE,
    "at most 20 % of the videos lack captions",
    "{n} channels have more than 20 % videos without captions; `FROM skipped_videos` tells which",
)
videos_have_picks = _share(
    t.VIDEO_ANALYSES,
    _ACTIVE & (pl.col("status") == "ok"),
    pl.col("n_picks") == 0,
    NO_PICKS_SHARE,
    "at most 70 % of the videos hold no pick",
    "{n} channels have picks in less than 30 % of their videos; look at prompt, model or symbol table",
)


def pending_videos(now: Callable[[], datetime]) -> Callable[[Lake, Partitions], Finding]:
    """Rows that wait for 96 hours longer than they said."""

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        late = pl.col("not_before") < now() - PENDING_FOR
        parts = [
            lake.read(table, partitions)
            .filter((pl.col("status") == "pending") & late)
            .select(pl.lit(table.name).alias("table"), "channel_id", "day", "video_id", "reason", "not_before")
            .collect()
            for table in (t.TRANSCRIPTS, t.VIDEO_ANALYSES)
        ]
        found = pl.concat(parts).with_columns(pl.col("not_before").cast(pl.String))
        return Finding.of(
            found, "nothing waits beyond its time", "{n} rows wait too long; is the daemon with sensor backlog running?"
        )

    return judge


def segments_cover(lake: Lake, partitions: Partitions) -> Finding:
    """Transcripts of which some characters are in no segment."""
    texts = lake.read(t.TRANSCRIPTS, partitions).filter(pl.col("status") == "ok")
    lengths = texts.select("channel_id", "day", "video_id", pl.col("raw_text").str.len_chars().alias("chars"))
    cut = lake.read(t.VIDEO_SEGMENTS, partitions).sort("video_id", "seg_no")
    # Between two lines stands one space, which belongs to neither.
    gap = pl.col("char_start") - pl.col("char_end").shift(1, fill_value=-1)
    covered = cut.group_by("video_id", maintain_order=True).agg(
        pl.max("char_end").alias("end"), gap.max().alias("widest_gap")
    )
    wrong = lengths.join(covered, on="video_id", how="left").filter(
        pl.col("end").is_null() | (pl.col("end") != pl.col("chars")) | (pl.col("widest_gap") > 1)
    )
    return Finding.of(
        wrong.sort("channel_id", "day", "video_id").collect(),
        "segments hold all of every transcript",
        "{n} transcripts are not wholly in their segments; make video_segments of their days again",
    )


def channels_publish(settings: Settings, lake: Lake, now: datetime) -> Finding:
    """Active channels without a video for three times their median gap."""
    # Files that lie on disk end somewhere; only what is polled can fall silent.
    active = [channel.channel_id for channel in settings.channels if channel.active and settings.videos.live]
    seen = lake.read(t.VIDEOS).filter(pl.col("channel_id").is_in(active) & pl.col("published_at").is_not_null())
    gaps = (
        seen.sort("channel_id", "published_at")
        .group_by("channel_id")
        .agg(
            pl.col("published_at").diff().median().alias("usual_gap"),
            pl.col("published_at").max().alias("last"),
            pl.len().alias("videos"),
        )
    )
    silent = gaps.filter(
        (pl.col("videos") > LEAST_GAPS) & (pl.lit(now) - pl.col("last") > SILENT_GAPS * pl.col("usual_gap"))
    )
    shown = silent.select("channel_id", pl.col("last").cast(pl.String), pl.col("usual_gap").dt.total_hours())
    return Finding.of(
        shown.sort("channel_id").collect(),
        "every channel publishes as usual",
        "{n} channels are silent for three times their usual gap; is their feed still read?",
    )
