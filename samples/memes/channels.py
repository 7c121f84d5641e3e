"""The posts of `posts.yaml` in the forms in which platforms give them.

Belongs here: one writer per form. Does not belong here: pictures (`drawing.py`), what becomes of the posts
(`outcomes.py`).
"""

import html
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image

from samples.memes.drawing import MOVING, RATE, RECIPES, content

# Whose machine the exports were made on.
EXPORTER = timedelta(hours=3)
# Ends in a name that nobody can own.
CDN = "https://cdn.{}.example/file/"
MEDIA = "media/"
# The page before ends here.
PAGE_POSTS = 12
Post = Mapping[str, Any]
Channel = Mapping[str, Any]


def moment(post: Post) -> datetime:
    return datetime.fromisoformat(str(post["at"])).replace(tzinfo=UTC)


def seconds(post: Post) -> int:
    return int(moment(post).timestamp())


def size(name: str) -> tuple[int, int]:
    """Width and height as the platform would have measured them; of what it could not, those of a scene."""
    recipe = RECIPES["files"].get(name, {"text": ""})
    if "frames" in recipe:
        return MOVING
    whole = recipe["of"] if "cut" in recipe else name
    if "text" in recipe:
        return 480, 320
    with Image.open(io.BytesIO(content(whole))) as picture:
        return picture.size


def length(name: str) -> float:
    return float(RECIPES["files"][name]["frames"] / RATE)


def is_video(name: str) -> bool:
    return name.endswith(".mp4")


def as_json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def export(channel: Channel) -> dict[str, bytes]:
    """Telegram Desktop's result.json; an album is a message per medium."""
    messages = [message for post in channel["posts"] for message in exported(channel, post)]
    return {
        "result.json": as_json(
            {"name": channel["title"], "type": "public_channel", "id": 900000000, "messages": messages}
        )
    }


def exported(channel: Channel, post: Post) -> Iterator[dict[str, Any]]:
    for place, name in enumerate(post.get("media", [None])):
        yield {
            "id": post["id"] + place,
            "type": "message",
            "date": (moment(post) + EXPORTER).strftime("%Y-%m-%dT%H:%M:%S"),
            "date_unixtime": str(seconds(post)),
            "from": channel["title"],
            "from_id": "channel900000000",
            **(exported_medium(name) if name else {}),
            "text": post.get("text", "") if place == 0 else "",
            **post.get("raw", {}),
        }


def exported_medium(name: str) -> dict[str, Any]:
    width, height = size(name)
    sides = {"width": width, "height": height}
    if not name.endswith((".mp4", ".gif")):
        return {"photo": folder("export", name) + name, **sides}
    kind = {"media_type": "animation", "mime_type": "image/gif"}
    if is_video(name):
        kind = {"media_type": "video_file", "mime_type": "video/mp4"}
    return {"file": folder("export", name) + name, **kind, "duration_seconds": round(length_of(name)), **sides}


def length_of(name: str) -> float:
    return length(name) if is_video(name) else 1.0


def folder(form: str, name: str) -> str:
    """Where a medium lies beside its payload."""
    if form != "export":
        return MEDIA
    return "video_files/" if name.endswith((".mp4", ".gif")) else "photos/"


def pages(channel: Channel) -> dict[str, bytes]:
    """Saved pages of t.me/s, the newest posts in the first."""
    posts, name = channel["posts"], channel["source"].partition("/")[2]
    parts = (posts[-PAGE_POSTS:], posts[:-PAGE_POSTS])
    return {f"page-{number}.html": page(name, channel["title"], part) for number, part in enumerate(parts, 1)}


def page(name: str, title: str, posts: list[Post]) -> bytes:
    head = (
        f'<!DOCTYPE html>\n<html>\n<head><meta charset="utf-8"><title>{title}</title></head>\n<body>\n'
        f'<div class="tgme_channel_info"><div class="tgme_channel_info_header_title">{title}</div></div>\n'
        '<section class="tgme_channel_history js-message_history">\n'
    )
    return (head + "".join(block(name, title, post) for post in posts) + "</section>\n</body>\n</html>\n").encode()


def block(name: str, title: str, post: Post) -> str:
    parts = [f'<div class="tgme_widget_message js-widget_message" data-post="{name}/{post["id"]}">']
    parts.append(f'<div class="tgme_widget_message_bubble"><a class="tgme_widget_message_owner_name">{title}</a>')
    if "forwarded" in post:
        origin, address = post["forwarded"]
        link = f'<a class="tgme_widget_message_forwarded_from_name" href="{address}">{origin}</a>'
        parts.append(f'<div class="tgme_widget_message_forwarded_from">Forwarded from {link}</div>')
    media = post.get("media", [])
    for place, file in enumerate(media):
        single = f"?single#{place}" if len(media) > 1 else ""
        parts.append(shown(f"https://t.me/{name}/{post['id'] + place}{single}", file))
    if post.get("unsupported"):
        parts.append('<div class="message_media_not_supported_wrap">Please open Telegram to view this post</div>')
    if "text" in post:
        parts.append(f'<div class="tgme_widget_message_text js-message_text" dir="auto">{linked(post["text"])}</div>')
    views = f'<span class="tgme_widget_message_views">{post["views"]}</span>' if "views" in post else ""
    date = f'<time datetime="{moment(post).isoformat()}" class="time">{moment(post):%H:%M}</time>'
    link = f'<a class="tgme_widget_message_date" href="https://t.me/{name}/{post["id"]}">{date}</a>'
    parts.append(f'<div class="tgme_widget_message_info">{views}{link}</div></div></div>')
    return "\n".join(parts) + "\n"


