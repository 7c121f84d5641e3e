"""The stages of videos that need more than frames: models, the lake's other partitions, files.

Belongs here: joining settings, lake, engine and rules for a set of partitions, for the orchestrator, plans and tests
alike. Does not belong here: the rules themselves (their own modules), scheduling, writing.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.fetches import Fetch, Fetches
from magpie.lake import Lake
from magpie.llm.choices import Choice
from magpie.llm.engine import OFFLINE, Engine
from magpie.llm.progress import Report
from magpie.llm.prompts import Template, resolve
from magpie.llm.task import Scope, Summary
from magpie.settings import Settings
from magpie.sources.captions import Track
from magpie.sources.price_files import PriceRows, read_early_closes, read_prices
from magpie.sources.youtube_feed import FeedEntry
from magpie.sources.youtube_files import INFO_ENDING, described
from magpie.sources.youtube_info import read_info
from magpie.sources.youtube_live import SOURCE, VISIT, Poll, Visit, YouTube
from magpie.strict import DEFAULT_CHOICE
from magpie.videos import analysis, listing
from magpie.videos import tables as t
from magpie.videos.analysis import Asked
from magpie.videos.caption_states import Patience
from magpie.videos.consensus import ConsensusRules, ticker_consensus
from magpie.videos.digest import CHANGE_DAYS, changes_of_mind, daily_digest
from magpie.videos.listing import GONE_VIDEO, TOMBSTONES, ListingRules, Places
from magpie.videos.outcomes import OutcomeRules, pick_outcomes
from magpie.videos.prices import Sessions
from magpie.videos.settings import AnalysisVersion, Channel
from magpie.videos.symbols import SymbolTable
from magpie.videos.transcripts import CaptionFile, Shelf, Visited
from magpie.videos.transcripts import transcripts as transcripts_of

log = logging.getLogger(__name__)

# As scopes of the ledger and shares of quotas name it.
PRODUCT = "videos"


@dataclass(frozen=True)
class Reader:
    """Reads videos with a model, in every version that the settings list.

    Attributes:
        run_id: of the orchestrator, for the ledger.
        report: told how far it is.
    """

    settings: Settings
    engine: Engine
    symbols: SymbolTable
    run_id: str | None
    report: Report

    def video_analyses(
        self, channel: Channel, videos: pl.DataFrame, transcripts: pl.DataFrame, segments: pl.DataFrame
    ) -> tuple[pl.DataFrame, tuple[Summary, ...]]:
        """Read one channel's videos, the active version first, and say what became of each.

        Args:
            videos, transcripts, segments: rows of the channel's partitions.
        """
        questions = analysis.question_rows(videos, transcripts, segments, self.settings.videos)
        made: list[pl.DataFrame] = []
        summaries: list[Summary] = []
        for asked in self.versions(channel):
            version = asked.version
            results: dict[str, pl.DataFrame] = {}
            for function, rows in questions.items():
                done = self.engine.run(
                    function,
                    self.ready(function, rows, channel, asked),
                    self.scope(function, channel, version),
                    self.report,
                )
                results[function] = done.rows
                summaries.append(done.summary)
            made.append(analysis.video_analyses(transcripts, questions, results, asked))
        return pl.concat(made), tuple(summaries)

    def versions(self, channel: Channel) -> tuple[Asked, ...]:
        """The versions that are asked about this channel's videos, the active one first.

        One that asks the same prompts of the same model as another would give the same rows: it is left out. Without
        keys of providers that is so of all versions that differ by their model alone.
        """
        ordered = sorted(self.settings.videos.analysis_versions, key=lambda version: not version.active)
        found: dict[tuple[str, str], Asked] = {}
        for version in ordered:
            asked = self.asked(channel, version)
            first = found.setdefault((asked.prompt_version, asked.model), asked)
            if first is not asked:
                log.warning("version %s asks as %s does, so it is left out", version.label, first.version.label)
        return tuple(found.values())

    def ready(self, function: str, rows: pl.DataFrame, channel: Channel, asked: Asked) -> pl.DataFrame:
        """The rows as the function wants them.

        The offline rules for picks are told which symbols each line names. A model's rows bear prompts and model, so
        that the books keep apart what two versions cost and how often each failed: a question that both ask is bought
        by the first and costs the second nothing.
        """
        if not self.engine.asking(function, rows, self.scope(function, channel, asked.version)).models:
            return analysis.with_names(rows, self.symbols) if function in analysis.READS_NAMES else rows
        return rows.with_columns(pl.concat_str("row_ref", pl.lit(f"@{asked.key}")))

    def asked(self, channel: Channel, version: AnalysisVersion) -> Asked:
        """The parts of the key of this channel's analyses in one version."""
        mode = self.settings.videos.analysis_mode
        functions = analysis.FUNCTIONS_OF[mode]
        templates: dict[str, str] = {}
        models: list[str] = []
        for function in functions:
            scope = self.scope(function, channel, version)
            default = self.engine.functions[function].template
            template: Template = resolve(None, (scope.name, scope.choice.prompt), default).template
            templates[function] = template.version
            found = self.engine.asking(function, _NO_ROWS, scope).models
            models.append(f"{found[0].provider}/{found[0].model_id}" if found else OFFLINE)
        # Functions may be given different models; then all of them are the key.
        model = ", ".join(dict.fromkeys(models))
        return Asked(version, mode, analysis.prompt_version_of(templates), model)

    def scope(self, function: str, channel: Channel, version: AnalysisVersion) -> Scope:
        """For whom the ledger books it, and how version, channel and settings want it asked."""
        of_channel = channel.functions.get(function, DEFAULT_CHOICE).choice()
        prompt = version.prompts.get(function) or of_channel.prompt  # type: ignore[call-overload]
        return Scope(
            PRODUCT,
            t.VIDEO_ANALYSES.name,
            (f"channel:{channel.channel_id}",),
            "version" if function in version.prompts else "channel",
            self.run_id,
            Choice(of_channel.model, of_channel.temperature, of_channel.max_output_tokens, prompt),
            Choice(version.model),
            self.settings.llm.functions.get(function, DEFAULT_CHOICE).choice(),
        )


