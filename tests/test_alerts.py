"""Alerts by webhook: what begins and what is over is told once, and told again only if it was not heard."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from magpie import alerts, stuck
from magpie.alerts import ADDRESS, Condition, address_of, conditions, note, send, unsent
from magpie.control import Control, Pending
from magpie.environment import Environment
from magpie.errors import UserError
from magpie.llm import breaker
from magpie.llm.store import Store
from magpie.settings import ALERT_KINDS, Alerts, Settings
from magpie.sources.web import Web
from sensors import alerts as sensor
from tests.dagster_world import sample_settings
from tests.instances import fresh_instance
from tests.ledger_world import NOON, Books, FakeClock

SECRET = "https://hooks.example/T0/very-secret-part"
CAP = Condition("cap_reached", "all", "$15.00 of $15.00")
OPEN = Condition("breaker_open", "provider:openai", "the key is refused")


class Hook:
    """A receiver on loopback; it answers with the statuses it is given, then with 204."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.statuses: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = hook.statuses.pop(0) if hook.statuses else 204
                if status < 300:
                    hook.heard.append(json.loads(body))
                    hook.keys.append(self.headers["Idempotency-Key"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/secret-token"

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(one["kind"], one["subject"], one["state"]) for one in self.heard]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return sample_settings(tmp_path)


@pytest.fixture
def control(settings: Settings) -> Iterator[Control]:
    found = Control(settings.control_database)
    yield found
    found.close()


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def tell(control: Control, hook: Hook, *found: Condition, minutes: int = 0) -> alerts.Sent:
    """Look once, and send what is news."""
    note(control, ALERT_KINDS, found, at(minutes))
    return send(control, Web(private=True), hook.url, lambda: at(minutes))


# --- what is told -------------------------------------------------------------------------------------------------


def test_a_condition_is_told_once_however_long_it_holds(control: Control, hook: Hook) -> None:
    for minute in range(3):
        tell(control, hook, CAP, minutes=minute)
    (heard,) = hook.heard
    assert heard == {
        "id": heard["id"],
        "kind": "cap_reached",
        "subject": "all",
        "state": "raised",
        "detail": "$15.00 of $15.00",
        "at": "2026-11-20T12:00:00+00:00",
    }
    assert hook.keys == [heard["id"]]


def test_its_end_is_told_and_its_return_again(control: Control, hook: Hook) -> None:
    for minute, found in enumerate([[CAP], [CAP, OPEN], [OPEN], [], [CAP]]):
        tell(control, hook, *found, minutes=minute)
    assert hook.told == [
        ("cap_reached", "all", "raised"),
        ("breaker_open", "provider:openai", "raised"),
        ("cap_reached", "all", "recovered"),
        ("breaker_open", "provider:openai", "recovered"),
        ("cap_reached", "all", "raised"),
    ]


def test_a_detail_that_changes_is_no_news(control: Control, hook: Hook) -> None:
    tell(control, hook, CAP)
    tell(control, hook, Condition("cap_reached", "all", "$15.10 of $15.00"), minutes=1)
    assert len(hook.heard) == 1


def test_kinds_that_nobody_looks_at_any_more_are_left_as_they_are(control: Control, hook: Hook) -> None:
    tell(control, hook, CAP, OPEN)
    assert note(control, ["breaker_open"], [OPEN], at(1)) == 0


# --- what does not arrive -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 400, 429, 500])
def test_what_was_refused_is_sent_again_in_order_and_what_arrived_is_not(
    control: Control, hook: Hook, status: int
) -> None:
    hook.statuses = [200, status]
    sent = tell(control, hook, CAP, OPEN)
    assert (sent.arrived, sent.left) == (1, 1)
    assert (sent.problem is not None and str(status) in sent.problem) or "redirect" in (sent.problem or "")
    again = tell(control, hook, CAP, OPEN, minutes=5)
    assert (again.arrived, again.left, again.problem) == (1, 0, None)
    assert len(hook.heard) == len(set(hook.keys)) == 2


def test_a_receiver_that_was_away_hears_of_beginning_and_end(control: Control, hook: Hook) -> None:
    hook.statuses = [500, 500]
    tell(control, hook, CAP)
    tell(control, hook, minutes=1)
    assert hook.heard == []
    tell(control, hook, minutes=2)
    assert [state for *_, state in hook.told] == ["raised", "recovered"]


def test_a_problem_names_no_more_of_the_address_than_the_host(control: Control, hook: Hook) -> None:
    hook.close()
    sent = tell(control, hook, CAP)
    assert sent.problem is not None
    assert "secret-token" not in sent.problem


def test_an_address_that_is_not_public_is_never_reached(control: Control, hook: Hook) -> None:
    note(control, ALERT_KINDS, [CAP], NOON)
    sent = send(control, Web(), hook.url, lambda: NOON)
    assert sent.problem is not None and "private_address" in sent.problem
    assert hook.heard == [] and unsent(control).height == 1


# --- the address --------------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_settings_and_a_file_may_hold_the_address(tmp_path: Path) -> None:
    held = Alerts(webhook="https://other.example/hook")
    assert address_of(Alerts(), Environment({})) is None
    assert address_of(held, Environment({})) == "https://other.example/hook"
    assert address_of(held, Environment({ADDRESS: SECRET})) == SECRET
    (tmp_path / "hook").write_text(SECRET + "\n", "utf-8")
    assert address_of(held, Environment({f"{ADDRESS}_FILE": str(tmp_path / "hook")})) == SECRET


def test_an_address_in_the_clear_is_refused_without_being_shown() -> None:
    with pytest.raises(UserError) as raised:
        address_of(Alerts(), Environment({ADDRESS: SECRET.replace("https", "http")}))
    assert "very-secret" not in str(raised.value)
    assert "very-secret" not in repr(Alerts(webhook=SECRET))


# --- what holds ---------------------------------------------------------------------------------------------------


def test_a_cap_is_reached_when_it_is_used_up_or_holds_rows_back(settings: Settings, control: Control) -> None:
    store = Store(control)
    books = Books(store, alerts.limits_of(settings))
    books.held(4_999_999_999)
    assert conditions(settings, control, [], NOON) == []
    books.held(1)
    control.record_pending("leads", ["a|b"], [Pending("leads", "a|b", "cap_exhausted", 3, None)])
    assert conditions(settings, control, [], NOON) == [
        Condition("cap_reached", "product:leads", "$5.00 of $5.00"),
        Condition("cap_reached", "leads", "3 rows wait for money"),
    ]
    control.record_pending("leads", ["a|b"], [])
    assert conditions(settings, control, [], NOON + timedelta(days=1)) == [], "a new day, a new cap"
    store.close()


def test_breakers_stale_assets_and_stuck_partitions_hold_until_they_do_not(
    settings: Settings, control: Control
) -> None:
    store = Store(control)
    store.write(lambda c: breaker.open_breaker(c, "function:extract_lead", NOON, None, "failed_runs", "3 runs failed"))
    rows = [
        {"table_name": "leads", "partition": f"a|{day}", "status": "failed", "at": NOON, "event": "began"}
        for day in ("2026-11-01", "2026-11-02")
    ]
    stuck.EVENTS.append(control, rows)
    stale = [("leads_current", NOON)]
    first = conditions(settings, control, stale, NOON)
    assert [(one.kind, one.subject) for one in first] == [
        ("breaker_open", "function:extract_lead"),
        ("freshness_missed", "leads_current"),
    ]
    later = conditions(settings, control, [], NOON + timedelta(days=settings.alerts.stuck_days))
    assert later[1:] == [Condition("stuck", "leads", "2 partitions, the oldest since 2026-11-20")]
    only = settings.model_copy(update={"alerts": Alerts(on=("freshness_missed",))})
    assert [one.kind for one in conditions(only, control, stale, NOON)] == ["freshness_missed"]
    store.close()


# --- sensor and job -----------------------------------------------------------------------------------------------


class Watch:
    """The sensor and its job over one instance, with a clock that is moved by hand."""

    def __init__(self, settings: Settings, control: Control, hook: Hook, patch: pytest.MonkeyPatch) -> None:
        self.settings, self.control, self.clock = settings, control, FakeClock()
        patch.setattr(sensor, "utc_now", self.clock)
        patch.setattr(alerts, "SECURE", "http://")
        patch.setenv(ADDRESS, hook.url)
        self.resources = {"settings": settings, "control": control, "alert_web": Web(private=True)}
        (self.sensor,) = sensor.build_sensors(settings)
        self.used: set[str] = set()

    def tick(self, instance: dg.DagsterInstance) -> str:
        """Look, run what is asked for if its key is new, and return the skip message."""
        self.clock.now += timedelta(minutes=1)
        context = dg.build_sensor_context(instance=instance, resources={"control": self.control})
        told = self.sensor.evaluate_tick(context)
        for request in told.run_requests or []:
            if request.run_key not in self.used:
                self.used.add(str(request.run_key))
                sensor.send_alerts.execute_in_process(instance=instance, resources=self.resources)
        return told.skip_message or ""


@pytest.fixture
def watch(settings: Settings, control: Control, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(settings, control, hook, monkeypatch)


def test_an_asset_that_misses_its_time_is_told_and_so_is_its_return(watch: Watch, hook: Hook) -> None:
    key = dg.AssetKey("leads_current")
    states = [FreshnessState.UNKNOWN, FreshnessState.FAIL, FreshnessState.PASS]
    with fresh_instance() as instance:
        for before, after in pairwise(states):
            instance.report_runless_asset_event(dg.AssetMaterialization(key))
            change = FreshnessStateChange(
                key=key, previous_state=before, new_state=after, state_change_timestamp=NOON.timestamp()
            )
            instance._report_runless_asset_event(asset_event=change)
            watch.tick(instance)
            assert "all of them told" in watch.tick(instance)
    assert hook.told == [
        ("freshness_missed", "leads_current", "raised"),
        ("freshness_missed", "leads_current", "recovered"),
    ]


def test_a_failed_try_is_repeated_after_some_minutes_and_not_every_minute(watch: Watch, hook: Hook) -> None:
    hook.statuses = [500, 500]
    watch.control.record_pending("leads", ["a|b"], [Pending("leads", "a|b", "cap_exhausted", 3, None)])
    with fresh_instance() as instance:
        for _ in range(4 * sensor.MINUTES_BETWEEN_TRIES):
            watch.tick(instance)
    assert len(watch.used) == 3, "two tries that failed, and the one that did not"
    assert hook.told == [("cap_reached", "leads", "raised")]


def test_without_an_address_nothing_is_noted(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS)
    watch.control.record_pending("leads", ["a|b"], [Pending("leads", "a|b", "cap_exhausted", 3, None)])
    with fresh_instance() as instance:
        assert ADDRESS in watch.tick(instance)
        assert sensor.send_alerts.execute_in_process(instance=instance, resources=watch.resources).success
    assert unsent(watch.control).is_empty()


def test_the_address_is_in_no_log_of_the_job(watch: Watch, hook: Hook, capfd: pytest.CaptureFixture[str]) -> None:
    hook.statuses = [500]
    note(watch.control, ALERT_KINDS, [CAP], datetime(2026, 11, 20, tzinfo=UTC))
    with fresh_instance() as instance:
        sensor.send_alerts.execute_in_process(instance=instance, resources=watch.resources)
    told = capfd.readouterr().err
    assert "alerts wait" in told and "secret-token" not in told
