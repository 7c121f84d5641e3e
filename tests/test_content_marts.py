"""The marts of content, built by the real dbt over a small lake whose numbers can be counted by hand."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from marts_world import PUBLISH_MIN_QUALITY, Built, built

from dbt_project.project import PROJECT_DIR
from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.export import ExportRules, ready
from magpie.content.settings import Site
from magpie.lake import Lake
from magpie.llm.purpose import Purpose
from magpie.llm.tables import LLM_CALLS
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from tests.content_rows import article, cluster, frame, keyword, picture

__all__ = ["built"]

MONDAY, TUESDAY = date(2026, 10, 5), date(2026, 10, 6)
NOON = datetime(2026, 10, 7, 12, tzinfo=UTC)
GARDEN, FOLD = Site(id="garden", name="Garden Shed"), Site(id="fold", name="Fold")
Row = dict[str, Any]

KEYWORDS = [
    keyword("shed base", day=MONDAY, volume=100, intent="commercial"),
    keyword("shed roof", day=MONDAY, volume=50, volume_override=70, intent="informational", difficulty=30.0),
    keyword("shed door", day=MONDAY, intent="informational"),
    keyword("compost bin", day=MONDAY, volume=40),
    keyword("worm tower", day=MONDAY, volume=5),
    keyword("sheds", day=MONDAY, volume=9, disabled=True, status="rejected", reason="disabled"),
    keyword("shed paint", day=TUESDAY, volume=30, intent="informational"),
    # A batch that was read before the one of Monday arrived.
    keyword("shed base", day=TUESDAY, volume=999),
    keyword("hose reel", day=TUESDAY, sector="tools"),
]
CLUSTERS = [
    cluster("sheds", "shed base", "shed roof", "shed door", day=MONDAY, mapped_pages=["https://g.example/b"]),
    cluster("compost", "compost bin", day=MONDAY, volume=40),
    cluster("_unclustered", "worm tower", day=MONDAY, status="rejected", reason="unclustered"),
    cluster("sheds", "shed paint", "shed base", day=TUESDAY, name="SHEDS", avg_cosine=0.5)
    | {"mapped_pages": ["https://g.example/a", "https://g.example/b"], "extends_existing": True},
]


def idea(idea_id: str, **more: Any) -> Row:
    about = {"description": "", "outline": "{}", "content_type": "post", "content_structure": "guide"}
    aims: Row = {"primary_keyword": "shed base", "secondary_keywords": [], "covered_keywords": ["shed base"]}
    held = cluster(day=MONDAY) | {"idea_id": idea_id, "title": f"Idea {idea_id}", "title_norm": f"idea {idea_id}"}
    return {**held, **about, **aims, "estimated_word_count": 1500, "priority": "medium", "approval": "auto", **more}


def turned_down(reason: str, **more: Any) -> Row:
    return {"status": "rejected", "reason": reason, **more}


WAITING = {"status": "pending", "reason": "awaiting_approval", "approval": "waiting"}
IDEAS = [
    idea("written", covered_keywords=["shed base", "shed roof"]),
    idea("tired", priority="low"),
    idea("urgent", priority="high", day=TUESDAY, covered_keywords=["shed paint", "somewhere else"]),
    idea("paused", title="Model on a break"),
    idea("compost", cluster_key="compost", primary_keyword="compost bin", covered_keywords=[], **WAITING),
    idea("yes", **WAITING),
    idea("no", **WAITING),
    idea("off"),
    idea("double", **turned_down("duplicate_topic", similar_to="https://g.example/a", similarity=0.9)),
    idea("again", **turned_down("duplicate_topic")),
    idea("wordless", **turned_down("no_keyword")),
    idea("foul"),
    # A question without an answer is no idea yet.
    idea("unasked", title="", title_norm="", status="pending", reason="cap_exhausted"),
]
LATER = NOON + timedelta(days=1)
ARTICLES = [
    article("written", day=MONDAY, quality_score=PUBLISH_MIN_QUALITY),
    article("paused", day=MONDAY, status="pending", reason="cap_exhausted", not_before=LATER, quality_score=None),
    article("yes", day=MONDAY, status="pending", reason="awaiting_approval", quality_score=None),
    article("foul", day=MONDAY, status="rejected", reason="moderated"),
]
PICTURES = [
    picture(b"1", "written", day=MONDAY),
    picture(b"2", "written", "in_article", 0, day=MONDAY),
    picture(b"3", "written", "in_article", 1, day=MONDAY),
    picture(b"4", "written", "in_article", 2, day=MONDAY, status="rejected", reason="refused", path=None),
]
DECIDED = [
    ("idea", "yes", "decline", {}),
    ("idea", "yes", "approve", {}),
    ("idea", "no", "decline", {}),
    ("idea", "off", "disable", {}),
    ("idea", "again", "approve", {}),
    ("idea", "wordless", "approve", {}),
    ("cluster", "garden/general/compost", "disable", {}),
    ("article", "written", "submit", {}),
    ("article", "written", "approve", {}),
    ("image", "written/in_article/0", "decline", {}),
    ("image", "written/in_article/1", "disable", {}),
    ("image", "written/in_article/1", "enable", {}),
]
# Whatever may be said of an article in four steps, in every order.
TOLD = [(*first, *rest) for first in ((), ("submit",)) for rest in product(t.REVIEW_ACTIONS, repeat=3)]
FOLDED = [
    article(f"f{number}", site_id="fold", day=MONDAY, title=f"Fold {number}", quality_score=70 + number % 10)
    for number in range(len(TOLD))
]


def decisions() -> Iterable[Row]:
    steps = [(*one[:3], json.dumps(one[3])) for one in DECIDED]
    for number, actions in enumerate(TOLD):
        urls = {"publish": json.dumps({"url": f"https://fold.example/{number}"})}
        steps += [("article", f"f{number}", action, urls.get(action, "{}")) for action in actions]
    for number, (kind, name, action, payload) in enumerate(steps):
        when = {"event_id": f"e{number:06}", "at": NOON + number * timedelta(seconds=1), "actor": "ann"}
        yield {**when, "object_type": kind, "object_id": name, "action": action, "payload": payload}


def a_call(number: int, site: str | None, function: str, **given: Any) -> Row:
    scopes = (f"site:{site}",) if site else ()
    base = {
        "day": MONDAY,
        "call_id": f"content-{number}",
        "kind": "call",
        "state": "settled",
        "verdict": "accepted",
        "request_key": f"k{number}",
        "attempt_no": 1,
        "reask_no": 0,
        "function": function,
        "product": "content",
        "scope_names": Purpose("content", function, scopes=scopes).all_scopes("openai", "small", free_tier=False),
        "provider": "openai",
        "model_asked": "small",
        **dict.fromkeys(("est_usd", "cost_usd"), Decimal("0.01")),
        "saved_usd": Decimal(0),
        "over_estimate": False,
        "images": 0,
        "tokens_in": 100,
        "tokens_out": 20,
        "latency_ms": 1000,
        "credits": 2,
        "price_version": "p",
        "created_at": NOON,
    }
    return base | given


HIT = {"kind": "hit", "latency_ms": None, "credits": 0, "cost_usd": Decimal(0), "saved_usd": Decimal("0.01")}
HIT |= {"tokens_in": None, "tokens_out": None}
CALLS = [
    a_call(1, "garden", "generate_ideas"),
    a_call(2, "garden", "generate_ideas", verdict="invalid", error_class="invalid_output", credits=0),
    a_call(3, "garden", "generate_ideas", **HIT),
    a_call(4, "garden", "generate_image", images=1, tokens_in=None, tokens_out=None, credits=5),
    a_call(5, "fold", "generate_ideas", cost_usd=Decimal("0.000000001")),
    a_call(6, None, "generate_ideas"),
]


def write(lake: Lake, table: Table, rows: Iterable[Row]) -> None:
    made = frame(table, *rows)
    if "site_id" in table.partition_columns:
        parts = Partitions.of(made.select("site_id", "day").unique().rows())
    else:
        parts = Partitions.days(made["day"]) if table.dimensions else Partitions.whole()
    lake.write(table, made, parts)


def fill(settings: Settings) -> None:
    lake = Lake(settings.lake_root)
    write(lake, t.KEYWORDS, KEYWORDS)
    write(lake, t.KEYWORD_CLUSTERS, CLUSTERS)
    write(lake, t.CONTENT_IDEAS, IDEAS)
    write(lake, t.ARTICLES, [*ARTICLES, *FOLDED])
    write(lake, t.ARTICLE_IMAGES, PICTURES)
    write(lake, t.CONTENT_REVIEWS, decisions())
    write(lake, LLM_CALLS, CALLS)


def test_a_keyword_is_listed_once_as_its_first_batch_has_it(built: Built) -> None:
    columns = "sector, keyword_norm, day, volume, state, cluster_key, cluster_reason"
    assert set(built.sql(f"SELECT {columns} FROM marts.keywords_current").rows()) == {
        ("general", "shed base", MONDAY, 100, "mapped", "sheds", None),
        ("general", "shed roof", MONDAY, 70, "mapped", "sheds", None),
        ("general", "shed door", MONDAY, None, "mapped", "sheds", None),
        ("general", "shed paint", TUESDAY, 30, "mapped", "sheds", None),
        ("general", "compost bin", MONDAY, 40, "mapped", "compost", None),
        ("general", "worm tower", MONDAY, 5, "new", "_unclustered", "unclustered"),
        ("tools", "hose reel", TUESDAY, None, "new", None, None),
    }


def test_topics_of_one_name_are_one_over_all_batches(built: Built) -> None:
    found = {row["cluster_key"]: row for row in built.sql("FROM marts.clusters_current").to_dicts()}
    assert set(found) == {"sheds", "compost"}, "what fits nowhere is no topic"
    sheds = found["sheds"]
    assert sheds["keywords"] == ["shed base", "shed roof", "shed paint", "shed door"]
    assert (sheds["keywords_count"], sheds["volume"], sheds["batches"]) == (4, 200, 2)
    assert (sheds["first_day"], sheds["last_day"]) == (MONDAY, TUESDAY)
    assert (sheds["name"], sheds["avg_cosine"]) == ("SHEDS", 0.5), "the newest batch names it"
    assert sheds["mapped_pages"] == ["https://g.example/a", "https://g.example/b"]
    assert sheds["intent"] == "commercial", "100 searches, and 100 of the other intent: the alphabet decides"
    assert (sheds["state"], sheds["disabled"], found["compost"]["disabled"]) == ("mapped", False, True)


def test_coverage_counts_each_keyword_of_a_topic_once_however_many_ideas_aim_at_it(built: Built) -> None:
    found = {row["cluster_key"]: row for row in built.sql("FROM marts.cluster_coverage").to_dicts()}
    sheds = found["sheds"]
    assert (sheds["ideas_new"], sheds["ideas_queued"], sheds["articles"]) == (0, 5, 1)
    assert (sheds["articles_approved"], sheds["articles_published"], sheds["pages"]) == (1, 0, 2)
    assert (sheds["keywords_planned"], sheds["keywords_written"], sheds["volume_written"]) == (3, 2, 170)
    assert (sheds["planned_rate"], sheds["written_rate"]) == (0.75, 0.5)
    assert sheds["keywords_open"] == ["shed door"]
    compost = found["compost"]
    assert (compost["ideas_new"], compost["keywords_planned"], compost["keywords_written"]) == (1, 1, 0)


def test_the_queue_holds_what_is_not_written_and_goes_by_the_last_word_on_each_idea(built: Built) -> None:
    """Approved ones are queued before the tables are made anew; nobody's yes gives an idea a keyword."""
    columns = "idea_id, state, reason, not_before"
    assert built.sql(f"SELECT {columns} FROM marts.ideas_queue").rows() == [
        ("urgent", "queued", None, None),
        ("again", "queued", None, None),
        ("paused", "queued", "cap_exhausted", LATER),
        ("yes", "queued", None, None),
        ("tired", "queued", None, None),
        ("compost", "new", "awaiting_approval", None),
    ]


