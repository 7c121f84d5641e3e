"""The marts of spending, built by the real dbt from a real ledger whose numbers can be counted by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from marts_world import Built, built
from test_marts import lead, matched, read, rows, scored

from dbt_project.assets import marts_assets
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads.tables import CAMPAIGN_POSTS, LEAD_EXTRACTIONS, LEADS, RANKED_POSTS
from magpie.llm import export, journal, ledger
from magpie.llm.journal import Verdict
from magpie.llm.ledger import Settlement
from magpie.llm.purpose import Limit, Limits, Purpose
from magpie.llm.reply import Usage
from magpie.llm.store import Store
from magpie.llm.tables import LLM_CALLS, SPEND_CAPS
from magpie.settings import Settings
from magpie.tables import Partitions
from tests.ledger_world import Books, FakeClock

__all__ = ["built"]

CENT = 10_000_000
# Not the campaigns of other files, whose rows are in the same lake.
CAMPAIGN = "wheels"
# Posts are older than the calls about them: the marts of spending go by the day of the call.
POSTED, MONDAY, TUESDAY = date(2026, 11, 2), date(2026, 11, 9), date(2026, 11, 10)
LIMITS = Limits({"all": (Limit("D", 1500 * CENT), Limit("M", 9 * CENT)), "campaign:wheels": (Limit("D", calls=50),)})


def purpose(post: str, campaign: str = CAMPAIGN, **more: Any) -> Purpose:
    facts = {"row_ref": post, "partition": f"{campaign}|{POSTED}", "scopes": (f"campaign:{campaign}",), **more}
    return Purpose("leads", "extract_lead", "lead_extractions", **facts)


class Spending:
    """A ledger in use, a cent or so at a time."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, FakeClock(datetime(2026, 11, 9, 9, tzinfo=UTC))
        self.books = Books(store, Limits(), self.clock)

    def answered(self, asked: Purpose, cents: int, verdict: str = "accepted") -> None:
        """A call that was paid and judged; an answer that does not hold says why."""
        self.books.send(call := self.books.held(9 * CENT, purpose=asked))
        paid = Settlement(cents * CENT, Usage(100, 0, 0, 20))
        self.store.write(lambda c: ledger.settle(c, call, paid, self.clock()))
        why = None if verdict == "accepted" else "invalid_output"
        self.store.write(lambda c: journal.judge(c, [Verdict(call, verdict, "direct", why)]))  # type: ignore[arg-type]

    def hit(self, asked: Purpose, cents: int) -> None:
        found = [(self.books.booking(0, purpose=asked), cents * CENT, None)]
        self.store.write(lambda c: ledger.record_hits(c, ledger.hit_rows(found, self.clock())))

    def failed(self, asked: Purpose) -> None:
        """Sent, and turned away by the server; the money is given back."""
        self.books.send(call := self.books.held(9 * CENT, purpose=asked))
        gone = {"counts": True, "error_class": "transport", "error": "HTTP 500"}
        self.store.write(lambda c: ledger.void(c, call, self.clock(), **gone))  # type: ignore[arg-type]

    def never_sent(self, asked: Purpose) -> None:
        call = self.books.held(9 * CENT, purpose=asked)
        self.store.write(lambda c: ledger.void(c, call, self.clock(), counts=False, error_class=None, error=None))

    def cut(self, asked: Purpose) -> None:
        self.books.send(call := self.books.held(9 * CENT, purpose=asked))
        self.books.cut(call)


def spend(store: Store) -> None:
    """Monday: two leads, an invalid answer, failures, a cut call. Tuesday: a lead, and Monday's answers again."""
    made = Spending(store)
    made.answered(purpose("t3_l1"), 2)
    made.answered(purpose("t3_l2"), 1, "invalid")
    made.answered(purpose("t3_l2"), 3)
    made.answered(purpose("t3_no"), 1)
    made.failed(purpose("t3_l3"))
    made.failed(purpose("t3_l3"))
    made.never_sent(purpose("t3_l3"))
    made.cut(purpose("t3_b1", "rent"))
    made.answered(replace(purpose("x", "rent"), function="embed", asset="post_embeddings"), 1)
    made.clock.sleep(86_400)
    made.answered(purpose("t3_l3"), 4)
    made.hit(purpose("t3_l1"), 2)
    made.hit(purpose("t3_l4"), 5)


def fill_lake(lake: Lake, store: Store) -> None:
    days = [MONDAY, TUESDAY]
    lake.write(LLM_CALLS, export.llm_calls(store, days), Partitions.days(days))
    caps = export.spend_caps(LIMITS, days, SPEND_CAPS.empty(), TUESDAY)
    lake.write(SPEND_CAPS, caps, Partitions.days(days))
    names = ("t3_l1", "t3_l2", "t3_l3", "t3_l4")
    when = {"day": POSTED, "campaign_id": CAMPAIGN}
    posts = Partitions({CAMPAIGN: frozenset({POSTED})})
    lake.write(CAMPAIGN_POSTS, rows(CAMPAIGN_POSTS, *(matched(name, ["wheels"], **when) for name in names)), posts)
    lake.write(RANKED_POSTS, rows(RANKED_POSTS, *({**scored(name, 0.5, 0.6), **when} for name in names)), posts)
    lake.write(LEAD_EXTRACTIONS, rows(LEAD_EXTRACTIONS, *(read(name, 60, "0", **when) for name in names)), posts)
    lake.write(LEADS, rows(LEADS, *(lead(name, 60, **when) for name in names)), posts)


