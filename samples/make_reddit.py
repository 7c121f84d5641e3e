"""Write the bundled Reddit archive (samples/reddit) from the texts in samples/texts.

Belongs here: ids, times, scores, snapshots and file formats. Does not belong here: what people say (samples/texts).

Run without arguments; the same texts give the same bytes (a newer zlib or zstd may compress to other bytes with the
same content). Nothing is random: `draw` derives a number from a name, so an edited post moves no other post.

Keys of a thread in samples/texts: sub, title, text; and, where the default will not do,

    day, hour       0 to 9 from 2026-03-02, UTC; hour may have a fraction
    url             makes it a link post
    by              author
    score, ratio    as of the last snapshot
    nsfw            over_18
    state           moderator | automod_filtered | reddit | deleted: removed_by_category; later: _meta.was_deleted_later
    seen            `early`: only a snapshot seconds after creation; a number: hours from creation to the last one;
                    `never`: the dump does not say
    key             a name for `refresh` in live.yaml
    again           the same text posted again: {sub, day, hour}
    missing         true: only the comments are in the archive
    comments        texts, or {text, by, score, seen, state}; state mods | user (body gone), removed (body kept), later
"""

import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
import zstandard

HERE = Path(__file__).resolve().parent
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
DAYS = 10
END = START + DAYS * 86_400
CRAWLED = int(datetime(2026, 3, 10, 3, tzinfo=UTC).timestamp())

# Members on the first day. microstudios lies under the usual bar of 1 000; Entrepreneur is far too large for the few
# posts that the sample holds of it.
SUBSCRIBERS = {
    "smallbusiness": 182_400,
    "freelance": 96_300,
    "Entrepreneur": 4_812_000,
    "agency": 61_200,
    "productivity": 138_000,
    "homegym": 141_700,
    "cycling": 312_900,
    "WorkFromHome": 88_100,
    "forhire": 54_600,
    "gearswap": 33_800,
    "microstudios": 640,
}
HANDLES = ["teapot", "anchor", "lantern", "pebble", "walrus", "biscuit", "ladder", "thimble", "cactus", "button"]
# Posts per hour of a day in UTC: Europe's afternoon and America's morning are busiest.
HOURS = [2, 2, 1, 1, 1, 2, 4, 5, 6, 6, 6, 7, 8, 9, 9, 9, 9, 8, 8, 7, 6, 5, 4, 3]
WEEKEND = (5, 6)
# Above zstd's default limit of 2^27, as real dumps are (2^31), without asking for 2 GiB of address space.
WINDOW_LOG = 28

Line = dict[str, Any]


@dataclass
class Item:
    """One post or comment: where it stands, when it was made, and its source entry."""

    kind: str
    sub: str
    created: int
    entry: dict[str, Any]
    name: str
    parent: "Item | None" = None
    replies_to: "Item | None" = None
    live: bool = False
    id: str = ""
    comments: list["Item"] = field(default_factory=list)

    @property
    def fullname(self) -> str:
        return ("t3_" if self.kind == "post" else "t1_") + self.id


