"""The function engine: rows in, rows out, each with its answer or the reason why there is none.

Belongs here: the course of one task over a frame: rendering, the journal first, bounded concurrency, the books last.
Does not belong here: one row's conversation with a model (`conversation.py`), calls and money (`gateway.py`), what a
function asks (each product).

There is one path: assets call the engine, the engine calls the gateway, and only the gateway's providers know an SDK.
"""

import hashlib
import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from magpie.errors import UserError
from magpie.llm import history
from magpie.llm.breaker import record_failed_run
from magpie.llm.choices import Chosen, choose
from magpie.llm.conversation import Conversation, Door, Outcome, Prepared, offline_outcome
from magpie.llm.free_models import hidden_names
from magpie.llm.gateway import Gateway
from magpie.llm.journal import Verdict, judge
from magpie.llm.models import FREE_ALIAS, Model, Models
from magpie.llm.money import to_usd
from magpie.llm.progress import Report, Tracker
from magpie.llm.prompts import rendered, resolve
from magpie.llm.providers.lookup import IMAGE_PROVIDERS
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import INVALID_S, OF_ANSWER, REST_S, TRANSPORT_S, Refused, after, escalating
from magpie.llm.relay import Relay
from magpie.llm.request import Image, canonical
from magpie.llm.schemas import strict_schema
from magpie.llm.spec import FunctionSpec, Pace, Registry, Row
from magpie.llm.store import LedgerUnavailable
from magpie.llm.task import Scope, Summary, TaskEntry

log = logging.getLogger(__name__)

OFFLINE = "offline"
# A server of the user's own needs no key, and who makes images answers nothing: neither says that models are in use.
LOCAL = "local"
ANSWER_NOTHING = frozenset({LOCAL, *IMAGE_PROVIDERS})
# What speaks of a fault in the function or its model; limits and refusals do not.
FAILURES = frozenset({"transport", "internal_error", "invalid_output"})
# Rows are prepared and looked up in the journal so many at a time.
ROWS_PER_BLOCK = 500
# A verdict that a crash loses is found again from the same bytes, so they are written together.
VERDICTS_PER_WRITE = 64

_TEXTS = ("row_ref", "partition", "value", "status", "reason", "observed", "threshold")
_FACTS = ("provider", "model", "prompt_source", "prompt_version", "rendered_hash", "input_hash")
_COUNTS = ("tokens_in", "tokens_out", "attempts", "credits")
# A row of a result: its answer as JSON or the reason why it has none, who made it, and what it cost.
RESULT_SCHEMA = pl.Schema(
    [
        *((name, pl.String()) for name in _TEXTS),
        ("not_before", pl.Datetime("us", "UTC")),
        *((name, pl.String()) for name in _FACTS),
        ("cost_usd", pl.Decimal(18, 9)),
        *((name, pl.Int64()) for name in _COUNTS),
        ("settled_at", pl.Datetime("us", "UTC")),
        ("detail", pl.String()),
    ]
)


@dataclass(frozen=True)
class FunctionRun:
    """Rows in the order they came, in the columns of RESULT_SCHEMA, and the account."""

    rows: pl.DataFrame
    summary: Summary


@dataclass(frozen=True)
class EngineSettings:
    """How the engine works.

    Attributes:
        provider: `auto` takes the first candidate of an alias whose key is set, and the offline rules where none
            is; `offline` never calls; a provider's name takes only its models, key or not.
        workers: rows in conversation at the same time.
        retry_failed: ask again about rows that failed for want of a valid answer.
    """

    provider: str = "auto"
    workers: int = 8
    retry_failed: bool = False


