"""What a run of videos would ask of models over some days, from the tables that are stored.

Belongs here: which questions each version would ask about the videos of a channel and day. Does not belong here: what
of them is journalled and what it costs (`magpie/llm/plan.py`), making the tables.

The order is that of `magpie run videos`: one channel after another, each in its versions, the active one first, the
oldest video first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.engine import Engine
from magpie.llm.plan import Call, Line, Outlook, Plan, Planner, Tally
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.videos import analysis, changes
from magpie.videos import tables as t
from magpie.videos.segments import SegmentRules, video_segments
from magpie.videos.settings import Channel
from magpie.videos.stages import PRODUCT, Reader
from magpie.videos.symbols import SymbolTable

# Questions are the same whatever the symbol table holds: only the offline rules are told what it finds.
NO_SYMBOLS = SymbolTable.of(t.SYMBOLS.empty())


def plan(
    settings: Settings,
    lake: Lake,
    engine: Engine,
    first: date | None = None,
    last: date | None = None,
    channels: Sequence[str] = (),
) -> Plan:
    """Plan what reading videos asks; nothing is called and nothing written.

    Args:
        first, last: days, both included; None: as far as videos are known.
        channels: ids; none: all active ones.

    Raises:
        UserError: an unknown channel, days out of order, none given and none known, or a folder that is not there.
        LedgerUnavailable: the journal cannot be read.
    """
    asked = channels or [channel.channel_id for channel in settings.channels if channel.active]
    chosen = [settings.channel(name) for name in dict.fromkeys(asked)]
    days = _known_days(lake, chosen, first, last)
    ahead = _Ahead(settings, lake, engine, days)
    for channel in chosen:
        ahead.channel(channel)
    every = [day for found in days.values() for day in found]
    stale = len(changes.stale_files(settings, lake))
    if stale:
        ahead.notes.append(f"{stale:,} files are new or changed since the last run, and their videos not in this plan")
    pauses = (len(ahead.calls) - 1) * settings.videos.llm_min_interval_s
    if pauses > 0:
        pause = f"{settings.videos.llm_min_interval_s:g} s"
        ahead.notes.append(f"calls are {pause} apart, so the new ones take {timedelta(seconds=round(pauses))} at least")
    return Plan(
        PRODUCT,
        first or min(every, default=last or date.min),
        last or max(every, default=first or date.max),
        tuple(ahead.lines),
        tuple(ahead.calls),
        ahead.asked,
        ahead.details,
        tuple(ahead.notes),
        {channel.channel_id: channel.name for channel in chosen},
    )


def _known_days(
    lake: Lake, channels: Sequence[Channel], first: date | None, last: date | None
) -> dict[str, list[date]]:
    """By channel, the days in the range from which there are videos."""
    if first is not None and last is not None and first > last:
        raise UserError(f"--from {first} --to {last} must be in order")
    ids = [channel.channel_id for channel in channels]
    mine = pl.col("channel_id").is_in(ids) & (pl.col("status") == "ok") & pl.col("day").is_not_null()
    files = lake.read(t.VIDEO_FILES).filter(mine).select("channel_id", "day").unique().sort("channel_id", "day")
    known = files.collect()
    if known.is_empty() and (first is None or last is None):
        raise UserError("no video is known yet; run `magpie run videos` first, or give --from and --to")
    inside = known.filter(pl.col("day").is_between(first or date.min, last or date.max))
    days: dict[str, list[date]] = {name: [] for name in ids}
    for channel, day in inside.iter_rows():
        days[channel].append(day)
    return days


class _Ahead:
    """Goes through channels and collects what reading their videos in each version would ask."""

    def __init__(self, settings: Settings, lake: Lake, engine: Engine, days: Mapping[str, Sequence[date]]) -> None:
        self._settings, self._lake, self._days = settings, lake, days
        self._planner = Planner(engine)
        self._reader = Reader(settings, engine, NO_SYMBOLS, None, lambda state: None)
        self.lines: list[Line] = []
        self.calls: list[Call] = []
        self._answers: dict[str, dict[str, None]] = {}
        self.details: dict[str, str] = {}
        self.notes: list[str] = []

    @property
    def asked(self) -> dict[str, str]:
        """By part, who would answer; channels may have models of their own."""
        return {label: "; ".join(answers) for label, answers in self._answers.items()}

    def channel(self, channel: Channel) -> None:
        days = self._days[channel.channel_id]
        videos, heard = (self._stored(table, channel, days) for table in (t.VIDEOS, t.TRANSCRIPTS))
        made = self._made(channel, videos, heard)
        waiting = heard.filter(pl.col("status") == "pending").height
        if waiting:
            self.notes.append(f"{channel.name}: {waiting:,} videos wait for captions; what they hold is not planned")
        chapters = dict(videos.select("video_id", "chapters").iter_rows())
        # Cut as a run would: the stored pieces may be of other settings.
        pieces = video_segments(heard, chapters, SegmentRules.of(self._settings.videos))
        questions = analysis.question_rows(videos, heard, pieces, self._settings.videos)
        for asked in self._reader.versions(channel):
            version = asked.version
            for function, rows in questions.items():
                ready = self._reader.ready(function, rows, channel, asked)
                found = self._planner.rows(function, ready, self._reader.scope(function, channel, version))
                self._add(f"{function} {version.label}", channel, made, found)

    def _stored(self, table: Table, channel: Channel, days: Sequence[date]) -> pl.DataFrame:
        return self._lake.read(table, Partitions({channel.channel_id: frozenset(days)})).collect()

    def _made(self, channel: Channel, videos: pl.DataFrame, heard: pl.DataFrame) -> set[date]:
        """Days all of whose videos are listed, and have captions or a reason why not."""
        mine = (pl.col("channel_id") == channel.channel_id) & (pl.col("status") == "ok") & (pl.col("kind") == "info")
        files = self._lake.read(t.VIDEO_FILES).filter(mine & pl.col("day").is_in(self._days[channel.channel_id]))
        key = ("day", "video_id")
        steps = (
            (files.select(key).unique().collect(), videos),
            (videos.filter(pl.col("status") == "ok"), heard),
        )
        undone = {day for before, after in steps for day in before.join(after, on=key, how="anti")["day"]}
        return set(self._days[channel.channel_id]) - undone

    def _add(self, part: str, channel: Channel, made: set[date], found: Outlook) -> None:
        """Take what one function in one version asks, a line per day."""
        for day in self._days[channel.channel_id]:
            line = Line(t.VIDEO_ANALYSES.name, channel.channel_id, day, None, part)
            tally = found.tallies.get(line.partition, Tally()) if day in made else None
            self.lines.append(replace(line, tally=tally))
            self._answers.setdefault(line.label, {})[found.asked] = None
        self.calls += [replace(call, part=part) for call in found.calls]
        for reason, detail in found.details.items():
            self.details.setdefault(reason, detail)
