"""Articles: the plan reaches the question, answers of every kind end as safe rows, and nothing bad passes unseen."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.content.article_edits import edited
from magpie.content.articles import ArticleRules, Questions, articles, question_rows
from magpie.content.generate_article import GENERATE_ARTICLE, OFFLINE_NOTE, Article, check, from_text, offline
from magpie.content.links import LinkRules, Near, Target, nearest, suggestions
from magpie.content.normaliser import normalise, word_count
from magpie.content.settings import Content, Page, Site
from magpie.content.tables import ARTICLES, CONTENT_IDEAS, CONTENT_REVIEWS, KEYWORD_CLUSTERS, KEYWORDS
from magpie.llm.engine import RESULT_SCHEMA, Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.prompts import RenderedPrompt, rendered, resolve
from magpie.llm.refusal import Refused
from magpie.llm.schema import llm_call
from magpie.llm.schemas import strict_schema
from magpie.llm.spec import InvalidAnswer, Registry
from magpie.llm.store import Store
from magpie.llm.task import Scope
from magpie.text.embedder import Embedded, Wait
from magpie.text.embedders import embedder_named
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SITE = Site(
    id="shop",
    name="Shop",
    brand_voice="warm and plain",
    categories=("Sales", "Guides"),
    existing_pages=(
        Page(url="https://shop.example/crm-pricing", title="CRM pricing compared", keyword="crm pricing"),
        Page(url="https://shop.example/bread", title="Sourdough bread", keyword="bread"),
    ),
)
RULES = ArticleRules.of(Content())
EMBEDDER = embedder_named("offline-hash-1024")
OUTLINE = {
    "intro": "Why crm software matters.",
    "h2": [{"heading": f"Part {n} of crm software", "h3": [f"Detail {n}"], "points": [f"point {n}"]} for n in range(6)],
}
BODY = "<h1>CRM</h1><p>We look at crm pricing in depth.</p>" + f"<p>{'Words of substance here. ' * 40}</p>"


@dataclass(frozen=True)
class Moderation:
    flagged: bool
    categories: tuple[str, ...] = ()
    provider: str = "offline"


def harmless(text: str, row_ref: str | None) -> Moderation:
    return Moderation(False)


def full(table: Any, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    zeros = {"cost_usd": 0, "credits": 0, "attempts": 0, "status": "ok", "flags": []}
    known = [{name: {**zeros, **row}.get(name) for name in table.dtypes} for row in rows]
    return table.shaped(pl.DataFrame(known, schema=table.dtypes))


def ideas(*more: dict[str, Any]) -> pl.DataFrame:
    idea = {
        "idea_id": "i1",
        "site_id": "shop",
        "day": DAY,
        "sector": "general",
        "cluster_key": "crm",
        "title": "Choosing crm software",
        "title_norm": "choosing crm software",
        "description": "For owners.",
        "outline": json.dumps(OUTLINE),
        "content_type": "post",
        "content_structure": "guide",
        "primary_keyword": "crm software",
        "secondary_keywords": ["crm pricing", "free crm"],
        "covered_keywords": ["crm software", "free crm"],
        "estimated_word_count": 1437,
        "priority": "high",
        "approval": "auto",
    }
    return full(CONTENT_IDEAS, [{**idea, **changes} for changes in more or ({},)])


def clusters() -> pl.DataFrame:
    members = [{"keyword_norm": name, "similarity": None} for name in ("crm software", "free crm")]
    key = {"site_id": "shop", "day": DAY, "sector": "general", "cluster_key": "crm", "name": "CRM"}
    return full(
        KEYWORD_CLUSTERS,
        [{**key, "keywords": members, "keywords_count": 2, "extends_existing": False, "mapped_pages": []}],
    )


def keywords() -> pl.DataFrame:
    row = {"site_id": "shop", "day": DAY, "sector": "general", "source_file": "k.csv", "disabled": False}
    return full(
        KEYWORDS,
        [
            {**row, "keyword_norm": "crm software", "keyword": "crm software", "row_no": 1, "volume": 900},
            {**row, "keyword_norm": "free crm", "keyword": "free crm", "row_no": 2, "volume_override": 1200},
        ],
    )


def asked(of: pl.DataFrame, site: Site = SITE, embedder: Any = EMBEDDER) -> Questions:
    return question_rows(of, clusters(), keywords(), site, embedder, RULES)


def result(answer: dict[str, Any] | None = None, ref: str = "i1", **more: Any) -> dict[str, Any]:
    value = (
        None if answer is None else json.dumps({**Article(content=BODY).model_dump(), "parse_mode": "json", **answer})
    )
    told = {"row_ref": ref, "value": value, "status": "ok", "provider": "openai", "model": "m", "cost_usd": 0}
    return {
        **dict.fromkeys(RESULT_SCHEMA),
        **told,
        "credits": 3,
        "attempts": 0,
        "tokens_in": 0,
        "tokens_out": 0,
        **more,
    }


def made(
    *results: dict[str, Any],
    of: pl.DataFrame | None = None,
    moderate: Any = harmless,
    earlier: pl.DataFrame | None = None,
) -> pl.DataFrame:
    of = ideas() if of is None else of
    frame = pl.DataFrame(list(results), schema=RESULT_SCHEMA)
    before = ARTICLES.empty() if earlier is None else earlier
    found = articles(of, asked(of), frame, before, SITE, EMBEDDER, moderate, RULES)
    ARTICLES.schema.validate(found)
    return found


def one(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return made(*results, **more).row(0, named=True)


def prompt(of: pl.DataFrame) -> RenderedPrompt:
    row = asked(of).asked.row(0, named=True)
    return rendered(GENERATE_ARTICLE, row, resolve(None, ("site", None), GENERATE_ARTICLE.template))


def test_the_whole_plan_stands_in_the_question_and_a_change_of_it_is_another_question() -> None:
    first = prompt(ideas())
    for part in ("Part 5 of crm software", "Detail 3", "point 4", "1437", "free crm | 1200 a month", "warm and plain"):
        assert part in first.text
    assert first.text.index("free crm | 1200") < first.text.index("crm software | 900")
    assert "https://shop.example/crm-pricing" in first.text
    assert "https://shop.example/bread" not in first.text
    longer = prompt(ideas({"estimated_word_count": 1438}))
    other = prompt(ideas({"outline": json.dumps({**OUTLINE, "h2": OUTLINE["h2"][:5]})}))
    assert len({first.rendered_hash, longer.rendered_hash, other.rendered_hash}) == 3


def test_an_answer_may_leave_out_everything_but_its_content() -> None:
    assert strict_schema(Article)["required"][3] == "content"
    row = one(result({}))
    assert row["status"] == "ok"
    assert row["content_html"].startswith("<h2>CRM</h2>")
    assert (row["title"], row["meta_title"]) == ("Choosing crm software", "Choosing crm software")
    assert row["meta_description"] == "We look at crm pricing in depth"[: len(row["meta_description"])] + "."
    assert {"title_defaulted", "meta_title_defaulted", "meta_description_defaulted", "no_tags"} <= set(
        row["quality_flags"]
    )
    assert row["secondary_keywords"] == ["crm pricing", "free crm"]
    assert (row["credits"], row["credits_version"], row["moderation_provider"]) == (3, "v1", "offline")


def test_fields_are_held_within_their_limits() -> None:
    long = "The Complete Practical Guide to Choosing a CRM for Small Creative Agencies in 2026"
    answer = {
        "title": f"# {long}",
        "meta_title": long,
        "meta_description": "Long words " * 30,
        "primary_keyword": "another",
        "secondary_keywords": ["FREE CRM", "made up"],
        "tags": ["<b>One</b>", "one", " ", "two"],
        "categories": ["sales", "Hacking"],
    }
    row = one(result(answer))
    assert row["title"] == long
    assert row["meta_title"] == "The Complete Practical Guide to Choosing a CRM for Small"
    assert len(row["meta_description"]) <= 160
    assert (row["primary_keyword"], row["secondary_keywords"]) == ("crm software", ["free crm"])
    assert (row["tags"], row["categories"]) == (["One", "two"], ["Sales"])
    assert {"other_primary_keyword", "categories_dropped"} <= set(row["quality_flags"])


def test_an_idea_that_waits_for_a_yes_is_not_asked_about() -> None:
    of = ideas({"approval": "waiting", "status": "pending", "reason": "awaiting_approval"})
    assert asked(of).asked.is_empty()
    row = one(of=of)
    assert (row["status"], row["reason"], row["not_before"]) == ("pending", "awaiting_approval", None)
    assert row["attempts"] == 0


def test_ideas_that_were_turned_down_are_no_articles() -> None:
    duplicate = {"status": "rejected", "reason": "duplicate_topic"}
    declined = {"idea_id": "i2", "approval": "declined", "status": "rejected", "reason": "declined"}
    assert made(of=ideas(duplicate, declined)).is_empty()


def test_a_question_without_an_answer_says_why_and_when() -> None:
    row = one(result(None, status="pending", reason="cap_exhausted", not_before=NOON, provider=None, credits=0))
    assert (row["status"], row["reason"], row["not_before"], row["content_html"]) == (
        "pending",
        "cap_exhausted",
        NOON,
        None,
    )


def test_what_moderation_flags_is_rejected_and_without_a_verdict_it_waits() -> None:
    heard: list[str] = []

    def flagging(text: str, row_ref: str | None) -> Moderation:
        heard.append(f"{row_ref}: {text}")
        return Moderation(True, ("violence", "hate"), "openai")

    row = one(result({"meta_title": "A meta title"}), moderate=flagging)
    assert (row["status"], row["reason"], row["observed"]) == ("rejected", "moderated", "hate, violence")
    assert (row["moderation_flagged"], row["moderation_categories"]) == (True, ["hate", "violence"])
    assert heard[0].startswith("i1: ")
    assert "A meta title" in heard[0]
    assert "crm pricing in depth" in heard[0]
    away = Refused("transport", "no answer", NOON)
    row = one(result({}), moderate=lambda text, row_ref: away)
    assert (row["status"], row["reason"], row["observed"]) == ("pending", "moderation_unavailable", "transport")
    assert (row["not_before"], row["moderation_flagged"]) == (NOON, None)


def test_rows_do_not_depend_on_the_order_of_ideas_and_answers() -> None:
    of = ideas({}, {"idea_id": "i0", "title": "Crm pricing explained"})
    results = [result({}), result({"title": "Other"}, ref="i0")]
    straight = made(*results, of=of)
    assert made(*results[::-1], of=of[::-1]).equals(straight)
    assert straight["article_id"].to_list() == ["i0", "i1"]


def test_links_lead_to_near_pages_and_earlier_articles_from_words_of_the_text() -> None:
    old = {"idea_id": "old", "title": "Crm software for beginners", "primary_keyword": "words of substance"}
    before = made(result({}, ref="old"), of=ideas(old))
    row = one(result({}), earlier=before)
    assert {link["url"]: link["anchor"] for link in row["link_suggestions"]} == {
        "article:old": "Words of substance",
        "https://shop.example/crm-pricing": "crm pricing",
    }
    assert all(link["cosine"] >= RULES.links.floor for link in row["link_suggestions"])
    assert one(result({}))["link_suggestions"][0]["anchor"] == "crm pricing"


def test_anchors_stand_outside_of_headings_and_links_and_do_not_overlap() -> None:
    html = '<h2>crm pricing</h2><p><a href="https://e.org/">crm pricing</a> and crm-pricing guide, free crm</p>'
    leaves = normalise(html).leaves
    near = [
        Near(Target("https://e.org/", "Free crm"), 0.9),
        Near(Target("https://a/", "x", "crm pricing"), 0.8),
        Near(Target("https://b/", "The pricing guide"), 0.7),
        Near(Target("https://c/", "All about free CRM"), 0.6),
    ]
    found = suggestions(leaves, near, LinkRules(0.1, 5))
    assert [(link["anchor"], link["url"]) for link in found] == [
        ("crm-pricing", "https://a/"),
        ("free crm", "https://c/"),
    ]
    assert len(suggestions(leaves, near, LinkRules(0.1, 1))) == 1


class Away:
    """An embedder that has to wait."""

    model, dims, provider = "hosted", 1024, "openai"

    def embed_or_wait(self, texts: Sequence[str], row_refs: Sequence[str] | None = None) -> Embedded:
        return Embedded(EMBEDDER.embed(texts), {0: Wait("cap_exhausted", NOON)})


def test_ideas_whose_links_cannot_be_ranked_wait_unasked_and_written_ones_say_so() -> None:
    questions = asked(ideas(), embedder=Away())
    assert questions.asked.is_empty()
    none = pl.DataFrame(schema=RESULT_SCHEMA)
    found = articles(ideas(), questions, none, ARTICLES.empty(), SITE, Away(), harmless, RULES).row(0, named=True)
    assert (found["status"], found["reason"], found["not_before"]) == ("pending", "cap_exhausted", NOON)
    answers = pl.DataFrame([result({})], schema=RESULT_SCHEMA)
    found = articles(ideas(), asked(ideas()), answers, ARTICLES.empty(), SITE, Away(), harmless, RULES).row(
        0, named=True
    )
    assert found["status"] == "ok"
    assert "links_waiting" in found["quality_flags"]
    assert nearest({"i1": "x"}, [], Away(), RULES.links) == {"i1": ()}


def test_the_offline_draft_follows_the_outline_and_says_what_it_is() -> None:
    row = asked(ideas()).asked.row(0, named=True)
    answer = check(offline(row), row, True)
    assert answer == check(offline(row), row, True)
    found = one(result(answer.model_dump(), provider="offline", credits=0))
    assert found["status"] == "ok"
    assert OFFLINE_NOTE in found["content_html"]
    assert "offline" in found["quality_flags"]
    assert found["content_html"].count("<h2>") == 6
    assert "word_count" in found["quality_flags"]
    assert "outline" not in found["quality_flags"]
    assert normalise(found["content_html"]).html == found["content_html"]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=40))
def test_a_draft_can_be_made_of_any_plan(title: str, heading: str, keyword: str) -> None:
    outline = json.dumps({"intro": title, "h2": [{"heading": heading, "h3": [heading], "points": [keyword]}]})
    row = {**asked(ideas()).asked.row(0, named=True), "title": title, "outline": outline, "primary_keyword": keyword}
    assert word_count(normalise(check(offline(row), row, True).content).leaves) >= 50


def test_plain_text_is_an_article_and_broken_json_or_an_apology_is_none() -> None:
    row = asked(ideas()).asked.row(0, named=True)
    text = "# A title\n\n" + "Plain words of an article. " * 40
    answer = from_text(text)
    assert answer is not None
    assert check(answer, row, False).parse_mode == "text"
    assert from_text('{"content": "cut o') is None
    assert from_text('```json\n{"a": 1}\n```') is None
    assert from_text("  ") is None
    sorry = from_text("I am sorry, but I cannot write this.")
    assert sorry is not None
    with pytest.raises(InvalidAnswer, match="has 8 words"):
        check(sorry, row, True)
    found = one(result(answer.model_dump()))
    assert (found["parse_mode"], found["source_kind"], found["title"]) == ("text", "markdown", "A title")
    assert {"meta_title_defaulted", "no_primary_keyword", "no_categories"} <= set(found["quality_flags"])


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(f"sqlite:///{tmp_path / 'control.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep) as made_desk:
        yield made_desk


def strategies(store: Store) -> list[str | None]:
    return store.read(lambda c: [row.parse_strategy for row in c.execute(llm_call.select())])


def run(at: Desk) -> Any:
    models = Models.load({"aliases": {"smart": ("openai/gpt-4.1-mini",)}})
    engine = Engine(Registry([GENERATE_ARTICLE]), models, at.gateway, EngineSettings("auto", 1))
    return engine.run("generate_content", asked(ideas()).asked, Scope("content", "articles", name="site"))


def test_a_model_that_answers_in_plain_text_is_taken_at_its_word(at: Desk) -> None:
    at.fake.responder = lambda body: "## Heading\n\n" + "Plain words of an article. " * 40
    found = run(at)
    assert found.rows["status"].to_list() == ["ok"]
    assert json.loads(found.rows["value"][0])["parse_mode"] == "text"
    assert (at.fake.attempts, strategies(at.store)) == (1, ["text"])
    assert found.rows["credits"][0] >= 3
    again = run(at)
    assert (again.rows["value"].to_list(), at.fake.attempts) == (found.rows["value"].to_list(), 1)


def test_a_model_that_only_apologises_is_asked_again_and_then_the_row_waits(at: Desk) -> None:
    at.fake.responder = lambda body: "I am sorry."
    found = run(at)
    assert (found.rows["status"][0], found.rows["reason"][0], at.fake.attempts) == ("pending", "invalid_output", 3)


def edits(*payloads: Any) -> pl.DataFrame:
    rows = [
        {"event_id": f"e{n}", "at": NOON, "actor": "a", "object_type": "article", "object_id": "i1", "action": "edit"}
        | {"payload": payload if isinstance(payload, str) else json.dumps(payload)}
        for n, payload in enumerate(payloads)
    ]
    return pl.DataFrame(rows, schema=CONTENT_REVIEWS.dtypes)


def test_what_people_change_is_as_safe_and_as_bounded_as_an_answer() -> None:
    written = made(result({}))
    change = {
        "meta_title": "Long title " * 10,
        "content_html": "<h1>New</h1><script>x</script><p>Crm software anew.</p>",
        "categories": ["guides", "no such"],
        "tags": ["a", "A"],
    }
    found = edited(written, edits({"title": "First"}, change), ideas(), SITE, RULES)
    ARTICLES.schema.validate(found)
    row = found.row(0, named=True)
    assert (row["title"], row["content_html"]) == ("First", "<h2>New</h2><p>Crm software anew.</p>")
    assert len(row["meta_title"]) <= 60
    assert (row["categories"], row["tags"], row["word_count"]) == (["Guides"], ["a"], 4)
    assert row["link_suggestions"] == []
    assert "edited" in row["quality_flags"]
    assert not {"meta_title_defaulted", "title_defaulted", "keyword_in_opening"} & set(row["quality_flags"])
    assert edited(written, edits(), ideas(), SITE, RULES).equals(written)


def test_an_edit_that_cannot_be_read_or_leaves_nothing_changes_nothing_and_is_flagged() -> None:
    written = made(result({}))
    row = edited(written, edits("{", {"content_html": "<script>x</script>"}), ideas(), SITE, RULES).row(0, named=True)
    assert row["content_html"] == written["content_html"][0]
    assert "edit_unreadable" in row["quality_flags"]
    rejected = made(result({}), moderate=lambda text, row_ref: Moderation(True))
    assert edited(rejected, edits({"title": "x"}), ideas(), SITE, RULES).equals(rejected)