class Engine:
    """Runs functions.

    Args:
        functions: by name.
        models: the registry.
        gateway: the door.
    """

    def __init__(
        self, functions: Registry, models: Models, gateway: Gateway, settings: EngineSettings | None = None
    ) -> None:
        self.functions, self.models, self.gateway = functions, models, gateway
        self.settings = settings or EngineSettings()

    def sweep(self) -> None:
        """End the calls of processes that died; books that are away say so when they are needed."""
        try:
            self.gateway.sweep()
        except LedgerUnavailable as error:
            log.warning("dead calls are not swept up: %s", error)

    @property
    def offline(self) -> bool:
        """No provider can be called: by settings, or because no key is set."""
        return self.settings.provider == OFFLINE or not any(
            provider.has_key for name, provider in self.gateway.providers.items() if name not in ANSWER_NOTHING
        )

    def candidates(self, chosen: Chosen) -> tuple[Model, ...]:
        """The models to ask, in order; none: the offline rules answer.

        Raises:
            UserError: no such model or alias, or none of the provider that the settings name.
        """
        wanted = self.settings.provider
        if wanted == OFFLINE:
            return ()
        known = self.models.candidates(chosen.model, self.gateway.clock().date())
        if wanted == "auto":
            literal = "/" in chosen.model
            return self._listed(tuple(model for model in known if literal or self._has_key(model.provider)))
        mine = tuple(model for model in known if model.provider == wanted)
        if not mine and chosen.model == FREE_ALIAS:
            # Nobody else serves free models: what is asked of them alone is answered by rule then.
            return ()
        if not mine:
            raise UserError(f"{chosen.model} has no model of {wanted}; add one under llm.aliases in magpie.yaml")
        return self._listed(mine)

    def run(self, function: str, frame: pl.DataFrame, scope: Scope, report: Report = lambda state: None) -> FunctionRun:
        """Run a function over the rows of a frame.

        Args:
            function: its name or alias.
            frame: `row_ref` (unique), optionally `partition` and `prompt_override`, and what the function reads.
            scope: for whom.
            report: told how far it is.

        Raises:
            UserError: the settings name a model that does not exist.
            ValueError: no such function, or rows without or with equal ids.
        """
        task_id = uuid.uuid4().hex
        return _Task(self, self.asking(function, frame, scope, task_id), frame, task_id, report).run()

    def asking(self, function: str, frame: pl.DataFrame, scope: Scope, task_id: str = "") -> "Asking":
        """How a function is asked about the rows of a frame; errors and arguments as of `run`."""
        spec = self.functions[function]
        _validate(spec, frame)
        return Asking(self, spec, scope, task_id)

    def _listed(self, known: tuple[Model, ...]) -> tuple[Model, ...]:
        """Those that their provider still lists; all of them if it lists none, or rules would answer in their place."""
        if not any(model.free for model in known):
            return known
        hidden = hidden_names(self.gateway.store)
        return tuple(model for model in known if model.name not in hidden) or known

    def _has_key(self, provider: str) -> bool:
        known = self.gateway.providers.get(provider)
        return known is not None and known.has_key


class Asking:
    """How one function is asked for one scope: its models, and how the conversation about a row begins.

    Reads no books and writes none, so that a plan is made of the very parts of a run.

    Attributes:
        models: the candidates, in order; none: the offline rules answer.
    """

    def __init__(self, engine: Engine, spec: FunctionSpec[Any], scope: Scope, task_id: str) -> None:
        self.spec, self.scope = spec, scope
        tiers = {"run": scope.run_choice, "scope": scope.choice, "function": scope.function_choice}
        self.chosen = choose(spec, tiers)
        self.pace = scope.pace or spec.pace
        if spec.alias == FREE_ALIAS:
            engine.models.check_free(spec.name, self.chosen.model)
        self.models = engine.candidates(self.chosen)
        self._schema = strict_schema(spec.output)
        self.run_id = scope.run_id or task_id
        self._retry_failed = engine.settings.retry_failed

    def prepare(self, row: Row) -> Prepared:
        """Render the prompt of a row; one that cannot be rendered is refused."""
        override = row.get("prompt_override")
        resolved = resolve(override, (self.scope.name, self.scope.choice.prompt), self.spec.template)
        images = self.spec.images(row) if self.spec.images else ()
        try:
            prompt = rendered(self.spec, row, resolved)
        except UserError as error:
            return Prepared.unrenderable(row, Refused("invalid_request", str(error)))
        return Prepared.of(row, prompt, images, _input_hash(prompt.rendered_hash, self._schema, self.spec, images))

    def purpose(self, item: Prepared) -> Purpose:
        """What the books note beside the calls for a row."""
        return Purpose(
            self.scope.product,
            self.spec.name,
            self.scope.asset,
            item.row.get("partition"),
            str(item.row["row_ref"]),
            item.input_hash,
            self.run_id,
            item.prompt_version,
            self.chosen.model,
            self.scope.scopes,
        )

    def conversation(self, item: Prepared, past: Mapping[history.Key, history.Past], door: Door) -> Conversation:
        """The conversation about a row, which goes through `door`; a row that failed too often has ended its own."""
        purpose = self.purpose(item)
        known = past.get(history.key_of(purpose), history.NOTHING)
        final = None
        if known.invalid >= self.pace.tries and not self._retry_failed:
            final = Refused("invalid_output", f"{known.invalid} times no answer that holds")
        kind = Relay if self.pace.hand_on else Conversation
        return kind(self.spec, item, self.models, self.chosen, self._schema, purpose, door, final, self.pace)