def shown(link: str, file: str) -> str:
    address = CDN.format("telegram") + file
    if is_video(file):
        minutes, rest = divmod(round(length(file)), 60)
        time = f'<time class="message_video_duration">{minutes}:{rest:02}</time>'
        return f'<a class="tgme_widget_message_video_player" href="{link}"><video src="{address}"></video>{time}</a>'
    style = f"width:480px;background-image:url('{address}')"
    return f'<a class="tgme_widget_message_photo_wrap" href="{link}" style="{style}"></a>'


def linked(text: str) -> str:
    words = [
        f'<a href="{word}">{word}</a>' if word.startswith("https://") else html.escape(word) for word in text.split(" ")
    ]
    return " ".join(words)


def vk(channel: Channel) -> dict[str, bytes]:
    """An answer of wall.get: the pinned post, then the newest first."""
    pinned = [post for post in channel["posts"] if "raw" in post and post["raw"].get("is_pinned")]
    newest = [post for post in reversed(channel["posts"]) if post not in pinned]
    items = [wall_post(channel["owner"], post) for post in (*pinned, *newest)]
    return {"wall.json": as_json({"response": {"count": len(items), "items": items}})}


def wall_post(owner: int, post: Post) -> dict[str, Any]:
    photos = [wall_photo(owner, post["id"], name) for name in post.get("media", ())]
    attachments = [*photos, *post.get("raw_attachments", ())]
    likes = post.get("views", 1000) // 40
    item = {
        "id": post["id"],
        "from_id": owner,
        "owner_id": owner,
        "date": seconds(post),
        "text": post.get("text", ""),
        "attachments": attachments,
        "likes": {"count": likes},
        "reposts": {"count": likes // 6},
        "comments": {"count": likes // 9},
        **({"views": {"count": post["views"]}} if "views" in post else {}),
        **post.get("raw", {}),
    }
    if "origin" not in post:
        return item
    first_owner, first_id = post["origin"]
    first = {"id": first_id, "owner_id": first_owner, "from_id": first_owner, "date": seconds(post) - 86_400}
    return item | {"attachments": [], "copy_history": [first | {"text": "", "attachments": attachments}]}


def wall_photo(owner: int, number: int, name: str) -> dict[str, Any]:
    """A photo in three sizes, of which the largest was saved."""
    width, height = size(name)
    sizes = [
        {"type": kind, "width": width // part, "height": height // part, "url": CDN.format("vk") + file}
        for kind, part, file in (("s", 6, f"75_{name}"), ("m", 4, f"130_{name}"), ("x", 1, name))
    ]
    return {"type": "photo", "photo": {"id": number, "owner_id": owner, "sizes": sizes, "text": ""}}


def instagram(channel: Channel) -> dict[str, bytes]:
    """An answer of the private API, the newest first."""
    name = channel["source"].partition("/")[2]
    items = [instagram_item(name, post) for post in reversed(channel["posts"])]
    return {"items.json": as_json({"items": items, "num_results": len(items), "more_available": False, "status": "ok"})}


def instagram_item(name: str, post: Post) -> dict[str, Any]:
    media = [instagram_medium(file) for file in post.get("media", ())]
    carousel = {"media_type": 8, "carousel_media_count": len(media), "carousel_media": media}
    return {
        "pk": post["id"],
        "id": f"{post['id']}_900000000",
        "code": f"Sample{post['id'][-5:]}",
        "taken_at": seconds(post),
        "user": {"pk": "900000000", "username": name},
        "caption": {"text": post["text"]} if "text" in post else None,
        "like_count": 40 + seconds(post) // 3600 % 50,
        "comment_count": 3,
        **(media[0] if len(media) == 1 else carousel if media else {"media_type": 1}),
        **post.get("raw", {}),
    }


def instagram_medium(name: str) -> dict[str, Any]:
    """A picture, or a video, in several sizes, of which the largest was saved."""
    width, height = size(name)
    address = CDN.format("instagram")
    sides = {"original_width": width, "original_height": height}
    if is_video(name):
        version = {"type": 101, "width": width, "height": height, "url": f"{address}{name}?efg=sample"}
        return {"media_type": 2, **sides, "video_duration": length(name), "video_versions": [version]}
    sizes = ((1, name), (2, f"half_{name}"), (4, f"quarter_{name}"))
    candidates = [
        {"width": width // part, "height": height // part, "url": f"{address}{file}?stp=dst-jpg"}
        for part, file in sizes
    ]
    return {"media_type": 1, **sides, "image_versions2": {"candidates": candidates}}


WRITERS: dict[str, Callable[[Channel], dict[str, bytes]]] = {
    "export": export,
    "pages": pages,
    "vk": vk,
    "instagram": instagram,
}


def files(channel: Channel) -> dict[str, bytes]:
    """Return path below the archives -> content: the payloads of a channel, and the media that were saved."""
    form = channel["form"]
    held = {name for post in channel["posts"] for name in post.get("media", ()) if name in RECIPES["files"]}
    media = {folder(form, name) + name: content(name) for name in sorted(held)}
    return {f"{channel['source']}/{path}": data for path, data in {**WRITERS[form](channel), **media}.items()}
