"""Write the bundled archive of a Tumblr blog (samples/tumblr) from the texts in samples/texts/tumblr.

Belongs here: ids, times, notes, the form of posts and pages, pictures. Does not belong here: what people say
(samples/texts/tumblr).

Run without arguments; the same texts give the same bytes (another Pillow may draw the same pictures a little
differently). Nothing is random: `draw` derives a number from a name, so an edited post moves no other post.

The weeks before the replay are put together from the sentences of `author.yaml`, so that there is enough for a writer
and for a model to learn from: topics differ in how many notes their posts get, and chance does the rest.
"""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Any

import yaml
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
TEXTS = HERE / "texts" / "tumblr"
BLOG = "demo-blog"
STRANGERS_FOLDER = "somebody-elses-blog"
# The first day of the replay, and of the weeks before it, in which the blog was alone with its readers.
START = datetime(2026, 3, 2, tzinfo=UTC)
BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)
# A model is trained on the quarters with the most and the fewest notes: 50 of either need 200 posts older than a week,
# also on the Monday before the replay.
POSTS_BEFORE = 280
# Shares of posts that answer nobody, and of answers; the others are reblogs.
ORIGINALS, ANSWERS = 0.60, 0.24
# ln of notes: chance beside the topic, and what a conversation adds.
CHANCE, TALKED_ABOUT = 1.1, 0.35
PER_PAGE = 20
# Ids grow with time, are beyond what a float holds, and are too large to be anybody's real ones.
FIRST_ID, PER_SECOND = 900_000_000_000_000_000, 1_000_000_000
MEDIA = "https://media.demo-blog.example"

Post = dict[str, Any]
Block = dict[str, Any]