class _Task:
    """One function over one frame."""

    def __init__(self, engine: Engine, asking: Asking, frame: pl.DataFrame, task_id: str, report: Report) -> None:
        self.engine, self.asking, self.frame, self.task_id = engine, asking, frame, task_id
        self.spec, self.scope, self.models, self.pace = asking.spec, asking.scope, asking.models, asking.pace
        self.gateway = engine.gateway
        self.started = self.gateway.clock()
        self.tracker = Tracker(report, self.gateway.clock)
        self.verdicts = _Verdicts(self.gateway)
        self.batch_end = after(self.started, self.pace.batch_s) if self.pace.batch_s else None
        self.away: Refused | None = None
        # Why no further row is asked about, with the books at hand.
        self.stopped: Refused | None = None
        self.probed = not self.pace.probe_key
        self.failed_in_a_row = 0
        self.counts = threading.Lock()
        self.done = self.cost = self.saved = self.hits = self.calls = 0

    def run(self) -> FunctionRun:
        total = self.frame.height
        self.tracker.at("INIT", total, total, f"{total} rows for {self.spec.display_name}")
        outcomes: list[Outcome] = []
        prepared: list[Prepared] = []
        self.tracker.at("PREP", total, total, self._who())
        workers = self.pace.workers or max(1, self.engine.settings.workers)
        with ThreadPoolExecutor(workers, thread_name_prefix=self.spec.name) as pool:
            for block in self.frame.iter_slices(ROWS_PER_BLOCK):
                ready = [self.asking.prepare(row) for row in block.iter_rows(named=True)]
                prepared += ready
                outcomes += self._block(pool, ready)
        self.tracker.at("PARSE", total, total, "all answers are read")
        self.verdicts.flush()
        rows = self._rows(prepared, outcomes)
        summary = self._summary(rows)
        self._note_failure(summary)
        self.tracker.at("SAVE", total, total, "verdicts are in the books")
        self.tracker.at("DONE", total, total, summary.message, cost=self.cost)
        self._log_task(summary)
        return FunctionRun(rows, summary)

    def _who(self) -> str:
        return ", ".join(f"{m.provider}/{m.model_id}" for m in self.models) or "offline rules, no model"

    def _block(self, pool: ThreadPoolExecutor, ready: Sequence[Prepared]) -> list[Outcome]:
        if not self.models:
            return [self._counted(offline_outcome(self.spec, item)) for item in ready]
        try:
            past = self._past(ready)
            talks = [self.asking.conversation(item, past, self.gateway) for item in ready]
            self._serve(talks)
            ends = [talk.settled() for talk in talks]
            if None in ends:
                self._probe()
        except LedgerUnavailable as error:
            self.away = self.gateway.unavailable(error)
            return [self._counted(Outcome.refused_(item, self.away)) for item in ready]
        # With the context of this thread, so that what is logged there can name the run.
        waiting: list[Outcome | Future[Outcome]] = [
            self._counted(settled) if settled else pool.submit(copy_context().run, self._converse, talk)
            for talk, settled in zip(talks, ends, strict=True)
        ]
        return [item.result() if isinstance(item, Future) else item for item in waiting]

    def _past(self, ready: Sequence[Prepared]) -> dict[history.Key, history.Past]:
        purposes = [self.asking.purpose(item) for item in ready if item.refused is None]
        return self.gateway.store.read(lambda c: history.past(c, purposes))

    def _serve(self, talks: Sequence[Conversation]) -> None:
        """Give every conversation the journalled answer it can begin with, all in one query."""
        requests = [request for talk in talks for request in talk.requests()]
        entries = self.gateway.find(requests)
        chosen = [(talk, *found) for talk in talks if (found := talk.best(entries))]
        answers = self.gateway.serve([(request, talk.purpose, entry) for talk, request, entry in chosen])
        for (talk, request, _), answer in zip(chosen, answers, strict=True):
            if answer is not None:
                talk.begin_with(request, answer)

    def _probe(self) -> None:
        """Ask about the keys once, before the first call; if all are refused, no call is made."""
        if not self.probed:
            self.probed = True
            found = [self.gateway.probe(name) for name in sorted({model.provider for model in self.models})]
            self.stopped = found[0] if all(found) else None

    def _converse(self, talk: Conversation) -> Outcome:
        halted = self.away or self.stopped
        if halted is not None:
            return self._counted(Outcome.refused_(talk.item, halted))
        self.tracker_item(talk.item)
        try:
            outcome = talk.run(self.batch_end)
        except LedgerUnavailable as error:
            outcome = Outcome.refused_(talk.item, self.gateway.unavailable(error))
        if outcome.refused and outcome.refused.reason == "ledger_unavailable":
            # The others would wait for the same database one after another, and get no further.
            self.away = outcome.refused
        self._watch(outcome)
        return self._counted(outcome)

    def _watch(self, outcome: Outcome) -> None:
        """Stop when too many rows in a row have failed; what waits for a limit tells nothing either way."""
        reason = outcome.refused.reason if outcome.refused else None
        with self.counts:
            if reason is None:
                self.failed_in_a_row = 0
            elif reason in FAILURES | OF_ANSWER:
                self.failed_in_a_row += 1
            if self.pace.stop_after is not None and self.failed_in_a_row >= self.pace.stop_after:
                detail = f"{self.failed_in_a_row} rows in a row failed, the last with {reason}"
                self.stopped = Refused("batch_stopped", detail, after(self.gateway.clock(), REST_S))

    def tracker_item(self, item: Prepared) -> None:
        with self.counts:
            state = self.tracker.state
            self.tracker.at(
                "AI_CALL", self.done, self.frame.height, state.message, item=str(item.row["row_ref"]), cost=self.cost
            )

    def _counted(self, outcome: Outcome) -> Outcome:
        with self.counts:
            self.done += 1
            self.cost += outcome.spent_nano
            self.saved += outcome.saved_nano
            self.hits += outcome.hits
            self.calls += outcome.calls
            if outcome.refused:
                self.tracker.trouble(outcome.refused.reason, outcome.refused.detail)
            message = f"{self.done} of {self.frame.height} rows"
            self.tracker.at("AI_CALL", self.done, self.frame.height, message, cost=self.cost)
        self.verdicts.add(outcome.verdicts)
        return outcome

    def _rows(self, prepared: Sequence[Prepared], outcomes: Sequence[Outcome]) -> pl.DataFrame:
        bills: dict[history.Key, history.Past] = {}
        if self.models and self.away is None:
            for start in range(0, len(prepared), ROWS_PER_BLOCK):
                bills |= self._past(prepared[start : start + ROWS_PER_BLOCK])
        now = self.gateway.clock()
        made = [
            _row(item, outcome, bills.get(history.key_of(self.asking.purpose(item)), history.NOTHING), self.pace, now)
            for item, outcome in zip(prepared, outcomes, strict=True)
        ]
        return pl.DataFrame(made, schema=RESULT_SCHEMA, orient="row")

    def _summary(self, rows: pl.DataFrame) -> Summary:
        by_status = dict(rows.group_by("status").len().sort("status").iter_rows())
        reasons = rows.filter(pl.col("reason").is_not_null())
        by_reason = dict(reasons.group_by("reason").len().sort("reason").iter_rows())
        counted = ", ".join(f"{n} {status}" for status, n in by_status.items()) or "no rows"
        message = f"{counted}; {self.calls} calls for ${to_usd(self.cost):f}, {self.hits} from the journal"
        return Summary(
            self.task_id,
            by_status,
            by_reason,
            self.calls,
            self.hits,
            self.cost,
            self.saved,
            int(rows["tokens_in"].sum()),
            int(rows["tokens_out"].sum()),
            int(rows["credits"].sum()),
            dict(self.asking.chosen.source_tiers),
            message,
        )

    def _note_failure(self, summary: Summary) -> None:
        """A run that brought nothing, and not for want of money or patience, counts against the function."""
        scope, run_id, trip = f"function:{self.spec.name}", self.asking.run_id, self.spec.trip
        now = self.gateway.clock()
        try:
            failures = self._failures(summary)
            if failures:
                self.gateway.store.write(lambda c: record_failed_run(c, scope, run_id, now, failures[0], trip))
        except LedgerUnavailable as error:
            log.warning("the failed run of %s could not be noted: %s", self.spec.name, error)

    def _failures(self, summary: Summary) -> Sequence[str]:
        """What this run failed for; nothing: it did not fail."""
        if self.away or not self.models:
            return ()
        least = self.spec.trip.calls
        if least:
            run_id = self.asking.run_id
            made = self.gateway.store.read(lambda c: history.attempts(c, self.spec.name, run_id, self.started))
            return made.failed if made.sent >= least and not made.good else ()
        if set(summary.by_status) & {"ok", "rejected"}:
            return ()
        return [reason for reason in summary.by_reason if reason.removeprefix("llm_error:") in FAILURES]

    def _log_task(self, summary: Summary) -> None:
        entry = TaskEntry(self.task_id, self.spec.name, self.scope, self._payload_hash(), self.started)
        try:
            now = self.gateway.clock()
            self.gateway.store.append(*history.task_row(entry, summary, self.tracker.state, now))
        except LedgerUnavailable as error:
            log.warning("the task log of %s could not be written: %s", self.spec.name, error)

    def _payload_hash(self) -> str:
        return hashlib.sha256("\n".join(map(str, self.frame["row_ref"])).encode()).hexdigest()


