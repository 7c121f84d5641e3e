"""The page of a day: what it tells, that foreign text stays text, and changes of mind."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from mentions_world import a_mention, a_transcript, a_video, an_analysis, mentions, rows_of
from polars.testing import assert_frame_equal

from magpie.lake import conform
from magpie.videos.consensus import ConsensusRules, ticker_consensus
from magpie.videos.digest import CHANGES, NOTICE, changes_of_mind, daily_digest, digest
from magpie.videos.settings import Videos
from magpie.videos.tables import DAILY_DIGEST, TICKER_CONSENSUS, TRANSCRIPTS, VIDEO_ANALYSES, VIDEOS

DAY = date(2026, 3, 20)
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
NAMES = {"A": "Calm Capital", "B": "Ticker *Talk*"}


def page(
    videos: list[dict[str, Any]],
    transcripts: list[dict[str, Any]] | None = None,
    analyses: list[dict[str, Any]] | None = None,
    said: pl.DataFrame | None = None,
) -> str:
    said = mentions() if said is None else said
    rules = ConsensusRules.of(Videos())
    return digest(
        DAY,
        rows_of(VIDEOS, videos),
        rows_of(TRANSCRIPTS, transcripts or []),
        rows_of(VIDEO_ANALYSES, analyses or []),
        said,
        ticker_consensus(said, [DAY], dict.fromkeys(NAMES, 1.0), rules),
        changes_of_mind(said),
        NAMES,
    )


def read(video_id: str, **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return a_video(video_id, DAY, published_at=NOON, **given), an_analysis(video_id, DAY)


def test_a_video_is_told_with_outlook_summary_and_its_quotes_in_order_of_conviction() -> None:
    video, analysis = read("v1")
    said = mentions(
        a_mention("m1", NOON, video_id="v1", conviction=0.5, located_s=75),
        a_mention("m2", NOON, video_id="v1", conviction=0.9, symbol="TSLA", action="sell", company_name=None),
        a_mention("m3", NOON, video_id="v1", status="rejected", reason="ungrounded_quote", symbol="GONE"),
    )
    text = page([video], [a_transcript("v1", DAY)], [analysis], said)
    assert text.startswith("# 2026-03-20\n\nVideos read: 1. Mentions: 2. Videos skipped: 0.\n\n## Calm Capital\n")
    assert "### [Title of v1](https://www.youtube.com/watch?v=v1)" in text
    assert "Outlook: **bearish**. Margins shrink." in text and "Two stocks and a warning." in text
    watch = "https://www.youtube.com/watch?v"
    sell = f"- **TSLA**: sell, conviction 0.90. “what was said in m2” [1:00]({watch}=m2&t=60s)"
    buy = f"- **NVDA** (Nvidia): buy, conviction 0.50. “what was said in m1” [1:15]({watch}=m1&t=60s)"
    assert 0 < text.index(sell) < text.index(buy)
    assert "GONE" not in text
    assert text.endswith(f"\n{NOTICE}\n")


def test_of_many_mentions_the_strongest_five_are_told_and_the_rest_counted() -> None:
    video, analysis = read("v1")
    said = mentions(*(a_mention(f"m{n}", NOON, video_id="v1", conviction=n / 10, symbol=f"S{n}") for n in range(8)))
    text = page([video], analyses=[analysis], said=said)
    assert "**S3**" in text and "**S2**" not in text and "- and 3 more" in text


def test_every_skipped_video_says_why_by_the_first_stage_that_stopped_it() -> None:
    later = datetime(2026, 3, 21, 0, 0, tzinfo=UTC)
    videos = [
        a_video("v1", DAY, status="rejected", reason="short", observed="42", published_at=NOON),
        *(a_video(name, DAY) for name in ("v2", "v3", "v4", "v5")),
    ]
    heard = [a_transcript("v2", DAY, status="failed", reason="no_captions"), a_transcript("v3", DAY)]
    waits = an_analysis("v3", DAY, status="pending", reason="cap_exhausted", not_before=later)
    text = page(videos, [*heard, a_transcript("v4", DAY)], [waits, an_analysis("v4", DAY)])
    assert "Videos read: 1. Mentions: 0. Videos skipped: 4." in text
    for name, why in {
        "v1": "rejected: short (42)",
        "v2": "failed: no\\_captions",
        "v3": "pending: cap\\_exhausted, next try after 2026-03-21 00:00 UTC",
        "v5": "not read yet",
    }.items():
        assert f"- [Title of {name}](https://www.youtube.com/watch?v={name}): {why}\n" in text
    assert "No stock mention holds." in text


def test_text_of_others_stays_text() -> None:
    evil = "# x [y](javascript:z) <img src=q> `c` | *b*\n\n- item"
    video, analysis = read("v1", title=evil, url="javascript:alert(1)")
    analysis |= {"summary": evil, "outlook_reasoning": evil}
    said = mentions(
        a_mention("m1", NOON, video_id="v1", rationale_quote=evil, company_name=evil, deep_link="https://x/) <b>")
    )
    text = page([video], analyses=[analysis], said=said)
    for found in ("<img", "<b>", "\n- item", "\n# x"):
        assert found not in text
    assert re.search(r"(?<!\\)\]\((?!https://www\.youtube\.com/watch)", text) is None
    assert text.count("\\# x \\[y\\](javascript:z) &lt;img src=q&gt; \\`c\\` \\| \\*b\\* - item") == 5


def test_the_consensus_shows_both_ends_and_what_is_contested() -> None:
    said = mentions(
        a_mention("m1", NOON, symbol="UP"),
        a_mention("m2", NOON, symbol="DOWN", action="sell"),
        a_mention("m3", NOON, symbol="SPLIT"),
        a_mention("m4", NOON, symbol="SPLIT", action="sell", channel_id="B"),
        a_mention("m5", NOON, symbol="HELD", action="hold"),
    )
    text = page([], said=said)
    assert "| UP | 73.7 | 1 | 1.00 |" in text and "| DOWN | 26.3 | 1 | 1.00 |" in text
    assert text.index("Highest:") < text.index("| UP") < text.index("Lowest:") < text.index("| DOWN")
    assert "Contested: SPLIT." in text and "HELD" not in text
    assert "No symbol is far enough from neutral." in page([])


def test_a_change_of_mind_is_told_on_the_day_it_happened_with_both_quotes() -> None:
    said = mentions(a_mention("m1", NOON - timedelta(days=14)), a_mention("m2", NOON, action="sell"))
    text = page([], said=said)
    assert "## Changes of mind\n\n- Calm Capital on **NVDA**\n  - [2026-03-06](" in text
    assert text.index("buy: “what was said in m1”") < text.index("sell: “what was said in m2”")
    earlier = mentions(*said.with_columns(pl.col("published_at", "day") - pl.duration(days=1)).to_dicts())
    assert "Changes of mind" not in page([], said=earlier)


def test_only_a_different_direction_within_half_a_year_is_a_change() -> None:
    def changed(*steps: tuple[str, int], **given: Any) -> list[tuple[str, str]]:
        rows = [
            a_mention(f"m{n}", NOON - timedelta(days=days), action=action, **given)
            for n, (action, days) in enumerate(steps)
        ]
        return changes_of_mind(mentions(*rows)).select("before_action", "after_action").rows()

    assert changed(("buy", 9), ("sell", 0)) == [("buy", "sell")]
    assert changed(("buy", 9), ("buy", 5), ("hold", 2), ("avoid", 0)) == [("buy", "hold"), ("hold", "avoid")]
    assert changed(("sell", 9), ("short", 5), ("avoid", 2)) == []
    assert changed(("buy", 180), ("sell", 0)) == [("buy", "sell")]
    assert changed(("buy", 181), ("sell", 0)) == []
    assert changed(("buy", 9), ("sell", 0), is_active=False) == []
    # A mention without a view of its own stands between nothing.
    assert changed(("buy", 9), ("mention", 5), ("sell", 0)) == [("buy", "sell")]
    assert changes_of_mind(mentions()).schema == CHANGES


def test_views_of_another_channel_or_symbol_are_no_change() -> None:
    said = mentions(
        a_mention("m1", NOON - timedelta(days=2)),
        a_mention("m2", NOON - timedelta(days=1), action="sell", channel_id="B"),
        a_mention("m3", NOON, action="sell", symbol="TSLA"),
    )
    assert changes_of_mind(said).is_empty()


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["buy", "hold", "sell"]), st.integers(0, 400))),
    order=st.randoms(use_true_random=False),
)
def test_changes_depend_on_no_row_order_and_alternate(steps: list[tuple[str, str, int]], order: Any) -> None:
    rows = [
        a_mention(f"m{n:03}", NOON - timedelta(hours=hours), channel_id=channel, action=action)
        for n, (channel, action, hours) in enumerate(steps)
    ]
    found = changes_of_mind(mentions(*rows))
    order.shuffle(rows)
    key = ["channel_id", "after_mention_id"]
    assert_frame_equal(changes_of_mind(mentions(*rows)).sort(key), found.sort(key), check_exact=True)
    assert (found["before_said_at"] <= found["after_said_at"]).all()
    assert (found["before_action"] != found["after_action"]).all()


def test_each_day_has_a_page_of_its_own_also_when_nothing_happened() -> None:
    video, analysis = read("v1")
    said = mentions(a_mention("m1", NOON, video_id="v1"))
    days = [DAY, DAY + timedelta(days=1)]
    frames = (rows_of(VIDEOS, [video]), rows_of(TRANSCRIPTS, []), rows_of(VIDEO_ANALYSES, [analysis]))
    found = conform(DAILY_DIGEST, daily_digest(days, *frames, said, TICKER_CONSENSUS.empty(), NAMES))
    assert found.select("day", "videos", "mentions").rows() == [(DAY, 1, 1), (days[1], 0, 0)]
    alone = daily_digest([DAY], *frames, said, TICKER_CONSENSUS.empty(), NAMES)
    assert alone["markdown"][0] == found["markdown"][0]
    assert found["markdown"][1].startswith("# 2026-03-21\n") and NOTICE in found["markdown"][1]