def test_articles_go_out_when_approved_and_good_enough_for_the_settings(built: Built) -> None:
    columns = "article_id, quality_score, images, images_missing, approved_at, approved_by"
    found = built.sql(f"SELECT {columns} FROM marts.publish_queue WHERE site_id = 'garden'")
    approved = next(row["at"] for row in decisions() if row["action"] == "approve" and row["object_type"] == "article")
    assert found.rows() == [("written", PUBLISH_MIN_QUALITY, 2, 1, approved, "ann")]


def test_the_marts_come_to_the_states_that_the_rules_of_review_come_to(built: Built) -> None:
    """Every sequence of three actions on a draft, and on an article in review."""
    states = reviews.fold(frame(t.CONTENT_REVIEWS, *decisions()))
    ours = states.filter(pl.col("object_id").str.contains(r"^f\d+$")).select("object_id", "state", "disabled")
    query = (
        "SELECT article_id AS object_id, stage AS state, disabled FROM marts.content_calendar WHERE site_id = 'fold'"
    )
    found = built.sql(query)
    assert found.height == len(TOLD)
    # Without an effective word there is no state: a draft.
    moved = found.join(ours, on="object_id", how="left", suffix="_rule").with_columns(
        pl.col("state_rule").fill_null("draft"), pl.col("disabled_rule").fill_null(False)
    )
    assert moved.filter(
        (pl.col("state") != pl.col("state_rule")) | (pl.col("disabled") != pl.col("disabled_rule"))
    ).is_empty()
    assert set(found["state"]) == set(t.WORKFLOW)