def draw(*names: object) -> float:
    """A number in [0, 1) that depends on the names alone."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def pick(values: Sequence[Any], *names: object) -> Any:
    return values[int(len(values) * draw(*names))]


def moment(day: int, hour: float) -> datetime:
    return START + timedelta(days=day, seconds=round(hour * 3600))


def id_of(at: datetime, *names: object) -> int:
    return FIRST_ID + int((at - BEGINNING).total_seconds()) * PER_SECOND + int(PER_SECOND * draw(*names, "id"))


def blog(name: str) -> dict[str, Any]:
    code = hashlib.blake2b(name.encode(), digest_size=11).hexdigest()
    return {"name": name, "title": name.replace("-", " ").title(), "url": f"https://{name}.example/", "uuid": code}


def paragraphs(text: str) -> list[Block]:
    return [{"type": "text", "text": part} for part in text.split("\n\n")] if text else []


def picture(name: str, alt: str = "") -> Block:
    """An image as the API has it: the widest size first, each at an address of its own."""
    kind = name.rpartition(".")[2]
    sizes = (("", 480, 240), ("small/", 240, 120))
    media = [{"url": f"{MEDIA}/{at}{name}", "type": f"image/{kind}", "width": w, "height": h} for at, w, h in sizes]
    return {"type": "image", "media": media, "alt_text": alt}


def post(by: str, at: datetime, name: str, content: list[Block], **more: Any) -> Post:
    """A post as the API has it; `name` is what its id and keys are drawn from."""
    number = id_of(at, name)
    return {
        "object_type": "post",
        "type": "blocks",
        "blog_name": by,
        "blog": blog(by),
        "id": number,
        "id_string": str(number),
        "post_url": f"https://{by}.example/post/{number}",
        "date": f"{at:%Y-%m-%d %H:%M:%S} GMT",
        "timestamp": int(at.timestamp()),
        "state": "published",
        "reblog_key": hashlib.blake2b(name.encode(), digest_size=4).hexdigest(),
        "tags": [],
        "note_count": 0,
        "content": content,
        "layout": [],
        "trail": [],
        **more,
    }


def trail_item(of: Post) -> dict[str, Any]:
    """A post as those carry it that reblog it."""
    about = {"id": of.get("id_string", str(of["id"])), "timestamp": of["timestamp"]}
    return {"content": of["content"], "layout": of["layout"], "post": about, "blog": of["blog"]}


def reblogged(of: Mapping[str, Any]) -> dict[str, Any]:
    parent = {"reblogged_from_id": of["post"]["id"], "reblogged_from_name": of["blog"]["name"]}
    return {"parent_post_url": f"https://{of['blog']['name']}.example/post/{of['post']['id']}", **parent}


def asked_by(name: str | None, blocks: int) -> dict[str, Any]:
    """What makes the first blocks of a post a question."""
    ask: dict[str, Any] = {"type": "ask", "blocks": list(range(blocks))}
    if name is None:
        return {"layout": [ask], "asking_name": "Anonymous", "asking_url": None}
    by = {"attribution": {"type": "blog", "url": f"https://{name}.example/", "blog": blog(name)}}
    return {"layout": [ask | by], "asking_name": name, "asking_url": f"https://{name}.example/"}


# -- The weeks before --------------------------------------------------------------------------------------------------


def before(author: Mapping[str, Any]) -> list[Post]:
    """Posts, answers and reblogs of the blog from its beginning to the replay, the oldest first."""
    apart = (START - BEGINNING) / POSTS_BEFORE
    return [_earlier(n, BEGINNING + (n + 0.9 * draw("before", n, "time")) * apart, author) for n in range(POSTS_BEFORE)]


def _earlier(n: int, at: datetime, author: Mapping[str, Any]) -> Post:
    name, at = f"before/{n}", at.replace(microsecond=0)
    topics = {key: value for key, value in author.items() if isinstance(value, dict)}
    topic = topics[pick(sorted(topics), name, "topic")]
    kind = draw(name, "kind")
    more: dict[str, Any] = {"tags": topic["tags"][: int(4 * draw(name, "tags"))]}
    said = _said(topic, name)
    if kind < ORIGINALS:
        content = paragraphs("\n\n".join(said))
        if draw(name, "italic") < 0.15:
            content[0]["formatting"] = [{"start": 0, "end": len(content[0]["text"].split(".")[0]), "type": "italic"}]
    elif kind < ORIGINALS + ANSWERS:
        content = paragraphs(
            f"{pick(topic['questions'], name, 'question')}\n\n{pick(author['replies'], name)} {said[-1]}"
        )
        more |= asked_by(pick(author["askers"], name, "asker"), 1)
    else:
        content = paragraphs(said[-1])
        of = pick(author["others"], name, "other")
        earlier = at - timedelta(seconds=3600 + int(80_000 * draw(name, "earlier")))
        seen = trail_item(post(of, earlier, f"{name}/seen", paragraphs(pick(topic["seen"], name, "seen"))))
        more |= {"trail": [seen], **reblogged(seen)}
    return post(BLOG, at, name, content, **more, note_count=_notes(topic["liking"], name, talk=kind >= ORIGINALS))


def _said(topic: Mapping[str, Any], name: str) -> list[str]:
    """Two paragraphs: how it begins, and the rest."""
    middles = sorted(topic["middles"], key=lambda text: draw(name, text))[: 1 + int(3 * draw(name, "length"))]
    ending = [pick(topic["endings"], name, "ending")] if draw(name, "ends") < 0.7 else []
    return [f"{pick(topic['openings'], name, 'opening')} {middles[0]}", " ".join([*middles[1:], *ending] or middles)]


def _notes(liking: float, name: str, *, talk: bool) -> int:
    chance = NormalDist(0, CHANCE).inv_cdf(min(max(draw(name, "notes"), 0.01), 0.99))
    return int(math.exp(liking + chance + TALKED_ABOUT * talk))


# -- The replay --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A post of the replay, the kind of page it stands on, and its entry in the texts."""

    page: str
    post: Post
    entry: Mapping[str, Any]


def replay(entries: Sequence[Mapping[str, Any]]) -> list[Made]:
    """The posts of the replay, in the order of the texts."""
    by_key = {entry["key"]: entry for entry in entries if "key" in entry}
    return [Made(entry.get("page", "posts"), _made(entry, by_key), entry) for entry in entries]