def fill(settings: Settings) -> None:
    control = Control(settings.control_database)
    store = Store(control)
    spend(store)
    fill_lake(Lake(settings.lake_root), store)
    store.close()
    control.close()


def test_each_scope_has_its_spend_of_the_day_beside_its_cap(built: Built) -> None:
    found = built.sql(f"SELECT * EXCLUDE day FROM marts.spend_daily WHERE day = DATE '{MONDAY}' ORDER BY scope").rows()
    whole = (8, 0, Decimal("0.17"), Decimal(0))
    wheels, rent = (6, 0, Decimal("0.07"), Decimal(0)), (2, 0, Decimal("0.1"), Decimal(0))
    assert found == [
        ("all", *whole, Decimal(15), None),
        ("asset:lead_extractions", 7, 0, Decimal("0.16"), Decimal(0), None, None),
        ("asset:post_embeddings", 1, 0, Decimal("0.01"), Decimal(0), None, None),
        ("campaign:rent", *rent, None, None),
        ("campaign:wheels", *wheels, None, 50),
        ("model:openai/small", *whole, None, None),
        ("product:leads", *whole, None, None),
        ("provider:openai", *whole, None, None),
    ]


def test_answers_from_the_journal_cost_nothing_and_say_what_they_saved(built: Built) -> None:
    query = f"SELECT calls, hits, spent, saved FROM marts.spend_daily WHERE day = DATE '{TUESDAY}' AND scope = 'all'"
    assert built.sql(query).rows() == [(1, 2, Decimal("0.04"), Decimal("0.07"))]


def test_functions_are_told_apart_with_their_failures_by_class(built: Built) -> None:
    columns = '"function", calls, hits, tokens, tokens_in, tokens_out, spent, failures'
    monday = built.sql(f"SELECT {columns} FROM marts.spend_by_function WHERE day = DATE '{MONDAY}'").rows()
    assert set(monday) == {
        ("extract_lead", 7, 0, 480, 400, 80, Decimal("0.16"), 4),
        ("embed", 1, 0, 120, 100, 20, Decimal("0.01"), 0),
    }
    classes = built.sql(
        f"SELECT e.key AS class, e.value AS n FROM marts.spend_by_function, unnest(map_entries(failures_by_class)) "
        f"AS u(e) WHERE day = DATE '{MONDAY}' ORDER BY ALL"
    ).rows()
    assert classes == [("invalid_output", 1), ("transport", 2), ("unknown_outcome", 1)]
    without = "SELECT DISTINCT cardinality(failures_by_class) FROM marts.spend_by_function WHERE failures = 0"
    assert built.sql(without).rows() == [(0,)], "no failure is an empty map, not null"


def test_a_lead_counts_on_the_day_its_answer_was_bought_and_once(built: Built) -> None:
    found = built.sql("SELECT * FROM marts.cost_per_lead ORDER BY day, campaign_id").rows()
    monday_rent = (MONDAY, "rent", 0, Decimal("0.1"), None)
    monday_wheels = (MONDAY, CAMPAIGN, 2, Decimal("0.07"), pytest.approx(0.035))
    # t3_l4 was only ever found in the journal; t3_l1 was bought on Monday and found again.
    tuesday_wheels = (TUESDAY, CAMPAIGN, 2, Decimal("0.04"), pytest.approx(0.02))
    assert found == [monday_rent, monday_wheels, tuesday_wheels]


def test_no_nano_dollar_gets_lost_between_ledger_and_mart(built: Built) -> None:
    lake = Lake(built.settings.lake_root).read(LLM_CALLS).collect()
    mart = built.sql("SELECT sum(spent) AS spent, sum(saved) AS saved FROM marts.spend_daily WHERE scope = 'all'")
    assert mart.rows() == [(lake["cost_usd"].sum(), lake["saved_usd"].sum())]


def test_the_marts_of_spending_rest_on_the_copies_of_the_ledger(built: Built) -> None:
    marts = marts_assets(built.settings)
    parents = {key.path[-1]: {dep.path[-1] for dep in marts.asset_deps[key]} for key in marts.keys}
    assert parents["spend_daily"] == {"llm_calls", "spend_caps"}
    assert parents["spend_by_function"] == {"llm_calls"}
    leads = {"leads", "lead_extractions", "ranked_posts", "campaign_posts"}
    assert parents["cost_per_lead"] == {"llm_calls", *leads}
