"""A plan: what a run would ask, what of it is in the journal, and the most that the rest can cost.

Belongs here: going through a function's rows or an embedder's texts as a run does, without a call and without a word
in the books. Does not belong here: which rows and texts a product has (`magpie/leads/plan.py`), what the caps let
through (`budget.py`), printing.

A plan goes the run's own way, through a door that answers from the journal and takes down what it would have to buy.
Costs are ceilings, as a reservation has them. An answer that does not hold is asked for again, twice at most; whether
that comes to pass nobody knows before, so those calls are not in the plan.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar, cast

import polars as pl
import sqlalchemy as sa

from magpie.llm import history, journal, ledger
from magpie.llm.conversation import Conversation
from magpie.llm.embedding import BATCH, ask_for
from magpie.llm.engine import OFFLINE, ROWS_PER_BLOCK, Asking, Engine
from magpie.llm.gateway import TERMS, Answered, Clock, Gateway, Terms
from magpie.llm.images import Images, Made, Order
from magpie.llm.journal import Entry
from magpie.llm.models import Model
from magpie.llm.money import shown
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import Refused
from magpie.llm.request import Ask, Request
from magpie.llm.schema import llm_call
from magpie.llm.store import Change
from magpie.llm.task import Scope

T = TypeVar("T")

# So many of a function's latest calls say what one usually costs, held against its ceiling.
CALLS_FOR_A_SHARE = 100
# What the door says instead of buying; no other candidate is tried for this reason.
_WANTED = Refused("cap_busy", "a plan buys nothing")

_call = llm_call.c
_LATEST = (
    sa.select(_call.cost_nano, _call.est_nano)
    .where(
        _call.kind == "call",
        _call.state == "settled",
        _call.est_nano > 0,
        _call.function == sa.bindparam("function"),
        _call.model_asked == sa.bindparam("model"),
    )
    .order_by(_call.created_at.desc())
    .limit(CALLS_FOR_A_SHARE)
)


@dataclass(frozen=True)
class Call:
    """A call that a run would make.

    Attributes:
        asset, partition: what it is made for; the two of them and the scopes stand for one run.
        items: rows or texts that it answers.
        est_nano: the most it can cost.
        likely_nano: the same by what such calls have lately cost of their ceilings; None: there was none.
        tokens_in, tokens_out: the most it can have.
        part: of the asset, where a product plans it in parts.
    """

    asset: str | None
    partition: str | None
    items: int
    est_nano: int
    likely_nano: int | None
    tokens_in: int
    tokens_out: int
    scopes: tuple[str, ...]
    part: str = ""


@dataclass(frozen=True)
class Tally:
    """What a run would find for one partition.

    Attributes:
        items: rows or texts; all the others add up to it.
        journalled: answered without a new call: by the journal, or by a call of this plan that another item has.
        free: answered without a model.
        new: they take a call.
        refused: by reason: no call would be made for them.
    """

    items: int = 0
    journalled: int = 0
    free: int = 0
    new: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.items + other.items,
            self.journalled + other.journalled,
            self.free + other.free,
            self.new + other.new,
            dict(Counter(self.refused) + Counter(other.refused)),
        )


@dataclass(frozen=True)
class Outlook:
    """What one asset would ask.

    Attributes:
        asked: who would answer: models as `provider/model`, or `offline`.
        tallies: by partition; one without items is missing.
        calls: in the order of the run.
        details: one line for people by reason of refusal.
    """

    asked: str
    tallies: Mapping[str | None, Tally]
    calls: tuple[Call, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One asset, subject (a campaign, a site, a channel) and day; `tally` None: what it is made from is not there yet.

    `day` is None for an asset without days. `part` names one of several things that are asked for the asset, such as a
    function in one version; it stands in the place of the asset's name.
    """

    asset: str
    subject: str
    day: date | None
    tally: Tally | None
    part: str = ""

    @property
    def label(self) -> str:
        return self.part or self.asset

    @property
    def partition(self) -> str:
        return self.subject if self.day is None else f"{self.subject}|{self.day}"


@dataclass(frozen=True)
class Plan:
    """A product over a range of days.

    Attributes:
        asked: by asset, or part of it, who would answer.
        calls: in the order of a run.
        details: one line for people by reason of refusal; notes: what else a reader should know.
        names: of subjects, where people know them by another than their id.
    """

    product: str
    first: date
    last: date
    lines: tuple[Line, ...]
    calls: tuple[Call, ...]
    asked: Mapping[str, str]
    details: Mapping[str, str]
    notes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