def _made(entry: Mapping[str, Any], by_key: Mapping[str, Mapping[str, Any]]) -> Post:
    at, content = moment(entry["day"], entry["hour"]), _content(entry)
    asked = entry.get("page") == "asks"
    more: dict[str, Any] = {"tags": entry.get("tags", []), "note_count": entry.get("notes", 0)}
    if asked:
        more |= {"state": "submission", **asked_by(entry["by"], len(content))}
    if "answers" in entry:
        question = _made(by_key[entry["answers"]], by_key)
        more |= asked_by(question["asking_name"], len(question["content"]))
        more |= {"id": question["id"], "id_string": question["id_string"]}
        content = [*question["content"], *content]
    if "trail" in entry:
        trail = [_item(one, entry, by_key) for one in entry["trail"]]
        more |= {"trail": trail, **reblogged(trail[-1])}
    if "parent" in entry:
        more |= {"reblogged_from_name": entry["parent"], "reblogged_from_id": str(id_of(at, entry["parent"]))}
    if "layout" in entry:
        more["layout"] = entry["layout"]
    by = BLOG if asked else entry.get("by", BLOG)
    made = post(by, at, f"{entry['day']}/{entry['hour']}/{by}", content, **more) | entry.get("raw", {})
    return {name: value for name, value in made.items() if value is not None or name not in entry.get("raw", {})}


def _content(entry: Mapping[str, Any]) -> list[Block]:
    if "content" in entry:
        given = entry["content"]
        return [
            picture(block["image"], block.get("alt", "")) if isinstance(block, dict) and "image" in block else block
            for block in given
        ]
    blocks = paragraphs(entry.get("text", "") * entry.get("repeat", 1))
    if entry.get("mention"):
        blocks[0]["formatting"] = [{"start": 0, "end": len(BLOG) + 1, "type": "mention", "blog": blog(BLOG)}]
    return blocks


