"""Findings about the tables of content: each speaks up for its fault alone, and only beyond its bound."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leads_world import MemoryLake, some_settings

from assets.content_checks import build_checks
from magpie.content import quality
from magpie.content import tables as t
from magpie.content.article_images import ImageRules, article_images
from magpie.content.normaliser import normalise
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.images import ImageMaker, Images, OfflineImages
from magpie.llm.models import Models
from magpie.llm.purpose import Limits, Purpose
from magpie.llm.store import Store
from magpie.quality import Finding
from magpie.tables import Partitions, Table
from tests.content_rows import DAY, NOON, article, cluster, frame, image_prompt, keyword, picture
from tests.gateway_world import desk
from tests.ledger_world import Books, FakeClock

Row = dict[str, Any]
BEFORE = DAY - timedelta(days=6)
HERE = Partitions({"garden": frozenset([DAY])})
BOTH = Partitions({site: frozenset([BEFORE, DAY]) for site in ("garden", "attic")})
ASKED = (t.KEYWORD_CLUSTERS, t.CONTENT_IDEAS, t.ARTICLES, t.IMAGE_PROMPTS, t.ARTICLE_IMAGES)
NO_LINKS = "noopener noreferrer"


def lake_of(*tables: tuple[Table, Iterable[Row]]) -> MemoryLake:
    lake = MemoryLake()
    for table, rows in tables:
        lake.write(table, frame(table, *rows), BOTH)
    return lake


def told(finding: Finding, *names: str) -> list[Any]:
    rows = [tuple(row[name] for name in names) for row in finding.rows]
    return [row[0] for row in rows] if len(names) == 1 else rows


# Keywords and topics


def test_a_keyword_that_is_ok_in_two_batches_of_its_sector_is_told() -> None:
    rows = [
        *(keyword("shed", day=day) for day in (BEFORE, DAY)),
        *(keyword("hut", day=DAY, sector=sector) for sector in ("general", "tools")),
        *(keyword("barn", day=DAY, site_id=site) for site in ("garden", "attic")),
        keyword("loft", day=BEFORE),
        keyword("loft", day=DAY, status="rejected", reason="duplicate"),
    ]
    finding = quality.keywords_once(lake_of((t.KEYWORDS, rows)), HERE)
    assert told(finding, "keyword_norm", "rows", "days") == [("shed", 2, f"{BEFORE}, {DAY}")]
    assert finding.summary.startswith("1 keywords")
    assert quality.keywords_once(lake_of((t.KEYWORDS, rows[1:])), HERE).rows == []


def test_every_ok_keyword_must_be_in_one_topic_of_its_own_sector_and_no_other_keyword_in_any() -> None:
    words = ["a1", "b1", "c1", "d1", "twice", "lost"]
    down = keyword("down", status="rejected", reason="excluded")
    clusters = [
        cluster("one", "a1", "b1", "twice"),
        cluster("two", "c1", "twice", "down"),
        cluster("three", "lost", sector="tools"),
        cluster(t.UNCLUSTERED, "d1", status="rejected", reason="unclustered"),
    ]
    lake = lake_of((t.KEYWORDS, [*map(keyword, words), down]), (t.KEYWORD_CLUSTERS, clusters))
    found = told(quality.keywords_covered(lake, HERE), "sector", "keyword_norm", "ok", "topics")
    assert found == [
        ("general", "down", False, 1),
        ("general", "lost", True, 0),
        ("general", "twice", True, 2),
        ("tools", "lost", False, 1),
    ]


def test_topics_and_leftovers_that_hold_all_keywords_give_no_finding() -> None:
    rest = cluster(t.UNCLUSTERED, "d1", status="rejected", reason="unclustered")
    clusters = [cluster("one", "a1", "b1", "c1"), rest]
    lake = lake_of((t.KEYWORDS, map(keyword, ("a1", "b1", "c1", "d1"))), (t.KEYWORD_CLUSTERS, clusters))
    assert quality.keywords_covered(lake, HERE).rows == []


@pytest.mark.parametrize(
    ("embed_model", "cosine", "loose"),
    [
        ("offline-hash-1024", 0.15, False),
        ("offline-hash-1024", 0.149, True),
        ("text-embedding-3-small", 0.349, True),
        ("text-embedding-3-small", 0.35, False),
        ("offline-hash-1024", None, False),
    ],
)
def test_a_topic_of_little_in_common_is_told_below_the_bound_of_its_embedder(
    embed_model: str, cosine: float | None, loose: bool
) -> None:
    lake = lake_of((t.KEYWORD_CLUSTERS, [cluster(avg_cosine=cosine)]))
    assert told(quality.clusters_cohere(embed_model)(lake, HERE), "name") == (["Sheds"] if loose else [])


def test_a_site_with_more_than_thirty_percent_leftovers_is_told_and_keywords_that_wait_do_not_count() -> None:
    def of(left: int, fate: Row) -> list[str]:
        topic = cluster("one", keywords_count=7)
        rest = cluster(t.UNCLUSTERED, **fate) | {"keywords_count": left}
        return told(quality.keywords_clustered(lake_of((t.KEYWORD_CLUSTERS, [topic, rest])), HERE), "site_id")

    fits_nowhere = {"status": "rejected", "reason": "unclustered"}
    assert of(3, fits_nowhere) == []
    assert of(4, fits_nowhere) == ["garden"]
    assert of(40, {"status": "pending", "reason": "too_few_keywords"}) == []


# Articles


def articles_of(*rows: Row) -> MemoryLake:
    return lake_of((t.ARTICLES, [{**row, "article_id": f"a{n}"} for n, row in enumerate(rows)]))


def test_an_article_that_the_normaliser_would_change_is_told_even_if_it_was_turned_down() -> None:
    down = {"status": "rejected", "reason": "moderated"}
    lake = articles_of(article(), article(content_html="<h1>A</h1>"), article(content_html="<div>b</div>", **down))
    assert told(quality.articles_normalised(lake, HERE), "article_id") == ["a1", "a2"]


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<p>x</p><script>alert(1)</script>", "<script>"),
        ("<script>alert(1)</script><p>x</p>", "<script>"),
        ('<p onclick="x()">x</p>', "onclick of <p>"),
        ('<p style="color:red">x</p>', "style of <p>"),
        ("<p>x<!-- y --></p>", "a comment"),
        ('<body onload="x()"><p>x</p>', "onload of <body>"),
        ("<p>x</p></body><iframe></iframe>", "<iframe>"),
        ("<svg><a href='https://x'>y</a></svg>", "<svg>"),
        (f'<p><a href="javascript:x" rel="{NO_LINKS}">x</a></p>', "a link to javascript:x"),
        ('<p><a href="https://x.example">x</a></p>', "a link to https://x.example"),
        (f'<p><a rel="{NO_LINKS}">x</a></p>', "a link to nowhere"),
        ('<p><img src="http://x.example/a.png" alt=""></p>', "an image from http://x.example/a.png"),
        ('<p><img src="//x.example/a.png" alt=""></p>', "an image from //x.example/a.png"),
        ("<h1>x</h1>", "<h1>"),
        (f'<p><a href="https://x.example" title="y" rel="{NO_LINKS}">x</a></p>', None),
        ('<p><img src="/a.png" alt="y"> <code>&lt;script&gt;</code></p>', None),
    ],
)
def test_what_a_browser_would_meet_in_an_article_and_may_not_is_named(html: str, problem: str | None) -> None:
    finding = quality.articles_safe(articles_of(article(content_html=html)), HERE)
    assert told(finding, "problem") == ([] if problem is None else [problem])


PIECES = st.sampled_from(
    [
        *("<p>", "</p>", "<script>", "</script>", "<a href='javascript:x'>", "<a href=https://x.example>", "</a>"),
        *("<table>", "<td>", "<ul>", "<li>", "<h1>", "<svg>", "<body onload=x>", "<img src=/x onerror=y>", "<!--"),
        *("<pre>", "</pre>", "<blockquote>", "-->", "&lt;script&gt;", "**b**", "# t\n", "\n\n", "word ", "<b>", "</b>"),
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_whatever_the_normaliser_makes_passes_both_checks(text: str) -> None:
    lake = articles_of(article(content_html=normalise(text).html))
    assert quality.articles_normalised(lake, HERE).rows == []
    assert quality.articles_safe(lake, HERE).rows == []


def test_a_site_with_more_than_a_fifth_of_its_answers_as_text_is_told() -> None:
    def of(text: int, all: int) -> list[str]:
        rows = [article(parse_mode="text" if n < text else "json") for n in range(all)]
        return told(quality.answers_structured(articles_of(*rows), HERE), "site_id")

    assert of(1, 5) == []
    assert of(2, 9) == ["garden"]


@pytest.mark.parametrize(("scores", "usual"), [((60, 70, 80), True), ((60, 69, 100), False), ((60, 80), True)])
def test_a_median_quality_below_seventy_is_told(scores: tuple[int, ...], usual: bool) -> None:
    lake = articles_of(*(article(quality_score=score) for score in scores))
    assert (quality.quality_usual(lake, HERE).rows == []) is usual


def test_lengths_at_the_bound_fit_and_more_than_a_fifth_beyond_it_is_told() -> None:
    def of(*words: int) -> list[Any]:
        rows = (article(word_count=count, target_word_count=1000) for count in words)
        return told(quality.lengths_fit(0.25)(articles_of(*rows), HERE), "rows", "bad", "share")

    assert of(1250, 750, 1000, 1000, 1251) == []
    assert of(1250, 750, 1000, 749, 1251) == [(5, 2, 0.4)]


@pytest.mark.parametrize(
    ("given", "placeholder"),
    [
        ({"content_html": "<p>Lorem ipsum dolor</p>"}, "Lorem"),
        ({"content_html": "<p>Call [insert phone number] today.</p>"}, "[insert phone number]"),
        ({"title": "Sheds in {city}"}, "{city}"),
        ({"meta_description": "All about {…}."}, "{…}"),
        ({"content_html": "<p>Write <code>{name}</code>.</p><pre>{\n}</pre>"}, None),
        ({"content_html": "<p>A florem, an insert, {} and [1].</p>"}, None),
    ],
)
def test_gaps_that_were_to_be_filled_are_told_and_code_is_not(given: Row, placeholder: str | None) -> None:
    finding = quality.no_placeholders(articles_of(article(**given)), HERE)
    assert told(finding, "placeholder") == ([] if placeholder is None else [placeholder])


# Images


SLOTS = (("featured", 0), ("in_article", 0), ("in_article", 1))


def test_slots_that_lack_the_featured_image_or_a_position_are_told() -> None:
    def prompts(*slots: tuple[str, int]) -> list[str]:
        lake = lake_of((t.ARTICLES, [article()]), (t.IMAGE_PROMPTS, [image_prompt("a1", *slot) for slot in slots]))
        return told(quality.slots_filled(t.IMAGE_PROMPTS)(lake, HERE), "problem")

    assert prompts(*SLOTS) == []
    assert prompts(*SLOTS[1:]) == ["no featured image"]
    assert prompts(*SLOTS, ("featured", 1)) == ["featured at 0, 1"]
    assert prompts(("featured", 0), ("in_article", 1)) == ["in_article at 1"]
    assert prompts(("featured", 0), ("mobile", 1)) == ["mobile at 1"]
    assert prompts(("featured", 0), ("desktop", 0), ("mobile", 0)) == []
    assert prompts() == ["no slots"]


def test_a_prompt_without_a_row_of_images_is_told() -> None:
    prompts = [image_prompt("a1", *slot) for slot in SLOTS]
    images = [picture(b"x", "a1", *slot) for slot in SLOTS[:2]]
    lake = lake_of((t.IMAGE_PROMPTS, prompts), (t.ARTICLE_IMAGES, images))
    assert told(quality.slots_filled(t.ARTICLE_IMAGES)(lake, HERE), "problem") == ["no row for in_article 1"]


def test_an_image_whose_file_is_gone_cut_or_another_is_told(tmp_path: Path) -> None:
    images = [picture(b"right", position=n, kind="in_article") for n in range(4)]
    for row, content in zip(images, (b"right", b"cut", b"wrong", None), strict=True):
        file = tmp_path / row["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            file.write_bytes(content)
    failed = picture(b"never made", status="rejected", reason="refused", path=None)
    finding = quality.images_are_there(lake_of((t.ARTICLE_IMAGES, [*images, failed])), HERE, tmp_path)
    assert told(finding, "problem") == ["another size", "other bytes", "no file"]


# Books


def idea(**more: Any) -> Row:
    return {
        **{name: value for name, value in article().items() if name in t.CONTENT_IDEAS.dtypes},
        "idea_id": "i1",
        "sector": "general",
        "cluster_key": "sheds",
        "title_norm": "x",
        "description": "x",
        "outline": "{}",
        "covered_keywords": [],
        "estimated_word_count": 1500,
        "priority": "high",
        "approval": "auto",
        "flags": [],
        **more,
    }


ROWS: dict[str, tuple[Row, str]] = {
    "keyword_clusters": (cluster(), "general#3"),
    "content_ideas": (idea(), "general/sheds"),
    "articles": (article(), "a1"),
    "image_prompts": (image_prompt(), "a1"),
    "article_images": (picture(b"x"), "a1#featured-0"),
}
BY_MODEL = {"provider": "openai", "model": "small", "input_hash": "h" * 64, "cost_usd": Decimal("0.000000005")}


def book(books: Books, table: Table, row_ref: str, cost_nano: int, **more: Any) -> None:
    purpose = Purpose("content", "ask", table.name, f"garden|{DAY}", row_ref, "h" * 64)
    call_id = books.held(cost_nano, purpose=replace(purpose, **more))
    assert books.send(call_id)
    assert books.settle(call_id, cost_nano)


@pytest.mark.parametrize("table", ASKED, ids=lambda table: table.name)
def test_rows_whose_calls_the_ledger_has_at_their_cost_give_no_finding_and_others_do(
    store: Store, table: Table
) -> None:
    row, row_ref = ROWS[table.name]
    lake = lake_of((table, [{**row, **BY_MODEL}]))

    def found() -> list[Any]:
        return told(quality.calls_are_booked(lake, HERE, table, store), "calls", "cost_usd", "booked_usd")

    books = Books(store, Limits())
    book(books, table, row_ref, 7, partition=f"attic|{DAY}")
    book(books, table, row_ref, 7, asset="another")
    book(books, table, row_ref, 7, input_hash="o" * 64)
    assert found() == [(0, Decimal("0.000000005"), Decimal(0))]
    book(books, table, row_ref, 2)
    book(books, table, row_ref, 3)
    assert found() == []
    book(books, table, row_ref, 1)
    assert found() == [(3, Decimal("0.000000005"), Decimal("0.000000006"))]


def test_offline_rows_are_not_looked_up_and_of_leftovers_only_the_first_question_is(store: Store) -> None:
    offline = {"provider": "offline", "input_hash": "o" * 64}
    left = cluster(t.UNCLUSTERED, status="rejected", reason="unclustered", **BY_MODEL)
    lake = lake_of((t.KEYWORD_CLUSTERS, [cluster(**offline), left]))
    assert len(quality.calls_are_booked(lake, HERE, t.KEYWORD_CLUSTERS, store).rows) == 1
    book(Books(store, Limits()), t.KEYWORD_CLUSTERS, "general#1", 1)
    assert quality.calls_are_booked(lake, HERE, t.KEYWORD_CLUSTERS, store).rows == []


def test_images_that_were_bought_or_found_in_the_journal_agree_with_the_ledger(
    tmp_path: Path, fake: FakeProvider, clock: FakeClock
) -> None:
    prompts = [image_prompt("a1", *slot) for slot in (*SLOTS, ("desktop", 0))]
    purpose = Purpose("content", "generate_image", "article_images", scopes=("site:garden",))
    with desk(f"sqlite:///{tmp_path / 'control.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep) as at:
        maker: ImageMaker = Images(at.gateway, at.models.candidates("image"), purpose)
        made = article_images(frame(t.IMAGE_PROMPTS, *prompts), maker, ImageRules(), tmp_path, NOON)
        lake = lake_of((t.IMAGE_PROMPTS, prompts), (t.ARTICLE_IMAGES, made.to_dicts()))
        assert made["status"].to_list() == ["ok"] * 4
        assert made["cost_usd"].sum() > 0
        assert quality.calls_are_booked(lake, HERE, t.ARTICLE_IMAGES, at.store).rows == []
    assert quality.slots_filled(t.ARTICLE_IMAGES)(lake, HERE).rows == []
    assert quality.images_are_there(lake, HERE, tmp_path).rows == []
    drawn = article_images(frame(t.IMAGE_PROMPTS, *prompts), OfflineImages(), ImageRules(), tmp_path, NOON)
    lake.write(t.ARTICLE_IMAGES, drawn, HERE)
    assert quality.images_are_there(lake, HERE, tmp_path).rows == []


def test_models_that_content_has_asked_lately_and_that_end_soon_are_told(store: Store) -> None:
    ends = str(DAY + timedelta(days=59))
    ending = {"provider": "local", "model_id": "old", "kind": "text", "end_of_life": ends}
    models = Models.load({"models": [ending]})
    books = Books(store, Limits())
    purpose = Purpose("leads", "ask", "lead_extractions")
    asked = {"provider": "local", "model": "old"}
    books.held(1, purpose=purpose, **asked)
    assert quality.models_last(store, models, NOON).rows == []
    books.held(1, purpose=replace(purpose, product="content"), **asked)
    assert told(quality.models_last(store, models, NOON), "model", "days left") == [("local/old", 59)]
    assert quality.models_last(store, models, NOON + quality.IN_USE_FOR + timedelta(days=1)).rows == []


def test_empty_tables_give_no_finding(store: Store, tmp_path: Path) -> None:
    lake = MemoryLake()
    judges = [
        *(quality.keywords_once, quality.keywords_covered, quality.articles_normalised, quality.articles_safe),
        *(quality.slots_filled(t.IMAGE_PROMPTS), quality.slots_filled(t.ARTICLE_IMAGES)),
        *(quality.clusters_cohere("offline-hash-1024"), quality.keywords_clustered, quality.answers_structured),
        *(quality.quality_usual, quality.lengths_fit(0.25), quality.no_placeholders),
    ]
    for judge in judges:
        assert judge(lake, HERE).rows == []
        assert judge(lake, Partitions.of([("garden", date(2026, 1, 1))])).rows == []
    assert quality.images_are_there(lake, HERE, tmp_path).rows == []
    assert quality.models_last(store, Models.load(), NOON).rows == []
    for table in ASKED:
        assert quality.calls_are_booked(lake, HERE, table, store).rows == []


def test_every_finding_is_a_check_of_a_table_and_none_blocks() -> None:
    specs = [spec for check in build_checks(some_settings()) for spec in check.check_specs]
    assert {spec.name for spec in specs} == set(quality.DESCRIPTIONS)
    assert {spec.description for spec in specs} == set(quality.DESCRIPTIONS.values())
    assert not any(spec.blocking for spec in specs)
    assert {spec.asset_key.to_user_string() for spec in specs} <= {table.name for table in t.TABLES}
    asked = {spec.asset_key.to_user_string() for spec in specs if spec.name == "calls_are_booked"}
    assert asked == {table.name for table in ASKED}, "every table that a model is asked for is held against the books"
