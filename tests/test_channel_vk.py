"""Posts of VK walls: which are turned down at once, which size of a photo counts, and every shape of an answer."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from magpie.sources import vk_wall
from magpie.sources.meme_posts import MediaItem, Payload, PayloadError, RawPost, Verdict

AT = 1_772_366_400


def size(kind: str, width: int, height: int) -> dict[str, Any]:
    return {"type": kind, "width": width, "height": height, "url": f"https://cdn.example/{kind}.jpg"}


PHOTO = {"type": "photo", "photo": {"sizes": [size("s", 75, 50), size("x", 604, 400), size("r", 900, 900)]}}
VIDEO = {"type": "video", "video": {"duration": 12, "width": 640, "height": 360}}


def item(number: int = 5, **parts: Any) -> dict[str, Any]:
    told = {"id": number, "owner_id": -7, "from_id": -7, "date": AT, "text": "", "attachments": [PHOTO]}
    return told | parts


def answer(*items: Any) -> Payload:
    return vk_wall.read(json.dumps({"response": {"count": 900, "items": items}}).encode(), 200)


def only(payload: Payload) -> RawPost:
    assert not payload.bad
    (post,) = payload.posts
    return post


def photo(**parts: Any) -> MediaItem:
    return only(answer(item(attachments=[{"type": "photo", "photo": parts}]))).media[0]


def test_a_post_is_read_with_all_that_the_answer_tells() -> None:
    counts: dict[str, Any] = {
        "likes": {"count": 3},
        "reposts": {"count": 2},
        "comments": {"count": 1},
        "views": {"count": 90},
    }
    text = "[club1|Frogs] and [id2:bp|Ann] #мем &lt;3 https://x.example/?a=1&copy=2 [https://y.example/|there]"
    assert only(answer(item(text=text, **counts))) == RawPost(
        post_id="-7_5",
        published_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        url="https://vk.com/wall-7_5",
        text="Frogs and Ann #мем <3 https://x.example/?a=1&copy=2 there",
        media=(MediaItem("photo", url="https://cdn.example/x.jpg", width=604, height=400),),
        out_links=("https://x.example/?a=1&copy=2", "https://y.example/"),
        mentions=("club1", "id2"),
        hashtags=("мем",),
        views=90,
        likes=3,
        reposts=2,
        comments=1,
    )


def test_views_that_are_absent_are_unknown() -> None:
    assert only(answer(item(likes={"count": 0}))).views is None
    assert only(answer(item(likes={"count": 0}))).likes == 0


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ({"marked_as_ads": 1, "attachments": [], "text": "x" * 300}, Verdict("vk_ad", "marked as an advertisement")),
        ({"attachments": [], "text": "x" * 300}, Verdict("no_media", "0 attachments", "1")),
        ({"attachments": None}, Verdict("no_media", "0 attachments", "1")),
        ({"attachments": [PHOTO, VIDEO], "text": "x" * 300}, Verdict("not_photo", "video", "photo")),
        ({"text": "x" * 200}, Verdict("long_text", "200", "200")),
        ({"text": "x" * 199}, None),
        ({"marked_as_ads": 0, "attachments": [PHOTO, PHOTO]}, None),
    ],
)
def test_the_first_reason_turns_a_post_down(parts: dict[str, Any], verdict: Verdict | None) -> None:
    post = only(answer(item(**parts)))
    assert post.rejected == verdict
    assert post.is_ad == (verdict is not None and verdict.reason == "vk_ad")


def test_the_length_of_a_text_is_that_of_what_is_shown() -> None:
    assert only(answer(item(text="[club123456789|A]" + "x" * 198))).rejected is None


def test_the_original_of_a_photo_comes_before_its_sizes() -> None:
    assert photo(sizes=PHOTO["photo"]["sizes"], orig_photo=size("base", 2000, 1500)).width == 2000  # type: ignore[index]


def test_the_largest_whole_size_counts_and_a_cropped_one_never() -> None:
    sizes = [size("w", 100, 100), size("m", 130, 97), size("q", 3000, 3000), size("y", 120, 120)]
    assert photo(sizes=sizes).url == "https://cdn.example/y.jpg"


def test_old_photos_without_measures_go_by_the_type_of_size() -> None:
    best = photo(sizes=[size("y", 0, 0), size("z", 0, 0), size("x", 0, 0)])
    assert (best.url, best.width, best.height) == ("https://cdn.example/z.jpg", None, None)


def test_photos_in_the_oldest_shape_have_their_sizes_as_keys() -> None:
    old = {f"photo_{side}": f"http://cdn.example/{side}.jpg" for side in (75, 1280, 604)}
    assert photo(width=1000, height=700, **old) == MediaItem("photo", "http://cdn.example/1280.jpg", None, 1000, 700)


def test_a_photo_without_a_usable_address_is_still_a_photo() -> None:
    assert photo(sizes=[{"type": "x", "url": "file:///etc/passwd", "width": 9, "height": 9}]) == MediaItem("photo")


def test_a_repost_names_its_origin_and_brings_its_media_and_words() -> None:
    first = item(3, owner_id=-20, attachments=[VIDEO], text="first")
    middle = item(4, owner_id=30, attachments=[PHOTO], text="middle")
    post = only(answer(item(attachments=[], copy_history=[middle, first])))
    assert (post.forwarded_url, post.forwarded_from) == ("https://vk.com/wall-20_3", "club20")
    assert ([medium.kind for medium in post.media], post.text) == (["photo"], "middle")


def test_own_media_of_a_repost_come_first() -> None:
    post = only(answer(item(text="own", copy_history=[item(3, attachments=[VIDEO], text="theirs")])))
    assert ([medium.kind for medium in post.media], post.text) == (["photo"], "own")


def test_a_repost_of_an_advertisement_is_one() -> None:
    assert only(answer(item(copy_history=[item(3, marked_as_ads=1)]))).is_ad


def test_a_link_below_a_post_is_a_link_out() -> None:
    post = only(answer(item(attachments=[{"type": "link", "link": {"url": "https://shop.example/"}}])))
    assert (post.out_links, post.rejected) == (("https://shop.example/",), Verdict("not_photo", "link", "photo"))


def test_a_pinned_post_is_a_post_like_any_other_and_makes_no_gap() -> None:
    payload = answer(item(2, is_pinned=1), item(110), item(108))
    assert ([post.post_id for post in payload.posts], payload.missing_ids) == (["-7_2", "-7_110", "-7_108"], 1)
    assert payload.source == "club7"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda post: {"response": {"items": [post]}},
        lambda post: {"response": [post]},
        lambda post: {"items": [post]},
        lambda post: [post],
    ],
)
def test_every_shape_of_an_answer_holds_the_same_post(wrap: Callable[[Any], Any]) -> None:
    assert vk_wall.read(b"\xef\xbb\xbf" + json.dumps(wrap(item())).encode(), 200).posts == answer(item()).posts


def test_a_newsfeed_is_read_for_its_posts_alone() -> None:
    entry = {"type": "post", "source_id": -7, "post_id": 5, "date": AT, "text": "", "attachments": [PHOTO]}
    payload = answer(entry, {"type": "friend", "source_id": -7, "date": AT, "friends": {}})
    assert only(payload) == only(answer(item()))
    assert payload.notes == ("left out as no posts: 1",)


def test_posts_of_several_walls_have_no_common_gaps() -> None:
    payload = answer(item(1), item(9, owner_id=8))
    assert (payload.missing_ids, payload.source) == (None, None)


def test_comments_and_items_without_id_or_date_are_bad_and_spare_the_others() -> None:
    payload = answer(item(), {"id": 1, "date": AT}, item(2, date=None), item(3, post_id=1), 7, item(True), item(-3))
    assert len(payload.posts) == 1
    assert [bad.where for bad in payload.bad] == [f"items[{number}]" for number in range(1, 7)]


@pytest.mark.parametrize("parts", [{"text": 7}, {"attachments": "photo"}, {"copy_history": {}}])
def test_one_post_that_cannot_be_read_says_so_and_spares_the_others(parts: dict[str, Any]) -> None:
    broken, sound = answer(item(1, **parts), item(2)).posts
    assert broken.unreadable
    assert not sound.unreadable


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"error_code": 15, "error_msg": "Access denied"}, "vk_error_15"),
        ({"error_code": "29", "error_msg": None}, "vk_error_29"),
        ({"error_code": [], "error_msg": 5}, "vk_error_unknown"),
        ("no", "vk_error_unknown"),
    ],
)
def test_an_error_in_the_answer_is_a_reason(error: object, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        vk_wall.read(json.dumps({"error": error}).encode(), 200)
    assert refused.value.reason == reason


@pytest.mark.parametrize("content", [b"{}", b'{"response": 1}', b"[", b"<html>", b"\xff\xfe", b"id,text\n1,2\n"])
def test_what_holds_no_posts_is_refused(content: bytes) -> None:
    with pytest.raises(PayloadError):
        vk_wall.read(content, 200)


def test_a_table_is_read_where_its_moments_have_a_zone() -> None:
    header = "id,text,date,likes,reposts,views\n"
    table = header + '5,"a\nb #мем",2026-03-01T15:00:00+03:00,1,2,30\n6,x,2026-03-01 15:00:00,0,0,0\n'
    payload = vk_wall.read(table.encode(), 200)
    (post,) = payload.posts
    assert post == RawPost(
        post_id="5",
        published_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        text="a\nb #мем",
        hashtags=("мем",),
        views=30,
        likes=1,
        reposts=2,
        rejected=Verdict("no_media", "0 attachments", "1"),
    )
    assert [bad.where for bad in payload.bad] == ["row 2"]


def test_a_row_that_is_cut_off_is_bad_and_spares_the_others() -> None:
    payload = vk_wall.read(b"id,text,date,owner_id\n5\n,,\n6,x,1772366400,-7,extra\n", 200)
    assert ([post.post_id for post in payload.posts], len(payload.bad)) == (["-7_6"], 2)
