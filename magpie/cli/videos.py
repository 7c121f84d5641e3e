"""`magpie videos ...`: search what was said, see what became of each video, read a day's page, score, fetch.

Belongs here: arguments and printing. Does not belong here: what is found and decided (`magpie/videos`).
"""

import re
import sys
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.padding import Padding

from magpie.cli import options
from magpie.cli.output import bare, err, out, plain, table
from magpie.control import Control
from magpie.lake import Lake
from magpie.settings import Settings, load_settings
from magpie.sources.youtube_live import Visit
from magpie.text.tokens import tokenise
from magpie.videos import digest as pages
from magpie.videos import live
from magpie.videos.conviction_score import LakeScores, ModeScores, score_lake
from magpie.videos.search import DEFAULT_MOST
from magpie.videos.search import search as search_passages
from magpie.videos.status import STATES, video_status

app = typer.Typer(no_args_is_help=True)

# More lines than this are no overview; the mart video_status has them all.
SHOWN_VIDEOS = 100
TITLE_CHARS, OBSERVED_CHARS = 48, 120
# Below it titles would be columns of single words; the id names a video too.
WIDTH_FOR_TITLES = 110
MINUTE_S, HOUR_S = 60, 3600
# Of a state, for the eye.
COLOURS = {"analyzed": "green", "failed": "red", "rejected": "dim"}
EXIT_STOPPED = 1

Channel = Annotated[str | None, typer.Option(metavar="UC...", help="Of this channel alone.")]


class Mode(StrEnum):
    """Which videos are averaged."""

    strict = "strict"
    published = "published"


@app.command()
def search(
    query: Annotated[str, typer.Argument(help='Words; "words in double quotes" must stand so.')],
    channel: Channel = None,
    most: Annotated[int, typer.Option(help="At most so many passages.", min=1)] = DEFAULT_MOST,
    config: options.Config = None,
) -> None:
    """Find where something was said, the best passages first, with links that open the video there."""
    settings = load_settings(config)
    found = search_passages(_lake(settings), query, most, _known(settings, channel))
    if found.is_empty():
        out.print(f"nothing that was said answers {plain(query, 200)}; new videos come in with `magpie run videos`")
    words, names = set(tokenise(query)), _names(settings)
    for row in found.iter_rows(named=True):
        name, title = plain(names.get(row["channel_id"], row["channel_id"])), plain(row["title"], 200)
        out.print(f"{row['day']}  {name}  [bold]{title}[/bold]  {_clock(row['start_s'])}")
        out.print(Padding.indent(_marked(row["text"], words), 2))
        # Not wrapped: half an address opens nothing.
        out.print(f"  {plain(row['deep_link'])}\n", soft_wrap=True)


@app.command()
def status(
    channel: Channel = None,
    reason: Annotated[str | None, typer.Option(help="With this reason alone, such as no_captions.")] = None,
    most: Annotated[int, typer.Option(help="At most so many videos, the newest.", min=1)] = SHOWN_VIDEOS,
    config: options.Config = None,
) -> None:
    """Show how far each video got, what stopped it, and when it is tried again."""
    settings = load_settings(config)
    found = video_status(_lake(settings), _known(settings, channel), reason)
    if found.is_empty():
        nothing = "no video is stored; `magpie run videos` reads the folders that magpie.yaml names"
        out.print(f"no video has the reason {plain(reason)}" if reason else nothing)
        return
    names = _names(settings)
    rows = [_video_cells(row, names) for row in found.head(most).iter_rows(named=True)]
    columns = ["day", "video", "channel", "title", "state", "why"]
    if out.width < WIDTH_FOR_TITLES:
        rows = [(*row[:3], *row[4:]) for row in rows]
        columns.remove("title")
    out.print(table(None, columns, rows, whole=("day", "video", "state")))
    by_state = Counter(found["state"])
    told = ", ".join(f"{by_state[state]:,} {state}" for state in STATES if by_state[state])
    more = f"; the newest {most:,} are shown, --most N shows more" if found.height > most else ""
    out.print(f"\n{found.height:,} videos: {told}{more}")


@app.command()
def digest(
    day: Annotated[str | None, typer.Argument(metavar="DAY", help="Default: the last day with a video.")] = None,
    config: options.Config = None,
) -> None:
    """Print a day's page as Markdown: outlooks, mentions with quotes, consensus, changes of mind."""
    settings = load_settings(config)
    sys.stdout.write(bare(pages.page(_lake(settings), options.day(day, "DAY"))))


@app.command()
def score(
    labels: Annotated[Path, typer.Argument(help="Labelled picks: CSV, JSON, JSON lines or Parquet.")],
    mode: Annotated[
        Mode | None, typer.Option(help="strict: every labelled video; published: those that were read. Default: both.")
    ] = None,
    include_rejected: Annotated[
        bool, typer.Option("--include-rejected", help="Count picks that verification turned away, too.")
    ] = False,
    by_video: Annotated[bool, typer.Option("--by-video", help="Also a line per video.")] = False,
    config: options.Config = None,
) -> None:
    """Score the stored picks against labels: F1 of tickers, with actions, with convictions."""
    found = score_lake(_lake(load_settings(config)), labels, include_rejected=include_rejected)
    if by_video:
        _print_scores_by_video(found.scores.videos, published=mode is Mode.published)
    _print_scores(found, mode)