_NO_ROWS = pl.DataFrame(schema=analysis.INPUTS)


@dataclass(frozen=True)
class Source:
    """Where videos come from: the files there are, and YouTube behind them.

    Attributes:
        youtube: None: it is not to be asked.
    """

    settings: Settings
    lake: Lake
    control: Control
    youtube: YouTube | None
    clock: Callable[[], datetime]

    @property
    def fetches(self) -> Fetches:
        """What YouTube was asked before, and said."""
        return Fetches(self.control)

    def video_files(self) -> pl.DataFrame:
        """Look through the folders; what has not changed since the last time is not read again."""
        places = Places.of(self.settings)
        watched = {channel.channel_id for channel in self.settings.channels}
        stored = self.lake.read(t.VIDEO_FILES).collect()
        now = self.clock()
        return listing.video_files(
            places.files(), places, watched, stored, lambda ids: self.fetches.seen(SOURCE, ids, now)
        )

    def videos(self, channel: Channel, days: Sequence[date]) -> pl.DataFrame:
        """The videos that one channel published on some days."""
        files = self._files(channel, days)
        visits = self.fetches.of(SOURCE, files["video_id"].unique().to_list(), VISIT)
        return listing.videos(files, Places.of(self.settings), visits, ListingRules.of(self.settings, channel))

    def transcripts(self, channel: Channel, days: Sequence[date], videos: pl.DataFrame) -> pl.DataFrame:
        """The captions of those videos; YouTube is asked for what no file holds, if that is switched on and due."""
        places, files = Places.of(self.settings), self._files(channel, days)
        spoken = dict(videos.select("video_id", "language").iter_rows())
        held: dict[str, list[CaptionFile]] = {}
        for row in files.filter((pl.col("kind") == "captions") & (pl.col("status") == "ok")).iter_rows(named=True):
            unnamed = spoken.get(row["video_id"]) or channel.language
            track = Track(row["track"] or unnamed, row["format"], row["manual"])
            held.setdefault(row["video_id"], []).append(CaptionFile(places.path(row["source_file"]), track))
        visits = self.fetches.of(SOURCE, files["video_id"].unique().to_list(), VISIT)
        shelf = Shelf(held, visits, self._visit(channel) if self.youtube and channel.active else None)
        patience = Patience.of(self.settings.videos)
        return transcripts_of(videos, shelf, channel.language, patience, self.clock)

    def poll(self) -> Poll:
        """Read the feeds of the active channels and visit new videos, and streams that had not ended.

        Raises:
            UserError: YouTube is not to be asked, or files cannot be written.
        """
        if self.youtube is None:
            raise UserError("videos.live is off, so YouTube is not asked; set it to true in magpie.yaml")
        channels = {c.channel_id: c for c in self.settings.channels if c.active}
        first = self.settings.videos_start_day
        known = self.lake.read(t.VIDEO_FILES).select("video_id").drop_nulls().collect()["video_id"]

        def wanted(entry: FeedEntry) -> bool:
            since = channels[entry.channel_id].since if entry.channel_id and entry.channel_id in channels else None
            return entry.published_at is None or entry.published_at.date() >= max(first, since or first)

        languages = {channel_id: channel.language for channel_id, channel in channels.items()}
        found = self.youtube.poll(languages, set(known), self.settings.videos.max_visits_per_poll, wanted)
        again = [] if found.stopped else self._again(languages, self.settings.videos.max_visits_per_poll)
        visits = (*found.visits, *again)
        self._record_gone(visits)
        return replace(found, visits=visits)

    def _record_gone(self, visits: Iterable[Visit]) -> None:
        """Note videos that nobody may see any more, so that what was kept of them goes too."""
        gone = [(visit.video_id, GONE_VIDEO) for visit in visits if visit.outcome in TOMBSTONES]
        if gone:
            self.control.record_deletions(gone, self.clock())

    def _again(self, languages: Mapping[str, str], limit: int) -> list[Visit]:
        """Visit what was upcoming or live when it was last looked at."""
        assert self.youtube is not None
        waiting = self.lake.read(t.VIDEOS).filter(pl.col("reason").is_in(["upcoming", "live_now"]))
        rows = waiting.select("video_id", "channel_id").sort("video_id").head(limit).collect().iter_rows()
        return [
            self.youtube.visit(video_id, channel_id, languages[channel_id])
            for video_id, channel_id in rows
            if channel_id in languages
        ]

    def _files(self, channel: Channel, days: Sequence[date]) -> pl.DataFrame:
        mine = (pl.col("channel_id") == channel.channel_id) & pl.col("day").is_in(list(days))
        return self.lake.read(t.VIDEO_FILES).filter(mine & (pl.col("status") == "ok")).collect()

    def _visit(self, channel: Channel) -> Callable[[str, str], Visited]:
        youtube = self.youtube
        assert youtube is not None

        def visit(video_id: str, language: str) -> Visited:
            found = youtube.visit(video_id, channel.channel_id, language)
            self._record_gone([found])
            fetch = Fetch(SOURCE, video_id, VISIT, self.clock(), found.outcome, found.detail)
            info = next((path for path in found.files if path.name.endswith(INFO_ENDING)), None)
            manual = read_info(info).manual_tracks if info else ()
            captions = [described(path) for path in found.files if path != info]
            return Visited(
                fetch,
                tuple(
                    CaptionFile(file.path, Track(file.track or language, file.format or "", file.track in manual))
                    for file in captions
                    if file is not None
                ),
            )

        return visit


