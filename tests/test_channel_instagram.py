"""Posts of Instagram: one post in whatever shape it comes, and a carousel is never taken for a picture."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from magpie.sources import instagram_items
from magpie.sources.meme_posts import MediaItem, Payload, PayloadError, RawPost

AT = 1_772_366_400
CODE, PK = "B7eUksNFA-K", "2224305748263047050"
PICTURE = "https://cdn.example/1080.jpg"
TEXT = "made by @a.frog #мем https://x.example/"

PRIVATE: dict[str, Any] = {
    "taken_at": AT,
    "pk": int(PK),
    "id": f"{PK}_99",
    "code": CODE,
    "media_type": 1,
    "user": {"username": "frogs"},
    "caption": {"text": TEXT},
    "like_count": 12,
    "comment_count": 3,
    "image_versions2": {
        "candidates": [
            {"url": "https://cdn.example/320.jpg", "width": 320, "height": 320},
            {"url": PICTURE, "width": 1080, "height": 1080},
            {"url": "https://cdn.example/640.jpg", "width": 640, "height": 640},
        ]
    },
}
NODE: dict[str, Any] = {
    "__typename": "GraphImage",
    "id": PK,
    "shortcode": CODE,
    "taken_at_timestamp": AT,
    "owner": {"username": "frogs"},
    "edge_media_to_caption": {"edges": [{"node": {"text": TEXT}}]},
    "edge_media_preview_like": {"count": 12},
    "edge_media_to_comment": {"count": 3},
    "dimensions": {"width": 1080, "height": 1080},
    "display_url": PICTURE,
    "is_video": False,
}
FLAT: dict[str, Any] = {
    "type": "Image",
    "shortCode": CODE,
    "timestamp": "2026-03-01T12:00:00.000Z",
    "ownerUsername": "frogs",
    "caption": TEXT,
    "likesCount": 12,
    "commentsCount": 3,
    "dimensionsWidth": 1080,
    "dimensionsHeight": 1080,
    "displayUrl": PICTURE,
}


def read(data: Any) -> Payload:
    return instagram_items.read(json.dumps(data).encode())


def only(payload: Payload) -> RawPost:
    assert not payload.bad
    (post,) = payload.posts
    return post


def timeline(*nodes: Any, **page: Any) -> dict[str, Any]:
    edges = [{"node": node} for node in nodes]
    return {"data": {"user": {"edge_owner_to_timeline_media": {"count": 1, "page_info": page, "edges": edges}}}}


@pytest.mark.parametrize(
    "data",
    [
        {"items": [PRIVATE]},
        {"items": [{"media": PRIVATE}]},
        {"feed_items": [{"media_or_ad": PRIVATE}]},
        {"response": {"items": [PRIVATE]}, "next_page_id": None},
        timeline(NODE),
        {"graphql": timeline(NODE)["data"]},
        {"data": {"hashtag": {"edge_hashtag_to_media": {"edges": [{"node": NODE}]}}}},
        {"data": {"shortcode_media": NODE}},
        {"data": {"xdt_api__v1__feed__user_timeline_graphql_connection": {"edges": [{"node": PRIVATE}]}}},
        [FLAT],
        [NODE],
        [PRIVATE, NODE],
    ],
)
def test_every_shape_holds_the_same_post_once(data: Any) -> None:
    payload = read(data)
    assert only(payload) == RawPost(
        post_id=PK,
        published_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        url=f"https://www.instagram.com/p/{CODE}/",
        text=TEXT,
        media=(MediaItem("photo", url=PICTURE, width=1080, height=1080),),
        out_links=("https://x.example/",),
        mentions=("a.frog",),
        hashtags=("мем",),
        likes=12,
        comments=3,
    )
    assert payload.source == "frogs"


def test_sizes_of_one_picture_are_one_medium_and_the_caption_stays() -> None:
    post = only(read({"items": [PRIVATE]}))
    assert (len(post.media), post.text) == (1, TEXT)


@pytest.mark.parametrize(
    "video",
    [
        PRIVATE
        | {
            "media_type": 2,
            "video_duration": 7.5,
            "video_versions": [
                {"url": "https://cdn.example/s.mp4", "width": "480", "height": "480"},
                {"url": "https://cdn.example/v.mp4", "width": "1080", "height": "1080"},
            ],
        },
        NODE
        | {
            "is_video": True,
            "__typename": "GraphVideo",
            "video_url": "https://cdn.example/v.mp4",
            "video_duration": 7.5,
        },
        FLAT | {"type": "Video", "videoUrl": "https://cdn.example/v.mp4", "videoDuration": 7.5},
    ],
)
def test_a_video_is_the_largest_of_its_versions_and_not_its_cover(video: dict[str, Any]) -> None:
    assert only(read([video])).media == (MediaItem("video", "https://cdn.example/v.mp4", None, 1080, 1080, 7.5),)


def test_a_video_without_address_is_no_picture() -> None:
    (medium,) = only(read([NODE | {"is_video": True}])).media
    assert (medium.kind, medium.url) == ("video", None)


@pytest.mark.parametrize(
    "carousel",
    [
        PRIVATE | {"media_type": 8, "carousel_media": [PRIVATE, PRIVATE | {"media_type": 2}]},
        NODE | {"edge_sidecar_to_children": {"edges": [{"node": NODE}, {"node": NODE | {"is_video": True}}]}},
        FLAT | {"type": "Sidecar", "childPosts": [FLAT, FLAT | {"type": "Video"}]},
    ],
)
def test_each_item_of_a_carousel_is_a_medium(carousel: dict[str, Any]) -> None:
    assert [medium.kind for medium in only(read([carousel])).media] == ["photo", "video"]


@pytest.mark.parametrize("kind", [PRIVATE | {"media_type": 8}, NODE | {"__typename": "GraphSidecar"}])
def test_a_carousel_that_does_not_list_its_items_is_not_taken_for_a_picture(kind: dict[str, Any]) -> None:
    assert only(read([kind])).media == (MediaItem("carousel"),)


def test_a_scrapers_carousel_of_addresses_alone_has_as_many_pictures() -> None:
    assert len(only(read([FLAT | {"type": "Sidecar", "images": [PICTURE, PICTURE + "?2"]}])).media) == 2


@pytest.mark.parametrize("count", [None, -1])
def test_a_hidden_count_is_unknown(count: int | None) -> None:
    post = only(read([PRIVATE | {"like_count": count, "view_count": count, "comment_count": count}]))
    assert (post.likes, post.views, post.comments) == (None, None, None)


def test_counts_that_the_owner_hides_are_unknown_whatever_they_say() -> None:
    post = only(read([PRIVATE | {"like_and_view_counts_disabled": True, "like_count": 3, "view_count": 4}]))
    assert (post.likes, post.views, post.comments) == (None, None, 3)


def test_views_are_those_of_a_video() -> None:
    assert only(read([PRIVATE | {"view_count": 50, "play_count": 70}])).views == 50
    assert only(read([FLAT | {"videoPlayCount": 70}])).views == 70


@pytest.mark.parametrize(
    "mark",
    [
        {"is_paid_partnership": True},
        {"isSponsored": True},
        {"ad_id": "5"},
        {"edge_media_to_sponsor_user": {"edges": [{}]}},
    ],
)
def test_what_the_platform_marks_as_an_advertisement_is_one(mark: dict[str, Any]) -> None:
    assert only(read([PRIVATE | mark])).is_ad
    assert not only(read([PRIVATE | {"is_paid_partnership": False, "ad_id": None}])).is_ad


@pytest.mark.parametrize(
    ("data", "older"),
    [
        ({"response": {"items": [], "next_page_id": "p2"}}, "p2"),
        ({"response": {"items": []}, "next_page_id": "p2"}, "p2"),
        (timeline(has_next_page=True, end_cursor="c"), "c"),
        (timeline(has_next_page=False, end_cursor="c"), None),
        ({"items": [], "more_available": True, "next_max_id": "m"}, "m"),
        ({"items": [PRIVATE | {"next_max_id": 7, "more_available": True}], "more_available": False}, None),
        ({"items": [], "paging_info": {"max_id": "r", "more_available": True}}, "r"),
    ],
)
def test_the_page_before_is_asked_for_as_the_api_says(data: Any, older: str | None) -> None:
    assert read(data).older == older


def test_stories_and_other_entries_of_a_feed_are_left_out() -> None:
    payload = read({"feed_items": [{"suggested_users": {}}], "data": {"reels_media": [{"items": [NODE]}]}})
    assert (payload.posts, payload.bad, payload.notes) == ((), (), ("left out as no posts: 2",))


@pytest.mark.parametrize(
    "item", [5, None, {}, PRIVATE | {"taken_at": None}, FLAT | {"timestamp": "2026-03-01T12:00:00"}]
)
def test_an_item_without_id_or_moment_is_bad_and_spares_the_others(item: Any) -> None:
    payload = read([item, NODE])
    assert (len(payload.posts), [bad.where for bad in payload.bad]) == (1, ["$[0]"])


@pytest.mark.parametrize("parts", [{"caption": 5}, {"carousel_media": 5}, {"caption": {"text": []}}])
def test_one_post_that_cannot_be_read_says_so_and_spares_the_others(parts: dict[str, Any]) -> None:
    broken, sound = read({"items": [PRIVATE | parts, PRIVATE | {"pk": 5, "id": "5_9"}]}).posts
    assert broken.unreadable
    assert not sound.unreadable


def test_a_refusal_is_told_in_its_own_words() -> None:
    with pytest.raises(PayloadError, match="instagram_error: Please wait a few minutes"):
        read({"message": "Please wait a few minutes", "status": "fail"})


@pytest.mark.parametrize("data", [{}, {"data": {"user": {}}}, 5, "x", {"status": "ok"}])
def test_what_holds_no_list_of_posts_is_refused(data: Any) -> None:
    with pytest.raises(PayloadError, match="no_posts"):
        read(data)


# The personal export.


def mojibake(text: str) -> str:
    return text.encode().decode("latin-1")


def test_a_post_of_the_personal_export_is_read_and_its_text_repaired() -> None:
    medium = {"uri": "media/posts/202603/17_n_17.jpg", "creation_timestamp": AT, "title": mojibake("пятница 🐸 #мем")}
    assert only(read([{"media": [medium]}])) == RawPost(
        post_id="17_n_17",
        published_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        text="пятница 🐸 #мем",
        media=(MediaItem("photo", file="media/posts/202603/17_n_17.jpg"),),
        hashtags=("мем",),
    )


@pytest.mark.parametrize("text", ["пятница", "café", "plain", "naïve — dash", "Ã", "🐸"])
def test_a_text_that_was_read_rightly_stays_as_it_is(text: str) -> None:
    medium = {"uri": "a.jpg", "creation_timestamp": AT, "title": text}
    assert only(read([{"media": [medium]}])).text == text


def test_several_files_of_the_export_share_its_title_and_moment() -> None:
    media = [{"uri": f"media/posts/{name}", "creation_timestamp": AT + 99} for name in ("a.jpg", "b.mp4")]
    post = only(read({"ig_reels_media": [{"media": media, "title": "both", "creation_timestamp": AT}]}))
    assert ([medium.kind for medium in post.media], post.text, post.published_at.minute) == (
        ["photo", "video"],
        "both",
        0,
    )


def test_a_file_of_the_export_that_lies_elsewhere_is_unreadable() -> None:
    assert only(read([{"media": [{"uri": "../../a.jpg", "creation_timestamp": AT}]}])).unreadable
