"""`magpie run` and `magpie ui`.

Belongs here: progress on the terminal and the account of what was made. Does not belong here: materialising
(`magpie/running.py` finds who does).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from magpie.catalog import TABLES
from magpie.cli import options
from magpie.cli.output import err, out, plain, table
from magpie.cli.rated import rated_memes
from magpie.lake import Lake
from magpie.llm.engine import OFFLINE
from magpie.running import Progress as Step
from magpie.running import RunOutcome, RunRequest, find_runner
from magpie.settings import Settings, load_settings
from magpie.summary import (
    TableSummary,
    readers,
    summarise,
    top_articles,
    top_drafts,
    top_leads,
    top_memes,
    top_mentions,
    top_ranked,
)

TOP_PER_CAMPAIGN = 5
TOP_MENTIONS = 5
TOP_MEMES = 5
TOP_ARTICLES = 5
TOP_DRAFTS = 5
TITLE_CHARS = 60
DRAFT_CHARS = 90
# Of a step that asks models, a log file wants a line now and then, not one per row.
LOG_SECONDS = 10
# A link into a video has at most so many characters; it is of use only whole.
LINK_CHARS = 51
# What stands beside quote and link: names of usual length, symbol, action, conviction and the gaps.
BESIDE_CHARS = 29
_FOR_MODELS = "; set a provider's key to have a model read them"
_FOR_AUTHORS = ", from word sequences of the blog's own posts; set a provider's key to have a model write"
_FOR_WRITERS = ", as skeletons that say so; set a provider's key to have a model write"
# What to do next, by product; a line longer than a terminal is copied whole all the same.
HINTS = {
    "leads": (
        ("Query", 'magpie sql "SELECT * FROM leads ORDER BY intent_score DESC LIMIT 10"'),
        ("Review", "magpie leads review CAMPAIGN"),
        ("Why a post", "magpie leads why CAMPAIGN FULLNAME"),
    ),
    "videos": (
        (
            "Mentions",
            "magpie sql \"FROM stock_mentions WHERE status = 'ok' AND is_active ORDER BY conviction DESC LIMIT 9\"",
        ),
        ("Search", 'magpie videos search "interest rates"'),
        ("Each video", "magpie videos status"),
        ("A day's page", "magpie videos digest"),
    ),
    "memes": (
        ("Each meme", "magpie memes status"),
        ("Ratings", "magpie memes stats"),
        ("Review memes", "magpie memes review"),
    ),
    "content": (
        ("Each batch", "magpie content status"),
        ("Review texts", "magpie content review"),
        ("Read one", "magpie content show ARTICLE"),
        ("Send out", "magpie content export SITE --out DIR"),
    ),
    "persona": (
        ("Each blog", "magpie persona status"),
        ("Drafts", "magpie persona review"),
        ("Why a text", "magpie persona why INPUT"),
        ("Mood", "magpie persona mood BLOG --out FILE.png"),
    ),
}


def run(
    product: Annotated[
        str | None,
        typer.Argument(help="leads, videos, memes, content, persona, spend or marts; default: everything there is."),
    ] = None,
    first: options.First = None,
    last: options.Last = None,
    campaign: Annotated[list[str] | None, typer.Option(help="Only this campaign; may be repeated.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel (UC...); may be repeated.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only this site; may be repeated.")] = None,
    blog: Annotated[list[str] | None, typer.Option(help="Only this blog; may be repeated.")] = None,
    retry_failed: Annotated[bool, typer.Option(help="Ask models again about rows that failed for good.")] = False,
    config: options.Config = None,
) -> None:
    """Materialise a product over a range of days; default: everything, over all days the archives hold."""
    settings = load_settings(config)
    request = RunRequest(
        product,
        options.day(first, "--from"),
        options.day(last, "--to"),
        tuple(campaign or ()),
        tuple(channel or ()),
        tuple(site or ()),
        tuple(blog or ()),
        retry_failed,
    )
    began = time.monotonic()
    outcome = _with_progress(settings, request)
    for line in outcome.failures:
        err.print(f"[red]failed[/red] {plain(line)}")
    if outcome.failures:
        raise typer.Exit(1)
    _account(settings, outcome, time.monotonic() - began)


def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000, config: options.Config = None) -> None:
    """Start the Dagster UI with its daemon on loopback, over the same instance that `magpie run` writes."""
    find_runner().serve(load_settings(config), "127.0.0.1", port)


def _with_progress(settings: Settings, request: RunRequest) -> RunOutcome:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("partitions"),
        TimeElapsedColumn(),
    )
    lines = LogLines(lambda line: err.print(line), time.monotonic)
    with _steady() as console, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def report(step: Step) -> None:
            bar.update(task, description=step.detail or step.doing, completed=step.done, total=step.total or None)
            if not console.is_terminal:
                lines.tell(step)

        outcome = find_runner().run(settings, request, report)
        bar.update(task, description="done" if not outcome.failures else "stopped")
    return outcome


@contextmanager
def _steady() -> Iterator[Console]:
    """Standard error as it is now: within a step the orchestrator takes it for its own log, and the bar with it."""
    if not err.is_terminal:
        yield err
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as stream:
        yield Console(file=stream, highlight=False, emoji=False)


class LogLines:
    """Progress as lines of a log: one when something else is being made, and of a long step one now and then."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._doing = ""
        self._told_at = 0.0

    def tell(self, step: Step) -> None:
        now = self._clock()
        if step.doing == self._doing and (not step.detail or now < self._told_at + LOG_SECONDS):
            return
        what = f"{step.doing}: {step.detail}" if step.detail else step.doing
        self._write(f"{step.done:>7} of {step.total} partitions  {plain(what)}")
        self._doing, self._told_at = step.doing, now


