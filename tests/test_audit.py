"""Findings about the books: none while they are right, and one that names the place when they are not."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import sqlalchemy as sa

from magpie.functions import FUNCTIONS
from magpie.health import models_in_use
from magpie.llm import audit, export, ledger
from magpie.llm.ledger import Settlement
from magpie.llm.models import Models
from magpie.llm.purpose import Limit, Limits
from magpie.llm.reply import Usage
from magpie.llm.schema import llm_call, spend_window
from magpie.llm.store import Store
from magpie.llm.tables import SPEND_CAPS
from magpie.settings import LLM, Settings
from magpie.strict import FunctionChoice
from tests.ledger_world import NOON, Books, capped

TODAY = NOON.date()
DOLLAR = 1_000_000_000


def busy_books(store: Store) -> Books:
    """Calls in every state, of two campaigns and in a run with a cap of its own."""
    books = Books(store, Limits({"all": (Limit("D", 100 * DOLLAR), Limit("R", 90 * DOLLAR))}))
    purpose = books.booking(0).purpose
    for campaign in ("a", "b"):
        changes = {"purpose": type(purpose)(**{**vars(purpose), "run_id": "r1", "scopes": (f"campaign:{campaign}",)})}
        paid, reserved, sent, voided, unknown, lost = (books.held(DOLLAR, **changes) for _ in range(6))
        for call in (paid, sent, unknown, lost):
            books.send(call)
        books.settle(paid, 700_000_001)
        books.void(voided)
        books.cut(unknown)
        books.lose(lost)
        assert books.state(reserved) == "reserved"
    rows = ledger.hit_rows([(books.booking(0), 5, None)], NOON)
    store.write(lambda c: ledger.record_hits(c, rows))
    return books


def edit(store: Store, statement: sa.Executable) -> None:
    store.write(lambda c: c.execute(statement))


# --- the books balance --------------------------------------------------------------------------------------------


def test_books_with_calls_in_every_state_balance(store: Store) -> None:
    busy_books(store)
    found = audit.books_balance(store)
    assert found.rows == [], found.rows
    assert found.summary == "the books balance"


def test_books_without_a_call_balance(store: Store) -> None:
    assert audit.books_balance(store).rows == []


def test_a_window_that_was_edited_is_named_with_both_sums_to_the_nano_dollar(store: Store) -> None:
    busy_books(store)
    mine = (spend_window.c.scope == "campaign:a") & (spend_window.c.window == "D2026-11-20")
    edit(store, spend_window.update().where(mine).values(spent=spend_window.c.spent + 1))
    (row,) = audit.books_balance(store).rows
    assert (row["scope"], row["window"]) == ("campaign:a", "D2026-11-20")
    assert (row["spent"], row["spent by its calls"]) == ("2.700000002", "2.700000001")
    assert row["reserved"] == row["reserved by its calls"] == "2.000000000"


def test_a_window_that_was_removed_is_a_finding_and_so_is_a_removed_call(store: Store) -> None:
    books = busy_books(store)
    edit(store, spend_window.delete().where(spend_window.c.scope == "campaign:b"))
    missing = {(row["scope"], row["window"]) for row in audit.books_balance(store).rows}
    assert missing == {("campaign:b", "D2026-11-20"), ("campaign:b", "M2026-11")}
    books.send(call := books.held(DOLLAR))
    books.settle(call, DOLLAR)
    edit(store, llm_call.delete().where(llm_call.c.id == call))
    assert {row["scope"] for row in audit.books_balance(store).rows} >= {"all", "campaign:a", "provider:openai"}


def test_a_run_with_a_cap_is_summed_up_as_well(store: Store) -> None:
    busy_books(store)
    edit(store, spend_window.update().where(spend_window.c.window == "Rr1").values(spent=1))
    (row,) = audit.books_balance(store).rows
    assert (row["scope"], row["window"]) == ("all", "Rr1")


# --- caps ---------------------------------------------------------------------------------------------------------


def caps(usd: str, day: date = TODAY, per: str = "D", scope: str = "all") -> pl.DataFrame:
    return pl.DataFrame([(day, scope, per, Decimal(usd), None)], schema=SPEND_CAPS.dtypes, orient="row")


def test_what_is_reserved_counts_against_the_cap_too(store: Store) -> None:
    books = Books(store, Limits())
    books.send(paid := books.held(DOLLAR))
    books.settle(paid, DOLLAR)
    books.held(DOLLAR)
    assert audit.within_caps(store, caps("2.00")).rows == []
    (row,) = audit.within_caps(store, caps("1.999999999")).rows
    assert row == {
        "scope": "all",
        "window": "D2026-11-20",
        "spent": "1.000000000",
        "reserved": "1.000000000",
        "cap": "1.999999999",
    }


def test_scopes_without_a_cap_and_days_without_a_call_are_no_findings(store: Store) -> None:
    Books(store, Limits()).held(50 * DOLLAR)
    assert audit.within_caps(store, caps("1.00", scope="campaign:other")).rows == []
    assert audit.within_caps(store, caps("1.00", TODAY - timedelta(days=1))).rows == []
    assert audit.within_caps(store, SPEND_CAPS.empty()).rows == []


def test_a_month_is_held_against_the_cap_of_its_last_day(store: Store) -> None:
    Books(store, Limits()).held(5 * DOLLAR)
    raised = pl.concat([caps("1.00", TODAY - timedelta(days=1), "M"), caps("9.00", TODAY, "M")])
    assert audit.within_caps(store, raised).rows == []
    lowered = pl.concat([caps("1.00", TODAY, "M"), caps("9.00", TODAY - timedelta(days=1), "M")])
    assert [row["window"] for row in audit.within_caps(store, lowered).rows] == ["M2026-11"]


def test_bounds_on_the_number_of_calls_are_no_caps_on_money(store: Store) -> None:
    Books(store, Limits()).held(DOLLAR)
    rows = export.spend_caps(Limits({"all": (Limit("D", calls=0),)}), [TODAY], SPEND_CAPS.empty(), TODAY)
    assert audit.within_caps(store, rows).rows == []


# --- reservations, prices, models ---------------------------------------------------------------------------------


def test_a_dead_call_is_found_when_its_lease_is_over_and_not_before(store: Store) -> None:
    books = Books(store, Limits())
    call = books.held(DOLLAR)
    books.send(done := books.held(DOLLAR))
    books.settle(done, DOLLAR)
    assert audit.reservations_in_time(store, NOON + timedelta(seconds=60)).rows == []
    late = audit.reservations_in_time(store, NOON + timedelta(seconds=61))
    assert [(row["call"], row["state"]) for row in late.rows] == [(call, "reserved")]
    assert "magpie spend sweep" in late.summary


def test_a_paid_answer_booked_at_nothing_is_unpriced_and_a_free_one_is_not(store: Store) -> None:
    books = Books(store, Limits())
    for est in (0, DOLLAR):
        books.send(call := books.held(est))
        store.write(lambda c, call=call: ledger.settle(c, call, Settlement(0, Usage(10, 0, 0, 5)), NOON))
    (row,) = audit.all_priced(store, [TODAY]).rows
    assert (row["model"], row["calls"]) == ("openai/small", 1)
    assert audit.all_priced(store, [TODAY + timedelta(days=1)]).rows == []
    assert audit.all_priced(store, []).rows == []


def test_a_call_without_a_price_version_is_unpriced_whatever_it_cost(store: Store) -> None:
    books = Books(store, Limits())
    books.send(call := books.held(DOLLAR, price_version=""))
    books.settle(call, DOLLAR)
    assert len(audit.all_priced(store, [TODAY]).rows) == 1


def test_many_findings_are_counted_and_twenty_are_shown(store: Store) -> None:
    books = Books(store, capped("100"))
    for _ in range(25):
        books.held(1)
    found = audit.reservations_in_time(store, NOON + timedelta(hours=1))
    assert (len(found.rows), found.summary[:13]) == (20, "25 dead calls")


def test_a_model_in_use_that_ends_within_sixty_days_is_named_with_its_successor() -> None:
    rows = [
        {"provider": "openai", "model_id": "old", "end_of_life": TODAY + timedelta(days=60), "successor": "new"},
        {"provider": "openai", "model_id": "new"},
    ]
    models = Models.load({"models": rows, "aliases": {"fast": ["openai/old"]}})
    (row,) = audit.models_last(models, {"fast"}, TODAY).rows
    assert (row["model"], row["used as"], row["days left"], row["successor"]) == ("openai/old", "fast", 60, "new")
    assert audit.models_last(models, {"fast"}, TODAY - timedelta(days=1)).rows == []
    assert audit.models_last(models, {"smart-of-nobody"}, TODAY).rows == []


def test_models_in_use_are_those_that_functions_and_campaigns_choose() -> None:
    special = FunctionChoice(model="openai/special")
    chosen = LLM(functions=dict.fromkeys(FUNCTIONS.names(), special))
    campaign = {
        "id": "a",
        "name": "a",
        "product_description": "a",
        "keywords": ["crm"],
        "functions": {"extract_lead": {"model": "smart"}},
    }
    given = Settings(start_day=TODAY, llm=chosen, campaigns=[campaign])
    assert {"openai/special", "smart"} <= models_in_use(given)
    channel = {
        "channel_id": "UC" + "a" * 22,
        "name": "c",
        "functions": {"extract_picks": {"model": "openai/of-channel"}},
    }
    videos = {"analysis_versions": [{"label": "v1", "active": True, "model": "openai/of-version"}]}
    watching = Settings(start_day=TODAY, llm=chosen, channels=[channel], videos=videos)
    assert {"openai/of-channel", "openai/of-version"} <= models_in_use(watching)
    assert "fast" not in models_in_use(given)
    assert "fast" in models_in_use(Settings(start_day=TODAY))
    assert models_in_use(Settings(start_day=TODAY, llm=LLM(provider="offline"))) == set()