def price_rows(settings: Settings) -> PriceRows:
    """What the price files hold; nothing where none are named."""
    return read_prices([settings.root / path for path in settings.videos.prices])


def outcomes(settings: Settings, lake: Lake, mentions: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What became of the picks; every day of prices there is counts."""
    prices = lake.read(t.DAILY_PRICES).collect()
    closes = settings.videos.early_closes
    early = read_early_closes(settings.root / closes) if closes else {}
    sessions = Sessions.of(prices, settings.videos.benchmark_symbol, early)
    return pick_outcomes(mentions, prices, sessions, OutcomeRules.of(settings.videos), now)


def consensus(settings: Settings, lake: Lake, days: Sequence[date]) -> pl.DataFrame:
    """What the channels think on each of some days."""
    rules = ConsensusRules.of(settings.videos)
    reliability = {channel.channel_id: channel.reliability for channel in settings.channels}
    return ticker_consensus(trailing(lake, days, rules.days), days, reliability, rules)


def minds_changed(lake: Lake, days: Sequence[date]) -> pl.DataFrame:
    """Changes of mind of which the later view is of one of these days."""
    found = changes_of_mind(trailing(lake, days, CHANGE_DAYS + 1))
    return found.filter(pl.col("after_said_at").dt.date().is_in(list(days)))


def digests(settings: Settings, lake: Lake, days: Sequence[date], scores: pl.DataFrame) -> pl.DataFrame:
    """A page for each of some days.

    Args:
        scores: `ticker_consensus` of those days.
    """
    videos, heard, read = (
        lake.read(table).filter(pl.col("day").is_in(list(days))).collect()
        for table in (t.VIDEOS, t.TRANSCRIPTS, t.VIDEO_ANALYSES)
    )
    names = {channel.channel_id: channel.name for channel in settings.channels}
    return daily_digest(days, videos, heard, read, trailing(lake, days, CHANGE_DAYS + 1), scores, names)


def of_channel(frame: pl.DataFrame, channel: Channel) -> pl.DataFrame:
    """One channel's rows."""
    return frame.filter(pl.col("channel_id") == channel.channel_id)


def trailing(lake: Lake, days: Sequence[date], window: int) -> pl.DataFrame:
    """stock_mentions of all channels from `window` - 1 days before the first of `days` to the last."""
    first, last = min(days) - timedelta(days=window - 1), max(days)
    return lake.read(t.STOCK_MENTIONS).filter(pl.col("day").is_between(first, last)).collect()
