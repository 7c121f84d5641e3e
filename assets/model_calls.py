"""What every asset that calls a model shows: progress while it runs, and what it spent.

Belongs here: the account of calls in a materialisation, progress lines in Dagster's log. Does not belong here: calling
(`magpie/llm`), pictures of a day's spend (`assets/spend.py`).
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from magpie.llm.engine import Engine
from magpie.llm.money import shown
from magpie.llm.progress import TaskState
from magpie.llm.spend import today
from magpie.llm.task import Summary
from resources.llm import Llm

CALLS = "model_calls"
HITS = "journal_hits"
SPENT = "spent_usd"
SAVED = "saved_by_the_journal_usd"
TOKENS = "tokens"
CREDITS = "credits"
BUDGET = "budget_left_today"
WAITING = "rows_without_answer"
TIERS = "settings_from"
# So many percent apart are the lines that a long task leaves in the log.
PERCENT_PER_LINE = 5
MAKERS = ("provider", "model", "prompt_version")


class Account:
    """Adds up the summaries of a run's tasks."""

    def __init__(self) -> None:
        self._summaries: list[Summary] = []
        self._rows: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame, *summaries: Summary) -> pl.DataFrame:
        """Take the summaries of the tasks behind some rows, pass the rows on."""
        self._summaries += summaries
        self._rows.append(rows.select(MAKERS))
        return rows

    def metadata(self, engine: Engine) -> dict[str, Any]:
        """Who answered, what it took and cost, which rows have no answer and why, what the caps still allow today."""
        total: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for one in self._summaries:
            reasons.update(one.by_reason)
            total.update(calls=one.calls, hits=one.hits, spent=one.spent_nano, saved=one.saved_nano)
            total.update(tokens_in=one.tokens_in, tokens_out=one.tokens_out, credits=one.credits)
        rows = pl.concat(self._rows) if self._rows else pl.DataFrame(schema=dict.fromkeys(MAKERS, pl.String))
        makers = rows.drop_nulls("provider").unique().sort(MAKERS).iter_rows()
        found: dict[str, Any] = {
            md.MADE_BY: dg.MetadataValue.text("; ".join(_maker(*row) for row in makers) or "nobody"),
            CALLS: dg.MetadataValue.int(total["calls"]),
            HITS: dg.MetadataValue.int(total["hits"]),
            SPENT: dg.MetadataValue.float(total["spent"] / 1e9),
            SAVED: dg.MetadataValue.float(total["saved"] / 1e9),
            TOKENS: dg.MetadataValue.json({"in": total["tokens_in"], "out": total["tokens_out"]}),
            CREDITS: dg.MetadataValue.int(total["credits"]),
            TIERS: dg.MetadataValue.json(dict(self._summaries[-1].source_tiers) if self._summaries else {}),
        }
        if reasons:
            found[WAITING] = md.bars(reasons)
        if not engine.offline:
            found[BUDGET] = md.markdown_table(_left_today(engine))
        return found


def _maker(provider: str, model: str | None, prompt_version: str) -> str:
    named = provider if model in (None, provider) else f"{provider} {model}"
    return f"{named}, prompt {prompt_version[:12]}"


def _left_today(engine: Engine) -> list[dict[str, Any]]:
    """What each capped scope has spent and has left of its day."""
    gateway = engine.gateway
    uses = [use for use in today(gateway.store, gateway.limits, gateway.clock()) if use.cap_nano is not None]
    return [
        {
            "scope": use.scope,
            "spent": shown(use.spent_nano),
            "cap": shown(use.cap_nano or 0),
            "left": shown(use.left_nano or 0),
        }
        for use in uses
    ]


def log_progress(context: dg.AssetExecutionContext, llm: Llm) -> Callable[[TaskState], None]:
    """Report a task's progress as log lines, one every few percent, and all of it to whoever watches."""
    last = -PERCENT_PER_LINE

    def report(state: TaskState) -> None:
        nonlocal last
        llm.watch(state)
        if state.percentage >= last + PERCENT_PER_LINE or (state.phase == "DONE" and last < 100):
            last = 100 if state.phase == "DONE" else state.percentage
            cost = f", {shown(state.cost_nano)} so far" if state.cost_nano else ""
            context.log.info(f"{state.percentage} % {state.phase}: {state.message}{cost}")

    return report