class Planner:
    """Looks ahead for one engine. What several rows, assets or partitions ask alike is new for the first of them.

    Raises:
        LedgerUnavailable: by any method, the journal cannot be read.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.gateway = engine, engine.gateway
        self._planned: set[str] = set()
        self._shares: dict[tuple[str, str], float | None] = {}

    def rows(self, function: str, frame: pl.DataFrame, scope: Scope) -> Outlook:
        """Go through rows as `Engine.run` does, which see for arguments and errors."""
        asking = self.engine.asking(function, frame, scope)
        notes = _Notes()
        for block in frame.iter_slices(ROWS_PER_BLOCK):
            self._block(asking, block, notes)
        return notes.outlook([model.name for model in asking.models])

    def texts(self, model: Model, texts: Iterable[tuple[str, str]], purpose: Purpose) -> Outlook:
        """Go through (partition, text) pairs as a `GatewayEmbedder` does, a partition at a time."""
        by_partition: dict[str, list[str]] = {}
        for partition, text in texts:
            by_partition.setdefault(partition, []).append(text)
        notes = _Notes()
        for partition, some in by_partition.items():
            self._texts(model, partition, some, purpose, notes)
        return notes.outlook([model.name])

    def images(
        self, models: Sequence[Model], orders: Iterable[Order], purpose: Purpose, *, retry_failed: bool = False
    ) -> Outlook:
        """Go through images as `Images` does, which see for arguments."""
        notes = _Notes()
        for order in orders:
            door = _ImageDoor(self)
            maker = Images(cast(Gateway, door), models, purpose, retry_failed=retry_failed)
            outcome = maker.make(order)
            if door.wanted is not None:
                self._want([(replace(purpose, partition=order.partition), door.wanted)], notes)
            else:
                notes.add(order.partition, "journalled" if isinstance(outcome, Made) else outcome)
        return notes.outlook([model.name for model in models])

    def _block(self, asking: Asking, block: pl.DataFrame, notes: "_Notes") -> None:
        items = [asking.prepare(row) for row in block.iter_rows(named=True)]
        if not asking.models:
            for item in items:
                notes.add(item.row.get("partition"), item.refused or "free")
            return
        askable = [asking.purpose(item) for item in items if item.refused is None]
        past = self._read(lambda c: history.past(c, askable)) or {}
        door = _Door(self)
        talks = [asking.conversation(item, past, door) for item in items]
        entries = self.journalled([request for talk in talks for request in talk.requests()])
        wanted = []
        for talk in talks:
            request = self._next_request(talk, entries, door, notes)
            if request is not None:
                wanted.append((talk.purpose, request))
        self._want(wanted, notes)

    def _next_request(
        self, talk: Conversation, entries: Mapping[str, Entry], door: "_Door", notes: "_Notes"
    ) -> Request | None:
        """The first call that a conversation would have to make; None: it gets to its end without one."""
        known = talk.best(entries)
        answer = self.gateway.recall(*known) if known else None
        if known and answer:
            talk.begin_with(known[0], answer)
        door.wanted = None
        outcome = talk.settled() or talk.run()
        if door.wanted is None:
            notes.add(talk.purpose.partition, "journalled" if outcome.hits else outcome.refused or "journalled")
        return door.wanted

    def _want(self, wanted: Sequence[tuple[Purpose, Request]], notes: "_Notes") -> None:
        cut: frozenset[str] = frozenset()
        if not self.gateway.settings.allow_double_payment:
            keys = [request.key for _, request in wanted]
            cut = self._read(lambda c: ledger.unreconciled(c, keys)) or cut
        for purpose, request in wanted:
            if request.key in self._planned:
                notes.add(purpose.partition, "journalled")
                continue
            priced = self._call(request, purpose, 1)
            if request.key in cut:
                priced = Refused("unknown_outcome", "the same request was cut off after sending and may have been paid")
            if isinstance(priced, Call):
                self._planned.add(request.key)
                notes.buy(priced)
            else:
                notes.add(purpose.partition, priced)

    def _texts(self, model: Model, partition: str, texts: Sequence[str], purpose: Purpose, notes: "_Notes") -> None:
        blank = sum(not text.strip() for text in texts)
        notes.add(partition, "free", blank)
        keyed: dict[str, str] = {}
        for text in texts:
            request = self.gateway.request(ask_for(model, (text,)), model) if text.strip() else None
            if isinstance(request, Refused):
                notes.add(partition, request, len(texts) - blank)
                return
            if request is not None:
                keyed[request.key] = text
        keys = list(keyed)
        held = (self._read(lambda c: journal.held(c, keys)) or frozenset()) | self._planned
        new = [key for key in keys if key not in held]
        notes.add(partition, "journalled", len(texts) - blank - len(new))
        for start in range(0, len(new), BATCH):
            some = new[start : start + BATCH]
            whole = self.gateway.request(ask_for(model, tuple(keyed[key] for key in some)), model)
            priced = whole if isinstance(whole, Refused) else self._call(whole, purpose, len(some), partition)
            if isinstance(priced, Call):
                self._planned |= set(some)
                notes.buy(priced)
            else:
                notes.add(partition, priced, len(some))

    def _call(self, request: Request, purpose: Purpose, items: int, partition: str | None = None) -> Call | Refused:
        gateway = self.gateway
        priced = gateway.ceiling(request)
        if isinstance(priced, Refused):
            return priced
        est = priced[0]
        free_tier = gateway.free_tier(request)
        scopes = purpose.all_scopes(request.provider, request.model, free_tier=free_tier)
        too_small = [
            (limit.usd_nano, scope)
            for scope in scopes
            for limit in gateway.limits.by_scope.get(scope, ())
            if limit.usd_nano is not None and limit.usd_nano < est
        ]
        if too_small:
            cap, scope = min(too_small)
            return Refused("request_too_large", f"a call may cost {shown(est)}, the cap of {scope} is {shown(cap)}")
        share = self._share(purpose.function, request.model)
        likely = None if share is None else min(est, round(est * share))
        where = purpose.partition if partition is None else partition
        return Call(purpose.asset, where, items, est, likely, *gateway.most_tokens(request), tuple(scopes))

    def _share(self, function: str, model: str) -> float | None:
        """What a function's calls to a model have lately cost of their ceilings; None: it made none."""
        names = {"function": function, "model": model}
        if (function, model) not in self._shares:
            rows = self._read(lambda c: c.execute(_LATEST, names).all()) or ()
            ceilings = sum(row.est_nano for row in rows)
            self._shares[function, model] = sum(row.cost_nano for row in rows) / ceilings if ceilings else None
        return self._shares[function, model]

    def journalled(self, requests: Sequence[Request]) -> dict[str, Entry]:
        """The answers there are, by request key."""
        keys = [request.key for request in requests]
        return self._read(lambda c: journal.find(c, keys)) or {}

    def _read(self, query: Change[T]) -> T | None:
        """What a query finds; None where there are no books yet."""
        store = self.gateway.store
        return store.read(query) if store.exists else None