def test_the_queue_of_articles_holds_what_an_export_would_bring_out(built: Built, tmp_path: Path) -> None:
    states = reviews.fold(frame(t.CONTENT_REVIEWS, *decisions()))
    pages, _ = ready(
        frame(t.ARTICLES, *FOLDED),
        t.IMAGE_PROMPTS.empty(),
        t.ARTICLE_IMAGES.empty(),
        states,
        FOLD,
        tmp_path,
        ExportRules.of(built.settings.content),
    )
    approved = reviews.decided(states.filter(pl.col("state") == "approved"), "article").approved
    expected = {item.page.article_id for item in pages} & approved
    found = set(built.sql("SELECT article_id FROM marts.publish_queue WHERE site_id = 'fold'")["article_id"])
    assert found == expected
    assert found


def test_the_calendar_shows_plans_and_articles_on_the_day_of_their_last_step(built: Built) -> None:
    columns = "article_id, calendar_day, stage, word_count, images, decided_by"
    found = built.sql(f"SELECT {columns} FROM marts.content_calendar WHERE site_id = 'garden'").rows()
    decided = NOON.date()
    assert set(found) == {
        ("written", decided, "approved", 11, 2, "ann"),
        ("yes", decided, "planned", None, 0, "ann"),
        ("again", decided, "planned", None, 0, "ann"),
        ("tired", MONDAY, "planned", None, 0, None),
        ("paused", MONDAY, "planned", None, 0, None),
        ("urgent", TUESDAY, "planned", None, 0, None),
        ("compost", MONDAY, "proposed", None, 0, None),
    }