def _item(one: Any, entry: Mapping[str, Any], by_key: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(one, str):
        return trail_item(_made(by_key[one], by_key))
    if "broken" in one:
        return {"content": paragraphs(one["text"]), "layout": [], "broken_blog_name": one["broken"]}
    # Some minutes before, in the order in which they stand.
    at = moment(entry["day"], entry["hour"]) - timedelta(minutes=10 * (len(entry["trail"]) - entry["trail"].index(one)))
    return trail_item(post(one["by"], at, f"{one['by']}/{at}", paragraphs(one["text"])))


def notes(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Notes below a post as the API has them, the newest first."""
    made = [_note(entry) for entry in entries]
    return sorted(made, key=lambda note: -note["timestamp"])


def _note(entry: Mapping[str, Any]) -> dict[str, Any]:
    by = entry["by"]
    note = {"type": entry.get("kind", "reply"), "timestamp": int(moment(entry["day"], entry["hour"]).timestamp())}
    note |= {"blog_name": by, "blog_url": f"https://{by}.example/", "followed": entry.get("followed", False)}
    return note | {"content": entry["content"]} if "content" in entry else note | {"reply_text": entry.get("text", "")}


# -- Files -------------------------------------------------------------------------------------------------------------


def pages(kind: str, posts: Sequence[Post]) -> dict[str, bytes]:
    """Twenty posts a file, the newest first, as the API pages them."""
    ordered = sorted(posts, key=lambda one: (one["timestamp"], str(one.get("id_string"))))
    cut = [ordered[start : start + PER_PAGE] for start in range(0, len(ordered), PER_PAGE)]
    return {
        f"{BLOG}/{kind}/page-{number:03}.json": dumped({"response": {"posts": page[::-1]}})
        for number, page in enumerate(cut, 1)
    }


def dumped(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def broken(whole: bytes, bad_notes: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Files that are not as they should be, and what lies in places that nobody asked for."""
    at = moment(6, 14.5)
    good = post(
        "slow-carriage", at, "odd page", paragraphs("The carriage clock stopped, so we are all exactly on time.")
    )
    later = {"blog_name": "slow-carriage", "timestamp": good["timestamp"] + 60, "content": []}
    odd = [
        good,
        {**later, "id": 7.5e17},
        {**later, "id": 5, "state": "liminal"},
        "no post at all",
        {**later, "id": None},
    ]
    yield f"{BLOG}/dash/odd-page.json", dumped(odd)
    yield f"{BLOG}/posts/cut-off.json", whole[: len(whole) // 3]
    yield f"{BLOG}/posts/other-endpoint.json", dumped({"meta": {"status": 200}, "response": {"blog": blog(BLOG)}})
    yield f"{BLOG}/posts/not-utf8.json", '{"posts": [{"summary": "café"}]}'.encode("latin-1")
    yield f"{BLOG}/likes/page-001.json", dumped({"response": {"posts": []}})
    yield f"{STRANGERS_FOLDER}/posts/page-001.json", dumped({"posts": [good | {"blog_name": STRANGERS_FOLDER}]})
    yield "stray-page.json", dumped({"posts": []})
    for name, content in bad_notes.items():
        yield f"{BLOG}/notes/{name}", dumped(content)


def files(texts: Path = TEXTS) -> dict[str, bytes]:
    """Return path -> content of every file of the archive."""
    author, entries, replies = (
        yaml.safe_load((texts / f"{name}.yaml").read_text("utf-8")) for name in ("author", "replay", "replies")
    )
    made = replay(entries)
    found = pages("posts", [*before(author), *(one.post for one in made if one.page == "posts")])
    for kind in ("asks", "mentions", "dash"):
        found |= pages(kind, [one.post for one in made if one.page == kind])
    ids = {one.entry["key"]: one.post["id"] for one in made if "key" in one.entry}
    bad = replies.pop("bad")
    found |= {
        f"{BLOG}/notes/{ids[key]}.json": dumped({"response": {"notes": notes(told)}}) for key, told in replies.items()
    }
    found |= dict(broken(found[f"{BLOG}/posts/page-001.json"], bad))
    return found | {f"{BLOG}/media/{name}": content for name, content in media().items()}


# -- Pictures ----------------------------------------------------------------------------------------------------------

PAPER, INK, GREEN, NIGHT = "#f7f1e3", "#1d2b2a", "#5d8a3a", "#20283a"


def media() -> dict[str, bytes]:
    """Name -> bytes of the pictures that are there; others are named in posts and missing."""
    sign = png(lettered(["THE KETTLE", "IS NOT A WAITING ROOM"], PAPER, INK))
    down = png(lettered(["This image was removed", "for violating our", "community guidelines"], "#dddddd", "#333333"))
    lamp = [lettered([f"LAMP FOUR IS {state}"], *colours) for state, colours in LAMP]
    return {
        "kettle-notice.png": sign,
        "taken-down.png": down,
        "torn-ticket.png": png(lettered(["HALF A TICKET"], PAPER, INK))[:400],
        "lamp-four.gif": gif(lamp),
        "moss-1.png": png(cushions(1)),
        "moss-2.png": png(cushions(2)),
    }


LAMP = (("ON", (PAPER, INK)), ("OFF", (NIGHT, "#e8e4da")))


def lettered(lines: Sequence[str], paper: str, ink: str) -> Image.Image:
    """Lines of text, in the font that comes with Pillow, far from the corners."""
    shown = Image.new("RGB", (480, 240), paper)
    pen, font = ImageDraw.Draw(shown), ImageFont.load_default(34)
    for number, line in enumerate(lines):
        pen.text((240, 120 + 52 * (number - (len(lines) - 1) / 2)), line, fill=ink, font=font, anchor="mm")
    return shown


def cushions(name: int) -> Image.Image:
    """Moss: round, green, and without a word."""
    shown = Image.new("RGB", (480, 240), "#8a7f70")
    pen = ImageDraw.Draw(shown)
    for number in range(3):
        x, y, r = (draw("moss", name, number, axis) for axis in "xyr")
        middle, radius = (90 + 150 * number, 70 + 100 * y), 50 + 45 * r + 10 * x
        pen.ellipse([round(at) for at in (middle[0] - radius, middle[1] - radius, middle[0] + radius, 300)], fill=GREEN)
    return shown


def png(shown: Image.Image) -> bytes:
    out = io.BytesIO()
    shown.quantize(16, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def gif(frames: Sequence[Image.Image]) -> bytes:
    """A second for each frame, for ever."""
    out = io.BytesIO()
    first, *others = (frame.quantize(16, dither=Image.Dither.NONE) for frame in frames)
    first.save(out, "GIF", save_all=True, append_images=others, duration=1000, loop=0, disposal=1)
    return out.getvalue()


def main() -> None:
    folder, made = HERE / "tumblr", files()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in made:
            path.unlink()
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