class _Verdicts:
    """Verdicts on their way to the books."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._waiting: list[Verdict] = []

    def add(self, verdicts: Sequence[Verdict]) -> None:
        with self._lock:
            self._waiting += verdicts
            full = len(self._waiting) >= VERDICTS_PER_WRITE
        if full:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        if batch:
            try:
                self._gateway.store.write(lambda c: judge(c, batch))
            except LedgerUnavailable as error:
                log.warning("%d verdicts were not written and will be found again: %s", len(batch), error)


def _validate(spec: FunctionSpec[Any], frame: pl.DataFrame) -> None:
    ids = frame["row_ref"] if "partition" not in frame.columns else frame.select("row_ref", "partition").to_struct()
    if frame["row_ref"].null_count() or ids.n_unique() != frame.height:
        raise ValueError(f"{spec.name}: row_ref must be there and unique in every row")
    if spec.max_items is not None and frame.height > spec.max_items:
        raise ValueError(f"{spec.name} takes {spec.max_items} rows at most, not {frame.height}")


def _input_hash(
    rendered_hash: str, schema: Mapping[str, Any], spec: FunctionSpec[Any], images: tuple[Image, ...]
) -> str:
    facts = [spec.name, spec.version, rendered_hash, schema, [image.sha256 for image in images]]
    return hashlib.sha256(canonical(facts)).hexdigest()


def _row(item: Prepared, outcome: Outcome, bill: history.Past, pace: Pace, now: datetime) -> dict[str, Any]:
    refused = outcome.refused
    status, reason, not_before = fate_of(refused, bill, pace, now)
    return {
        "row_ref": str(item.row["row_ref"]),
        "partition": item.row.get("partition"),
        "value": outcome.value,
        "status": status,
        "reason": reason,
        "observed": refused.observed if refused else None,
        "threshold": refused.threshold if refused else None,
        "not_before": not_before,
        "provider": outcome.provider,
        "model": outcome.model,
        "prompt_source": item.prompt_source,
        "prompt_version": item.prompt_version,
        "rendered_hash": item.rendered_hash,
        "input_hash": item.input_hash,
        "cost_usd": to_usd(bill.cost_nano),
        "tokens_in": bill.tokens_in,
        "tokens_out": bill.tokens_out,
        "attempts": bill.invalid,
        "credits": bill.credits,
        "settled_at": bill.settled_at,
        "detail": refused.detail if refused else None,
    }


def fate_of(
    refused: Refused | None, bill: history.Past, pace: Pace, now: datetime
) -> tuple[str, str | None, datetime | None]:
    """Status, reason and waiting time; faults that come again wait longer, bad answers end with the third."""
    if refused is None:
        return "ok", None, None
    if refused.reason in OF_ANSWER and (pace.hand_on or refused.reason != "refused"):
        if bill.invalid >= pace.tries:
            return "failed", f"llm_error:{refused.reason}", None
        if pace.hand_on:
            return "pending", refused.reason, refused.not_before
        return "pending", refused.reason, escalating(now, INVALID_S, bill.invalid - 1)
    if refused.reason == "transport" and not pace.hand_on:
        return "pending", refused.reason, escalating(now, TRANSPORT_S, max(0, bill.transport - 1))
    return refused.status, refused.reason, refused.not_before if refused.status == "pending" else None