def _account(settings: Settings, outcome: RunOutcome, seconds: float) -> None:
    lake = Lake(settings.lake_root, settings.storage_options())
    span = f", {outcome.first} to {outcome.last}" if outcome.first else ""
    out.print(f"\n[bold]Made in {seconds:.1f} s[/bold]{span}\n")
    _print_tables(summarise(lake, TABLES.values()))
    if "leads" in outcome.products:
        _print_best_posts(lake)
    if "videos" in outcome.products:
        _print_mentions(settings, lake)
    if "memes" in outcome.products and (best := top_memes(lake, TOP_MEMES)).height:
        out.print()
        out.print(rated_memes("Top memes", best))
    if "content" in outcome.products:
        _print_articles(lake)
    if "persona" in outcome.products:
        _print_drafts(lake)
    for line in dict.fromkeys(outcome.warnings):
        out.print(f"[yellow]warning[/yellow] {plain(line)}")
    out.print()
    if settings.warehouse.exists():
        _hint("DuckDB file", str(settings.warehouse))
    for product in outcome.products:
        for name, command in HINTS.get(product, ()):
            _hint(name, command)
    _hint("UI", "make ui   (or: magpie ui), then http://127.0.0.1:3000")


def _hint(name: str, command: str) -> None:
    # Not wrapped: it is there to be copied.
    out.print(f"{name:<13}{plain(command)}", soft_wrap=True)


def _print_tables(summaries: Sequence[TableSummary]) -> None:
    rows = [
        (s.table, f"{s.rows:,}", str(s.partitions), _counts(s.by_status), _counts(s.by_reason, 4))
        for s in summaries
        if s.rows
    ]
    columns = ("table", "rows", "partitions", "by status", "by reason")
    out.print(table(None, columns, rows, columns[1:3], columns[:2]))
    empty = len(summaries) - len(rows)
    if empty:
        out.print(f"[dim]{empty} more tables hold no rows[/dim]")