def test_what_was_published_says_where(built: Built) -> None:
    number = TOLD.index(("submit", "approve", "publish", "disable"))
    query = f"SELECT stage, disabled, published_url FROM marts.content_calendar WHERE article_id = 'f{number}'"
    assert built.sql(query).rows() == [("published", True, f"https://fold.example/{number}")]


def test_spending_is_of_the_ledger_and_belongs_to_one_site(built: Built) -> None:
    cent = Decimal("0.01")
    found = built.sql("SELECT * EXCLUDE day FROM marts.spend_by_site ORDER BY site_id, function").rows()
    assert found == [
        ("(none)", "generate_ideas", 1, 0, 120, 0, 2, cent, Decimal(0), 0),
        ("fold", "generate_ideas", 1, 0, 120, 0, 2, Decimal("0.000000001"), Decimal(0), 0),
        ("garden", "generate_ideas", 2, 1, 240, 0, 2, 2 * cent, cent, 1),
        ("garden", "generate_image", 1, 0, 0, 1, 5, cent, Decimal(0), 0),
    ]


@pytest.mark.parametrize(
    ("model", "column", "words"),
    [
        ("keywords_current", "intent", t.INTENTS),
        ("clusters_current", "intent", t.INTENTS),
        ("clusters_current", "dimension", t.DIMENSIONS),
        ("ideas_queue", "priority", t.PRIORITIES),
        ("ideas_queue", "content_type", t.CONTENT_TYPES),
        ("publish_queue", "content_type", t.CONTENT_TYPES),
        ("content_calendar", "content_type", t.CONTENT_TYPES),
        ("content_calendar", "stage", ("proposed", "planned", *t.WORKFLOW)),
    ],
)
def test_the_marts_accept_the_words_that_the_tables_know(model: str, column: str, words: tuple[str, ...]) -> None:
    """A word that is new in a table must not stop the warehouse from being built."""
    models = yaml.safe_load(Path(PROJECT_DIR, "models", "content.yml").read_text("utf-8"))["models"]
    columns = next(held["columns"] for held in models if held["name"] == model)
    tests = next(held["data_tests"] for held in columns if held["name"] == column)
    assert tuple(tests[0]["accepted_values"]["arguments"]["values"]) == words
