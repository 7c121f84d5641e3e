"""`magpie persona` as a person meets it: what it prints, what a key press does, how it fails."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from magpie.cli import main, persona_review
from magpie.cli.output import err, out
from magpie.cli.run import _print_drafts as print_drafts
from magpie.health import examine
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.drafts import waiting
from magpie.persona.mood import MoodRules, mood_grid
from magpie.persona.outbox import outbox
from magpie.persona.status import mood_at
from magpie.persona.why import why
from magpie.settings import load_settings
from magpie.summary import top_drafts
from magpie.tables import Partitions, Table
from tests.persona_outbox_rows import DAY, NOON, POSTS, asked, decision, frame, key

Say = Callable[..., str]
KEYS = ("TUMBLR_CONSUMER_KEY", "TUMBLR_CONSUMER_SECRET", "TUMBLR_OAUTH_TOKEN", "TUMBLR_OAUTH_SECRET")
POOL = [
    {"k": 0, "selector": 0.61, "sentiment": 0.5, "autoreview": 0.4},
    {"k": 1, "selector": 0.72, "sentiment": 0.9, "autoreview": 0.3},
]
TRACE = {
    "pool": POOL,
    "kept": [0],
    "cuts": {"accept": 0.154, "accept_original": 0.179, "flag": 0.35, "reject": 0.605},
    "settings": "5e771265",
    "selector_version": "a" * 64,
    "autoreview_version": "b" * 64,
}
BAD = "[red]bold[/red]\x1b[2J\x07"


def ask_row(number: int, **more: Any) -> dict[str, Any]:
    return asked(f"ask:{number}", post_id=f"7{number}", **more)


def candidate(number: int, k: int, body: str, **more: Any) -> dict[str, Any]:
    place = {"blog": "demo-blog", "day": DAY, "input_id": f"ask:{number}", "attempt": 1, "k": k, "n_planned": 2}
    writer = {"provider": "offline", "model": "offline", "prompt_sha256": "c" * 64, "rng_seed": "gen", "cost_usd": 0}
    return {"status": "ok", **place, **writer, "body": body, "tags": [], "n_words": 3, **more}


def score(number: int, k: int, selector: float, sentiment: float) -> dict[str, Any]:
    place = {"blog": "demo-blog", "day": DAY, "input_id": f"ask:{number}", "attempt": 1, "k": k}
    moods = {"sentiment_logit": 0.1, "sentiment_p": sentiment}
    return {**place, **moods, "selector_p": selector, "selector_adjusted": selector, "autoreview_p": 0.4}


def thread(post_id: str, prompt: str) -> dict[str, Any]:
    counts = {"n_posts": 1, "n_words_final": 3, "n_images": 0}
    no = dict.fromkeys(("has_ask", "has_video", "has_text", "truncated"), False)
    lists = {"participants": ["ada"], "final_tags": [], "image_urls": []}
    place = {"blog": "demo-blog", "day": DAY, "post_id": post_id, "final_author": "ada", "form": "2023"}
    return {"status": "ok", **place, **counts, **no, **lists, "text_prompt": prompt}


class World:
    """A blog with two drafts, a post that may go out and an input that was ignored."""

    def __init__(self, folder: Path, **blog: Any) -> None:
        self.file = folder / "magpie.yaml"
        words = {"hard_reject": ["forbidden"]}
        told = {"start_day": DAY, "home": "home", "blogs": [{"name": "demo-blog", "words": words, **blog}]}
        self.file.write_text(yaml.safe_dump(told))
        self.settings = load_settings(self.file)
        self.blog = self.settings.blogs[0]
        self.reader = persona_review.reader_of(self.settings)
        self.lake, self.control = self.reader.lake, self.reader.control
        self._fill()

    def _fill(self) -> None:
        drafted: dict[str, Any] = {"chosen_k": 0, "strategy": "eps_greedy", "explore": False, "autoreview_p": 0.4}
        drafted |= {"mood_value": 0.7, "lo": 0.0128, "hi": 0.7031, "trace": json.dumps(TRACE)}
        decisions = frame(
            t.DECISIONS,
            decision("ask:1", **drafted),
            decision("ask:2", route="publish", route_reason="clean"),
            decision("ask:3", body=f"It is {BAD} here", chosen_k=0),
        )
        short = {"state": "ignored", "status": "rejected", "reason": "too_short", "observed": "1", "threshold": "2"}
        inbox = frame(
            t.PERSONA_INBOX,
            ask_row(1),
            ask_row(2),
            ask_row(3, text=BAD, created_at=NOON - timedelta(hours=1)),
            ask_row(4, tick_ts=None, **short),
        )
        self.put(t.DECISIONS, decisions)
        self.put(t.PERSONA_INBOX, inbox)
        texts = [candidate(1, 0, "A quiet <b>text</b>"), candidate(1, 1, "A glad text"), candidate(3, 0, "It is here")]
        wrong = {"status": "rejected", "reason": "too_short", "observed": "1"}
        self.put(t.CANDIDATES, frame(t.CANDIDATES, *texts, candidate(1, 2, "No", **wrong)))
        scores = (score(1, 0, 0.61, 0.5), score(1, 1, 0.72, 0.9), score(3, 0, 0.5, 0.5))
        self.put(t.CANDIDATE_SCORES, frame(t.CANDIDATE_SCORES, *scores))
        kick = {"input_id": "ask:1", "kick_ts": NOON, "input_logit": 0.4, "p75_logit": 2.0, "determiner": 1.0}
        place = {"blog": "demo-blog", "day": DAY, "centre": 0.4, "mult": 2 / 3, "kick": 0.4}
        kicks = frame(t.MOOD_INPUTS, {**kick, **place})
        self.put(t.MOOD_INPUTS, kicks)
        self.put(t.MOOD, mood_grid(kicks, [DAY], MoodRules.of(self.blog), "2023"))
        self.put(t.THREADS, frame(t.THREADS, thread("71", "ada asked how it is going\n\ndemo-blog responded:")))
        words = self.blog.words
        rows = outbox(decisions, inbox, POSTS, *self.said(), t.OUTBOX.empty(), self.blog, words)
        self.put(t.OUTBOX, rows)
        tick = {"blog": "demo-blog", "attempt": 1, "tick_ts": NOON, "day": DAY, "kind": "ask", "step": "asks"}
        ticks = [{**tick, "input_id": f"ask:{number}", "slowdown_level": "base"} for number in (1, 2, 3)]
        logs.TICKS.append(self.control, ticks)

    def put(self, table: Table, rows: pl.DataFrame) -> None:
        self.lake.write(table, rows, Partitions.of([("demo-blog", DAY)]))

    def said(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return logs.REVIEWS.read(self.control), logs.DELIVERIES.read(self.control)

    def actions(self) -> list[tuple[str, str]]:
        rows = logs.REVIEWS.read(self.control).sort("at").select("outbox_id", "action").rows()
        return [(str(post), str(action)) for post, action in rows]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.control.close()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Runs `magpie persona` in this process; gives what it wrote, to both streams."""
    for name in ("MAGPIE_HOME", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", *KEYS):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str, code: int = 0) -> str:
        monkeypatch.setenv("MAGPIE_CONFIG", str(tmp_path / "magpie.yaml"))
        monkeypatch.setattr("sys.argv", ["magpie", "persona", *arguments])
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


def test_status_says_what_came_in_what_waits_and_that_nothing_is_trained(world: World, say: Say) -> None:
    told = say("status")
    assert "1 ignored, 3 done" in told
    assert "2 draft, 1 ready" in told
    assert "2: `magpie persona review`" in told
    assert "1, 2026-11-20 to 2026-11-20" in told
    assert told.count("not trained") == 2
    # An archive's mood is that of its last moment, not that of today.
    assert "2026-11-20 23:50 UTC" in told
    assert say("status", "demo-blog") == told
    assert "no blog 'other'" in wrong(say, "status", "other")


def test_status_of_a_home_without_blogs_says_what_to_do(tmp_path: Path, say: Say) -> None:
    (tmp_path / "magpie.yaml").write_text("start_day: 2026-11-20\n")
    assert "list one under blogs" in say("status")


def test_why_tells_the_whole_way_of_an_input(world: World, say: Say) -> None:
    told = say("why", "ask:1")
    for part in (
        "ask by ada to demo-blog",
        "2026-11-20 12:00 UTC, attempt 1, step asks",
        "by +0.4000",
        "sentiment that suits: 0.013 to 0.703",
        "4 of 5 suit the mood; eps_greedy",
        "the best, k 0",
        "draft, ml_flagged; risk 0.400",
        "reject 0.605",
        "not the mood",
        "too_short",
        f"post {key()}: draft",
        f"`magpie persona review --approve {key()}`",
    ):
        assert part in told, part
    # The post's id leads to the same story.
    assert say("why", key()) == told


def test_why_tells_the_chance_that_chose(world: World) -> None:
    world.put(t.DECISIONS, frame(t.DECISIONS, decision("ask:1001")))
    world.put(t.PERSONA_INBOX, frame(t.PERSONA_INBOX, ask_row(1001)))
    assert why(world.reader, "ask:1001").attempts[0].dice == pytest.approx((0.093046, 0.527592), abs=1e-6)


def test_why_tells_by_which_rule_an_input_was_ignored(world: World, say: Say) -> None:
    told = say("why", "ask:4")
    assert "ignored, rejected, too_short: 1, held against 2" in told
    assert "nothing was written for it" in told
    assert "there is no input or post 'ask:99'" in wrong(say, "why", "ask:99")


def test_why_shows_what_people_and_delivery_did(world: World, say: Say) -> None:
    say("review", "--approve", key(), "--actor", "bea", "--note", "lovely")
    at = datetime.now(UTC) + timedelta(minutes=1)
    sent = {"blog": "demo-blog", "outbox_id": key(), "remote_id": "900", "remote_state": "published", "at": at}
    logs.DELIVERIES.append(world.control, [{**sent, "phase": "done", "delivery_id": "one"}])
    told = say("why", "ask:1")
    assert "Tumblr's 900" in told
    assert "its post is published" in told
    assert told.index("lovely") < told.index("delivery  published")


def test_nothing_that_strangers_wrote_reaches_the_terminal_as_a_command(world: World, say: Say) -> None:
    for arguments in (("why", "ask:3"), ("review", "--list"), ("review",)):
        told = say(*arguments)
        assert "\x1b" not in told
        assert "\x07" not in told
        assert "[red]bold[/red]" in told


# --- mood ---------------------------------------------------------------------------------------------------------


def test_mood_shows_a_moment_its_range_and_what_moved_it(world: World, say: Say) -> None:
    told = say("mood", "demo-blog", "--at", "2026-11-20T15:00")
    found = mood_at(world.lake, world.blog, datetime(2026, 11, 20, 15, tzinfo=UTC))
    assert f"mood {found.value:.3f}" in told
    assert f"{found.offset:+.4f}" in told
    assert "of 1 inputs" in told
    assert "+0.400" in told
    assert say("mood", "demo-blog", "--at", "2026-11-20T16:00+01:00") == told


def test_before_anything_came_in_the_mood_is_the_base_of_its_date(world: World, say: Say) -> None:
    told = say("mood", "demo-blog", "--at", "2026-11-19T15:00", "--hours", "5")
    assert "mood 0.535" in told
    assert "nothing moved it in the 5 hours before" in told


def test_mood_is_drawn_to_a_file(world: World, say: Say, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "mood.png"
    assert "drawn to" in say("mood", "demo-blog", "--out", str(file))
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_time_that_is_none_is_one_line(world: World, say: Say) -> None:
    assert "write it as 2026-03-04T18:30" in wrong(say, "mood", "demo-blog", "--at", "yesterday")
    assert "no blog 'other'" in wrong(say, "mood", "other")


# --- reviewing ----------------------------------------------------------------------------------------------------


def test_drafts_are_listed_and_shown_with_thread_text_and_the_others(world: World, say: Say) -> None:
    listed = say("review", "--list")
    assert "2 wait for a person" in listed
    assert key("ask:2") not in listed
    shown = say("review")
    assert "this is no terminal" in shown
    for part in ("ada asked how it is going", "A quiet <b>text</b>", "#calm #ada", "risk 0.400", "A glad text"):
        assert part in shown, part


@pytest.mark.parametrize(
    ("option", "state"), [("--approve", "approved"), ("--redo", "redo"), ("--reject", "rejected"), ("--hold", "held")]
)
def test_each_decision_is_recorded_and_takes_the_draft_off_the_list(
    world: World, say: Say, option: str, state: str
) -> None:
    told = say("review", option, key())
    assert f"{key()}: {option.strip('-')}; `magpie run persona`" in told
    assert world.actions() == [(key(), option.strip("-"))]
    left = say("review", "--list")
    assert ("1 wait" in left) == (state != "held")
    assert f"post {key()}: {state}" in say("why", "ask:1")


def test_an_edit_changes_text_and_tags_and_leaves_the_draft_waiting(world: World, say: Say, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("A better text\n", encoding="utf-8")
    say("review", "--edit", key(), "--body-file", str(file), "--tags", "#tea, slow  rain")
    post = waiting(world.reader, [world.blog]).filter(pl.col("outbox_id") == key()).row(0, named=True)
    assert (post["body"], post["tags"], post["state"]) == ("A better text", ["tea", "slow rain"], "draft")
    say("review", "--edit", key(), "--tags", "")
    assert waiting(world.reader, [world.blog]).filter(pl.col("outbox_id") == key())["tags"].to_list() == [[]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--approve", "one", "--reject", "two"), "several decisions"),
        (("--approve", "nothing"), "there is no post"),
        (("--approve", "KEY2"), "would have to be draft or held"),
        (("--approve", "KEY", "--body", "x"), "go with --edit"),
        (("--body", "x"), "go with --edit"),
        (("--note", "x"), "goes with a decision"),
        (("--edit", "KEY"), "nothing is changed"),
        (("--edit", "KEY", "--body", "<b></b>"), "nothing of the body would show"),
        (("--edit", "KEY", "--body", "a", "--body-file", "b"), "two texts"),
        (("--edit", "KEY", "--body-file", "missing.txt"), "cannot read"),
        (("other",), "no blog 'other'"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_one_line_and_leaves_no_trace(
    world: World, say: Say, arguments: tuple[str, ...], said: str
) -> None:
    named = {"KEY": key(), "KEY2": key("ask:2")}
    assert said in wrong(say, "review", *(named.get(one, one) for one in arguments))
    assert world.actions() == []


def test_a_text_with_a_forbidden_word_cannot_be_approved_until_it_is_edited(world: World, say: Say) -> None:
    say("review", "--edit", key(), "--body", "This is forbidden")
    assert "forbidden, which must never go out" in wrong(say, "review", "--approve", key())
    say("review", "--edit", key(), "--body", "This is fine")
    say("review", "--approve", key())
    assert [action for _, action in world.actions()] == ["edit", "edit", "approve"]


def pressing(world: World, keys: str, *lines: str) -> int:
    """Go through all drafts with these keys and lines; how many were decided."""
    presses, said = iter(keys), iter(lines)
    rows = waiting(world.reader, [world.blog])
    record = persona_review._recorder(world.reader, "bea")
    return persona_review.go_through(world.reader, rows, record, lambda _: next(presses), lambda _: next(said))


def test_one_key_decides_each_draft(world: World) -> None:
    order = waiting(world.reader, [world.blog])["outbox_id"].to_list()
    # z means nothing, and is asked again.
    assert pressing(world, "zax", "too loud") == 2
    assert world.actions() == [(order[0], "approve"), (order[1], "reject")]
    assert logs.REVIEWS.read(world.control, outbox_id=order[1])["note"].to_list() == ["too loud"]


def test_skipping_decides_nothing_and_quitting_leaves_the_rest(world: World) -> None:
    assert pressing(world, "sq") == 0
    assert world.actions() == []


def test_an_edited_draft_is_shown_again_and_still_to_be_decided(world: World, capsys: Any) -> None:
    assert pressing(world, "eaq", "First line\\nSecond line", "tea, rain") == 1
    shown = capsys.readouterr().out
    assert "First line\nSecond line" in shown
    assert "#tea #rain" in shown
    assert [action for _, action in world.actions()] == ["edit", "approve"]


def test_a_decision_that_somebody_else_made_meanwhile_stops_nobody(world: World, capsys: Any) -> None:
    rows = waiting(world.reader, [world.blog])
    record = persona_review._recorder(world.reader, "bea")
    record(rows["outbox_id"][0], "reject", body=None, tags=None, note=None)
    presses = iter("ah")
    assert persona_review.go_through(world.reader, rows, record, lambda _: next(presses), lambda _: "") == 1
    assert "not recorded" in capsys.readouterr().err


def test_the_end_of_the_input_ends_the_review(world: World, capsys: Any) -> None:
    def gone(_: str) -> str:
        raise EOFError

    rows = waiting(world.reader, [world.blog])
    assert persona_review.go_through(world.reader, rows, persona_review._recorder(world.reader, "bea"), gone, gone) == 0


# --- handing out and forgetting -----------------------------------------------------------------------------------


def test_what_would_go_out_of_an_archive_is_shown_and_stays(world: World, say: Say) -> None:
    told = say("deliver")
    assert "demo-blog is an archive, so nothing is sent; 1 posts would go out" in told
    assert key("ask:2") in told
    assert key("ask:1") not in told
    say("review", "--approve", key("ask:1"))
    assert "2 posts would go out" in say("deliver", "--blog", "demo-blog")
    assert logs.DELIVERIES.read(world.control).is_empty()


def test_a_live_blog_without_keys_says_which_are_missing(tmp_path: Path, say: Say) -> None:
    made = World(tmp_path, mode="live", delivery="tumblr")
    told = wrong(say, "deliver")
    assert all(name in told for name in KEYS)
    assert logs.DELIVERIES.read(made.control).is_empty()
    made.control.close()


def test_a_blog_that_is_not_active_is_not_delivered(tmp_path: Path, say: Say) -> None:
    made = World(tmp_path, active=False)
    assert "no blog is active" in say("deliver")
    made.control.close()


def test_resuming_says_what_was_ended(world: World, say: Say) -> None:
    assert "nothing was stopped" in say("resume")


def test_forgetting_records_it_and_says_which_days_to_make_anew(world: World, say: Say) -> None:
    row = {"blog": "demo-blog", "day": DAY, "post_id": "71", "author_blog": "ada", "role": "ask", "payload": "{}"}
    more = {"post_state": "submission", "published_at": NOON, "tags": [], "note_count": 0, "source_file": "a.json"}
    world.put(t.TUMBLR_POSTS, frame(t.TUMBLR_POSTS, {"status": "ok", **row, **more}))
    told = say("forget", "demo-blog", "ask:71", "--actor", "bea")
    assert "71 is forgotten" in told
    assert "magpie run persona --blog demo-blog --from 2026-11-20 --to 2026-11-20" in told
    assert logs.DELETIONS.read(world.control).select("blog", "item", "actor").rows() == [("demo-blog", "71", "bea")]
    assert "no table holds it yet" in say("forget", "demo-blog", "reply:ada:999:1763672400")


@pytest.mark.parametrize("item", ["orig:2026-11-20T12:00:00Z", "hello", "", "reply:ada:71", "7" * 41])
def test_what_nobody_sent_cannot_be_forgotten(world: World, say: Say, item: str) -> None:
    assert "names nothing that somebody sent" in wrong(say, "forget", "demo-blog", item)
    assert logs.DELETIONS.read(world.control).is_empty()


# --- what a run and the doctor say ----------------------------------------------------------------------------------


def test_a_run_ends_with_the_drafts_that_readers_should_like_best(world: World, capsys: Any) -> None:
    best = top_drafts(world.lake, 5)
    assert best["outbox_id"].to_list() == [key("ask:1"), key("ask:3")]
    print_drafts(world.lake)
    told = capsys.readouterr().out
    assert "Top drafts" in told
    assert "word sequences of the blog's own posts" in told


def test_the_doctor_tells_who_writes_what_is_trained_and_what_waits(world: World) -> None:
    found = {one.subject: one for one in examine(world.settings, {}, NOON)}
    assert found["writer of demo-blog"].text.startswith("offline")
    assert "not trained, so every post is a draft" in found["models of demo-blog"].text
    assert found["drafts"].text.startswith("2 waited")
    assert (found["tumblr"].level, found["TUMBLR_OAUTH_TOKEN"].level) == ("note", "note")
    keyed = {one.subject: one for one in examine(world.settings, {"OPENAI_API_KEY": "sk-x"}, NOON)}
    assert keyed["writer of demo-blog"].text.startswith("openai/")


def test_the_doctor_names_keys_that_a_live_blog_lacks_and_folders_that_are_not_there(tmp_path: Path) -> None:
    made = World(tmp_path, mode="live", delivery="tumblr")
    found = {one.subject: one for one in examine(made.settings, {}, NOON)}
    assert found["tumblr"].level == "warn"
    assert "TUMBLR_CONSUMER_KEY" in found["tumblr"].text
    keyed = {one.subject: one for one in examine(made.settings, dict.fromkeys(KEYS, "k" * 20), NOON)}
    assert (keyed["tumblr"].level, keyed["tumblr"].text) == ("ok", "1 live blogs are read; posts go out to demo-blog")
    persona = made.settings.persona.model_copy(update={"archives": ("nowhere",)})
    found = {one.subject: one for one in examine(made.settings.model_copy(update={"persona": persona}), {}, NOON)}
    assert found["tumblr files"].level == "bad"
    made.control.close()
