"""What the materialisations of content show: numbers that add up, and pictures and titles that do no harm."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import content_metadata as shown
from magpie.content import tables as t
from magpie.media.drawing import drawn
from tests.content_rows import DAY, article, cluster, frame, image_prompt, keyword, picture

HOSTILE = "<script>alert(1)</script> | [click](javascript:x) ![i](http://x/i.png)"
EMPTY = {
    "files": lambda: shown.files_metadata(t.KEYWORD_FILES.empty()),
    "keywords": lambda: shown.keywords_metadata(t.KEYWORDS.empty()),
    "clusters": lambda: shown.clusters_metadata(t.KEYWORD_CLUSTERS.empty()),
    "ideas": lambda: shown.ideas_metadata(t.CONTENT_IDEAS.empty()),
    "articles": lambda: shown.articles_metadata(t.ARTICLES.empty(), 0.25),
    "prompts": lambda: shown.prompts_metadata(t.IMAGE_PROMPTS.empty()),
    "images": lambda: shown.images_metadata(t.ARTICLE_IMAGES.empty(), Path("nowhere")),
}


def cells(value: Any) -> list[list[str]]:
    """The body of a markdown table."""
    assert isinstance(value, dg.MarkdownMetadataValue)
    lines = str(value.value).splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def bars(value: Any) -> dict[str, int]:
    return {row[0].replace("\\", ""): int(row[1]) for row in cells(value)}


def a_file(name: str, **more: Any) -> dict[str, Any]:
    base = {"source_file": name, "site_id": "garden", "day": DAY, "format": "plain", "status": "ok"}
    return {**base, "bytes": 1, "modified_ns": 1, "keywords": 4, "bad_rows": 0, **more}


def an_idea(name: str, **more: Any) -> dict[str, Any]:
    own = {"idea_id": name, "sector": "general", "cluster_key": "sheds", "title_norm": name, "description": ""}
    told = {"outline": "{}", "covered_keywords": [], "estimated_word_count": 1500, "priority": "high"}
    return {**article(), **own, **told, "approval": "auto", "flags": [], **more}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_made_is_shown_as_nothing(name: str) -> None:
    for value in EMPTY[name]().values():
        assert not isinstance(value, dg.MarkdownMetadataValue) or "*nothing*" in value.value or " 0 " in value.value


def test_files_of_no_use_and_files_with_bad_rows_are_told_with_what_is_wrong() -> None:
    found = frame(
        t.KEYWORD_FILES,
        a_file("a.csv"),
        a_file("b.csv", bad_rows=2, bad_example="row 3: volume 'x' is not a count"),
        a_file("c.csv", status="failed", reason="unknown_format", format=None, keywords=0, site_id=None),
    )
    metadata = shown.files_metadata(found)
    assert metadata["keywords_read"].value == 8
    assert bars(metadata["files_by_format"]) == {"plain": 2}
    assert [row[0] for row in cells(metadata["files_of_no_use"])] == ["b.csv", "c.csv"]


def test_the_most_searched_keywords_count_what_a_person_said_and_unused_ones_say_why() -> None:
    found = frame(
        t.KEYWORDS,
        keyword("low", volume=10, intent="commercial"),
        keyword("high", volume=5, volume_override=100),
        keyword("unknown"),
        keyword("gone", status="rejected", reason="excluded", observed="gone", threshold="gone"),
    )
    metadata = shown.keywords_metadata(found)
    assert [row[0] for row in cells(metadata["most_searched"])] == ["high", "low", "unknown"]
    assert bars(metadata["keywords_by_intent"]) == {"(none)": 2, "commercial": 1}
    assert [row[:2] for row in cells(metadata["keywords_not_used"])] == [["gone", "excluded"]]


def test_topics_are_told_by_volume_with_what_is_left_over_beside_them() -> None:
    prompt = {"prompt_source": "site", "prompt_version": "0123456789abcdef"}
    left = cluster(t.UNCLUSTERED, "x", status="rejected", reason="unclustered", observed="1", threshold="3", **prompt)
    found = frame(
        t.KEYWORD_CLUSTERS,
        cluster("huts", volume=5, avg_cosine=0.41234, **prompt),
        cluster("sheds", volume=50, flags=["renamed"], **prompt),
        left,
    )
    metadata = shown.clusters_metadata(found)
    assert [row[0] for row in cells(metadata["topics"])] == ["Sheds", "Huts"]
    assert "0.412" in cells(metadata["topics"])[1]
    assert metadata["unclustered_share"].value == round(1 / 7, 4)
    assert bars(metadata["corrections"]) == {"renamed": 1}
    assert bars(metadata["prompt_source_and_version"]) == {"site 0123456789ab": 3}
    assert len(cells(metadata["unclustered"])) == 1


def test_ideas_that_wait_for_a_yes_are_told_and_those_turned_down_with_what_they_repeat() -> None:
    waiting = {"status": "pending", "reason": "awaiting_approval", "approval": "waiting"}
    twin = {"status": "rejected", "reason": "duplicate_topic", "similar_to": "https://x.example/sheds"}
    found = frame(
        t.CONTENT_IDEAS,
        an_idea("i1", priority="low"),
        an_idea("i2", priority="high", cluster_key="huts", **waiting),
        an_idea("i3", similarity=0.71239, **twin),
    )
    metadata = shown.ideas_metadata(found)
    assert bars(metadata["ideas_by_topic"]) == {"huts": 1, "sheds": 1}
    assert bars(metadata["ideas_by_approval"]) == {"auto": 1, "waiting": 1}
    assert [row[-1] for row in cells(metadata["first_ideas"])] == ["i2", "i1"]
    ((_, status, reason, _, similarity),) = cells(metadata["ideas_not_written"])
    assert (status, reason.replace("\\", ""), similarity) == ("rejected", "duplicate_topic", "0.712")


def test_lengths_are_held_against_their_target_and_scores_fall_into_tens() -> None:
    moderated = {"status": "rejected", "reason": "moderated", "moderation_flagged": True}
    found = frame(
        t.ARTICLES,
        article("a1", word_count=1250, target_word_count=1000, quality_score=100, quality_flags=["outline"]),
        article("a2", word_count=1251, target_word_count=1000, quality_score=90, parse_mode="text"),
        article("a3", word_count=1000, target_word_count=1000, quality_score=9, quality_flags=["outline"]),
        article("a4", **moderated, moderation_categories=["hate"], moderation_provider="offline"),
    )
    metadata = shown.articles_metadata(found, 0.25)
    assert metadata["lengths_that_fit"].value == "2 of 3, within 25%"
    assert metadata["median_quality"].value == 90
    scores = bars(metadata["quality"])
    assert {name: count for name, count in scores.items() if count} == {"0 to 9": 1, "90 to 100": 2}
    assert len(scores) == 10
    assert bars(metadata["quality_flags"]) == {"outline": 2}
    assert bars(metadata["parse_modes"]) == {"json": 3, "text": 1}
    assert bars(metadata["moderation"]) == {"passed": 3, "flagged": 1}
    assert bars(metadata["moderation_categories"]) == {"hate": 1}


def test_a_title_that_is_markup_stays_text() -> None:
    metadata = shown.articles_metadata(frame(t.ARTICLES, article(title=HOSTILE)), 0.25)
    (line,) = str(metadata["articles"].value).splitlines()[2:]
    assert "<script>" not in line
    assert "](javascript" not in line.replace("\\]", "")
    assert len(re.findall(r"(?<!\\)\|", line)) == 8


def test_prompts_nobody_has_looked_at_are_told() -> None:
    found = frame(
        t.IMAGE_PROMPTS,
        image_prompt(),
        image_prompt(kind="in_article", moderation_flagged=None, status="pending", reason="moderation_unavailable"),
    )
    metadata = shown.prompts_metadata(found)
    assert bars(metadata["moderation"]) == {"passed": 1, "not looked at": 1}
    assert bars(metadata["slots_by_type"]) == {"featured": 1, "in_article": 1}
    assert len(cells(metadata["examples"])) == 1


def test_the_first_four_images_are_shown_and_those_that_cannot_be_are_passed_over(tmp_path: Path) -> None:
    contents = [drawn(f"prompt {n}", (640, 480), "png") for n in range(6)]
    rows = [picture(contents[0], "a1")]
    rows += [picture(one, "a1", "in_article", n) for n, one in enumerate(contents[1:])]
    for row, content in zip(rows, contents, strict=True):
        file = tmp_path / row["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (tmp_path / rows[1]["path"]).unlink()
    (tmp_path / rows[2]["path"]).write_bytes(b"no picture")
    refused = picture(b"x", "a2", status="rejected", reason="refused", path=None, size_used=None)
    rows[3]["size_used"] = "1024x1024"
    metadata = shown.images_metadata(frame(t.ARTICLE_IMAGES, *rows[::-1], refused), tmp_path)
    previews = cells(metadata["previews"])
    assert [(row[2].replace("\\", ""), row[3]) for row in previews] == [
        *(("featured", "0"), ("in_article", "2"), ("in_article", "3"), ("in_article", "4"))
    ]
    assert all("data:image/jpeg;base64," in row[0] for row in previews)
    assert sum(len(row[0]) for row in previews) < 2 * shown.PICTURE_BYTES
    assert metadata["other_size_than_requested"].value == 1
    assert metadata["bytes"].value == sum(map(len, contents))
    assert [row[4] for row in cells(metadata["images_not_made"])] == ["refused"]
