"""What every asset that calls a model shows: progress while it runs, the steps of its tasks, and what it spent.

Belongs here: the account of calls in a materialisation, progress lines in Dagster's log. Does not belong here: calling
(`magpie/llm`), pictures of a day's spend (`assets/spend.py`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from magpie.llm.engine import Engine
from magpie.llm.export import llm_calls, task_log
from magpie.llm.money import shown, to_nano
from magpie.llm.progress import TaskState
from magpie.llm.spend import by_function, today
from magpie.llm.tables import LLM_CALLS
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
BY_FUNCTION = "calls_by_function"
STEPS = "steps_of_the_last_tasks"
TROUBLE = "steps_that_went_wrong"
# So many percent apart are the lines that a long task leaves in the log.
PERCENT_PER_LINE = 5
MAKERS = ("provider", "model", "prompt_version")
# Of a run over a year there are thousands of tasks, which the table `task_log` has.
TASKS_SHOWN, TROUBLE_SHOWN = 3, 10
# By the beginning of its id a task is found in `task_log`.
TASK_CHARS = 8
ONE_DAY = timedelta(days=1)


class Account:
    """Adds up the summaries of a run's tasks, and calls that belong to none."""

    def __init__(self) -> None:
        self._summaries: list[Summary] = []
        self._rows: list[pl.DataFrame] = []
        self._booked = LLM_CALLS.empty()

    def add(self, rows: pl.DataFrame, *summaries: Summary) -> pl.DataFrame:
        """Take the summaries of the tasks behind some rows, pass the rows on."""
        self._summaries += summaries
        self._rows.append(rows.select(MAKERS))
        return rows

    def add_booked(self, engine: Engine, run_id: str, asset: str, since: date) -> None:
        """Take what the books have of a run for an asset; images, vectors and verdicts belong to no task.

        Args:
            since: UTC day on which the run began.

        Raises:
            LedgerUnavailable: the control database is away.
        """
        last = engine.gateway.clock().date()
        days = [since + n * ONE_DAY for n in range((last - since).days + 1)]
        mine = (pl.col("run_id") == run_id) & (pl.col("asset") == asset)
        self._booked = llm_calls(engine.gateway.store, days).filter(mine)

    def metadata(self, engine: Engine) -> dict[str, Any]:
        """Who answered, what it took and cost, which rows have no answer and why, what the caps still allow today.

        Raises:
            LedgerUnavailable: the control database is away.
        """
        total = _beside_tasks(self._booked, engine)
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
        if self._booked.height:
            found[BY_FUNCTION] = md.markdown_table(by_function(self._booked).drop("product").to_dicts())
        # Who makes images alone leaves the rules to answer, and spends all the same.
        if self._booked.height or not engine.offline:
            found[BUDGET] = md.markdown_table(_left_today(engine))
        # A day without anything to ask is a task too, which tells nothing.
        return {**found, **_steps(engine, [one.task_id for one in self._summaries if one.by_status])}


def _beside_tasks(booked: pl.DataFrame, engine: Engine) -> Counter[str]:
    """Sums over the calls that no function made, under the names that summaries have for them."""
    others = booked.filter(~pl.col("function").is_in(engine.functions.names()))
    sent, sums = others.filter(pl.col("kind") == "call"), by_function(others)
    return Counter(
        calls=int(sums["calls"].sum()),
        hits=int(sums["hits"].sum()),
        spent=sum(map(to_nano, sums["spent_usd"])),
        saved=sum(map(to_nano, sums["saved_usd"])),
        tokens_in=int(sent["tokens_in"].sum()),
        tokens_out=int(sent["tokens_out"].sum()),
        credits=int(sent["credits"].sum()),
    )


def _steps(engine: Engine, tasks: Sequence[str]) -> dict[str, Any]:
    """The phases of the last tasks with what each took, and what went wrong in any, as the log of tasks has it.

    Args:
        tasks: their ids, in the order in which they ran.
    """
    if not tasks:
        return {}
    gateway = engine.gateway
    now = gateway.clock().date()
    # A task stands under the day on which it ended; the last ones ended just now, if not before midnight.
    log = task_log(gateway.store, (now - ONE_DAY, now))
    ran = pl.DataFrame({"task_id": tasks}).join(log, on="task_id", maintain_order="left")
    phases = _unfolded(ran.tail(TASKS_SHOWN), "request_steps").select(
        "task", "function", phase="stepName", message="message", ms="duration_ms"
    )
    wrong = _unfolded(ran, "response_steps").tail(TROUBLE_SHOWN)
    told = wrong.select("task", "function", step="stepName", message=pl.coalesce("error", "message"))
    found: dict[str, Any] = {STEPS: md.markdown_table(phases.to_dicts())}
    return {**found, TROUBLE: md.markdown_table(told.to_dicts())} if told.height else found


def _unfolded(log: pl.DataFrame, steps: str) -> pl.DataFrame:
    """One row per step of each task."""
    named = log.select(pl.col("task_id").str.slice(0, TASK_CHARS).alias("task"), "function", step=steps)
    return named.explode("step", empty_as_null=False, keep_nulls=False).unnest("step")


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