class _Door:
    """Stands for the gateway in a conversation: gives what is journalled and takes down what is not."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.wanted: Request | None = None

    @property
    def clock(self) -> Clock:
        return self._planner.gateway.clock

    def rest(self, model: Model, detail: str, seconds: float) -> None:
        """A plan leaves no word in the books."""

    def request(self, ask: Ask, model: Model, sample: int = 0) -> Request | Refused:
        return self._planner.gateway.request(ask, model, sample)

    def ask(self, request: Request, purpose: Purpose, *, reask: int = 0, terms: Terms = TERMS) -> Answered | Refused:
        entry = self._planner.journalled([request]).get(request.key)
        answer = self._planner.gateway.recall(request, entry) if entry else None
        if answer is None:
            self.wanted = request
        return answer or _WANTED


class _ImageDoor(_Door):
    """Stands for the gateway where images are made: what is in the books is read, and nothing is written there."""

    @property
    def store(self) -> "_ImageDoor":
        return self

    def read(self, query: Change[Any]) -> Any:
        return self._planner._read(query) or {}

    def write(self, change: Change[Any]) -> None:
        """A plan leaves no word in the books."""

    def find(self, requests: Sequence[Request]) -> dict[str, Entry]:
        return self._planner.journalled(requests)


class _Notes:
    """What is found on the way, by partition."""

    def __init__(self) -> None:
        self._counts: dict[str | None, Counter[str]] = {}
        self._calls: list[Call] = []
        self._details: dict[str, str] = {}

    def add(self, partition: str | None, found: str | Refused, items: int = 1) -> None:
        """Count items that need no call: `journalled`, `free`, or why none would be made for them."""
        if isinstance(found, Refused):
            self._details.setdefault(found.reason, found.detail)
            found = found.reason
        if items:
            self._counts.setdefault(partition, Counter())[found] += items

    def buy(self, call: Call) -> None:
        self._counts.setdefault(call.partition, Counter())["new"] += call.items
        self._calls.append(call)

    def outlook(self, models: Sequence[str]) -> Outlook:
        tallies = {}
        for partition, counts in self._counts.items():
            journalled, free, new = (counts.pop(name, 0) for name in ("journalled", "free", "new"))
            items = journalled + free + new + counts.total()
            tallies[partition] = Tally(items, journalled, free, new, dict(counts))
        return Outlook(", ".join(models) or OFFLINE, tallies, tuple(self._calls), self._details)
