"""Payloads find their readers, uploads survive being written, and nothing that anybody sends breaks a reader."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.sources import channel_payloads, instagram_items, telegram_export, telegram_web, upload_payload, vk_wall
from magpie.sources.channel_payloads import PayloadError, read_payload
from magpie.sources.meme_posts import TEXT_CHARS, MediaItem, Payload, RawPost, Verdict

DATA = Path(__file__).parents[2] / "shared" / "data"
HELD = sorted(path for name in ("vk", "instagram") for path in (DATA / name).glob("*/*"))
AT = 1_772_366_400
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READERS: tuple[Callable[[bytes], Payload], ...] = (
    lambda content: telegram_export.read(content, "frogs"),
    lambda content: telegram_web.read(content, "frogs"),
    lambda content: vk_wall.read(content, 200),
    instagram_items.read,
    upload_payload.read,
)


def told(content: bytes, platform: str) -> tuple[str, Payload]:
    return read_payload(content, platform, "frogs", vk_text_max=200)


def test_each_payload_finds_its_reader() -> None:
    page = b'<div class="tgme_channel_history"></div>'
    upload = upload_payload.dump(RawPost("1", NOON))
    assert [
        told(b" \n" * 99 + b'{"messages": []}', "telegram")[0],
        told(page, "telegram")[0],
        told(b"[]", "vk")[0],
        told(b"id,text,date\n", "vk")[0],
        told(b"[]", "instagram")[0],
        told(upload, "upload")[0],
    ] == ["telegram_export", "telegram_web", "vk_wall", "vk_wall", "instagram", "upload"]


@pytest.mark.parametrize(
    ("content", "platform", "reason"),
    [
        (b"", "vk", "empty"),
        (b"\xef\xbb\xbf \n", "telegram", "empty"),
        (b"{", "telegram", "not_json"),
        (b"nothing", "instagram", "not_json"),
        (b"<p>nothing", "telegram", "no_preview"),
        (b"{}", "upload", "no_upload"),
        (b"{}", "tumblr", "unknown_platform"),
        (b"<" + b" " * channel_payloads.MAX_PAGE_BYTES, "telegram", "too_large"),
        (b"[" * 100_000, "vk", "not_json"),
        (b"[" + b"9" * 5000 + b"]", "vk", "not_json"),
    ],
)
def test_what_is_no_payload_is_refused_in_one_word_and_one_line(content: bytes, platform: str, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        told(content, platform)
    assert refused.value.reason == reason
    assert "\n" not in str(refused.value)


def test_a_payload_that_is_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_payloads, "MAX_BYTES", 10)
    with pytest.raises(PayloadError, match="too_large"):
        told(b'{"messages": []}', "telegram")


# Uploads.

NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)
COUNTS = st.none() | st.integers(0, 10**12)
ITEMS = st.builds(
    MediaItem,
    kind=st.sampled_from(["photo", "video", "animation"]),
    url=st.none() | st.just("https://cdn.example/a.jpg"),
    file=st.none() | NAMES.map(lambda name: f"{name}/{name}.jpg"),
    width=st.none() | st.integers(1, 9999),
    height=st.none() | st.integers(1, 9999),
    duration_s=st.none() | st.floats(0.1, 9999),
    mime=st.none() | st.just("image/png"),
)
POSTS = st.builds(
    RawPost,
    post_id=st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True),
    published_at=st.timedeltas(timedelta(days=-5000), timedelta(days=5000)).map(lambda apart: NOON + apart),
    url=st.none() | st.just("https://x.example/1"),
    text=st.none() | NAMES,
    media=st.lists(ITEMS, max_size=3).map(tuple),
    out_links=st.lists(st.just("https://x.example/"), max_size=1).map(tuple),
    mentions=st.lists(NAMES, max_size=3).map(tuple),
    hashtags=st.lists(NAMES, max_size=3).map(tuple),
    forwarded_from=st.none() | NAMES,
    forwarded_url=st.none() | st.just("https://t.me/a/1"),
    views=COUNTS,
    likes=COUNTS,
    reposts=COUNTS,
    comments=COUNTS,
    reactions=st.none() | st.dictionaries(NAMES, st.integers(0, 99), min_size=1, max_size=3),
    is_ad=st.booleans(),
    uploader_id=st.none() | NAMES,
    language=st.none() | st.just("ru"),
    rejected=st.none() | st.builds(Verdict, NAMES, st.none() | NAMES, st.none() | NAMES),
    unreadable=st.none() | NAMES,
)


@given(POSTS)
def test_an_upload_is_read_as_it_was_written(post: RawPost) -> None:
    assert upload_payload.read(upload_payload.dump(post)) == Payload((post,))


def test_an_upload_in_another_zone_is_the_same_moment() -> None:
    moment = datetime.fromisoformat("2026-03-01T15:00:00+03:00")
    (post,) = upload_payload.read(upload_payload.dump(RawPost("1", moment))).posts
    assert (post.published_at, post.published_at.utcoffset()) == (NOON, timedelta(0))


def test_an_upload_without_a_zone_is_never_written() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        upload_payload.dump(RawPost("1", NOON.replace(tzinfo=None)))


def test_a_caption_that_no_table_takes_is_cleaned_and_cut() -> None:
    (post,) = upload_payload.read(upload_payload.dump(RawPost("1", NOON, text="\0\udcff" + "x" * 20_000))).posts
    assert post.text == "x" * TEXT_CHARS


def test_an_upload_whose_file_lies_elsewhere_is_unreadable() -> None:
    post = RawPost("1", NOON, media=(MediaItem("photo", file="../../secret.png"),))
    (read,) = upload_payload.read(upload_payload.dump(post)).posts
    assert read == replace(read, media=()) and read.unreadable


def test_an_upload_without_id_is_bad() -> None:
    payload = upload_payload.read(json.dumps({"kind": upload_payload.KIND, "post": {"post_id": "a/b"}}).encode())
    assert (payload.posts, len(payload.bad)) == ((), 1)


# Whatever anybody sends.

KEYS = st.sampled_from(
    [
        *("messages", "id", "type", "date_unixtime", "text", "photo", "file", "media_type", "mime_type"),
        *("reactions", "count", "emoji", "chats", "list", "response", "items", "owner_id", "source_id", "post_id"),
        *("date", "attachments", "sizes", "url", "width", "height", "copy_history", "likes", "views", "error"),
        *("error_code", "data", "user", "edge_owner_to_timeline_media", "edges", "node", "pk", "code", "taken_at"),
        *("taken_at_timestamp", "timestamp", "caption", "media", "uri", "creation_timestamp", "title"),
        *("carousel_media", "image_versions2", "candidates", "page_info", "feed_items", "media_or_ad", "kind"),
        *("post", "published_at", "rejected", "poll", "inline_bot_buttons", "href", "shortcode_media"),
        *("reels_media", "orig_photo", "duration", "video"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *("message", "photo", "link", str(AT), AT, 1, -7, 2**70, "a/../b", "https://x.example/", "\ud800"),
            *("magpie.upload", "public_channel", "video_file", "emoji", "image/png", "2026-03-01T12:00:00Z"),
            *("B7eUksNFA-K", "1_2"),
        ]
    ),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
# Close enough to the real shapes to get past their doors.
PARTS = st.dictionaries(KEYS, VALUES, max_size=6)
WRAPPED = st.one_of(
    st.builds(lambda part: {"messages": [{"id": 1, "date_unixtime": AT} | part]}, PARTS),
    st.builds(lambda part: {"response": {"items": [{"id": 1, "owner_id": -7, "date": AT} | part]}}, PARTS),
    st.builds(lambda part: {"items": [{"pk": 1, "taken_at": AT} | part]}, PARTS),
    st.builds(lambda part, other: [{"media": [part, other], "creation_timestamp": AT}], PARTS, PARTS),
    st.builds(lambda part: {"kind": upload_payload.KIND, "post": {"post_id": "1", "published_at": AT} | part}, PARTS),
)
CLASSES = st.lists(
    st.sampled_from(
        [
            *("tgme_widget_message", "tgme_widget_message_text", "tgme_widget_message_photo_wrap"),
            *("tgme_widget_message_video_player", "tgme_widget_message_poll", "tgme_widget_message_reply"),
            *("tgme_widget_message_views", "tgme_reaction", "service_message"),
            *("tgme_widget_message_forwarded_from_name", "tgme_widget_message_document_wrap"),
            *("tgme_widget_message_link_preview", "js-message_reply_text", "tgme_widget_message_bubble"),
            *("message_media_not_supported_wrap", "tgme_channel_history"),
        ]
    ),
    max_size=3,
).map(" ".join)
WORDS = st.text(max_size=6) | st.sampled_from(
    ["1.2K", "0:28", "#a @bcd https://x.example/ \ud800", "<br>", "&#0;", "\0"]
)
TAGS = st.builds(
    lambda tag, css, post, style, text: (
        f'<{tag} class="{css}" data-post="{post}" style="background-image:url({style})" src="{style}" href="{style}" '
        f'datetime="2026-03-01T12:00:00+00:00">{text}'
    ),
    st.sampled_from(["div", "a", "span", "i", "time", "video", "b", "/div", "/a"]),
    CLASSES,
    st.sampled_from(["frogs/1", "frogs/2", "frogs/x", "", "c/1/2"]),
    st.sampled_from(["'https://x.example/a.jpg'", "a.jpg", "../a", "//x.example", "", "https://t.me/frogs/9?single"]),
    WORDS,
)
PAGES = st.lists(TAGS, max_size=12).map("".join)


def survives(content: bytes) -> None:
    for read in READERS:
        try:
            payload = read(content)
        except PayloadError as refused:
            assert refused.reason and "\n" not in refused.detail
            continue
        for post in payload.posts:
            assert post.published_at.utcoffset() == timedelta(0)
            # Half surrogate pairs and NULs would break whatever stores a post.
            repr(post).encode()
            assert "\0" not in (post.text or "")
            json.loads(upload_payload.dump(post))
            assert len({other.post_id for other in payload.posts}) == len(payload.posts)


@given(VALUES | WRAPPED)
@settings(max_examples=300, deadline=None)
def test_no_json_breaks_a_reader(value: Any) -> None:
    survives(json.dumps(value).encode())


@given(PAGES)
@settings(max_examples=150, deadline=None)
def test_no_page_breaks_a_reader(page: str) -> None:
    survives(page.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b'{"messages": [{"id": 1' + tail))
@settings(deadline=None)
def test_no_bytes_break_a_reader(content: bytes) -> None:
    survives(content)


@given(st.lists(st.text(max_size=10), max_size=8).map(",".join) | st.text(max_size=60))
@settings(deadline=None)
def test_no_table_breaks_a_reader(rows: str) -> None:
    survives(f"id,text,date\n{rows}".encode("utf-8", "surrogatepass"))


# Real answers.


@pytest.mark.skipif(not HELD, reason="the answers of VK and Instagram are not in ../shared/data")
@pytest.mark.parametrize("path", HELD, ids=lambda path: path.name)
def test_every_real_answer_goes_through(path: Path) -> None:
    content, platform = path.read_bytes(), path.parts[-3]
    _, payload = told(content, platform)
    assert told(content, platform)[1] == payload
    assert not any(post.unreadable for post in payload.posts)
    if path.suffix == ".csv":
        # Their moments have no zone.
        assert not payload.posts and payload.bad
    elif "omment" in path.name:
        assert not payload.posts and payload.bad
    elif path.name not in ("profile.json", "stories.json"):
        assert payload.posts and not payload.bad


@pytest.mark.skipif(not HELD, reason="the answers of VK and Instagram are not in ../shared/data")
def test_the_code_of_a_real_post_is_its_number() -> None:
    items = [item["media"] for item in json.loads((DATA / "instagram/pgrimaud/reels.json").read_bytes())["items"]]
    without = [{key: value for key, value in item.items() if key not in ("pk", "id")} for item in items]
    posts = instagram_items.read(json.dumps(without).encode()).posts
    assert [post.post_id for post in posts] == [str(item["pk"]) for item in items]