def draw(*names: object) -> float:
    """A number in [0, 1) that depends on the names alone."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits


def read_items(texts: Path) -> tuple[list[Item], list[Line]]:
    """Return all posts, each with its comments, and the snapshots to refresh."""
    posts: list[Item] = []
    for path in sorted(texts.glob("*.yaml")):
        content = yaml.safe_load(path.read_text("utf-8"))
        live = isinstance(content, dict)
        for entry in content["posts"] if live else content:
            posts.append(_post(entry, live))
            for copy in entry.get("again", ()):
                once = ("again", "comments", "key", "hour")
                bare = {name: value for name, value in entry.items() if name not in once}
                posts.append(_post({**bare, **copy}, live, again=True))
        if live:
            refresh = content["refresh"]
    _number(posts)
    return posts, refresh


def _post(entry: dict[str, Any], live: bool, again: bool = False) -> Item:
    name = f"{entry['sub']}/{entry['title']}" + (f"/{entry['day']}" if again else "")
    day = entry.get("day", _default_day(name))
    hour = entry["hour"] if "hour" in entry else _default_hour(name)
    created = START + day * 86_400 + int(hour * 3600) + int(60 * draw(name, "second"))
    post = Item("post", entry["sub"], created, entry, name, live=live)
    for number, text in enumerate(entry.get("comments", ())):
        comment_entry = {"text": text} if isinstance(text, str) else text
        post.comments.append(_comment(post, comment_entry, f"{name}/{number}"))
    return post


def _comment(post: Item, entry: dict[str, Any], name: str) -> Item:
    created = post.created + 90 + int(50_000 * draw(name, "delay") ** 3)
    last = (CRAWLED if post.live else END) - 120 - int(1_800 * draw(name, "late"))
    earlier = post.comments[-1] if post.comments and draw(name, "reply") < 0.3 else None
    created = max(created, earlier.created + 60) if earlier else created
    return Item("comment", post.sub, min(created, last), entry, name, post, earlier, post.live)


def _default_day(name: str) -> int:
    day = int(DAYS * draw(name, "day"))
    return int(DAYS * draw(name, "another day")) if day in WEEKEND else day


def _default_hour(name: str) -> float:
    left = draw(name, "hour") * sum(HOURS)
    for hour, share in enumerate(HOURS):
        if left < share:
            return hour + left / share
        left -= share
    raise AssertionError("the shares of the hours add up")


def _number(posts: list[Item]) -> None:
    """Give ids that grow with time, as base 36 numbers of seven characters, too large to be anybody's real ones."""
    comments = [comment for post in posts for comment in post.comments]
    for items, first, per_second in ((posts, "zriqk2c", 14), (comments, "z85x0ga", 71)):
        last = 0
        for item in sorted(items, key=lambda item: (item.created, item.name)):
            last = max(last + 1, int(first, 36) + (item.created - START) * per_second + int(13 * draw(item.name, "id")))
            item.id = base36(last)


def author(item: Item) -> str | None:
    """Return the author, `[deleted]` where the account is gone."""
    if item.entry.get("state") in ("deleted", "user", "mods") or (
        "by" not in item.entry and not item.live and draw(item.name, "account") < 0.03
    ):
        return "[deleted]"
    handle = HANDLES[int(len(HANDLES) * draw(item.name, "handle"))]
    return item.entry.get("by", f"{handle}_sample_{int(60 * draw(item.name, 'number')):02d}")


def subscribers(sub: str, moment: int) -> int:
    return SUBSCRIBERS[sub] + int(SUBSCRIBERS[sub] * 0.0004 * (moment - START) / 86_400)


def score(item: Item) -> int:
    """The score written in the texts, or one of the many small and few large ones."""
    return int(item.entry.get("score", 1 + 45 * draw(item.name, "score") ** 4 + 4 * draw(item.name, "a few")))


def last_seen(item: Item) -> int | None:
    """Seconds from creation to the last snapshot; None if there was only the first."""
    seen = item.entry.get("seen")
    settled = {"score", "state", "again", "key"} & item.entry.keys()
    if seen == "early" or (seen is None and not settled and draw(item.name, "early") < 0.1):
        return None
    hours = seen if isinstance(seen, int | float) else 36 + 0.8 * (draw(item.name, "seen") - 0.5)
    return int(hours * 3600)


def first_seen(item: Item) -> int:
    return 9 + int(31 * draw(item.name, "first seen"))


def post_line(item: Item, *, early: bool) -> Line:
    """A submission as dumps carry it, seen seconds after creation (`early`) or later."""
    entry, who = item.entry, author(item)
    slug = "_".join(re.findall(r"\w+", entry["title"].lower()))[:50].rstrip("_")
    ratio = entry.get("ratio", round(0.72 + 0.27 * draw(item.name, "ratio"), 2))
    permalink = f"/r/{item.sub}/comments/{item.id}/{slug}/"
    state = entry.get("state")
    first = early and entry.get("seen") != "early"
    line: Line = {
        "id": item.id,
        "author": who,
        "author_fullname": None if who == "[deleted]" else "t2_0" + base36(36**5 + int(36**6 * draw(who))),
        "created_utc": item.created,
        "domain": "example.com" if "url" in entry else f"self.{item.sub}",
        "edited": item.created + 900 if draw(item.name, "edited") < 0.06 and not early else False,
        "hide_score": "score" not in entry and draw(item.name, "hidden") < 0.03,
        "is_self": "url" not in entry,
        "link_flair_text": None,
        "locked": False,
        "num_comments": 0 if early else len(item.comments),
        "over_18": entry.get("nsfw", False),
        "permalink": permalink,
        "removed_by_category": state if state not in (None, "later") and not early else None,
        "score": 1 if first else score(item),
        "selftext": "" if "url" in entry else entry["text"],
        "stickied": False,
        "subreddit": item.sub,
        "subreddit_id": "t5_0" + base36(36**3 + int(36**4 * draw(item.sub))),
        "subreddit_subscribers": subscribers(item.sub, item.created),
        "title": entry["title"],
        "upvote_ratio": 1.0 if first else ratio,
        "url": entry.get("url", f"https://www.reddit.com{permalink}"),
    }
    if line["author_fullname"] is None:
        del line["author_fullname"]
    if state == "later" and not early:
        line["_meta"] = {"was_deleted_later": True}
    return line


