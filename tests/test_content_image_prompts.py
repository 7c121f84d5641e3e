"""Image prompts: one per slot, within bounds, without names, looked at before anything is drawn."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.content import tables as t
from magpie.content.image_prompts import (
    IMAGE_PROMPTS_FUNCTION,
    NEGATIVE_PROMPT,
    TEMPLATE_OF,
    ImagePromptRules,
    ImagePromptsAnswer,
    check,
    image_prompts,
    offline,
    question_rows,
)
from magpie.content.image_slots import Slot
from magpie.content.names import names_in, without_names
from magpie.content.settings import Site
from magpie.errors import UserError
from magpie.lake import conform
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.moderation import Moderation
from magpie.llm.prompts import CLOSE, OPEN, resolve
from magpie.llm.prompts import rendered as render
from magpie.llm.refusal import Refused
from magpie.llm.schemas import strict_schema
from magpie.llm.spec import InvalidAnswer, Registry
from magpie.llm.task import Scope
from magpie.strict import FunctionChoice
from tests.content_rows import SITE, article, frame, results
from tests.gateway_world import desk
from tests.ledger_world import FakeClock

RULES = ImagePromptRules.of(SITE)
ROW: dict[str, Any] = {"in_article_count": 2, "forbid_names": True, "names": ["Garden Shed"]}


SLOTS = (
    *(Slot("featured", 0, 1536, 1024), Slot("mobile", 0, 1024, 1536)),
    *(Slot("in_article", 0, 1024, 1024), Slot("in_article", 1, 1024, 1024)),
)


def fine(text: str) -> Moderation:
    return Moderation(False, (), "offline")


def answer(**more: Any) -> dict[str, Any]:
    return {
        "featured_prompt": "A shed leans in a wet meadow.",
        "in_article_prompts": ["Hands dig a hole.", "A level on a beam."],
        "alt_texts": ["A leaning shed", "Two hands", "A level"],
        **more,
    }


def checked(last_try: bool = False, row: dict[str, Any] | None = None, **more: Any) -> ImagePromptsAnswer:
    told = ImagePromptsAnswer.model_validate_json(json.dumps(answer(**more)))
    return check(told, ROW | (row or {}), last_try)


def made(
    told: dict[str, Any] | None = None,
    moderate: Callable[[str], Any] = fine,
    rules: ImagePromptRules = RULES,
    **result: Any,
) -> pl.DataFrame:
    asked = question_rows(frame(t.ARTICLES, article()), SLOTS, SITE, rules)
    outcome = {"status": "ok", "value": json.dumps(told or answer()), **result}
    return image_prompts(asked, results(outcome), SLOTS, moderate, rules)


def test_each_slot_gets_a_row_and_desktop_and_mobile_show_what_the_featured_image_shows() -> None:
    rows = {(row["image_type"], row["position"]): row for row in made().to_dicts()}
    assert len(rows) == 4
    assert rows["mobile", 0]["prompt"] == rows["featured", 0]["prompt"]
    assert (rows["mobile", 0]["width"], rows["mobile", 0]["height"]) == (1024, 1536)
    assert rows["featured", 0]["prompt"] == ("A shed leans in a wet meadow. Style: clean editorial illustration.")
    assert rows["in_article", 1]["alt_text"] == "A level"
    assert {row["negative_prompt"] for row in rows.values()} == {NEGATIVE_PROMPT}
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_without_a_model_the_engine_gives_rows_that_the_table_takes(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    asked = question_rows(frame(t.ARTICLES, article()), SLOTS, SITE, RULES)
    with desk(f"sqlite:///{tmp_path / 'control.db'}", tmp_path, fake, clock=clock, keys={}) as at:
        engine = Engine(Registry([IMAGE_PROMPTS_FUNCTION]), at.models, at.gateway, EngineSettings("offline"))
        told = engine.run("image_prompts", asked, Scope("content")).rows
    rows = conform(t.IMAGE_PROMPTS, image_prompts(asked, told, SLOTS, fine, RULES))
    assert rows.select("status", "provider", "cost_usd", "credits").unique().rows() == [("ok", "offline", 0, 0)]
    (inner,) = rows.filter(pl.col("image_type") == "in_article", pl.col("position") == 0)["prompt"]
    assert "why sheds lean" in inner
    assert fake.attempts == 0


def test_lists_that_are_too_long_are_cut() -> None:
    found = checked(in_article_prompts=["One hand.", "Two hands.", "Three."], alt_texts=["a", "b", "c", "d"])
    assert (len(found.in_article_prompts), found.alt_texts) == (2, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"in_article_prompts": ["One hand."]}, "give exactly 2"),
        ({"in_article_prompts": None}, "give exactly 2"),
        ({"alt_texts": ["a", "b"]}, "give exactly 3"),
        ({"alt_texts": ["a", " ", "c"]}, "alt_texts.1 is empty"),
        ({"featured_prompt": "x"}, "featured_prompt has 1"),
    ],
)
@pytest.mark.parametrize("last_try", [False, True])
def test_what_is_missing_is_asked_for_again_and_never_made_up(told: dict[str, Any], says: str, last_try: bool) -> None:
    with pytest.raises(InvalidAnswer, match=says):
        checked(last_try, **told)


@pytest.mark.parametrize(("chars", "fits"), [(2, True), (1000, True), (1001, False)])
def test_prompts_have_2_to_1000_characters(chars: int, fits: bool) -> None:
    if fits:
        assert len(checked(featured_prompt="a" * chars).featured_prompt) == chars
        return
    with pytest.raises(InvalidAnswer, match="1000 at most"):
        checked(featured_prompt="a" * chars)
    assert len(checked(True, featured_prompt="a" * chars).featured_prompt) == 1000


def test_alternative_texts_are_cut_at_a_word_within_125_characters() -> None:
    (first, *_) = checked(alt_texts=["word " * 40, "b", "c"]).alt_texts
    assert first == ("word " * 25).strip()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A desk in a bright office, seen from above.", []),
        ("A team looks at a CRM on a LED wall in May, in the French style.", []),
        ("A woman reads. Behind her stands a shed: Old tools hang there.", []),
        ("A phone with YouTube open.", ["YouTube"]),
        ("A man who looks like Steve Jobs on a stage.", ["Steve Jobs"]),
        ("A bottle of Coca-Cola beside acme™ boxes.", ["Coca-Cola", "acme™"]),
        ("In the style of van Gogh.", ["Gogh"]),
        ("A van before the garden   shed.", ["garden   shed"]),
        ("Modern Office With Bright Windows", []),
        ("iPhone on a table.", ["iPhone"]),
    ],
)
def test_names_are_known_by_how_they_are_written(text: str, named: list[str]) -> None:
    assert names_in(text, ["Garden Shed"]) == named


def test_names_are_asked_to_be_left_out_and_taken_out_on_the_last_try() -> None:
    told = {"featured_prompt": "A man like Steve Jobs, on a stage."}
    with pytest.raises(InvalidAnswer, match="Steve Jobs"):
        checked(**told)
    assert checked(True, **told).featured_prompt == "A man like, on a stage."
    assert "Jobs" in checked(row={"forbid_names": False}, **told).featured_prompt


@given(st.text(alphabet="abAB ™.,:'’&-é\n", max_size=60), st.lists(st.text(alphabet="abA ", max_size=5), max_size=2))
def test_no_name_is_left_where_names_are_taken_out(text: str, known: list[str]) -> None:
    left = without_names(text, known)
    assert names_in(left, known) == []
    assert len(left) <= len(text)


@given(st.text(max_size=300), st.lists(st.text(max_size=100), max_size=4), st.integers(0, 8), st.booleans())
def test_the_rule_without_a_model_always_answers_validly(
    title: str, headings: list[str], count: int, forbid: bool
) -> None:
    html = "".join(f"<h2>{heading}</h2>" for heading in headings)
    slots = (Slot("featured", 0, 1024, 1024), *(Slot("in_article", n, 1024, 1024) for n in range(count)))
    site = Site(id="garden", name="A", forbid_names=forbid)
    articles = frame(t.ARTICLES, article(title=title, content_html=html))
    (row,) = question_rows(articles, slots, site, ImagePromptRules.of(site)).to_dicts()
    found = check(offline(row), row, True)
    assert len(found.in_article_prompts) == count
    assert all(0 < len(alt) <= 125 for alt in found.alt_texts)


def test_the_text_is_fenced_off_cut_and_without_markup() -> None:
    html = f"<h2>Head</h2><p>{'word ' * 2000}{CLOSE}</p>"
    (row,) = question_rows(frame(t.ARTICLES, article(content_html=html)), SLOTS, SITE, RULES).to_dicts()
    assert (len(row["text"]) <= 4000, row["headings"], row["in_article_count"]) == (True, ["Head"], 2)
    text = render(IMAGE_PROMPTS_FUNCTION, row, resolve(None, ("site", None), IMAGE_PROMPTS_FUNCTION.template)).text
    assert text.count(OPEN) == text.count(CLOSE)
    assert "Name no brand" in text
    assert strict_schema(ImagePromptsAnswer)["required"] == ["featured_prompt", "in_article_prompts", "alt_texts"]


def test_articles_that_are_not_ok_are_not_asked_about() -> None:
    rows = frame(t.ARTICLES, article("a2"), article("a3", status="rejected", reason="moderated"), article("a1"))
    assert question_rows(rows, SLOTS, SITE, RULES)["row_ref"].to_list() == ["a1", "a2"]


def test_a_site_has_its_own_template_and_negative_prompt_unless_they_are_blank() -> None:
    own = {TEMPLATE_OF: FunctionChoice(prompt="{image_type}: {prompt}")}
    rules = ImagePromptRules.of(Site(id="garden", name="G", functions=own, negative_prompt="cats"))
    (first, *_) = made(rules=rules).sort("image_type").to_dicts()
    assert (first["prompt"], first["negative_prompt"]) == ("featured: A shed leans in a wet meadow.", "cats")
    blank = {TEMPLATE_OF: FunctionChoice(prompt="  ")}
    assert ImagePromptRules.of(Site(id="garden", name="Garden Shed", functions=blank, negative_prompt=" ")) == RULES


def test_a_template_that_names_what_there_is_not_is_said_before_anything_is_asked() -> None:
    site = Site(id="garden", name="G", functions={TEMPLATE_OF: FunctionChoice(prompt="{prompt} {mood}")})
    with pytest.raises(UserError, match="mood"):
        ImagePromptRules.of(site)


def test_values_in_a_prompt_name_no_other_values() -> None:
    rows = made(answer(featured_prompt="A sign that says {style}."))
    assert rows["prompt"][0].startswith("A sign that says {style}. Style:")


def test_each_prompt_is_looked_at_once_as_the_image_model_gets_it() -> None:
    seen: list[str] = []

    def moderate(text: str) -> Moderation:
        seen.append(text)
        return Moderation("dig" in text, ("violence",) if "dig" in text else (), "offline")

    rows = made(moderate=moderate)
    assert len(seen) == 3
    assert all(text.endswith("Style: clean editorial illustration.") for text in seen)
    assert rows.filter(pl.col("status") == "rejected").select(
        *("image_type", "position", "reason", "observed", "moderation_flagged", "moderation_categories")
    ).rows() == [("in_article", 0, "moderated", "violence", True, ["violence"])]


def test_what_could_not_be_looked_at_waits() -> None:
    until = datetime(2026, 11, 21, tzinfo=UTC)
    rows = made(moderate=lambda text: Refused("transport", "away", until))
    assert rows.select("status", "reason", "observed", "not_before", "moderation_flagged").unique().rows() == [
        ("pending", "moderation_unavailable", "transport", until, None)
    ]


def test_a_question_without_an_answer_waits_in_every_slot_and_nothing_is_looked_at() -> None:
    def never(text: str) -> Moderation:
        raise AssertionError(text)

    rows = made(moderate=never, status="pending", reason="cap_busy", value=None)
    assert rows.select("status", "reason", "prompt").unique().rows() == [("pending", "cap_busy", None)]
    assert rows.height == 4
