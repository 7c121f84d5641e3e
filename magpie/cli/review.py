"""`magpie leads review`: go through the leads and say what they were worth.

Belongs here: showing, asking, arguments. Does not belong here: which leads are shown and what is recorded
(`magpie/leads/feedback.py`).
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import feedback
from magpie.leads.why import fullname_of
from magpie.settings import load_settings

Ask = Callable[[str], str]
Record = Callable[[str, str | None, str | None, str | None], None]


@dataclass(frozen=True)
class Choice:
    """What a key does, and the label that usually goes with it."""

    word: str
    workflow: str | None
    label: str | None


LEAD_CHOICES = {
    "a": Choice("a(pprove)", "approved", "relevant"),
    "r": Choice("r(eject)", "rejected", "not_relevant"),
    "d": Choice("d(ismiss)", "dismissed", None),
    "c": Choice("c(ontacted)", "contacted", "relevant"),
}
SAMPLE_CHOICES = {
    "r": Choice("r(elevant)", None, "relevant"),
    "n": Choice("n(ot relevant)", None, "not_relevant"),
}
LABEL_KEYS = {"r": "relevant", "n": "not_relevant", "-": None}
TEXT_CHARS = 500


def review(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Campaign id, as in magpie.yaml.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; default: all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also leads dealt with, or with a doubtful quote.")] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Label rejected posts instead, to estimate recall.")] = False,
    export: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the leads as CSV instead.")] = None,
    post: Annotated[str | None, typer.Option(metavar="FULLNAME", help="Decide on this post without asking.")] = None,
    workflow: Annotated[
        str | None, typer.Option(help="new, reviewed, approved, rejected, contacted or dismissed.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="relevant or not_relevant.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    actor: Annotated[str | None, typer.Option(help="Who says so; default: the name you are logged in with.")] = None,
    config: options.Config = None,
) -> None:
    """Go through the leads, the highest intent first, and record what becomes of each."""
    settings = load_settings(config)
    settings.campaign(campaign)
    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    who = actor if actor is not None else os.environ.get("USER") or os.environ.get("USERNAME") or "someone"

    def record(fullname: str, workflow: str | None, label: str | None, reason: str | None) -> None:
        event = feedback.Event(datetime.now(UTC), who, campaign, fullname, workflow, label, reason)
        feedback.record(control, event)

    if post is not None:
        fullname = fullname_of(post)
        feedback.known_post(lake, campaign, fullname)
        record(fullname, workflow, label, reason)
        out.print(f"{fullname}: {plain(', '.join(said for said in (workflow, label) if said))}")
        return
    if workflow or label or reason:
        raise UserError("--workflow, --label and --reason speak of one post; name it with --post FULLNAME")
    said = feedback.events(control)
    if export is not None:
        rows = feedback.review_queue(lake, said, campaign, everything)
        feedback.export_leads(rows if limit is None else rows.head(limit), export)
        out.print(f"{rows.height if limit is None else min(limit, rows.height)} leads in {plain(export)}")
        return
    if sample:
        rows = feedback.rejection_sample(lake, said, campaign, settings.leads.rejection_sample)
        _go_through(rows, limit, SAMPLE_CHOICES, _rejected, record, "rejected posts of the sample")
        _print_recall(feedback.recall(lake, feedback.events(control), campaign, settings.leads.rejection_sample))
    else:
        rows = feedback.review_queue(lake, said, campaign, everything)
        _go_through(rows, limit, LEAD_CHOICES, _lead, record, "leads")


def _go_through(
    rows: pl.DataFrame,
    limit: int | None,
    choices: Mapping[str, Choice],
    lines: Callable[[Mapping[str, Any]], Iterator[str]],
    record: Record,
    what: str,
) -> None:
    if rows.is_empty():
        out.print(f"no {what} to go through")
        return
    shown = rows if limit is None else rows.head(limit)
    if sys.stdin.isatty() and out.is_terminal:
        decided = decide(shown, choices, lines, record, _ask)
        out.print(f"\n{decided} decided, {rows.height - decided} left")
        return
    for row in shown.iter_rows(named=True):
        _print(row, lines)
    out.print(f"{shown.height} of {rows.height} {what}; this is no terminal, so decide with --post FULLNAME")


def decide(
    rows: pl.DataFrame,
    choices: Mapping[str, Choice],
    lines: Callable[[Mapping[str, Any]], Iterator[str]],
    record: Record,
    ask: Ask,
) -> int:
    """Show row after row and record the answers until they end or somebody quits; return how many were recorded."""
    decided = 0
    words = "  ".join((*(choice.word for choice in choices.values()), "s(kip)", "q(uit)"))
    try:
        for row in rows.iter_rows(named=True):
            _print(row, lines)
            key = _one_of({*choices, "s", "q"}, f"{words}: ", ask)
            if key == "q":
                break
            if key == "s":
                continue
            chosen = choices[key]
            label = chosen.label if chosen.workflow is None else _label(chosen.label, ask)
            reason = ask("reason (Enter: none): ").strip()
            record(row["fullname"], chosen.workflow, label, reason[:1000] or None)
            decided += 1
    except (EOFError, KeyboardInterrupt):
        out.print()
    return decided


def _label(usual: str | None, ask: Ask) -> str | None:
    key = _one_of({*LABEL_KEYS, ""}, f"label r(elevant)  n(ot relevant)  - none (Enter: {usual or 'none'}): ", ask)
    return LABEL_KEYS[key] if key else usual


def _one_of(keys: set[str], question: str, ask: Ask) -> str:
    """Ask until the answer begins with one of the keys; an empty key is an empty answer."""
    while True:
        answer = ask(question).strip().lower()[:1]
        if answer in keys:
            return answer


def _ask(question: str) -> str:
    return out.input(plain(question))


def _print(row: Mapping[str, Any], lines: Callable[[Mapping[str, Any]], Iterator[str]]) -> None:
    for line in lines(row):
        out.print(line, soft_wrap=True)
    out.print()


def _lead(row: Mapping[str, Any]) -> Iterator[str]:
    yield _headline(row["kind"], row["title"])
    scores = f"intent {row['intent_score']} {row['intent_tier']}, fused {row['relevance_score']:.3f}"
    yield f"{row['fullname']}  {scores}, {plain(row['lead_type'])}, r/{plain(row['subreddit'])}, {row['day']}"
    mark = "" if row["evidence_grounded"] else "  [yellow](not found in the post)[/yellow]"
    yield f"  “{plain(row['evidence_quote'], 300)}”{mark}"
    yield f"  {plain(row['explanation'], 240)}  [dim]{plain(row['model'] or row['provider'])}[/dim]"
    if row["suggested_reply"]:
        yield f"  [dim]reply, a draft:[/dim] {plain(row['suggested_reply'], 800)}"
    yield f"  {plain(row['reddit_url'])}"
    if row["workflow"] != "new" or row["label"]:
        yield f"  [dim]so far: {plain(row['workflow'])} {plain(row['label'])} {plain(row['feedback_reason'])}[/dim]"


def _headline(kind: str, title: str | None) -> str:
    under = "[dim]comment under[/dim] " if kind == "comment" else ""
    return f"{under}[bold]{plain(title or '(no title)', 160)}[/bold]"


def _rejected(row: Mapping[str, Any]) -> Iterator[str]:
    # Why it was rejected is not shown: who knows it tends to agree with it.
    yield _headline(row["kind"], row["eff_title"])
    yield f"{row['fullname']}  r/{plain(row['subreddit'])}, {row['day']}"
    if row["text"]:
        yield f"  {plain(row['text'], TEXT_CHARS)}"


def _print_recall(found: feedback.Recall | None) -> None:
    if found is None:
        out.print("recall: no estimate yet; it wants labels on leads and on rejected posts of the sample")
        return
    rows = [
        ("recall, by estimate", f"{found.recall:.2f}"),
        ("precision", f"{found.precision:.2f}"),
        ("relevant leads", f"{found.found:.1f}"),
        ("relevant posts rejected", f"{found.missed:.1f}"),
        ("labels", f"{found.labelled_leads} on leads, {found.labelled_rejections} on rejected posts"),
    ]
    out.print(table(None, ("", " "), rows))
