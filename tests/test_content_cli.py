"""`magpie content` and `magpie plan content` as a person meets them: what they print, how they fail, what they cost."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from magpie.cli import content_review, main
from magpie.cli.output import err, out
from magpie.cli.run import _print_articles as print_articles
from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.article_images import ImageRules, article_images
from magpie.content.plan import plan
from magpie.content.stages import Writer
from magpie.content.status import fates
from magpie.control import Control
from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.lake import Lake
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.images import image_maker
from magpie.llm.plan import Plan, Tally
from magpie.llm.purpose import Purpose
from magpie.settings import Settings, load_settings
from magpie.summary import top_articles
from magpie.tables import Partitions, Table
from magpie.text.embedders import embedder_named
from tests.content_rows import DAY, NOON, article, cluster, frame, image_prompt, keyword, picture
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock
from tests.test_content_wordpress import PASSWORD, USER, FakeWordPress

Say = Callable[..., str]
WORDS = ("garden shed base", "garden shed roof", "garden shed kit", "garden shed plans", "garden shed ideas", "zinnia")
OUTLINE = json.dumps({"intro": "Why.", "h2": [{"heading": "Soil first", "h3": [], "points": []}]})
BATCH = {"site_id": "garden", "day": DAY}
WAITS = {"status": "pending", "reason": "awaiting_approval", "observed": "waiting", "threshold": "approved"}
PIXELS = b"bytes of a picture"


def idea(name: str, **more: Any) -> dict[str, Any]:
    texts = {"title": f"Idea {name}", "title_norm": name, "description": "What it is about.", "outline": OUTLINE}
    kinds = {"content_type": "post", "content_structure": "guide", "priority": "high", "approval": "auto"}
    lists = {"secondary_keywords": [], "covered_keywords": [WORDS[0]], "flags": []}
    asked = {**{key: article()[key] for key in ("cost_usd", "credits", "attempts")}, "prompt_source": "site"}
    place = {**BATCH, "idea_id": name, "sector": "general", "cluster_key": "sheds", "primary_keyword": WORDS[0]}
    return {"status": "ok", **place, **texts, **kinds, **lists, **asked, "estimated_word_count": 1500, **more}


class World:
    """A home with one batch: an article, a picture of it, an idea that waits and one that is too much like a page."""

    def __init__(self, folder: Path, **content: Any) -> None:
        self.file = folder / "magpie.yaml"
        sites = [{"id": "garden", "name": "Garden Shed", "lists": [{"day": DAY, "keywords": list(WORDS)}]}]
        told = {
            "start_day": DAY,
            "home": "home",
            "content": content,
            "sites": [*sites, {"id": "empty", "name": "Bare"}],
        }
        self.file.write_text(yaml.safe_dump(told))
        self.settings: Settings = load_settings(self.file)
        self.lake, self.control = Lake(self.settings.lake_root), Control(self.settings.control_database)
        listed = {"status": "ok", "source_file": "magpie.yaml#1", "bytes": 1, "modified_ns": 1, "keywords": 6}
        self.lake.write(t.KEYWORD_FILES, frame(t.KEYWORD_FILES, {**listed, **BATCH, "bad_rows": 0}), Partitions.whole())
        self.put(t.KEYWORDS, *(keyword(word, row_no=n, volume=100 - n) for n, word in enumerate(WORDS)))

    def fill(self) -> "World":
        self.put(t.KEYWORD_CLUSTERS, cluster("sheds", *WORDS[:5], provider="offline", model="offline"))
        near = {"status": "rejected", "reason": "duplicate_topic", "observed": "0.91", "threshold": "0.6"}
        self.put(t.CONTENT_IDEAS, idea("a1"), idea("b2", approval="waiting", **WAITS), idea("c3", **near))
        text = {"provider": "offline", "model": "offline", "prompt_source": "site", "prompt_version": "f" * 64}
        links = [{"anchor": "Soil", "url": "https://garden.example/soil", "cosine": 0.5}]
        empty = dict.fromkeys(("meta_title", "content_html", "quality_score"))
        self.put(
            t.ARTICLES, article("a1", link_suggestions=links, **text), article("b2", title="Later", **WAITS, **empty)
        )
        self.put(t.IMAGE_PROMPTS, image_prompt("a1"), image_prompt("a1", "in_article", prompt="A spirit level."))
        shown = picture(PIXELS)
        path = self.settings.home / shown["path"]
        path.parent.mkdir(parents=True)
        path.write_bytes(PIXELS)
        self.put(t.ARTICLE_IMAGES, shown)
        return self

    def put(self, table: Table, *rows: dict[str, Any]) -> None:
        self.lake.write(table, frame(table, *rows), Partitions.of([("garden", DAY)]))

    def state(self, ref: str = "a1", kind: str = "article") -> str:
        found = reviews.fold(reviews.REVIEWS.read(self.control, object_type=kind, object_id=ref))
        return "draft" if found.is_empty() else str(found["state"][0])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path).fill()
    yield made
    made.control.close()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World) -> Say:
    """Runs `magpie` in this process; gives what it wrote, to both streams."""
    for name in ("MAGPIE_HOME", "WORDPRESS_USER", "WORDPRESS_APP_PASSWORD", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str, code: int = 0) -> str:
        monkeypatch.setenv("MAGPIE_CONFIG", str(world.file))
        monkeypatch.setattr("sys.argv", ["magpie", *arguments])
        for console in (out, err):
            monkeypatch.setattr(console, "width", 200)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed.out + printed.err

    return command


def wrong(say: Say, *arguments: str) -> str:
    """What it said on refusing: one line."""
    told = say(*arguments, code=2)
    assert told.count("\n") == 1, told
    return told


# --- looking ------------------------------------------------------------------------------------------------------


def test_status_counts_each_batch_and_says_what_stopped_the_rest(say: Say) -> None:
    told = say("content", "status")
    batch = next(line for line in told.splitlines() if line.startswith("garden"))
    assert batch.split() == ["garden", "2026-11-20", "6", "1", "1,", "1", "wait", "1,", "1", "wait", "1"]
    assert "duplicate_topic" in told and "draft" in told
    assert "1 ideas and 1 articles wait for a person" in told
    assert "no keyword is stored" in say("content", "status", "empty")


def test_states_take_the_place_of_reasons_for_articles_that_are_ok(world: World) -> None:
    rows = fates(world.lake, reviews.REVIEWS.read(world.control)).filter(pl.col("table") == "articles")
    assert rows.select("status", "reason", "n").rows() == [("ok", "draft", 1), ("pending", "awaiting_approval", 1)]
    decide(world, "disable")
    rows = fates(world.lake, reviews.REVIEWS.read(world.control)).filter(pl.col("status") == "ok")
    assert rows.filter(pl.col("table") == "articles")["reason"].to_list() == ["disabled"]


def test_show_prints_the_text_with_its_flags_and_where_links_could_stand(say: Say) -> None:
    told = say("content", "show", "a1")
    for part in ("## Why sheds lean", "**deep**", "11 of 1,500", "https://garden.example/soil", "state"):
        assert part in told
    assert say("content", "show", "a1", "--html").startswith("<h2>Why sheds lean</h2><p>Soil moves.</p>")
    assert "b2 has no text: pending (awaiting_approval)" in say("content", "show", "b2")


def test_why_goes_from_the_keywords_to_the_images_and_names_the_tier_of_each_prompt(say: Say) -> None:
    told = say("content", "why", "a1")
    for part in (*WORDS[:5], "Keywords of Sheds", "image featured 0"):
        assert part in told
    asked = next(line for line in told.splitlines() if line.startswith("article") and "offline" in line)
    assert asked.split()[1:4] == ["offline", "site", "f" * 12]
    assert "it is written; state: draft" in told
    assert "`magpie content decide idea b2 approve`" in say("content", "why", "b2")
    over = say("content", "why", "c3")
    assert "0.91, held against 0.6" in over and "all the same" in over


def test_the_best_articles_of_a_run_carry_words_quality_and_state(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    best = top_articles(world.lake, 5)
    assert best.select("article_id", "word_count", "quality_score", "state").rows() == [("a1", 11, 80, "draft")]
    print_articles(world.lake)
    told = capsys.readouterr().out
    assert "How to mend a shed" in told and "written by offline" in told


def test_what_people_wrote_cannot_move_the_cursor(say: Say, world: World) -> None:
    world.put(t.ARTICLES, article("a1", title="\x1b[2Jgone [bold]x", content_html="<h2>A\x1b[2J</h2><p>b</p>"))
    for command in (("show", "a1"), ("why", "a1"), ("review",)):
        told = say("content", *command)
        assert "\x1b" not in told and "[bold]x" in told


# --- deciding -----------------------------------------------------------------------------------------------------


def decide(world: World, action: str, ref: str = "a1", kind: str = "article") -> None:
    reviews.decide(world.control, world.lake, kind, ref, action, "ann", {}, NOON + timedelta(hours=1))


def test_without_a_terminal_a_review_lists_ideas_before_articles_and_says_how_to_decide(say: Say) -> None:
    told = say("content", "review")
    assert told.index("Idea b2") < told.index("How to mend a shed")
    assert "Soil first" in told and "magpie content decide KIND ID ACTION" in told
    assert "nothing waits for a review" in say("content", "review", "empty")


def go(world: World, *keys: str, reason: str = "") -> tuple[int, list[tuple[str, ...]]]:
    """Go through what waits, pressing these keys; gives how many were decided, and what was recorded."""
    pressed, recorded = iter(keys), []

    def record(kind: str, ref: str, action: str, payload: Any) -> None:
        recorded.append((kind, ref, action, payload.get("reason", "")))
        reviews.decide(world.control, world.lake, kind, ref, action, "ann", payload, NOON)

    rows = reviews.waiting(world.lake, world.control, world.settings.sites)
    behind = content_review._behind(world.settings, world.lake, world.control, rows)
    done = content_review.go_through(rows, behind, 70, record, lambda _: next(pressed), lambda _: reason)
    return done, recorded


def test_a_draft_that_is_approved_counts_as_submitted(world: World) -> None:
    assert go(world, "a", "x", "a") == (
        2,
        [("idea", "b2", "approve", ""), ("article", "a1", "submit", ""), ("article", "a1", "approve", "")],
    )
    assert world.state() == "approved"


def test_text_is_shown_on_request_and_declining_takes_a_reason(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(world, "s", "t", "d", reason="too thin") == (1, [("article", "a1", "decline", "too thin")])
    assert "## Why sheds lean" in capsys.readouterr().out


def test_quitting_leaves_the_rest_as_it_is(world: World) -> None:
    assert go(world, "q") == (0, [])


def test_a_decision_that_somebody_else_made_first_stops_nobody(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = reviews.waiting(world.lake, world.control, world.settings.sites)
    behind = content_review._behind(world.settings, world.lake, world.control, rows)

    def late(*_: Any) -> None:
        raise UserError("article a1 is declined")

    assert content_review.go_through(rows, behind, 70, late, lambda _: "a", lambda _: "") == 0
    assert "not recorded: article a1 is declined" in capsys.readouterr().err


def test_decide_records_any_decision_and_refuses_what_is_not_possible_in_one_line(say: Say, world: World) -> None:
    assert "is draft, and would have to be review" in wrong(say, "content", "decide", "article", "a1", "approve")
    say("content", "decide", "article", "a1", "submit", "--actor", "ann")
    say("content", "decide", "article", "a1", "approve", "--actor", "ann", "--reason", "reads well")
    say("content", "decide", "article", "a1", "publish", "--url", "https://garden.example/mend")
    assert world.state() == "published"
    assert "magpie run content" in say("content", "decide", "idea", "c3", "approve")
    assert world.state("c3", "idea") == "approved"
    say("content", "decide", "cluster", "garden/general/sheds", "disable")
    for arguments in (("idea", "zz", "approve"), ("thing", "a1", "approve"), ("article", "a1", "bless")):
        wrong(say, "content", "decide", *arguments)


def test_an_edit_is_seen_at_once_and_sends_an_approved_article_back_to_review(
    say: Say, world: World, tmp_path: Path
) -> None:
    for action in ("submit", "approve"):
        decide(world, action)
    text = tmp_path / "text.html"
    text.write_text("<h1>New start</h1><p onclick='x()'>All of it is new.</p>")
    say("content", "edit", "a1", "--title", "Mending sheds", "--tag", "wood", "--file", str(text))
    assert world.state() == "review"
    assert "Mending sheds" in (told := say("content", "show", "a1"))
    assert "edited" in told and "wood" in told
    assert say("content", "show", "a1", "--html") == "<h2>New start</h2><p>All of it is new.</p>\n"


def test_an_edit_that_cannot_be_made_is_one_line(say: Say, tmp_path: Path) -> None:
    binary = tmp_path / "picture.html"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "nothing is changed" in wrong(say, "content", "edit", "a1")
    assert "cannot read" in wrong(say, "content", "edit", "a1", "--file", str(tmp_path / "none.html"))
    assert "not UTF-8" in wrong(say, "content", "edit", "a1", "--file", str(binary))
    assert "meta_title" in wrong(say, "content", "edit", "a1", "--meta-title", "x" * 61)
    assert "no article or idea 'zz'" in wrong(say, "content", "show", "zz")
    assert "no site 'nope'" in wrong(say, "content", "status", "nope")


# --- sending out --------------------------------------------------------------------------------------------------


def test_an_export_holds_approved_articles_with_edits_that_no_run_has_made_yet(
    say: Say, world: World, tmp_path: Path
) -> None:
    told = say("content", "export", "garden", "--out", str(tmp_path / "out"))
    assert "0 written" in told and "1 are not approved" in told
    say("content", "edit", "a1", "--title", "Shed repair at home")
    for action in ("submit", "approve"):
        say("content", "decide", "article", "a1", action)
    written = say("content", "export", "garden", "--out", str(tmp_path / "out"))
    assert "Left behind" in written and "low_quality" in written
    world.put(t.ARTICLES, article("a1", quality_score=100, content_html=LONG, meta_description=LINE))
    say("content", "export", "garden", "--out", str(tmp_path / "out"))
    page = tmp_path / "out" / "garden" / "shed-repair-at-home"
    assert "title: Shed repair at home" in (page / "index.md").read_text()
    assert [path.read_bytes() for path in (page / "images").iterdir()] == [PIXELS]
    assert "1 unchanged" in say("content", "export", "garden", "--out", str(tmp_path / "out"))
    say("content", "decide", "article", "a1", "disable")
    assert "1 removed" in say("content", "export", "garden", "--out", str(tmp_path / "out"))
    assert not page.exists()


# Long enough and well enough formed for the score that publishing asks for.
_SECTION = "".join(
    f"<h2>Shed repair {n}</h2><p>{'Soil moves under every wall that stands for long, shed repair or not. ' * 20}</p>"
    for n in range(5)
)
LINE = "What to look at first when a shed leans, which tools it takes, and when to ask somebody who does it daily."
LONG = f"<h2>About shed repair</h2><p>A shed repair begins below.</p>{_SECTION}"


def test_wordpress_gets_drafts_with_keys_from_the_environment(
    say: Say, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeWordPress() as server:
        asked = ("content", "wordpress", "garden", "--url", server.url)
        assert "WORDPRESS_APP_PASSWORD" in wrong(say, *asked)
        monkeypatch.setenv("WORDPRESS_USER", USER)
        monkeypatch.setenv("WORDPRESS_APP_PASSWORD", PASSWORD)
        world.put(t.ARTICLES, article("a1", quality_score=100, content_html=LONG))
        assert "0 articles" in say(*asked)
        for action in ("submit", "approve"):
            decide(world, action)
        assert "--private" in wrong(say, *asked)
        assert "created how-to-mend-a-shed" in say(*asked, "--private")
        assert [post["status"] for post in server.posts.values()] == ["draft"]
        assert "updated how-to-mend-a-shed" in say(*asked, "--private")
        assert "must be reached by https" in wrong(say, *asked[:-1], "http://garden.example")
        monkeypatch.setenv("WORDPRESS_APP_PASSWORD", "another")
        assert "http_401" in wrong(say, *asked, "--private")


# --- planning -----------------------------------------------------------------------------------------------------


@pytest.fixture
def at(tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(f"sqlite:///{tmp_path / 'books.db'}", tmp_path, fake, clock=clock, sleep=clock.sleep) as made:
        yield made


def engine(at: Desk, provider: str = "auto") -> Engine:
    return Engine(FUNCTIONS, at.models, at.gateway, EngineSettings(provider, 1))


def planned(world: World, at: Desk, **more: Any) -> Plan:
    return plan(world.settings, world.lake, world.control, engine(at, **more))


def tally(found: Plan, table: Table) -> Tally | None:
    return next(line.tally for line in found.lines if line.asset == table.name and line.subject == "garden")


def test_a_plan_foretells_what_topics_ask_and_finds_the_answers_journalled(tmp_path: Path, at: Desk) -> None:
    world = World(tmp_path)
    members = {"name": "Sheds", "description": "All of them.", "dimension": "topic", "keywords": list(WORDS[:5])}
    at.fake.responder = lambda body: json.dumps({"clusters": [members]})
    before = planned(world, at)
    assert tally(before, t.KEYWORD_CLUSTERS) == Tally(1, new=1) and len(before.calls) == 1
    assert tally(before, t.CONTENT_IDEAS) is None, "there are no topics yet to have ideas about"
    assert at.fake.attempts == 0 and not at.store.exists
    embedder = embedder_named("offline-hash-1024")
    writer = Writer(world.settings, world.lake, world.control, engine(at), lambda _: embedder, None, lambda _: None)
    rows = world.lake.read(t.KEYWORDS).collect()
    found = writer.keyword_clusters(world.settings.site("garden"), [DAY], rows)
    assert at.fake.attempts == len(before.calls)
    spent = sum(call.cost_nano for call in at.calls())
    assert 0 < spent <= sum(call.est_nano for call in before.calls)
    world.lake.write(t.KEYWORD_CLUSTERS, found, Partitions.of([("garden", DAY)]))
    after = planned(world, at)
    assert tally(after, t.KEYWORD_CLUSTERS) == Tally(1, journalled=1)
    assert tally(after, t.CONTENT_IDEAS) == Tally(1, new=1)
    assert at.fake.attempts == len(before.calls), "a plan asks nothing"


def test_a_plan_counts_images_one_by_one_and_finds_those_that_were_bought(tmp_path: Path, at: Desk) -> None:
    world = World(tmp_path, image_provider="openai").fill()
    before = planned(world, at)
    assert tally(before, t.ARTICLE_IMAGES) == Tally(2, new=2)
    images = [call for call in before.calls if call.asset == t.ARTICLE_IMAGES.name]
    assert len(images) == 2 and all(call.est_nano > 0 and "site:garden" in call.scopes for call in images)
    maker = image_maker(engine(at), "openai", Purpose("content", "generate_image", "article_images"))
    prompts = world.lake.read(t.IMAGE_PROMPTS).filter(pl.col("image_type") == "featured").collect()
    article_images(prompts, maker, ImageRules(), tmp_path / "elsewhere", NOON)
    assert tally(planned(world, at), t.ARTICLE_IMAGES) == Tally(2, journalled=1, new=1)
    assert at.fake.attempts == 1
    assert tally(planned(world, at, provider="offline"), t.ARTICLE_IMAGES) == Tally(2, free=2)


def test_with_a_hosted_embedder_vectors_come_before_the_questions_about_them(tmp_path: Path, at: Desk) -> None:
    found = planned(World(tmp_path, embed_model="text-embedding-3-small"), at)
    vectors = next(line for line in found.lines if line.label == "keyword_clusters vectors")
    assert vectors.tally == Tally(6, new=6)
    assert any("once keywords have their vectors" in note for note in found.notes)
    assert at.fake.attempts == 0


def test_ideas_that_wait_for_a_yes_are_told_and_not_planned(world: World, at: Desk) -> None:
    found = planned(world, at)
    assert tally(found, t.ARTICLES) == Tally(1, new=1)
    assert any("1 ideas wait for a yes" in note for note in found.notes)
    decide(world, "approve", "b2", "idea")
    assert any("people decided since" in note for note in planned(world, at).notes)


def test_a_plan_without_a_key_spends_nothing_and_needs_a_batch(say: Say, world: World) -> None:
    told = say("plan", "content", "--site", "garden")
    assert "the offline rules answer" in told and "nothing is spent" in told
    assert "no batch of keywords is known yet" in wrong(say, "plan", "content", "--site", "empty")
    assert "--site narrows content" in wrong(say, "plan", "leads", "--site", "garden")
    assert "must be in order" in wrong(say, "plan", "content", "--from", "2026-11-21", "--to", "2026-11-20")
