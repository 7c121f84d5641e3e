"""How fast threads are read: payloads to blocks, HTML, munged text and documents.

Belongs here: made-up threads, the reference, the table. Does not belong here: reading itself
(`magpie/sources/tumblr_npf.py`, `magpie/persona/threads.py`).

    python -m benchmarks.persona_threads [--threads 10000]

The references do part of the work on the same payloads: decoding their JSON, and decoding it and taking the words out
of the finished HTML with lexbor, a parser written in C, which knows nothing of pictures, links or documents. What
counts is the last line: rows of `threads` from rows of `tumblr_posts`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
from selectolax.lexbor import LexborHTMLParser

from benchmarks.machine import describe
from magpie.persona.html import html_of
from magpie.persona.munging import munged
from magpie.persona.settings import Blog
from magpie.persona.tables import IMAGE_TEXTS, TUMBLR_POSTS
from magpie.persona.threads import threads
from magpie.sources.tumblr_npf import parse_post, parts_of
from magpie.tables import all_ok

TARGET_S = 10
SEED = 20_261_121
AT = 1_763_672_400
BLOG = Blog(name="demo-blog")
NAMES = ("ada", "bob-s-garden", "cy", "demo-blog", "dora-draws", "eve")
WORDS = (
    *("the", "a", "of", "and", "rain", "tea", "kettle", "garden", "is", "was", "very", "not", "maybe", "again", "I"),
    *("you", "it", "\u201cquite\u201d", "it\u2019s", "\U0001f600", "\u732b", "cloud", "<3", "&", "still.", "really?"),
    *("yes!", "mountain", "somebody", "wrote", "about", "cats,", "lamps", "small", "boats", "between", "yesterday"),
)
SUBTYPES = (*(None,) * 6, "heading2", "indented", "quirky", "ordered-list-item", "unordered-list-item")


def posts(count: int) -> pl.DataFrame:
    """So many rows of `tumblr_posts`; each thread has one to six posts of one to eight blocks."""
    chance = random.Random(SEED)
    parsed = [parse_post(_raw(chance, number)) for number in range(1, count + 1)]
    rows = [
        {
            "blog": BLOG.name,
            "day": post.published_at.date(),
            "post_id": post.post_id,
            "author_blog": post.author,
            "role": "mention",
            "post_state": post.state,
            "published_at": post.published_at,
            "tags": list(post.tags),
            "note_count": 0,
            "payload": post.payload,
            "source_file": "made-up.json",
        }
        for post in parsed
    ]
    return TUMBLR_POSTS.shaped(all_ok(pl.DataFrame(rows, schema=TUMBLR_POSTS.dtypes)))


def _raw(chance: random.Random, number: int) -> dict[str, Any]:
    trail = [
        {
            "post": {"id": str(number * 10 + at), "timestamp": AT},
            "blog": {"name": chance.choice(NAMES)},
            **_said(chance),
        }
        for at in range(chance.randrange(6))
    ]
    if trail and number % 3 == 0:
        trail[0]["layout"] = [{"type": "ask", "blocks": [0], "attribution": {"blog": {"name": "ada"}}}]
    own = {
        "id_string": str(number),
        "blog_name": chance.choice(NAMES),
        "timestamp": AT + number,
        "tags": ["rain", "tea"],
    }
    return {**own, "trail": trail, **_said(chance)}


def _said(chance: random.Random) -> dict[str, Any]:
    return {"content": [_block(chance) for _ in range(chance.randint(1, 8))], "layout": []}


def _block(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.1:
        sizes = [(1280, 960), (640, 480), (250, 188)]
        url = f"https://64.media.example/{chance.randrange(10**9)}"
        media = [{"url": f"{url}/s{width}x{height}/p.jpg", "width": width, "height": height} for width, height in sizes]
        return {"type": "image", "media": media}
    text = " ".join(chance.choices(WORDS, k=chance.randint(3, 60)))
    # 0.6 ranges a block, as in pages of staff's own blog.
    formatting = [_range(chance, len(text)) for _ in range(chance.randrange(4))] if chance.random() < 0.4 else []
    made = {"type": "text", "text": text, "formatting": formatting, "subtype": chance.choice(SUBTYPES)}
    return {**made, "indent_level": chance.choice((0, 0, 0, 1))}


def _range(chance: random.Random, length: int) -> dict[str, Any]:
    start = chance.randrange(length)
    kind = chance.choice(("bold", "italic", "link", "mention", "small"))
    held = {"start": start, "end": start + chance.randint(1, 20), "type": kind}
    if kind == "link":
        return {**held, "url": "https://a.example/page?x=1&y=2"}
    return {**held, "blog": {"name": "ada", "url": "https://ada.tumblr.com/"}} if kind == "mention" else held


def decoded(payloads: list[str]) -> None:
    """The reference that no way can be faster than."""
    for payload in payloads:
        json.loads(payload)


def words_by_lexbor(payloads: list[str], pages: list[str]) -> None:
    """The reference: the words of threads whose HTML somebody else has made."""
    for payload, page in zip(payloads, pages, strict=True):
        json.loads(payload)
        LexborHTMLParser(page).text()


def parted(payloads: list[str]) -> None:
    for payload in payloads:
        parts_of(payload)


def html_and_munged(payloads: list[str]) -> None:
    for payload in payloads:
        for part in parts_of(payload):
            munged(html_of(part.blocks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=10_000)
    count = parser.parse_args().threads
    frame, texts = posts(count), IMAGE_TEXTS.empty()
    payloads = frame["payload"].to_list()
    pages = ["".join(html_of(part.blocks) for part in parts_of(payload)) for payload in payloads]
    blocks = sum(len(part.blocks) for payload in payloads for part in parts_of(payload))
    size = sum(map(len, payloads)) / 2**20
    print(describe(("polars", "selectolax")))
    print(f"\n{count:,} threads, {blocks:,} blocks, {size:,.0f} Mi characters of JSON, {datetime.now(UTC):%Y-%m-%d}")
    print("\n| way | seconds | CPU seconds | threads/s |\n|---|---:|---:|---:|")
    ways: dict[str, Callable[[], object]] = {
        "reference: decoding the JSON": lambda: decoded(payloads),
        "reference: that, and the words of finished HTML by lexbor": lambda: words_by_lexbor(payloads, pages),
        "payload to blocks": lambda: parted(payloads),
        "payload to blocks, HTML and munged text": lambda: html_and_munged(payloads),
        "**payload to rows of threads**": lambda: threads(frame, texts, BLOG),
    }
    seconds = 0.0
    for name, way in ways.items():
        began, used = time.perf_counter(), time.process_time()
        way()
        seconds, used = time.perf_counter() - began, time.process_time() - used
        print(f"| {name} | {seconds:.2f} | {used:.2f} | {count / seconds:,.0f} |", flush=True)
    print(f"\n{seconds:.1f} s (target {TARGET_S})")
    sys.exit(0 if seconds < TARGET_S else 1)


if __name__ == "__main__":
    main()
