"""What the materialisations of persona show: numbers that add up, and texts and pictures that do no harm."""

import base64
import io
import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from leads_world import MemoryLake, some_settings
from PIL import Image

from assets import persona_author_metadata as written
from assets import persona_metadata as shown
from magpie.blobs import Blobs
from magpie.control import Control
from magpie.media.drawing import drawn
from magpie.persona import logs
from magpie.persona import tables as t
from magpie.persona.mood import MoodRules, mood_grid
from magpie.persona.slowdown import BASE
from magpie.persona.stages import Reader
from magpie.persona.tables import TUMBLR_FETCHES
from magpie.tables import Partitions
from tests.persona_outbox_rows import BLOG, DAY, NOON, asked, decision, frame, key, report

Row = dict[str, Any]
HOUR, ONE = timedelta(hours=1), timedelta(days=1)
HOSTILE = "<script>alert(1)</script> | [click](javascript:x) ![i](http://x/i.png)"
FATE = {"status": "ok", **dict.fromkeys(("reason", "observed", "threshold", "not_before"))}
PLACE = {"blog": BLOG.name, "day": DAY}
BAD = {"status": "failed", "reason": "npf_parse", "observed": "no content"}


def cells(value: Any) -> list[list[str]]:
    """The body of a markdown table."""
    assert isinstance(value, dg.MarkdownMetadataValue)
    lines = str(value.value).splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def bars(value: Any) -> dict[str, int]:
    return {row[0].replace("\\", ""): int(row[1]) for row in cells(value)}


def picture_of(value: Any) -> Image.Image:
    found = re.search(r"\(data:image/png;base64,([^)]*)\)", str(value.value))
    assert found is not None
    return Image.open(io.BytesIO(base64.b64decode(found.group(1))))


def harmless(value: Any) -> bool:
    """Nothing of a hostile text is read as markup."""
    text = str(value.value)
    return "<script" not in text and not re.search(r"(?<!\\)\[click", text) and "](http:" not in text


