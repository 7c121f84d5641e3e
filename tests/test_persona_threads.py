"""Rows of threads: what is told of each post, and that one bad payload costs one row."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.documents import DELIMITER
from magpie.persona.settings import Blog
from magpie.persona.tables import IMAGE_TEXTS, THREADS, TUMBLR_POSTS
from magpie.persona.threads import image_texts_of, image_urls_of, parts_of_row, threads
from magpie.persona.wording import count_words
from magpie.sources.tumblr_npf import NpfError, ParsedPost, parse_post
from magpie.tables import all_ok

DATA = Path(__file__).parents[2] / "shared" / "data" / "tumblr"
BLOG = Blog(name="demo-blog")
DAY = date(2025, 11, 20)
AT = 1763672400
NO_TEXTS = IMAGE_TEXTS.empty()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(name: str) -> dict[str, Any]:
    sizes = [{"url": f"https://media.example/{name}-{width}.png", "width": width, "height": 9} for width in (1280, 640)]
    return {"type": "image", "media": sizes}


def trail(author: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"post": {"id": "1", "timestamp": AT - 60}, "blog": {"name": author}, "content": list(blocks), "layout": []}


def raw(post_id: int, *blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    base = {"id_string": str(post_id), "blog_name": "ada", "timestamp": AT, "tags": [], "layout": [], "trail": []}
    return {**base, "content": list(blocks), **fields}


def rows(*posts: ParsedPost) -> pl.DataFrame:
    made = [
        {
            "blog": "demo-blog",
            "day": post.published_at.date(),
            "post_id": post.post_id,
            "role": "mention",
            "author_blog": post.author,
            "post_state": post.state,
            "published_at": post.published_at,
            "tags": list(post.tags),
            "note_count": 0,
            "payload": post.payload,
            "source_file": "a.json",
        }
        for post in posts
    ]
    return TUMBLR_POSTS.shaped(all_ok(pl.DataFrame(made, schema=TUMBLR_POSTS.dtypes)))


def texts(*known: tuple[str, str | None, str | None, date, str]) -> pl.DataFrame:
    made = [
        {
            "blog": "demo-blog",
            "day": day,
            "url": url,
            "text": text,
            "caption": caption,
            "lines": [],
            "status": status,
            "reason": None if status == "ok" else "media_missing",
        }
        for url, text, caption, day, status in known
    ]
    return IMAGE_TEXTS.shaped(pl.DataFrame(made, schema=IMAGE_TEXTS.dtypes))


def made(*posts: dict[str, Any], images: pl.DataFrame = NO_TEXTS, blog: Blog = BLOG) -> list[dict[str, Any]]:
    return threads(rows(*map(parse_post, posts)), images, blog).to_dicts()


def test_a_thread_is_told_in_numbers_names_and_documents() -> None:
    ask = {"type": "ask", "blocks": [0], "attribution": {"type": "blog", "blog": {"name": "cy"}}}
    answered = {**trail("demo-blog", said("How?"), said("So.")), "layout": [ask]}
    [row] = made(raw(7, said("I see — 猫!"), image("cat"), {"type": "video"}, trail=[answered], tags=["a b", "c"]))
    assert row["status"] == "ok"
    assert row["day"] == DAY
    assert row["n_posts"] == 3
    assert row["participants"] == ["cy", "demo-blog", "ada"]
    assert row["has_ask"]
    assert row["final_author"] == "ada"
    assert row["final_body"] == "I see — 猫!\n\n[video]"
    assert row["final_tags"] == ["a b", "c"]
    assert row["n_words_final"] == 5
    assert row["n_images"] == 1
    assert row["image_urls"] == ["https://media.example/cat-1280.png"]
    assert row["has_video"]
    assert row["has_text"]
    assert not row["truncated"]
    assert row["form"] == "2023"
    assert row["text_full"].endswith("\t\nI see — 猫!\n\n[video]\n\n\t #a b, #c<|endoftext|>")
    assert row["text_prompt"].endswith("#4 demo-blog commented:\n\nWritten 9 PM November 2025")
    assert row["text_selector"].startswith("<|endoftext|> Conversation between ada and demo-blog | 2 posts |")
    assert "#1 cy asked:" in row["text_autoreview"]
    assert row["html"].startswith('<article title="cy"><p>How?</p></article><article title="demo-blog"><p>So.</p>')


def test_form_and_zone_are_those_of_the_blog() -> None:
    blog = Blog(name="demo-blog", preset="2022", timezone="America/Los_Angeles")
    [row] = made(raw(7, said("hi"), tags=["x"]), blog=blog)
    assert row["form"] == "2022"
    assert " Written 1 PM November 2025 | ada's tags: #x\n hi<|endoftext|>" in row["text_full"]


def test_pictures_are_told_where_they_were_read_and_by_the_latest_day() -> None:
    cat, dog = ("https://media.example/cat-1280.png", "https://media.example/dog-1280.png")
    known = texts(
        (cat, "NEW", None, date(2025, 11, 20), "ok"),
        (cat, "OLD", None, date(2025, 11, 19), "ok"),
        (dog, None, None, date(2025, 11, 20), "pending"),
    )
    assert set(image_texts_of(known)) == {cat}
    [row] = made(raw(7, image("cat"), image("dog"), image("cat")), images=known)
    assert row["final_body"] == "=======\nNEW\n=======\n\n=======\nNEW\n======="
    assert row["image_urls"] == [cat, dog]
    assert row["n_images"] == 3
    assert not row["has_text"]


def test_an_unreadable_payload_is_a_failed_row_and_the_others_go_on() -> None:
    good = rows(parse_post(raw(1, said("fine"))), parse_post(raw(2, said("gone"))))
    broken = good.with_columns(
        pl.when(pl.col("post_id") == "2").then(pl.lit("{]")).otherwise("payload").alias("payload")
    )
    first, second = threads(broken, NO_TEXTS, BLOG).to_dicts()
    assert first["status"] == "ok"
    assert (second["status"], second["reason"], second["observed"]) == ("failed", "npf_parse", "the payload is no JSON")
    assert second["final_author"] == "ada"
    assert second["text_full"] is second["html"] is None
    assert THREADS.schema.is_valid(threads(broken, NO_TEXTS, BLOG))
    assert image_urls_of("{]") == []
    assert parts_of_row("{]") == ()


def test_posts_that_are_not_ok_and_deleted_ones_make_no_thread() -> None:
    frame = rows(parse_post(raw(1, said("a"))), parse_post(raw(2, said("b"))))
    status = pl.when(pl.col("post_id") == "1").then(pl.lit("rejected")).otherwise("status").alias("status")
    payload = pl.when(pl.col("post_id") == "2").then(None).otherwise("payload").alias("payload")
    assert threads(frame.with_columns(status, payload), NO_TEXTS, BLOG).is_empty()


def test_rows_do_not_depend_on_the_order_of_posts_or_on_what_is_read_with_them() -> None:
    frame = rows(*(parse_post(raw(n, said(f"words {n}"), timestamp=AT + 50_000 * n)) for n in range(1, 6)))
    together = threads(frame, NO_TEXTS, BLOG)
    assert together.equals(threads(frame.reverse(), NO_TEXTS, BLOG))
    single = pl.concat(threads(day, NO_TEXTS, BLOG) for day in frame.partition_by("day"))
    assert together.equals(single.sort(THREADS.sort_by))


@given(JSON, JSON, JSON)
def test_whatever_json_a_post_holds_its_row_fits_the_table(content: Any, layout: Any, item: Any) -> None:
    post = raw(7, content=content, layout=layout, trail=[item, trail("bob", said("x"))])
    try:
        parsed = parse_post(post)
    except NpfError:
        return
    frame = threads(rows(parsed), NO_TEXTS, BLOG)
    assert THREADS.schema.is_valid(frame)
    assert frame["text_full"][0].count(DELIMITER) == 2


@pytest.mark.parametrize("name", ["netstandard_StaffNPFResponse.json", "netstandard_BlogPostResponse_Legacy.json"])
@pytest.mark.parametrize("preset", ["2023", "2022"])
def test_every_post_of_a_real_page_becomes_a_readable_document(name: str, preset: Any) -> None:
    if not DATA.is_dir():
        pytest.skip("needs the real responses of ../shared/data/tumblr")
    page = json.loads((DATA / name).read_text(encoding="utf-8-sig"))["response"]["posts"]
    parsed = [parse_post(post) for post in page]
    frame = threads(rows(*parsed), NO_TEXTS, Blog(name="staff", preset=preset))
    assert frame["status"].to_list() == ["ok"] * len(page)
    assert THREADS.schema.is_valid(frame)
    for row in frame.iter_rows(named=True):
        assert row["text_full"].count(DELIMITER) == 2
        assert row["text_full"].count("\t") == (2 if preset == "2023" else 0)
        assert row["n_posts"] >= 1
        assert f"| {row['n_posts']} posts |" in row["text_full"] or len(row["participants"]) == 1
    assert any("<ol><li>" in text for text in frame["text_full"]) or "Legacy" in name


@pytest.mark.parametrize(
    ("words", "count"),
    [("", 0), ("one", 1), ("one two\n three", 3), ("猫", 2), ("a猫b c", 3), ("\U0001f600 ok", 3), ("\u200b x", 1)],
)
def test_a_word_counts_as_wide_as_its_widest_character(words: str, count: int) -> None:
    assert count_words(words) == count


@given(st.text(max_size=30))
def test_a_word_never_counts_more_than_two(words: str) -> None:
    assert 0 <= count_words(words) <= 2 * len(words.split())