def comment_line(item: Item) -> Line:
    """A comment as dumps carry it."""
    assert item.parent is not None
    entry, who, state = item.entry, author(item), item.entry.get("state")
    parent = item.replies_to or item.parent
    bare_link = draw(item.name, "bare link") < 0.04
    line: Line = {
        "id": item.id,
        "author": who,
        "author_fullname": None if who == "[deleted]" else "t2_0" + base36(36**5 + int(36**6 * draw(who))),
        "body": entry["text"],
        "collapsed_reason_code": "DELETED" if state == "user" else None,
        "controversiality": 0,
        "created_utc": item.created,
        "distinguished": "moderator" if who == "AutoModerator" else None,
        "edited": False,
        "is_submitter": False,
        "link_id": item.parent.id if bare_link else item.parent.fullname,
        "parent_id": parent.fullname,
        "permalink": f"/r/{item.sub}/comments/{item.parent.id}/_/{item.id}/",
        "score": score(item),
        "score_hidden": "score" not in entry and draw(item.name, "hidden") < 0.06,
        "stickied": who == "AutoModerator",
        "subreddit": item.sub,
        "subreddit_id": "t5_0" + base36(36**3 + int(36**4 * draw(item.sub))),
    }
    if line["author_fullname"] is None:
        del line["author_fullname"]
    return line


def pushshift_posts(posts: list[Item]) -> Iterator[Line]:
    """One snapshot per post, most about 36 hours old; r/smallbusiness only from day 6 on, and as first seen."""
    for item in posts:
        after = last_seen(item)
        if item.sub == "smallbusiness":
            if item.created < START + 6 * 86_400 or item.entry.get("state"):
                continue
            after = None
        seen = item.created + (first_seen(item) if after is None else after)
        unknown = item.entry.get("seen") == "never"
        yield {**post_line(item, early=after is None), "retrieved_on": None if unknown else seen}


def arctic_posts(posts: list[Item]) -> Iterator[Line]:
    """The export of one subreddit: seen at once, and again about 36 hours later."""
    for item in posts:
        if item.sub == "smallbusiness":
            line = post_line(item, early=last_seen(item) is None)
            yield {**line, "retrieved_on": item.created + first_seen(item), "_meta": _meta(item, line)}


def arctic_comments(posts: list[Item], *, of_cycling: bool) -> Iterator[Line]:
    comments = [comment for post in posts for comment in post.comments]
    for item in sorted(comments, key=lambda item: item.created):
        if (item.sub == "cycling") is of_cycling:
            line = comment_line(item)
            line = {**line, "retrieved_on": item.created + first_seen(item), "_meta": _meta(item, line)}
            yield {**line, "name": item.fullname, "created_utc": str(item.created)} if of_cycling else line


def _meta(item: Item, line: Line) -> Line:
    after, state = last_seen(item), item.entry.get("state")
    meta = dict(line.get("_meta", {}))
    if after is not None:
        meta["retrieved_2nd_on"] = item.created + after
    if state == "later":
        meta["was_deleted_later"] = True
    if state in ("mods", "removed"):
        meta["removal_type"] = "removed"
    if line["edited"]:
        meta["is_edited"] = True
    return meta


