"""Telling somebody by webhook what needs a person, once when it begins and once when it is over.

Belongs here: which conditions hold, which of them are news, and sending news. Does not belong here: when that is done
(`sensors/alerts.py`), what a breaker or a cap is (`magpie/llm`), what is stuck (`stuck.py`).

News are written down before they are sent, and that they arrived is written down afterwards. So a webhook that is away
gets them when it is back, in their order; and one that took a message without our hearing of it gets it again, with the
same `id`, by which it can tell.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import dataframely as dy
import polars as pl

from magpie import stuck
from magpie.append_log import AppendLog
from magpie.control import Control
from magpie.engine import limits_of
from magpie.environment import Environment
from magpie.errors import UserError
from magpie.llm import spend
from magpie.llm.backlog import CAP_REASONS
from magpie.llm.breaker import open_breakers
from magpie.llm.money import shown
from magpie.llm.store import Store
from magpie.settings import ALERT_KINDS, Alerts, Settings
from magpie.sources.web import Web, WebError
from magpie.tables import Table, moment, one_of

ADDRESS = "MAGPIE_ALERT_WEBHOOK"
SECURE = "https://"
# A receiver has this long; what it answers is not read beyond this.
TIMEOUT_S = 10.0
ANSWER_BYTES = 64 * 1024
# After a long time away a receiver gets what it missed in portions, a run each.
MOST_AT_ONCE = 50


class AlertEvents(dy.Schema):
    """What began and what was over."""

    event_id = dy.String(primary_key=True)
    kind = dy.String(regex=one_of(*ALERT_KINDS))
    subject = dy.String()
    state = dy.String(regex=one_of("raised", "recovered"))
    detail = dy.String()
    at = moment()


class AlertDeliveries(dy.Schema):
    """Which of these arrived."""

    event_id = dy.String(primary_key=True)
    at = moment()


EVENTS = AppendLog(Table("alert_events", AlertEvents, "Conditions that began or were over.", {}, ("at", "event_id")))
DELIVERIES = AppendLog(Table("alert_deliveries", AlertDeliveries, "Alerts that arrived.", {}, ("at", "event_id")))


@dataclass(frozen=True)
class Condition:
    """Something that holds now.

    Attributes:
        kind: one of ALERT_KINDS.
        subject: what it holds of; one alert is raised for each.
        detail: one line for people.
    """

    kind: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Sent:
    """How many alerts arrived, how many wait, and why the next one did not arrive."""

    arrived: int
    left: int
    problem: str | None = None


def address_of(alerts: Alerts, environment: Environment) -> str | None:
    """Where alerts go: of the environment, else of the settings; None: nowhere.

    Raises:
        UserError: it is no address that keeps a secret.
    """
    found = environment.get(ADDRESS) or alerts.webhook
    if found and not found.startswith(SECURE):
        # The address itself may be the secret, so it is not quoted.
        raise UserError(f"the address of the alerts' webhook must begin with {SECURE}; correct {ADDRESS}")
    return found or None


def conditions(
    settings: Settings, control: Control, stale: Iterable[tuple[str, datetime]], now: datetime
) -> list[Condition]:
    """Return what holds now, of the kinds that the settings ask for.

    Args:
        stale: assets that were not made in time, and since when.

    Raises:
        UserError: the control database cannot be read.
    """
    looks: dict[str, Callable[[], list[Condition]]] = {
        "cap_reached": lambda: _caps(settings, control, now),
        "breaker_open": lambda: _breakers(control),
        "freshness_missed": lambda: [
            Condition("freshness_missed", asset, f"not made in time since {since:%Y-%m-%d %H:%M} UTC")
            for asset, since in stale
        ],
        "stuck": lambda: _stuck(settings, control, now),
    }
    return [condition for kind in settings.alerts.on for condition in looks[kind]()]


def note(control: Control, kinds: Sequence[str], found: Iterable[Condition], now: datetime) -> int:
    """Write down what has begun and what is over; return how much of it is news.

    Args:
        kinds: those that were looked at: what is raised of others stays as it is.

    Raises:
        UserError: the control database cannot be written.
    """
    holds = {(condition.kind, condition.subject): condition.detail for condition in found}
    raised = {key for key in _raised(control) if key[0] in kinds}
    news = [(*key, "raised", holds[key]) for key in sorted(holds.keys() - raised)]
    news += [(*key, "recovered", "") for key in sorted(raised - holds.keys())]
    return EVENTS.append(control, [_event(*one, now) for one in news])


def unsent(control: Control) -> pl.DataFrame:
    """Return what has not arrived yet, the oldest first.

    Raises:
        UserError: the control database cannot be read.
    """
    return EVENTS.read(control).join(DELIVERIES.read(control), on="event_id", how="anti").sort("at", "event_id")


def send(control: Control, web: Web, url: str, clock: Callable[[], datetime]) -> Sent:
    """Post what has not arrived yet, one JSON object each, until one does not arrive.

    Raises:
        UserError: the control database cannot be used.
    """
    waiting = unsent(control)
    arrived = 0
    for row in waiting.head(MOST_AT_ONCE).iter_rows(named=True):
        told = {"id": row.pop("event_id"), **row, "at": row["at"].isoformat()}
        headers = {"Content-Type": "application/json", "Idempotency-Key": told["id"]}
        try:
            web.post(url, json.dumps(told).encode(), headers, max_bytes=ANSWER_BYTES, timeout_s=TIMEOUT_S)
        except WebError as error:
            return Sent(arrived, waiting.height - arrived, str(error))
        DELIVERIES.append(control, [{"event_id": told["id"], "at": clock()}])
        arrived += 1
    return Sent(arrived, waiting.height - arrived)


def _caps(settings: Settings, control: Control, now: datetime) -> list[Condition]:
    """Bounds that are used up, and tables whose rows wait for money: a cap refuses before it is used up."""
    store = Store(control)
    try:
        uses = spend.today(store, limits_of(settings), now)
    finally:
        store.close()
    full = [
        Condition(
            "cap_reached", use.scope, f"{shown(use.spent_nano + use.reserved_nano)} of {shown(use.cap_nano or 0)}"
        )
        for use in uses
        if use.money_share is not None and use.money_share >= 1
    ]
    waiting: Counter[str] = Counter()
    for item in control.pending():
        if item.reason in CAP_REASONS:
            waiting[item.table] += item.rows
    return full + [Condition("cap_reached", table, f"{rows} rows wait for money") for table, rows in waiting.items()]


def _breakers(control: Control) -> list[Condition]:
    store = Store(control)
    try:
        return [Condition("breaker_open", item.scope, item.detail) for item in store.read(open_breakers)]
    finally:
        store.close()


def _stuck(settings: Settings, control: Control, now: datetime) -> list[Condition]:
    """One condition a table: after a bad week a table may have hundreds of such partitions."""
    old = stuck.older(stuck.begun(control), settings.alerts.stuck_days, now)
    by_table = Counter(row.table for row in old)
    since = {row.table: row.since for row in reversed(old)}
    return [
        Condition("stuck", table, f"{count} partitions, the oldest since {since[table]:%Y-%m-%d}")
        for table, count in by_table.items()
    ]


def _raised(control: Control) -> set[tuple[str, str]]:
    last = EVENTS.read(control).sort("at", "event_id").unique(["kind", "subject"], keep="last", maintain_order=True)
    return set(last.filter(pl.col("state") == "raised").select("kind", "subject").iter_rows())


def _event(kind: str, subject: str, state: str, detail: str, at: datetime) -> dict[str, object]:
    # The same news, noted twice at one moment, is one event.
    named = hashlib.sha256(json.dumps([kind, subject, state, at.isoformat()]).encode()).hexdigest()[:32]
    return {"event_id": named, "kind": kind, "subject": subject, "state": state, "detail": detail, "at": at}