def _print_best_posts(lake: Lake) -> None:
    leads = top_leads(lake, TOP_PER_CAMPAIGN)
    if leads.height:
        _print_leads(leads)
        return
    cells = [
        (
            row["campaign_id"],
            f"{row['fused']:.3f}",
            str(row["keyword_hits"]),
            str(row["day"]),
            plain(f"r/{row['subreddit']}"),
            plain(row["eff_title"] or "(comment)", 60),
        )
        for row in top_ranked(lake, TOP_PER_CAMPAIGN).iter_rows(named=True)
    ]
    if cells:
        columns = ("campaign", "fused", "hits", "day", "where", "title")
        out.print()
        out.print(table("Top ranked posts", columns, cells, ("fused", "hits")))


def _print_mentions(settings: Settings, lake: Lake) -> None:
    best = top_mentions(lake, TOP_MENTIONS)
    if best.is_empty():
        return
    names = {channel.channel_id: channel.name for channel in settings.channels}
    room = max(out.width - BESIDE_CHARS, LINK_CHARS)
    cells = [
        (
            plain(names.get(row["channel_id"], row["channel_id"])),
            f"{plain(row['symbol'])} {row['action']} {row['conviction']:.2f}",
            f"{plain(row['rationale_quote'], room)}\n{plain(row['deep_link'])}",
        )
        for row in best.iter_rows(named=True)
    ]
    columns = ("channel", "view", "what was said, and where")
    out.print()
    out.print(table("Top mentions", columns, cells, whole=columns[2:]))
    said = readers(lake, best["analysis_id"])
    out.print(f"read by {plain(', '.join(said))}" + (_FOR_MODELS if OFFLINE in said else ""))


def _print_articles(lake: Lake) -> None:
    best = top_articles(lake, TOP_ARTICLES)
    if best.is_empty():
        return
    rows = [
        (
            row["article_id"],
            plain(row["title"], TITLE_CHARS),
            f"{row['word_count']:,}",
            str(row["quality_score"]),
            row["state"],
        )
        for row in best.iter_rows(named=True)
    ]
    columns = ("article", "title", "words", "quality", "state")
    out.print()
    out.print(table("Top articles", columns, rows, columns[2:4], columns[:1]))
    said = sorted({OFFLINE if row["provider"] == OFFLINE else row["model"] for row in best.iter_rows(named=True)})
    out.print(f"written by {plain(', '.join(said))}" + (_FOR_WRITERS if OFFLINE in said else ""))


def _print_drafts(lake: Lake) -> None:
    best = top_drafts(lake, TOP_DRAFTS)
    if best.is_empty():
        return
    rows = [
        (
            row["outbox_id"],
            row["kind"],
            f"{row['selector_adjusted']:.2f}",
            f"{row['sentiment_p']:.2f}",
            plain(row["body"], DRAFT_CHARS),
        )
        for row in best.iter_rows(named=True)
    ]
    columns = ("draft", "as", "liked", "glad", "text")
    out.print()
    out.print(table("Top drafts, which wait for you", columns, rows, columns[2:4], columns[:1]))
    said = sorted({OFFLINE if row["provider"] == OFFLINE else row["model"] for row in best.iter_rows(named=True)})
    out.print(f"written by {plain(', '.join(said))}" + (_FOR_AUTHORS if OFFLINE in said else ""))


def _print_leads(leads: pl.DataFrame) -> None:
    cells = [
        (
            row["campaign_id"],
            str(row["intent_score"]),
            f"{row['relevance_score']:.3f}",
            str(row["day"]),
            plain(f"r/{row['subreddit']}"),
            plain(row["evidence_quote"], 70),
        )
        for row in leads.iter_rows(named=True)
    ]
    columns = ("campaign", "intent", "fused", "day", "where", "what the author says")
    out.print()
    out.print(table("Top leads", columns, cells, ("intent", "fused")))
    makers = leads.select("provider", "model").unique().sort("provider").iter_rows()
    said = ", ".join(provider if provider == model else f"{provider}/{model}" for provider, model in makers)
    out.print(f"read by {plain(said)}" + (_FOR_MODELS if said == OFFLINE else ""))


def _counts(counts: dict[str, int], most: int = 9) -> str:
    shown = [f"{plain(name)} {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join(shown) + (f", and {len(counts) - most} more" if len(counts) > most else "")