def live_lines(live: list[Item], archived: list[Item], refresh: list[Line]) -> Iterator[Line]:
    """What a crawl appends: the API's objects, and beside them the search, the karma and the moment."""
    for item in live:
        for number, found in enumerate([item, *item.comments]):
            line = post_line(item, early=False) if number == 0 else comment_line(found)
            queries = item.entry["queries"] if number == 0 else []
            yield _landed(line, found, {"matched_queries": queries, "author_karma": found.entry["karma"]})
    for newer in refresh:
        item = next(post for post in archived if post.entry.get("key") == newer["key"])
        line = {**post_line(item, early=False), "score": newer["score"], "num_comments": newer["comments"]}
        if newer.get("gone"):
            line |= {"author": "[deleted]", "selftext": "[deleted]", "removed_by_category": "deleted"}
            line.pop("author_fullname", None)
        yield _landed(line, item, {"matched_queries": [], "author_karma": 40 + int(900 * draw(item.name, "karma"))})


def _landed(line: Line, item: Item, more: Line) -> Line:
    moment = {"created_utc": float(item.created), "retrieved_on": CRAWLED + int(400 * draw(item.name, "fetched"))}
    return {**line, "name": item.fullname, "source": "live", **moment, **more}


def as_bytes(lines: Iterator[Line], spoil: dict[int, Callable[[Line], bytes]], *, ascii_only: bool) -> bytes:
    """Return one JSON object per line; `spoil` adds a broken copy of line n, under another id, behind it."""
    out: list[bytes] = []
    for number, line in enumerate(lines):
        out.append(dumped(line, ascii_only))
        if number in spoil:
            out.append(spoil[number]({**line, "id": base36(int(line["id"], 36) + 3), "_meta": {}}))
    return b"\n".join(out) + b"\n"


def dumped(line: Line, ascii_only: bool = True) -> bytes:
    return json.dumps(line, ensure_ascii=ascii_only, sort_keys=True, separators=(",", ":")).encode()


def with_values(**values: Any) -> Callable[[Line], bytes]:
    return lambda line: dumped({**line, **values})


def without(name: str) -> Callable[[Line], bytes]:
    return lambda line: dumped({key: value for key, value in line.items() if key != name})


# Every archive has some: the lines that must end in bad_lines and nowhere else.
BAD_POSTS: dict[int, Callable[[Line], bytes]] = {
    11: lambda line: dumped(line)[:217],
    37: lambda line: dumped({**line, "title": "caf?"}).replace(b"caf?", b"caf\xe9"),
    58: with_values(created_utc=START + 2_000 * 86_400),
    73: with_values(created_utc=END + 60 * 86_400, retrieved_on=None),
}
BAD_EXPORT = {
    9: without("created_utc"),
    21: with_values(score="plenty"),
}
BAD_COMMENTS = {
    30: with_values(created_utc="last Tuesday"),
    88: lambda line: b"HTTP 429, trying again in 30 s",
    120: with_values(body=["two", "parts"]),
}


def files(texts: Path = HERE / "texts") -> dict[str, bytes]:
    """Return name -> content of every file of the archive."""
    everything, refresh = read_items(texts)
    everything.sort(key=lambda item: item.created)
    archived = [item for item in everything if not item.live]
    written = [item for item in archived if not item.entry.get("missing")]
    live = [item for item in everything if item.live]
    return {
        "RS_2026-03.ndjson": as_bytes(pushshift_posts(written), BAD_POSTS, ascii_only=False),
        "r_smallbusiness_posts.jsonl": as_bytes(arctic_posts(written), BAD_EXPORT, ascii_only=True),
        "RC_2026-03.zst": zst(as_bytes(arctic_comments(archived, of_cycling=False), BAD_COMMENTS, ascii_only=False)),
        "r_cycling_comments.jsonl.gz": gz(as_bytes(arctic_comments(archived, of_cycling=True), {}, ascii_only=True)),
        "live_20260310T030000Z.ndjson": as_bytes(live_lines(live, archived, refresh), {}, ascii_only=False),
    }


def zst(data: bytes) -> bytes:
    shape = zstandard.ZstdCompressionParameters.from_level(9, window_log=WINDOW_LOG, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=shape).compressobj()
    return stream.compress(data) + stream.flush()


def gz(data: bytes) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as stream:
        stream.write(data)
    return packed.getvalue()


def main() -> None:
    folder = HERE / "reddit"
    folder.mkdir(exist_ok=True)
    for name, content in files().items():
        (folder / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