EMPTY = {
    "files": lambda: shown.files_metadata(t.TUMBLR_FILES.empty()),
    "posts": lambda: shown.posts_metadata(t.TUMBLR_POSTS.empty(), TUMBLR_FETCHES.empty(), NOON),
    "replies": lambda: shown.replies_metadata(t.TUMBLR_REPLIES.empty()),
    "images": lambda: shown.images_metadata(t.IMAGE_TEXTS.empty(), MemoryLake(), Blobs(Path("nowhere"))),
    "threads": lambda: shown.threads_metadata(t.THREADS.empty()),
    "models": lambda: shown.models_metadata(t.SELECTOR_MODEL.empty()),
    "inbox": lambda: shown.inbox_metadata(t.PERSONA_INBOX.empty(), NOON),
    "mood": lambda: written.mood_metadata(t.MOOD.empty(), t.MOOD_INPUTS.empty(), [BLOG], MemoryLake()),
    "outbox": lambda: shown.outbox_metadata(t.OUTBOX.empty(), {}),
    **{
        table.name: lambda name=table.name: written.authored_metadata(
            {one.name: one.empty() for one in t.AUTHORED}, MemoryLake()
        )[name]
        for table in t.AUTHORED
    },
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_made_is_shown_as_nothing(name: str) -> None:
    made = EMPTY[name]()
    assert made
    for value in made.values():
        if isinstance(value, dg.MarkdownMetadataValue):
            assert "*nothing*" in value.value or re.search(r"\| 0 \|", value.value)
        else:
            assert value.value == 0


# What was read


def test_pages_of_no_use_and_pages_with_bad_items_are_told_with_what_is_wrong() -> None:
    def page(name: str, **more: Any) -> Row:
        base = {"source_file": name, "blog": BLOG.name, "kind": "posts", "bytes": 1, "modified_ns": 1}
        return {**FATE, **base, "items": 20, "bad_items": 0, **more}

    found = frame(
        t.TUMBLR_FILES,
        page("a.json"),
        page("b.json", bad_items=1, bad_example=HOSTILE),
        page("c.json", status="failed", reason="not_json", items=0, kind=None),
    )
    metadata = shown.files_metadata(found)
    assert metadata["items_read"].value == 40
    assert bars(metadata["files_by_kind"]) == {"posts": 2, "(none)": 1}
    assert [row[0] for row in cells(metadata["files_of_no_use"])] == ["b.json", "c.json"]
    assert harmless(metadata["files_of_no_use"])


def post(post_id: str, role: str = "own", **more: Any) -> Row:
    told = {"author_blog": BLOG.name, "post_state": "published", "published_at": NOON, "tags": [], "note_count": 0}
    return {**FATE, **PLACE, "post_id": post_id, "role": role, "source_file": "a.json", **told, **more}


def test_posts_are_counted_by_role_and_calls_to_tumblr_only_where_there_were_any() -> None:
    found = frame(t.TUMBLR_POSTS, post("1"), post("2", "ask"), post("3", "ask", **BAD))
    quiet = shown.posts_metadata(found, TUMBLR_FETCHES.empty(), NOON)
    assert bars(quiet["posts_by_role"]) == {"own": 1, "ask": 2}
    assert [row[0] for row in cells(quiet["posts_not_used"])] == ["3"]
    assert not [name for name in quiet if name.startswith("calls")]
    call = {"fetch_id": "f", "blog": BLOG.name, "endpoint": "posts", "at": NOON - HOUR, "outcome": "ok", "n_items": 20}
    left = {"calls_left_day": 4000, "calls_left_hour": 800, "day_reset_at": NOON + 5 * HOUR, "hour_reset_at": NOON}
    heard = shown.posts_metadata(found, frame(TUMBLR_FETCHES, {**call, **left}), NOON)
    assert bars(heard["calls_in_24_h"]) == {"ok": 1}
    assert heard["calls_left_today"].value == 4000
    assert heard["calls_left_this_hour"].value == 999  # reset meanwhile


def test_pictures_are_shown_with_their_text_and_those_read_before_are_counted(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    shas = [blobs.put(drawn(f"picture {n}", (300, 200), "png")) for n in range(8)]

    def picture(n: int, url: str, **more: Any) -> Row:
        told = {"media_sha256": shas[n], "text": "" if n else HOSTILE, "lines": [], "engine": "local"}
        return {**FATE, **PLACE, "url": url, **told, "caption": HOSTILE, **more}

    missing = {"status": "pending", "reason": "media_missing", "media_sha256": None, "text": None, "engine": None}
    gone = {"media_sha256": "0" * 64, "text": "a text of bytes that are gone"}
    rows = [picture(n, f"https://m/{n}") for n in range(8)]
    rows += [
        picture(0, "https://m/again"),
        picture(0, "https://m/gone", **gone),
        picture(0, "https://m/lost", **missing),
    ]
    lake = MemoryLake()
    lake.write(t.IMAGE_TEXTS, frame(t.IMAGE_TEXTS, picture(1, "https://m/1")), Partitions.of([(BLOG.name, DAY)]))
    metadata = shown.images_metadata(frame(t.IMAGE_TEXTS, *rows), lake, blobs)
    assert metadata["pictures"].value == 9
    assert metadata["cache_hits"].value == 2  # one of an earlier run, one of another address
    assert [row[0] for row in cells(metadata["not_read"])] == ["https\\://m/lost"]
    table = cells(metadata["thumbnails"])
    assert len(table) == shown.THUMBNAILS
    assert table[0][0].startswith("![") and "data:image/jpeg;base64," in table[0][0]
    assert "alert" in table[0][1]
    assert harmless(metadata["thumbnails"])


def thread(post_id: str, n_posts: int = 1, **more: Any) -> Row:
    lists: Row = {"participants": [], "final_tags": [], "image_urls": []}
    flags = dict.fromkeys(("has_ask", "has_video", "has_text", "truncated"), False)
    counts = {"n_posts": n_posts, "n_words_final": 1, "n_images": 0}
    return {
        **FATE,
        **PLACE,
        **lists,
        **flags,
        **counts,
        "post_id": post_id,
        "final_author": "x",
        "form": "2023",
        **more,
    }


def test_the_newest_talk_is_shown_line_by_line_and_what_cannot_be_parsed_is_listed() -> None:
    found = frame(
        t.THREADS,
        thread("1", 2, text_full=f"#1 ada asked:\n\n{HOSTILE}\n```"),
        thread("2", text_full="alone"),
        thread("3", 0, **BAD),
    )
    metadata = shown.threads_metadata(found)
    assert metadata["parse_failures"].value == 1
    assert cells(metadata["not_parsed"]) == [["3", "npf\\_parse", "no content"]]
    lines = [row[0] for row in cells(metadata["document"])]
    assert lines[0] == "\\#1 ada asked:" and lines[1] == "" and lines[3] == "\\`\\`\\`"
    assert harmless(metadata["document"])
    assert bars(metadata["posts_per_thread"]) == {"0": 1, "1": 1, "2": 1}


# Models and the inbox


def test_a_model_is_shown_with_its_plot_cuts_and_the_words_on_either_side() -> None:
    evaluation = {
        "reliability": [{"low": 0.2, "high": 0.3, "n": 5, "mean_p": 0.25, "share": 0.2}],
        "terms": [{"term": HOSTILE, "weight": 2.0}, {"term": "good", "weight": 1.0}, {"term": "bad", "weight": -1.5}],
    }
    cuts = {"reject_above": {"value": 0.6, "source": "trained", "trained": 0.6, "labels": 220}}
    base = {**FATE, "blog": BLOG.name, "n_pos": 60, "n_neg": 70, "auc_oof": 0.71}
    used = {**base, "version": "u" * 64, "effective_from": NOON, "thresholds": json.dumps(cuts)}
    used["evaluation"] = json.dumps(evaluation)
    refused = {
        "status": "rejected",
        "reason": "too_few_labels",
        "auc_oof": None,
        "thresholds": "{}",
        "evaluation": "{}",
    }
    later = {**base, "version": "r" * 64, "effective_from": NOON + ONE, **refused}
    metadata = shown.models_metadata(frame(t.AUTOREVIEW_MODEL, used, later))
    assert [row[1] for row in cells(metadata["versions"])] == ["r" * 12, "u" * 12]
    plot = str(metadata[f"reliability_{BLOG.name}"].value)
    svg = base64.b64decode(plot.split("base64,")[1].rstrip(")")).decode()
    assert "AUC 0.710" in svg and svg.count("<circle") == 1
    terms = cells(metadata[f"terms_{BLOG.name}"])
    assert [row[2] for row in terms] == ["bad", "good", terms[0][0]]
    assert harmless(metadata[f"terms_{BLOG.name}"])
    assert cells(metadata[f"thresholds_{BLOG.name}"]) == [["reject\\_above", "0.6", "trained", "0.6", "220"]]


def test_the_funnel_of_the_inbox_narrows_and_waiting_ages_are_told_as_of_the_day_or_now() -> None:
    waits = {"state": "waiting", "status": "pending", "reason": "waiting"}
    dropped = {"state": "ignored", "status": "rejected", "reason": "too_short"}
    found = frame(
        t.PERSONA_INBOX,
        asked("ask:1", cost=3.0),
        asked("ask:2", state="admitted", cost=12.5),
        asked("ask:3", **waits, created_at=NOON - 2 * HOUR),
        asked("ask:4", **waits, created_at=NOON),
        asked("ask:5", **dropped, cost=None),
    )
    metadata = shown.inbox_metadata(found, NOON + 2 * HOUR)
    assert bars(metadata["funnel"]) == {"received": 5, "accepted": 4, "admitted": 2}
    assert [row[0] for row in cells(metadata["top_costs"])][:2] == ["ask:2", "ask:1"]
    assert [(row[0], row[2]) for row in cells(metadata["waiting_longest"])] == [("ask:3", "4.0"), ("ask:4", "2.0")]
    years_later = shown.inbox_metadata(found, NOON + 700 * ONE)
    assert [row[2] for row in cells(years_later["waiting_longest"])] == ["14.0", "12.0"]


# What the author made


def authored(lake: MemoryLake | None = None, **rows: list[Row]) -> dict[str, dict[str, Any]]:
    frames = {table.name: frame(table, *rows.get(table.name, ())) for table in t.AUTHORED}
    return written.authored_metadata(frames, lake or MemoryLake())


def text(input_id: str, k: int, reason: str | None = None) -> Row:
    fate = {"status": "rejected", "reason": reason} if reason else {}
    own = {"k": k, "tags": [], "n_planned": 2, "prompt_sha256": "", "cost_usd": 0, "rng_seed": ""}
    return {**FATE, **PLACE, "input_id": input_id, "attempt": 1, **own, **fate}


def test_draws_that_were_written_again_are_shares_of_all_draws_by_reason() -> None:
    draws = [text("ask:1", 0), text("ask:1", 1, "too_short"), text("ask:1", 2), text("ask:2", 0, "profanity")]
    metadata = authored(candidates=draws)["candidates"]
    assert metadata["regenerated_share"].value == 0.5
    assert bars(metadata["texts_per_input"]) == {"0": 1, "2": 1}
    found = {row[0]: float(row[2]) for row in cells(metadata["regenerated_by_reason"])}
    assert found == {"profanity": 0.25, "too\\_short": 0.25}


def test_scores_are_shown_in_tenths_with_those_that_are_not_there() -> None:
    def score(k: int, p: float, risk: float | None) -> Row:
        place = {**PLACE, "input_id": "ask:1", "attempt": 1, "k": k}
        told = {"selector_p": p, "selector_adjusted": p, "sentiment_logit": 0.0, "sentiment_p": p}
        return {**place, **told, "autoreview_p": risk}

    metadata = authored(candidate_scores=[score(0, 0.0, None), score(1, 0.55, 0.1), score(2, 1.0, 0.2)])
    found = metadata["candidate_scores"]
    assert {name: n for name, n in bars(found["selector_p"]).items() if n} == {"0.0-0.1": 1, "0.5-0.6": 1, "0.9-1.0": 1}
    assert {name: n for name, n in bars(found["autoreview_p"]).items() if n} == {"0.1-0.2": 1, "0.2-0.3": 1, "none": 1}


def test_decisions_are_shown_as_routes_by_reason_with_shares_and_harmless_texts() -> None:
    rows = [
        decision("ask:1", route="publish", route_reason="clean", explore=True, body=HOSTILE, tags=[HOSTILE]),
        decision("ask:2", route="draft", route_reason="clean", explore=False, n_retained=1),
        decision("orig:3", route="draft", explore=False, n_candidates=10, n_retained=5),
        decision("ask:4", route=None, body=None, n_candidates=0, n_retained=0, status="failed", reason="no_candidate"),
    ]
    metadata = authored(decisions=rows)["decisions"]
    assert cells(metadata["routes_by_reason"]) == [["clean", "1", "1"], ["ml\\_flagged", "0", "1"]]
    assert metadata["mood_dropped_share"].value == 0.5
    assert metadata["explore_share"].value == pytest.approx(1 / 3, abs=1e-4)
    by_kind = {row[0]: row[1:3] for row in cells(metadata["by_kind"])}
    assert by_kind == {"ask": ["3", "0.5"], "original": ["1", "0.5"]}
    assert len(cells(metadata["chosen_texts"])) == 3
    assert harmless(metadata["chosen_texts"])


def kept(name: str, day: date, added: date, p: float = 0.6) -> Row:
    place = {"blog": BLOG.name, "day": day, "text_sha256": name, "body": HOSTILE, "tags": [], "added_day": added}
    return {**place, "selector_p": p, "sentiment_logit": 0.0}


def test_kept_texts_that_left_were_posted_or_pruned_and_the_rest_stayed() -> None:
    lake = MemoryLake()
    before = [kept(name, DAY - 2 * ONE, DAY - 5 * ONE) for name in ("stays", "posted", "pruned")]
    here = Partitions.of([(BLOG.name, DAY - 2 * ONE)])
    lake.write(t.RETENTION_SET, frame(t.RETENTION_SET, *before), here)
    slots = [decision("orig:1", day=DAY, chosen_sha256="posted")]
    rows = [
        *(kept(name, DAY - ONE, DAY - ONE) for name in ("stays", "posted", "short-lived")),
        *(kept(name, DAY, DAY, p) for name, p in (("stays", 0.5), ("new", 0.9))),
    ]
    metadata = authored(lake, decisions=slots, retention_set=rows)["retention_set"]
    assert cells(metadata["kept"]) == [[BLOG.name, "3", "2", "1", "2", "2"]]
    assert [row[0] for row in cells(metadata["best"])] == ["0.9", "0.5"]
    assert harmless(metadata["best"])


def test_a_set_that_was_emptied_is_shown_as_empty() -> None:
    rows = [kept("gone", DAY - ONE, DAY - ONE)]
    slots = [decision("orig:1", chosen_sha256="gone")]
    metadata = authored(decisions=slots, retention_set=rows)["retention_set"]
    assert cells(metadata["kept"]) == [[BLOG.name, "0", "1", "1", "0", "0"]]


# The mood, and what goes out


def kick(input_id: str, size: float, at: datetime = NOON) -> Row:
    numbers = {"input_logit": 0.0, "determiner": 0.0, "centre": 0.4, "mult": 0.6667, "kick": size}
    return {"blog": BLOG.name, "day": at.date(), "input_id": input_id, "kick_ts": at, **numbers}


def test_the_mood_is_a_picture_that_knows_the_kicks_of_the_days_before() -> None:
    def of(before: list[Row]) -> tuple[Any, dict[str, Any]]:
        lake = MemoryLake()
        lake.write(t.MOOD_INPUTS, frame(t.MOOD_INPUTS, *before), Partitions.of([(BLOG.name, DAY - ONE)]))
        kicks = frame(t.MOOD_INPUTS, *(kick(f"ask:{n}", n / 10) for n in range(-6, 7)))
        made = mood_grid(kicks.select("kick_ts", "kick"), [DAY], MoodRules.of(BLOG), "2023")
        metadata = written.mood_metadata(made, kicks, [BLOG], lake)
        return picture_of(metadata[f"mood_{BLOG.name}"]), metadata

    alone, metadata = of([])
    after, _ = of([kick("ask:before", 3.0, NOON - ONE)])
    assert alone.size == (800, 320)
    assert alone.tobytes() != after.tobytes()
    assert [row[0] for row in cells(metadata["happiest_kicks"])] == [f"ask:{n}" for n in (6, 5, 4, 3, 2)]
    assert [row[0] for row in cells(metadata["saddest_kicks"])] == [f"ask:{n}" for n in (-6, -5, -4, -3, -2)]
    assert sum(bars(metadata["values"]).values()) == 144


def a_post(input_id: str, state: str, **more: Any) -> Row:
    own = {"outbox_id": key(input_id), "input_id": input_id, "attempt": 1, "kind": "original", "body": HOSTILE}
    return {**FATE, **PLACE, **own, "tags": [], "state": state, "edited": False, **more}


def test_the_outbox_shows_the_next_slots_what_waits_for_people_and_the_pace() -> None:
    review = {"status": "pending", "reason": "review", "observed": "ml_flagged"}
    found = frame(
        t.OUTBOX,
        a_post("orig:2", "ready", publish_at=NOON + 2 * HOUR),
        a_post("orig:1", "queued", publish_at=NOON + HOUR),
        a_post("orig:0", "published", publish_at=NOON),
        a_post("ask:1", "draft", **review),
    )
    metadata = shown.outbox_metadata(found, {BLOG.name: (BASE, 250)})
    assert [row[0] for row in cells(metadata["next_slots"])] == [key("orig:1"), key("orig:2")]
    assert [row[0] for row in cells(metadata["waiting_for_people"])] == [key("ask:1")]
    assert cells(metadata["pace"]) == [[BLOG.name, "base", "250"]]
    assert all(harmless(metadata[name]) for name in ("next_slots", "waiting_for_people"))


def test_posts_left_are_the_limit_without_what_was_published_since_midnight_in_new_york(tmp_path: Path) -> None:
    control = Control(f"sqlite:///{tmp_path / 'control.db'}")
    midnight = datetime.fromisoformat("2026-11-20T05:00:00+00:00")
    published = {"remote_state": "published"}
    logs.DELIVERIES.append(
        control,
        [
            report("done", 0, key("ask:1"), at=midnight - HOUR, delivery_id="a", **published),
            report("done", 0, key("ask:2"), at=midnight, delivery_id="b", **published),
            report("done", 0, key("ask:3"), at=midnight + HOUR, delivery_id="c", remote_state="queue"),
        ],
    )
    settings = some_settings(blogs=[BLOG], home=tmp_path)
    reader = Reader(settings, MemoryLake(), control, Blobs(tmp_path), None, lambda: NOON)
    assert shown.paces(reader, [BLOG]) == {BLOG.name: (BASE, 249)}
