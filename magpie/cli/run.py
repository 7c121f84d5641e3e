"""`magpie run` and `magpie ui`.

Belongs here: progress on the terminal and the account of what was made. Does not belong here: materialising
(`magpie/running.py` finds who does).
"""

import time
from typing import Annotated

import polars as pl
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from magpie.catalog import TABLES
from magpie.cli import options
from magpie.cli.output import err, out, plain, table
from magpie.lake import Lake
from magpie.llm.engine import OFFLINE
from magpie.running import Progress as Step
from magpie.running import RunOutcome, RunRequest, find_runner
from magpie.settings import Settings, load_settings
from magpie.summary import summarise, top_leads, top_ranked

TOP_PER_CAMPAIGN = 5


def run(
    product: Annotated[
        str | None, typer.Argument(help="leads, videos, spend or marts; default: everything there is.")
    ] = None,
    first: options.First = None,
    last: options.Last = None,
    campaign: Annotated[list[str] | None, typer.Option(help="Only this campaign; may be repeated.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel (UC...); may be repeated.")] = None,
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
    latest = ""
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def report(step: Step) -> None:
            nonlocal latest
            bar.update(task, description=step.doing, completed=step.done, total=step.total or None)
            if not err.is_terminal and step.doing != latest:
                # A log file wants a line per step, not a bar redrawn.
                err.print(f"{step.done:>7} of {step.total} partitions  {plain(step.doing)}")
            latest = step.doing

        outcome = find_runner().run(settings, request, report)
        bar.update(task, description="done" if not outcome.failures else "stopped")
    return outcome


def _account(settings: Settings, outcome: RunOutcome, seconds: float) -> None:
    lake = Lake(settings.lake_root, settings.storage_options())
    span = f", {outcome.first} to {outcome.last}" if outcome.first else ""
    out.print(f"\n[bold]Made in {seconds:.1f} s[/bold]{span}\n")
    rows = [
        (s.table, f"{s.rows:,}", str(s.partitions), _counts(s.by_status), _counts(s.by_reason, 4))
        for s in summarise(lake, TABLES.values())
    ]
    out.print(table(None, ("table", "rows", "partitions", "by status", "by reason"), rows, ("rows", "partitions")))
    leads = top_leads(lake, TOP_PER_CAMPAIGN)
    if leads.height:
        _print_leads(leads)
    best = top_ranked(lake, TOP_PER_CAMPAIGN) if leads.is_empty() else leads.clear()
    if best.height:
        cells = [
            (
                row["campaign_id"],
                f"{row['fused']:.3f}",
                str(row["keyword_hits"]),
                str(row["day"]),
                plain(f"r/{row['subreddit']}"),
                plain(row["eff_title"] or "(comment)", 60),
            )
            for row in best.iter_rows(named=True)
        ]
        out.print()
        out.print(
            table("Top ranked posts", ("campaign", "fused", "hits", "day", "where", "title"), cells, ("fused", "hits"))
        )
    for line in dict.fromkeys(outcome.warnings):
        out.print(f"[yellow]warning[/yellow] {plain(line)}")
    if settings.warehouse.exists():
        out.print(f"\nDuckDB file  {plain(settings.warehouse)}")
    out.print('Query        magpie sql "SELECT * FROM leads ORDER BY intent_score DESC LIMIT 10"')
    out.print("Review       magpie leads review CAMPAIGN")
    out.print("Why a post   magpie leads why CAMPAIGN FULLNAME")
    out.print("UI           make ui   (or: magpie ui), then http://127.0.0.1:3000")


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
    out.print(
        f"read by {plain(said)}" + ("; set a provider's key to have a model read them" if said == OFFLINE else "")
    )


def _counts(counts: dict[str, int], most: int = 9) -> str:
    shown = [f"{plain(name)} {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join(shown) + (f", and {len(counts) - most} more" if len(counts) > most else "")
