"""Fetching a blog: what is new of it becomes pages that read like those of any archive.

Belongs here: what a poll asks for, in which order and how far back, and which pages are worth a file. Does not belong
here: requests (`magpie/sources/tumblr_api.py`), when a poll is due (`live.py`), what is in a page (`tumblr_pages.py`).

How far a poll has come stands in a hidden file beside the pages, so that whoever deletes a blog's folder has all of it
fetched again. It moves on only when everything before it has landed; what a poll that broke off has asked for is asked
for once more.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from magpie.errors import UserError
from magpie.sources.meme_posts import moment_of
from magpie.sources.tumblr_api import GONE, PAGE_POSTS, Answer, Fault, TumblrApi
from magpie.sources.tumblr_blocks import blog_name_of
from magpie.sources.tumblr_npf import NpfError, parse_post
from magpie.sources.whole_file import write_whole

STATE = ".fetched.json"
# The first poll goes as far back as replies and reblogs count, which is 250 posts; later ones catch up as far.
POST_PAGES = 13
# A hundred questions are more than anybody answers before the next poll.
ASK_PAGES = 5
NOTIFICATION_PAGES = 5
NOTE_PAGES = 5
# So many pages are remembered as landed today; more are fetched on no day.
MOST_SEEN = 2000
STATE_BYTES = 1 << 20
MOST_DIGITS = 25

Page = Callable[[], Answer | Fault]


@dataclass
class State:
    """How far fetching has come.

    Attributes:
        posts_at: second of the newest own post; heard_at: of the newest notification that was dealt with.
        dash_id: newest post of the dashboard; dash_at: second of the last look at it; dash_rate: posts a second then.
        seen: hashes of pages that landed, and their day; a page that says nothing new lands once a day, for its counts.
    """

    posts_at: int = 0
    heard_at: int = 0
    dash_id: str | None = None
    dash_at: int = 0
    dash_rate: float | None = None
    seen: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "State":
        """What the file says; a file that cannot be understood says nothing, and all is fetched again."""
        try:
            with path.open("rb") as file:
                told = json.loads(file.read(STATE_BYTES))
        except FileNotFoundError:
            return cls()
        except (ValueError, RecursionError):
            return cls()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; grant read permission") from None
        return cls._of(told) if isinstance(told, dict) else cls()

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> "State":
        rate, dash_id, seen = told.get("dash_rate"), told.get("dash_id"), told.get("seen")
        pairs = seen.items() if isinstance(seen, dict) else ()
        return cls(
            posts_at=_whole(told.get("posts_at")),
            heard_at=_whole(told.get("heard_at")),
            dash_id=_id(dash_id),
            dash_at=_whole(told.get("dash_at")),
            dash_rate=float(rate) if isinstance(rate, int | float) and 0 <= rate < 1e6 else None,
            seen={key: day for key, day in pairs if isinstance(day, str)},
        )

    def dump(self, today: str) -> bytes:
        kept = [(key, day) for key, day in self.seen.items() if day == today][-MOST_SEEN:]
        return json.dumps({**vars(self), "seen": dict(kept)}, sort_keys=True).encode()

    def expected_posts(self, now: datetime, full: int = PAGE_POSTS) -> float:
        """How many posts the dashboard will have by now; a full page where nobody knows yet."""
        if self.dash_rate is None:
            return float(full)
        return self.dash_rate * max(now.timestamp() - self.dash_at, 0.0)


@dataclass
class Fetched:
    """What came of a poll: files that were written, and why it ended early, if it did."""

    files: list[Path] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def line(self) -> str:
        return f"{len(self.files)} pages" + (f", then {self.fault.kind}" if self.fault else "")


class Fetching:
    """One poll of one blog.

    Args:
        folder: of the blog; pages go to `<kind>/<moment>.json` in it.
        goes_on: whether there are calls enough for one more request about a single post.
    """

    def __init__(
        self, api: TumblrApi, blog: str, folder: Path, clock: Callable[[], datetime], goes_on: Callable[[], bool]
    ) -> None:
        self._api, self._blog, self._folder, self._goes_on = api, blog, folder, goes_on
        self._now = clock()
        self._state = State.read(folder / STATE)
        self._found = Fetched()

    @property
    def state(self) -> State:
        return self._state

    def run(self, *, dash: bool) -> Fetched:
        """Fetch what is new of the blog, and of its dashboard if asked to; a fault ends it, and is no error.

        Raises:
            UserError: a page cannot be written.
        """
        steps: list[Callable[[], Fault | None]] = [self._posts, self._asks, self._notifications]
        for step in [*steps, self._dashboard] if dash else steps:
            fault = step()
            if fault is not None:
                self._found.fault = fault
                break
        write_whole(self._folder / STATE, self._state.dump(self._today))
        return self._found

    def _posts(self) -> Fault | None:
        """Own posts back to the newest that landed before."""
        before: int | None = None
        newest = 0
        for _ in range(POST_PAGES):
            answer = self._api.posts(self._blog, before)
            if isinstance(answer, Fault):
                return answer
            self._land("posts", answer.content, answer.items("posts"))
            times = _times(answer.items("posts"))
            newest = max(newest, *times, 0)
            # Posts of one second may be cut apart by the end of a page, so that second is asked for again.
            oldest = min(times) + 1 if times else None
            if oldest is None or oldest == before or len(times) < PAGE_POSTS or oldest <= self._state.posts_at:
                break
            before = oldest
        self._state.posts_at = max(self._state.posts_at, newest)
        return None

    def _asks(self) -> Fault | None:
        for number in range(ASK_PAGES):
            answer = self._api.submissions(self._blog, number * PAGE_POSTS)
            if isinstance(answer, Fault):
                return answer
            self._land("asks", answer.content, answer.items("posts"))
            if len(answer.items("posts")) < PAGE_POSTS:
                break
        return None

    def _notifications(self) -> Fault | None:
        """What others did since the last time, the oldest first, each with the post or the notes it is about."""
        heard = self._heard()
        if isinstance(heard, Fault):
            return heard
        asked: set[tuple[str, str, str]] = set()
        for at, item in sorted(heard, key=lambda pair: pair[0]):
            wanted = _wanted(item, self._blog)
            if wanted is not None and wanted not in asked:
                if not self._goes_on():
                    self._state.heard_at = max(self._state.heard_at, at - 1)
                    return None
                asked.add(wanted)
                kind, blog, post_id = wanted
                fault = self._notes(post_id) if kind == "notes" else self._mention(blog, post_id)
                # What is gone by now was not for us.
                if fault is not None and fault.kind != GONE:
                    self._state.heard_at = max(self._state.heard_at, at - 1)
                    return fault
        self._state.heard_at = max([self._state.heard_at, *(at for at, _ in heard)])
        return None

    def _heard(self) -> list[tuple[int, dict[str, Any]]] | Fault:
        found: list[tuple[int, dict[str, Any]]] = []
        before: int | None = None
        for _ in range(NOTIFICATION_PAGES):
            answer = self._api.notifications(self._blog, before)
            if isinstance(answer, Fault):
                return answer
            items = answer.items("notifications")
            timed = [(at, item) for item in items if (at := _second(item)) is not None]
            found += [pair for pair in timed if pair[0] > self._state.heard_at]
            oldest = min((at for at, _ in timed), default=None)
            if oldest is None or oldest <= self._state.heard_at or oldest == before:
                break
            before = oldest
        return found

    def _mention(self, blog: str, post_id: str) -> Fault | None:
        answer = self._api.post(blog, post_id)
        if isinstance(answer, Fault):
            return answer
        self._land("mentions", answer.content, answer.items("posts"))
        return None

    def _notes(self, post_id: str) -> Fault | None:
        """All notes below an own post that are new, in one file, so that replies know which reblogs came before."""
        found: dict[str, dict[str, Any]] = {}
        before: int | None = None
        for _ in range(NOTE_PAGES):
            answer = self._api.notes(self._blog, post_id, before)
            if isinstance(answer, Fault):
                return answer
            page = answer.items("notes")
            # Pages may overlap, and a reblog counts once.
            found |= {_said(note): note for note in (*page, *answer.items("rollup_notes"))}
            times = _times(page)
            further = _older(answer)
            if not times or min(times) <= self._state.heard_at or further is None or further == before:
                break
            before = further
        notes = list(found.values())
        try:
            content = json.dumps({"response": {"notes": notes}}).encode()
        except RecursionError:
            return Fault(GONE, f"notes of {post_id} nest too deep")
        self._land("notes", content, notes, f"{post_id}-")
        return None

    def _dashboard(self) -> Fault | None:
        answer = self._api.dashboard(self._state.dash_id)
        if isinstance(answer, Fault):
            return answer
        posts = answer.items("posts")
        self._land("dash", answer.content, posts)
        state, now = self._state, int(self._now.timestamp())
        if state.dash_at and now > state.dash_at:
            state.dash_rate = len(posts) / (now - state.dash_at)
        state.dash_at = now
        ids = [known for post in posts if (known := _id(post.get("id_string") or post.get("id")))]
        state.dash_id = max([state.dash_id or "0", *ids], key=int) if ids else state.dash_id
        return None

    @property
    def _today(self) -> str:
        return str(self._now.date())

    def _land(self, kind: str, content: bytes, items: Sequence[Mapping[str, Any]], prefix: str = "") -> None:
        """Write a page, unless all that it says landed today."""
        said = hashlib.sha256("".join([kind, prefix, *sorted(map(_said, items))]).encode()).hexdigest()
        if not items or self._state.seen.get(said) == self._today:
            return
        self._state.seen[said] = self._today
        stamp = self._now.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        path = self._folder / kind / f"{prefix}{stamp}-{len(self._found.files) + 1}.json"
        self._found.files.append(write_whole(path, content))


def _wanted(item: Mapping[str, Any], blog: str) -> tuple[str, str, str] | None:
    """What is to be fetched about a notification: `notes` or `mentions`, the blog and the post; None: nothing."""
    kind, target = item.get("type"), _id(item.get("target_post_id"))
    author, owner = blog_name_of(item.get("from_tumblelog_name")), blog_name_of(item.get("target_tumblelog_name"))
    is_reply = kind in ("reply", "mention_in_reply") or (kind == "conversational_note" and "reply_text" in item)
    if is_reply:
        # Below posts of others there is no thread of ours to answer in.
        return ("notes", blog, target) if target and owner in (None, blog) else None
    if kind not in ("mention_in_post", "reblog_with_content", "conversational_note"):
        return None
    said = _id(item.get("post_id"))
    if said and author:
        return "mentions", author, said
    return ("mentions", owner, target) if target and owner and owner != blog else None


def _older(answer: Answer) -> int | None:
    """Where the next page of notes begins, in microseconds since 1970; None: there is none."""
    found: object = answer.response
    for name in ("_links", "next", "query_params", "before_timestamp"):
        found = found.get(name) if isinstance(found, dict) else None
    told = _id(found)
    return None if told is None else int(told)


def _said(item: Mapping[str, Any]) -> str:
    """What a post or note says, without counts that change from hour to hour."""
    try:
        post = parse_post(dict(item))
    except NpfError:
        kept = {name: value for name, value in item.items() if isinstance(value, str | int) and name != "note_count"}
        text = json.dumps(kept, sort_keys=True)
    else:
        text = post.state + post.payload
    return hashlib.sha256(text.encode()).hexdigest()


def _times(items: Sequence[Mapping[str, Any]]) -> list[int]:
    return [at for item in items if (at := _second(item)) is not None]


def _second(item: Mapping[str, Any]) -> int | None:
    at = moment_of(item.get("timestamp"))
    return None if at is None else int(at.timestamp())


def _id(value: object) -> str | None:
    """An id of Tumblr's, which is a number beyond what a float holds."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else 0
