"""`magpie memes sources ...`, `fetch` and `resume`: the channels that memes come from.

Belongs here: arguments and printing. Does not belong here: which state a channel may take (`magpie/memes/sources.py`),
asking it (`magpie/memes/live.py`).
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer

from magpie.blobs import Blobs
from magpie.cli import options
from magpie.cli.output import err, out, plain, table
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import logs, sources
from magpie.memes import tables as t
from magpie.memes.live import Fetcher, Report
from magpie.memes.settings import ADDRESSES
from magpie.settings import Settings, load_settings
from magpie.sources.channel_clients import Resting
from magpie.sources.web import Web

sources_app = typer.Typer(invoke_without_command=True, no_args_is_help=False)

COLOURS = {"enabled": "green", "snoozed": "yellow", "disabled": "dim", "in_moderation": "cyan"}
EXIT_STOPPED = 1

SourceId = Annotated[str, typer.Argument(metavar="SOURCE", help="tg:NAME, vk:DOMAIN, ig:NAME or up:USER.")]
Platform = Annotated[str, typer.Argument(metavar="PLATFORM", help="telegram, vk or instagram.")]
Reason = Annotated[str | None, typer.Option(help="Why, for those who read it later.")]


@sources_app.callback()
def _default(context: typer.Context, config: options.Config = None) -> None:
    """List the channels."""
    if context.invoked_subcommand is None:
        listed(config=config)


@sources_app.command("list")
def listed(
    state: Annotated[str | None, typer.Option(help="Only in_moderation, enabled, snoozed or disabled.")] = None,
    config: options.Config = None,
) -> None:
    """List channels and people, their state, and when they were last heard of."""
    if state is not None and state not in t.SOURCE_STATES:
        raise UserError(f"{state!r} is no state of a source; use one of {', '.join(t.SOURCE_STATES)}")
    settings = load_settings(config)
    lake, control = _stores(settings)
    known = sources.Listed.of(settings, lake.read(t.MEME_FILES).collect())
    events, fetches = logs.SOURCE_EVENTS.read(control), logs.FETCHES.read(control)
    found = sources.meme_sources(known, events, fetches, lake.read(t.MEME_POSTS))
    shown = found if state is None else found.filter(pl.col("state") == state)
    if shown.is_empty():
        out.print(
            "no source; list channels under meme_sources in magpie.yaml, or add one: magpie memes sources add tg:NAME"
        )
        return
    rows = [
        (
            plain(row["source_id"]),
            f"[{COLOURS[row['state']]}]{row['state']}[/]",
            plain(row["snooze_reason"]),
            row["language"],
            plain(row["added_by"]),
            _moment(row["last_post_at"]),
            _moment(row["parsed_at"]),
        )
        for row in shown.iter_rows(named=True)
    ]
    names = ("source", "state", "because", "language", "added by", "newest post", "last fetch")
    out.print(table(None, names, rows, whole=("source", "state")))


@sources_app.command()
def add(
    source: SourceId,
    language: Annotated[str | None, typer.Option(help="Of its captions, ISO 639-1; default: en.")] = None,
    reason: Reason = None,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Add a channel; it waits in moderation until it is enabled."""
    _decide(source, "add", reason, actor, load_settings(config), language)


@sources_app.command()
def enable(source: SourceId, reason: Reason = None, actor: options.Actor = None, config: options.Config = None) -> None:
    """Let a channel be fetched and its posts become memes."""
    _decide(source, "enable", reason, actor, load_settings(config))


@sources_app.command()
def disable(
    source: SourceId, reason: Reason = None, actor: options.Actor = None, config: options.Config = None
) -> None:
    """Stop fetching and serving a channel."""
    _decide(source, "disable", reason, actor, load_settings(config))


@sources_app.command()
def snooze(source: SourceId, reason: Reason = None, actor: options.Actor = None, config: options.Config = None) -> None:
    """Let a channel rest; its memes are not served meanwhile."""
    _decide(source, "snooze", reason, actor, load_settings(config))


@sources_app.command()
def unsnooze(
    source: SourceId, reason: Reason = None, actor: options.Actor = None, config: options.Config = None
) -> None:
    """End a channel's rest."""
    _decide(source, "unsnooze", reason, actor, load_settings(config))


def _decide(
    source: str, action: str, reason: str | None, actor: str | None, settings: Settings, language: str | None = None
) -> None:
    lake, control = _stores(settings)
    known = sources.Listed.of(settings, lake.read(t.MEME_FILES).collect())
    who, now = options.actor(actor), datetime.now(UTC)
    sources.decide(control, known, source, action, actor=who, at=now, reason=reason, language=language)
    events = logs.SOURCE_EVENTS.read(control, source_id=source).rows(named=True)
    standing = sources.standing(known, source, events)
    cascade = "; `magpie run memes` or the sensor new_memes makes the states of its memes anew"
    then = "; `magpie memes sources enable` lets its posts in" if action == "add" else cascade
    out.print(f"{plain(source)} is {standing.state if standing else action} now{then}")


def fetch(platform: Platform, config: options.Config = None) -> None:
    """Ask the channels of a platform whose turn it is, and store what their new posts show; needs memes.live."""
    _checked(platform)
    settings = load_settings(config)
    lake, control = _stores(settings)
    found = Fetcher(settings, lake, control, Web(), Blobs(settings.blobs)).fetch(platform)
    _print_report(found)
    if found.rest is not None:
        until = f"{found.rest.until:%Y-%m-%d %H:%M} UTC"
        err.print(
            f"{platform} rests until {until}: {plain(found.rest.detail)}; `magpie memes resume {platform}` ends it"
        )
    if found.rest is not None or (found.visits and all(visit.failed for visit in found.visits)):
        raise typer.Exit(EXIT_STOPPED)


def resume(platform: Platform, config: options.Config = None) -> None:
    """End a platform's rest, once the cause is mended."""
    _checked(platform)
    control = Control(load_settings(config).control_database)
    rested = Resting(control, platform).resume(datetime.now(UTC))
    out.print(f"{platform} may be asked again" if rested else f"{platform} was not resting; its failures are forgotten")


def _checked(platform: str) -> None:
    if platform not in ADDRESSES:
        raise UserError(f"{platform!r} is no platform that can be asked; use one of {', '.join(ADDRESSES)}")


def _print_report(found: Report) -> None:
    rows = [
        (
            plain(visit.source_id),
            f"{visit.posts:,}",
            f"{len(visit.files):,}",
            plain(", ".join(f"{name} {count:,}" for name, count in sorted(visit.media.items()))),
            plain(f"{visit.error_class}: {visit.detail}" if visit.error_class else "", 120),
        )
        for visit in found.visits
    ]
    if rows:
        out.print(table(None, ("channel", "posts", "pages", "media", "ended early"), rows, ("posts", "pages")))
    media = sum((Counter(visit.media) for visit in found.visits), Counter[str]())
    told = f"{len(found.visits):,} channels asked, {media['ok']:,} media stored"
    out.print(f"{told}, {len(found.left):,} channels left for later")
    if any(visit.files for visit in found.visits):
        out.print("Read them: magpie run memes")


def _stores(settings: Settings) -> tuple[Lake, Control]:
    return Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
