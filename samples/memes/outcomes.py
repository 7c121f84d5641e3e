"""What becomes of each post: for the README, and for whoever holds a run against it.

Belongs here: what follows from the few words that `posts.yaml` says of it. Does not belong here: finding it out, which
is what the product does.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("meme_id", "table", "column", "value", "needs")
# Without the extra `ocr`, pictures that look alike wait for their texts; without `video`, videos are turned away.
NEEDS = ("ocr", "video")
Facts = dict[str, Any]


def meme_id(channel: Mapping[str, Any], post: Mapping[str, Any]) -> str:
    platform, name = channel["source"].split("/")
    return (
        f"{platform}:{name}:{channel['owner']}_{post['id']}"
        if "owner" in channel
        else f"{platform}:{name}:{post['id']}"
    )


def facts(name: str, given: Facts) -> Facts:
    """Column -> value, table by table as far as the meme gets."""
    if "meme_posts.reason" in given:
        failed = given["meme_posts.reason"] == "parse_error"
        return {"meme_posts.status": "failed" if failed else "rejected", **given}
    told: Facts = {"meme_posts.status": "ok"}
    if "memes.reason" in given:
        return told | {"memes.status": "rejected", **given}
    ad = "memes.ad_reason" in given
    told |= {"memes.status": "ok", "memes.type": "image", "memes.ad_flag": ad, **given}
    if {"meme_media.status", "meme_media.reason"} & given.keys():
        return told | {
            "meme_media.status": "rejected",
            "meme_descriptions.reason": "no_media",
            "meme_duplicates.reason": "broken_media",
            "meme_status.state": "broken",
            "meme_status.servable": False,
        }
    told["meme_media.status"] = "ok"
    still = told["memes.type"] == "image"
    told |= {"meme_descriptions.reason": "not_image" if not still else "ad" if ad else None}
    if ad:
        return told | {"meme_duplicates.reason": "ad", "meme_status.state": "ad", "meme_status.servable": False}
    verdict = "duplicate" if "meme_duplicates.rule" in given else given.get("meme_duplicates.verdict", "unique")
    copy = verdict == "duplicate"
    return told | {
        "meme_duplicates.verdict": verdict,
        "meme_duplicates.duplicate_of": given.get("meme_duplicates.duplicate_of"),
        "meme_status.state": "duplicate" if copy else "ok",
        "meme_status.canonical_id": given["meme_duplicates.duplicate_of"] if copy else name,
        "meme_status.servable": not copy,
    }


def outcomes(channels: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], Facts]]:
    """Yield id, post and facts of every post."""
    for channel in channels:
        for post in channel["posts"]:
            if "what" in post:
                name = meme_id(channel, post)
                yield name, post, facts(name, post.get("expect", {}))


def needed(post: Mapping[str, Any], told: Facts, column: str) -> str:
    """Which extra a column depends on."""
    table = column.partition(".")[0]
    if told.get("memes.type") == "video" and table in ("meme_media", "meme_duplicates", "meme_status"):
        return "video"
    return str(post.get("needs", "")) if table in ("meme_duplicates", "meme_status") else ""


def expected(channels: list[dict[str, Any]]) -> bytes:
    """All of it as CSV, one row per value; null is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, post, told in outcomes(channels):
        for column, value in told.items():
            shown = "" if value is None else str(value).lower() if isinstance(value, bool) else value
            writer.writerow((name, *column.split("."), shown, needed(post, told, column)))
    return out.getvalue().encode()


def in_words(told: Facts) -> str:
    """What became of it, for people."""
    turned_down = next((told[key] for key in ("meme_posts.reason", "memes.reason") if key in told), None)
    if turned_down:
        table = "meme_posts" if "meme_posts.reason" in told else "memes"
        return f"{told[f'{table}.status']} in `{table}`: {turned_down}"
    state, other = told["meme_status.state"], told.get("meme_duplicates.duplicate_of")
    if state == "broken":
        return f"broken: {told.get('meme_media.reason', 'no picture')}"
    if state == "ad":
        return f"ad: {told['memes.ad_reason']}"
    if state == "duplicate":
        return f"duplicate of `{other}` by {told['meme_duplicates.rule']}"
    verdict = told["meme_duplicates.verdict"]
    return f"ok, {verdict}: {'like' if verdict == 'template' else 'perhaps'} `{other}`" if other else "ok"


def table(channels: list[dict[str, Any]]) -> str:
    """The posts as a table in Markdown."""
    rows = [f"| `{name}` | {post['what']} | {in_words(told)} |" for name, post, told in outcomes(channels)]
    return "\n".join(["| id | what it is | what becomes of it |", "|---|---|---|", *rows, ""])
