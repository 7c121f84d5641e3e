"""Telegram's two forms of a channel: each post once, with what is told of it, and one row from both."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from magpie.sources import telegram_export, telegram_web
from magpie.sources.meme_posts import MediaItem, Payload, PayloadError, RawPost

SECOND = 1_772_366_400
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEFT_OUT = "(File not included. Change data exporting settings to download.)"


def message(number: int, **parts: Any) -> dict[str, Any]:
    told = {"id": number, "type": "message", "date": "2026-03-01T15:00:00", "date_unixtime": str(SECOND + 60 * number)}
    return told | {"from": "Frogs", "from_id": "channel7", "text": ""} | parts


def export(*messages: Any, **parts: Any) -> bytes:
    return json.dumps({"name": "Frogs", "type": "public_channel", "id": 7, "messages": messages} | parts).encode()


def exported(*messages: Any) -> Payload:
    return telegram_export.read(export(*messages), "frogs")


def only(payload: Payload) -> RawPost:
    assert not payload.bad
    (post,) = payload.posts
    return post


def album(first: int, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    at = {"date_unixtime": str(SECOND)}
    return [message(n, **at | {"photo": f"photos/{n}.jpg"} | own) for n, own in enumerate(parts, first)]


def test_a_photo_is_read_with_all_that_the_export_tells() -> None:
    reactions = [
        {"type": "emoji", "emoji": "👍", "count": 5},
        {"type": "custom_emoji", "document_id": "a", "count": 2},
        {"type": "custom_emoji", "document_id": "b", "count": 3},
        {"type": "paid", "count": 1},
    ]
    text = ["when ", {"type": "bold", "text": "it"}, " builds #ci @deploy ", {"type": "link", "text": "x.example/a"}]
    more = {"type": "text_link", "text": "here", "href": "https://y.example/?erid=1"}
    own = {"type": "text_link", "text": "me", "href": "https://t.me/frogs/1"}
    button = {"type": "url", "text": "Buy", "data": "https://shop.example/"}
    told = message(4, text=[*text, more, own], photo="photos/a.jpg", width=640, height=480)
    post = only(exported(told | {"reactions": reactions, "forwarded_from": "Toads", "inline_bot_buttons": [[button]]}))
    assert post == RawPost(
        post_id="4",
        published_at=datetime(2026, 3, 1, 12, 4, tzinfo=UTC),
        url="https://t.me/frogs/4",
        text="when it builds #ci @deploy x.example/ahereme",
        media=(MediaItem("photo", file="photos/a.jpg", width=640, height=480),),
        out_links=("http://x.example/a", "https://y.example/?erid=1", "https://shop.example/"),
        mentions=("deploy",),
        hashtags=("ci",),
        forwarded_from="Toads",
        reactions={"👍": 5, "custom": 5, "paid": 1},
    )


@pytest.mark.parametrize(
    "placeholder",
    [LEFT_OUT, "(File exceeds maximum size. Change data exporting settings to download.)", "(File unavailable, ...)"],
)
def test_a_file_that_was_not_exported_says_so_in_the_place_of_its_path(placeholder: str) -> None:
    assert only(exported(message(1, photo=placeholder))).media == (MediaItem("photo", file=placeholder),)


@pytest.mark.parametrize(
    ("parts", "medium"),
    [
        (
            {"media_type": "video_file", "file": "v/a.mp4", "mime_type": "video/mp4", "duration_seconds": 12},
            MediaItem("video", file="v/a.mp4", mime="video/mp4", duration_s=12),
        ),
        (
            {"media_type": "animation", "file": "v/a.mp4", "mime_type": "video/mp4", "duration_seconds": 3},
            MediaItem("animation", file="v/a.mp4", mime="video/mp4"),
        ),
        ({"media_type": "sticker", "file": "s/a.webp"}, MediaItem("sticker", file="s/a.webp")),
        ({"media_type": "voice_message", "file": LEFT_OUT}, MediaItem("voice", file=LEFT_OUT)),
        ({"file": "files/a.png", "mime_type": "image/png"}, MediaItem("photo", file="files/a.png", mime="image/png")),
        (
            {"file": "files/a.svg", "mime_type": "image/svg+xml"},
            MediaItem("document", file="files/a.svg", mime="image/svg+xml"),
        ),
        (
            {"file": "files/a.pdf", "mime_type": "application/pdf"},
            MediaItem("document", file="files/a.pdf", mime="application/pdf"),
        ),
        ({"poll": {"question": "?"}}, MediaItem("poll")),
        ({"location_information": {}}, MediaItem("location")),
    ],
)
def test_every_kind_of_medium_has_its_name(parts: dict[str, Any], medium: MediaItem) -> None:
    assert only(exported(message(1, **parts))).media == (medium,)


def test_an_album_is_one_post_under_its_first_id_with_the_caption_of_any_item() -> None:
    payload = exported(message(1, text="before"), *album(2, {}, {"text": "joke"}, {}), message(5, text="after"))
    assert [post.post_id for post in payload.posts] == ["1", "2", "5"]
    folded = payload.posts[1]
    assert (folded.text, [medium.file for medium in folded.media]) == ("joke", [f"photos/{n}.jpg" for n in (2, 3, 4)])
    assert (folded.url, folded.published_at, payload.missing_ids) == ("https://t.me/frogs/2", NOON, 0)


@pytest.mark.parametrize(
    "second",
    [
        {"date_unixtime": str(SECOND + 1)},
        {"from_id": "channel8"},
        {"forwarded_from": "Toads"},
        {"photo": None, "media_type": "sticker", "file": "s.webp"},
    ],
)
def test_what_differs_in_second_author_origin_or_kind_is_no_album(second: dict[str, Any]) -> None:
    first, other = album(2, {}, second)
    if second.get("media_type"):
        del other["photo"]
    assert [len(post.media) for post in exported(first, other).posts] == [1, 1]


def test_a_text_between_two_photos_of_one_second_parts_them() -> None:
    first, last = album(2, {}, {}, {})[::2]
    between = message(3, text="words", date_unixtime=str(SECOND))
    assert [post.post_id for post in exported(first, between, last).posts] == ["2", "3", "4"]


def test_an_album_with_an_item_that_cannot_be_read_is_no_smaller_album() -> None:
    post = only(exported(*album(2, {"text": "joke"}, {"photo": "../x.jpg"})))
    assert (post.post_id, bool(post.unreadable)) == ("2", True)


def test_an_album_ends_after_ten_items() -> None:
    assert [len(post.media) for post in exported(*album(1, *[{}] * 13)).posts] == [10, 3]


def test_the_order_of_messages_changes_nothing() -> None:
    told = [message(1, text="a"), *album(2, {}, {"text": "b"}), message(9, photo="c.jpg")]
    assert exported(*told[::-1]) == exported(*told)


def test_service_messages_are_no_posts_and_no_gaps() -> None:
    payload = exported(message(1), message(2, type="service", action="pin_message"), message(6))
    assert ([post.post_id for post in payload.posts], payload.missing_ids) == (["1", "6"], 3)


def test_a_message_without_a_moment_is_bad_even_if_it_has_a_local_time() -> None:
    told = message(1)
    del told["date_unixtime"]
    payload = exported(told, message(2), message(0), "x", message(True))
    assert [post.post_id for post in payload.posts] == ["2"]
    assert {bad.where for bad in payload.bad} == {"messages[0]", "messages[2]", "messages[3]", "messages[4]"}


@pytest.mark.parametrize(
    "parts", [{"text": 5}, {"text": [{"type": "bold"}]}, {"photo": "../../a.jpg"}, {"photo": "/a.jpg"}, {"photo": 7}]
)
def test_one_message_that_cannot_be_read_says_so_and_spares_the_others(parts: dict[str, Any]) -> None:
    broken, sound = exported(message(1, **parts), message(2, text="fine")).posts
    assert broken.unreadable
    assert (broken.url, broken.published_at.day, sound.text) == ("https://t.me/frogs/1", 1, "fine")


def test_an_account_with_one_channel_is_read_and_one_with_more_is_refused() -> None:
    chats = [json.loads(export(message(1))), {"type": "personal_chat", "messages": [message(5)]}]
    assert [post.post_id for post in telegram_export.read(json.dumps({"chats": {"list": chats}}).encode()).posts] == [
        "1"
    ]
    with pytest.raises(PayloadError, match="with 2 channels; export each channel on its own"):
        telegram_export.read(json.dumps({"chats": {"list": chats}, "left_chats": {"list": chats}}).encode())


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"messages": 5}', export(type="personal_chat"), export(type=5)])
def test_what_is_no_channel_is_refused(content: bytes) -> None:
    with pytest.raises(PayloadError, match="no_channel"):
        telegram_export.read(content)


def test_a_private_channel_has_no_addresses() -> None:
    payload = telegram_export.read(export(message(1), type="private_channel"), "frogs")
    assert (only(payload).url, payload.source) == (None, "Frogs")


# The preview.


def block(number: int, body: str = "", *, name: str = "frogs", views: str | None = "1.2K", css: str = "") -> str:
    seen = f'<span class="tgme_widget_message_views">{views}</span>' if views else ""
    moment = datetime.fromtimestamp(SECOND + 60 * number, UTC).isoformat()
    return (
        '<div class="tgme_widget_message_wrap js-widget_message_wrap">'
        f'<div class="tgme_widget_message {css} js-widget_message" data-post="{name}/{number}">'
        '<div class="tgme_widget_message_user"><a href="https://t.me/frogs"><i class="tgme_widget_message_user_photo">'
        '<img src="https://cdn.example/me.jpg"></i></a></div>'
        f'<div class="tgme_widget_message_bubble">{body}<div class="tgme_widget_message_footer"><div '
        f'class="tgme_widget_message_info">{seen}<span class="tgme_widget_message_meta"><a '
        f'class="tgme_widget_message_date" href="https://t.me/{name}/{number}"><time datetime="{moment}" '
        'class="time">12:00</time></a></span></div></div></div></div></div>'
    )


def preview(*blocks: str) -> bytes:
    return f'<html><body><section class="tgme_channel_history">{"".join(blocks)}</section></body></html>'.encode()


def shown(*blocks: str) -> Payload:
    return telegram_web.read(preview(*blocks), "frogs")


def words(html: str) -> str:
    return f'<div class="tgme_widget_message_text js-message_text" dir="auto">{html}</div>'


def photo(address: str, more: str = "") -> str:
    return (
        f'<a class="tgme_widget_message_photo_wrap {more} 123_456" href="https://t.me/frogs/3?single" '
        f'style="width:800px;background-image:url(\'{address}\')"><div class="tgme_widget_message_photo"></div></a>'
    )


def video(inner: str, time: str | None = "0:28") -> str:
    length = f'<time class="message_video_duration js-message_video_duration">{time}</time>' if time else ""
    return (
        '<a class="tgme_widget_message_video_player js-message_video_player" href="https://t.me/frogs/3"><i '
        'class="tgme_widget_message_video_thumb" style="background-image:url(\'https://cdn.example/thumb.jpg\')"></i>'
        f"{inner}{length}</a>"
    )


def test_a_photo_of_the_preview_is_read_with_all_that_the_page_tells() -> None:
    body = (
        '<div class="tgme_widget_message_forwarded_from accent_color">Forwarded from <a '
        'class="tgme_widget_message_forwarded_from_name" href="https://t.me/toads/310?single"><span>Toads</span></a></div>'
        '<a class="tgme_widget_message_reply" href="https://t.me/frogs/1"><div class="tgme_widget_message_text '
        'js-message_reply_text">quoted</div></a>'
        + photo("https://cdn.example/a.jpg")
        + words(
            'when it &amp; builds<br/>two <i class="emoji" style="background-image:url(\'//telegram.org/e.png\')"><b>🐸'
            '</b></i> <a href="?q=%23ci">#ci</a> <a href="https://t.me/deploy">@deploy</a> '
            '<a href="https://y.example/?erid=1">here</a> <a href="https://t.me/frogs/2">mine</a>'
        )
        + '<a class="tgme_widget_message_link_preview" href="https://z.example/"><i class="link_preview_image" '
        "style=\"background-image:url('https://cdn.example/linked.jpg')\"></i></a>"
        '<div class="tgme_widget_message_reactions"><span class="tgme_reaction"><i class="emoji"><b>👍</b></i>1.1K'
        '</span><span class="tgme_reaction"><tg-emoji emoji-id="5"></tg-emoji>2</span><span class="tgme_reaction '
        'tgme_reaction_paid"><i class="icon"></i>3</span></div>'
        '<a class="tgme_widget_message_inline_button url_button" href="https://shop.example/">Buy</a>'
    )
    assert only(shown(block(4, body))) == RawPost(
        post_id="4",
        published_at=datetime(2026, 3, 1, 12, 4, tzinfo=UTC),
        url="https://t.me/frogs/4",
        text="when it & builds\ntwo 🐸 #ci @deploy here mine",
        media=(MediaItem("photo", url="https://cdn.example/a.jpg"),),
        out_links=("https://y.example/?erid=1", "https://z.example/", "https://shop.example/"),
        mentions=("deploy",),
        hashtags=("ci",),
        forwarded_from="Toads",
        forwarded_url="https://t.me/toads/310",
        views=1200,
        reactions={"👍": 1100, "custom": 2, "paid": 3},
    )


@pytest.mark.parametrize(
    ("body", "medium"),
    [
        (
            video('<video src="https://cdn.example/v.mp4"></video>'),
            MediaItem("video", "https://cdn.example/v.mp4", duration_s=28),
        ),
        (
            video('<video src="//cdn.example/v.mp4"></video>', "1:02:03"),
            MediaItem("video", "https://cdn.example/v.mp4", duration_s=3723),
        ),
        (
            video('<div class="message_media_not_supported_wrap">Media is too big</div>'),
            MediaItem("video", duration_s=28),
        ),
        (video("<video></video>", "x"), MediaItem("video")),
        (
            video('<video src="https://cdn.example/g.mp4" autoplay loop></video>', None),
            MediaItem("animation", "https://cdn.example/g.mp4"),
        ),
        (
            '<div class="tgme_widget_message_sticker_wrap"><i class="tgme_widget_message_sticker"></i></div>',
            MediaItem("sticker"),
        ),
        ('<div class="tgme_widget_message_poll"><h4>?</h4></div>', MediaItem("poll")),
        ('<a class="tgme_widget_message_document_wrap" href="https://t.me/frogs/3"></a>', MediaItem("document")),
        ('<div class="message_media_not_supported_wrap">This media is not supported</div>', MediaItem("unsupported")),
        (photo("frogs_files/a%20b.jpg"), MediaItem("photo", file="frogs_files/a b.jpg")),
        (photo("javascript:alert(1)"), MediaItem("photo")),
    ],
)
def test_every_kind_of_medium_on_the_page_has_its_name(body: str, medium: MediaItem) -> None:
    assert only(shown(block(1, body))).media == (medium,)


def test_a_note_in_the_footer_is_no_medium() -> None:
    note = '<div class="media_not_supported_cont"><div class="message_media_not_supported_wrap">Open</div></div>'
    assert only(shown(block(1, words("text") + note))).media == ()


def test_an_album_on_the_page_is_one_post_whose_other_ids_are_not_missing() -> None:
    items = "".join(
        photo(f"https://cdn.example/{n}.jpg", "grouped_media_wrap").replace("/3?single", f"/{n}?single") for n in (2, 3)
    )
    grouped = f'<div class="tgme_widget_message_grouped_wrap js-message_grouped_wrap">{items}</div>'
    payload = shown(block(2, grouped + words("joke")), block(4), block(7))
    assert [medium.url for medium in payload.posts[0].media] == [f"https://cdn.example/{n}.jpg" for n in (2, 3)]
    assert (payload.posts[0].text, payload.missing_ids, payload.older, payload.source) == ("joke", 2, "2", "frogs")


def test_service_messages_of_the_page_are_no_posts_and_count_for_paging() -> None:
    payload = shown(block(11, css="service_message"), block(12, words("a")))
    assert ([post.post_id for post in payload.posts], payload.older, payload.missing_ids) == (["12"], "11", 0)


def test_the_first_post_of_a_channel_has_nothing_before_it() -> None:
    assert shown(block(1)).older is None


def test_unknown_views_are_not_zero() -> None:
    assert only(shown(block(1, views=None))).views is None


def test_text_given_twice_within_itself_is_read_once() -> None:
    assert only(shown(block(1, words(words("one<br>two"))))).text == "one\ntwo"


def test_line_breaks_of_the_file_are_none_of_the_text_and_blocks_are() -> None:
    assert only(shown(block(1, words("one\n   word<blockquote>said</blockquote>end")))).text == "one word\nsaid\nend"


def test_a_block_without_id_or_moment_is_bad_and_spares_the_others() -> None:
    undated = block(2).replace("datetime=", "data-x=")
    payload = shown(block(1), undated, block(3).replace("frogs/3", "frogs/x"))
    assert ([post.post_id for post in payload.posts], len(payload.bad)) == (["1"], 2)


def test_a_path_out_of_the_folder_of_a_saved_page_is_unreadable() -> None:
    assert only(shown(block(1, photo("../x.jpg")))).unreadable


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", b"<html><body><div class='tgme_page'>View</div></body></html>", b"<p>" * 5, b"<div>" * 1000],
)
def test_what_is_no_preview_is_refused(content: bytes) -> None:
    with pytest.raises(PayloadError, match="no_preview"):
        telegram_web.read(content, "frogs")


def test_a_channel_without_posts_is_a_preview() -> None:
    assert shown() == Payload((), missing_ids=0)


def test_both_forms_of_a_post_give_one_row() -> None:
    text = "it works #ci @deploy"
    page = shown(
        block(
            3,
            photo("https://cdn.example/a.jpg")
            + words('it works <a href="?q=%23ci">#ci</a> <a href="https://t.me/deploy">@deploy</a>'),
            views=None,
        )
    )
    file = exported(message(3, text=text, photo="a.jpg"))

    def facts(post: RawPost) -> Sequence[object]:
        kinds = [medium.kind for medium in post.media]
        return (
            post.post_id,
            post.url,
            post.published_at,
            post.text,
            post.out_links,
            post.mentions,
            post.hashtags,
            kinds,
        )

    assert facts(only(page)) == facts(only(file))