@app.command()
def fetch(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Channel id (UC...), as in magpie.yaml.")],
    last: Annotated[
        int | None, typer.Option(help="Visit at most so many; default: max_visits_per_poll.", min=1)
    ] = None,
    config: options.Config = None,
) -> None:
    """Fetch captions of a channel's uploads that are not known yet, the newest first; needs videos.live."""
    settings = load_settings(config)
    watched = settings.channel(channel)
    source = live.source_of(settings, _lake(settings), Control(settings.control_database))
    found = live.backfill(source, watched, last or settings.videos.max_visits_per_poll, _report)
    outcomes = Counter(visit.outcome for visit in found.visits)
    told = ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common())
    out.print(
        f"{len(found.visits):,} videos visited{': ' if told else ''}{told}; "
        f"{found.known:,} of {found.listed:,} uploads looked through were known"
    )
    if found.too_old:
        out.print(f"stopped at a video of {found.too_old}, which is before the channel is followed (start_day, since)")
    if any(visit.files for visit in found.visits):
        out.print(f"Read them: magpie run videos --channel {channel}", soft_wrap=True)
    if found.stopped:
        when = f" after {found.until:%Y-%m-%d %H:%M:%S} UTC" if found.until else " later"
        err.print(f"YouTube refused ({found.stopped}), {found.left:,} videos are left; run the same command{when}")
        raise typer.Exit(EXIT_STOPPED)


def _lake(settings: Settings) -> Lake:
    return Lake(settings.lake_root, settings.storage_options())


def _known(settings: Settings, channel: str | None) -> str | None:
    """The id of a channel of the settings; another one would find nothing without saying why."""
    return None if channel is None else settings.channel(channel).channel_id


def _names(settings: Settings) -> dict[str, str]:
    return {channel.channel_id: channel.name for channel in settings.channels}


def _clock(seconds: float) -> str:
    whole = int(seconds)
    short = f"{whole % HOUR_S // MINUTE_S:02d}:{whole % MINUTE_S:02d}"
    return f"{whole // HOUR_S}:{short}" if whole >= HOUR_S else short


def _marked(text: str, words: set[str]) -> str:
    """The words that were found, in bold."""
    pieces = re.split(r"(\s+)", text)
    return "".join(f"[bold]{plain(piece)}[/bold]" if words & set(tokenise(piece)) else plain(piece) for piece in pieces)


def _video_cells(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    colour = COLOURS.get(row["state"])
    reason = row["reason"] or ("" if row["state"] == "analyzed" else "not looked at yet")
    observed = f" ({plain(row['observed'], OBSERVED_CHARS)})" if row["observed"] else ""
    again = "" if row["not_before"] is None else f", again from {row['not_before']:%Y-%m-%d %H:%M} UTC"
    return (
        str(row["day"]),
        row["video_id"],
        plain(names.get(row["channel_id"], row["channel_id"])),
        plain(row["title"], TITLE_CHARS),
        f"[{colour}]{row['state']}[/]" if colour else row["state"],
        f"{plain(reason)}{observed}{again}",
    )


def _print_scores(found: LakeScores, mode: Mode | None) -> None:
    modes: dict[str, ModeScores] = {"strict": found.scores.strict, "published": found.scores.published}
    rows = [
        (
            name,
            f"{scores.n_videos:,}",
            *(f"{value:.2f}" for value in (scores.t, scores.ta, scores.tac)),
            "" if scores.count_mae is None else f"{scores.count_mae:.2f}",
        )
        for name, scores in modes.items()
        if mode is None or name == mode
    ]
    columns = ("mode", "videos", "T", "TA", "TAC", "count error")
    out.print(table(None, columns, rows, columns[1:]))
    unread = found.n_labelled - found.scores.published.n_videos - found.n_unknown
    out.print(
        f"\n{found.n_labelled:,} videos are labelled; of them {found.n_unknown:,} are not stored here and {unread:,} "
        f"not read; {found.scores.n_unlabelled:,} that were read have no label"
    )


def _print_scores_by_video(videos: pl.DataFrame, *, published: bool) -> None:
    shown = videos.filter(pl.col("answered")) if published else videos
    rows = [
        (
            plain(row["video_id"]),
            f"{row['n_gold']:,}",
            f"{row['n_predicted']:,}" if row["answered"] else "-",
            *(f"{row[name]:.1f}" for name in ("t", "ta", "tac")),
            plain(", ".join(row["missed"]).upper()),
            plain(", ".join(row["extra"]).upper()),
        )
        for row in shown.iter_rows(named=True)
    ]
    columns = ("video", "labelled", "found", "T", "TA", "TAC", "missed", "too many")
    out.print(table(None, columns, rows, columns[1:6], columns[:6]))
    out.print()


def _report(done: int, of: int, visit: Visit) -> None:
    detail = f" ({plain(visit.detail, TITLE_CHARS)})" if visit.detail else ""
    err.print(f"{done:>5} of {of}  {visit.video_id}  {visit.outcome}{detail}")
