"""What invented people were sent, and what they thought of it.

Belongs here: their sessions, as lines of events. Does not belong here: which memes there are (`posts.yaml`).

Twelve regulars come on several days and react to at least ten memes each, so that their taste counts; eighteen others
see three memes and leave. Three memes are liked by nearly everybody.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

SEED = 20260314
REGULARS, PASSERS = 12, 18
FAVOURITES = ("telegram:lost_sock_sample:2", "telegram:lost_sock_sample:8", "telegram:pond_news_sample:101")
# A favourite and its copy elsewhere, which some are sent as well.
ORIGINAL, COPY = "telegram:pond_news_sample:101", "instagram:windowsill_sample:3580000000000000105"
COPY_TO = 3
# Before a regular gets to the favourites, taste must be known.
FIRST_PART, SECOND_PART = 11, 6
FIRST_DAY = datetime(2026, 3, 8, tzinfo=UTC)
LAST_DAY = datetime(2026, 3, 13, tzinfo=UTC)
LIKED, SKIPPED = 0.55, 0.08
ENGINES = ("lr_smoothed", "like_spread", "recently_liked", "es_ranked")
Event = dict[str, Any]


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def shown(
    chance: Random, user: str, meme: str, at: datetime, engine: str, taste: float, *, skipped: float = SKIPPED
) -> tuple[list[Event], datetime]:
    """A meme that is sent and, mostly, reacted to; and when the next one may be sent."""
    sent = {"kind": "sent", "user_id": user, "meme_id": meme, "at": at, "engine": engine}
    liked, slow, reacts = chance.random() < taste, chance.random(), chance.random() >= skipped
    after = at + timedelta(seconds=round(1.5 + (14 if liked else 5) * slow, 3))
    reaction = {"kind": "like" if liked else "dislike", "user_id": user, "meme_id": meme, "at": after}
    return [sent, reaction] if reacts else [sent], after + timedelta(seconds=round(1 + 20 * chance.random(), 3))


def regular(chance: Random, number: int, memes: Mapping[str, datetime]) -> Iterator[Event]:
    """One who comes three times, some days apart."""
    user = f"u{number:02}"
    # The last one has yet to see a favourite.
    favourites = [name for name in FAVOURITES if (number, name) != (REGULARS, ORIGINAL)]
    start = FIRST_DAY + timedelta(hours=7 + 12 * chance.random())
    others = [name for name in memes if name not in FAVOURITES and memes[name] < FIRST_DAY]
    others.sort(key=lambda name: chance.random())
    late = [name for name in memes if name not in FAVOURITES and FIRST_DAY <= memes[name] < LAST_DAY]
    late.sort(key=lambda name: chance.random())
    copies = [COPY] if number <= COPY_TO else []
    visits = [others[:FIRST_PART], [*favourites, *others[FIRST_PART : FIRST_PART + SECOND_PART]], [*copies, *late[:5]]]
    for visit, names in enumerate(visits):
        at = start + timedelta(days=(0, 2, 5)[visit], minutes=40 * chance.random())
        for name in names:
            engine = ENGINES[int(len(ENGINES) * chance.random())]
            taste = 0.95 if name in (*FAVOURITES, COPY) else LIKED
            # The first regular passes the original over and likes its copy.
            certain = 1.0 if (number, name) == (1, ORIGINAL) else 0.0 if visit == 0 or name == COPY else SKIPPED
            events, at = shown(chance, user, name, at, engine, taste, skipped=certain)
            yield from events


def passer(chance: Random, number: int) -> Iterator[Event]:
    """One who sees the favourites and leaves; some came by the link of somebody else, or of a channel."""
    user = f"v{number:02}"
    at = LAST_DAY - timedelta(hours=30 * chance.random())
    clicked = {"kind": "share_click", "user_id": user, "meme_id": FAVOURITES[0], "at": at - timedelta(seconds=20)}
    if number <= 3:
        yield clicked | {"sharer_id": "u01"}
    elif number == 4:
        yield clicked | {"channel": "@lost_sock_sample"}
    for name in FAVOURITES:
        events, at = shown(chance, user, name, at, "cold_explore", 0.85, skipped=0.0)
        yield from events


def good_events(memes: Mapping[str, datetime]) -> list[Event]:
    """All events by time, numbered.

    Args:
        memes: those that are served, with the moment of publication.
    """
    chance = Random(SEED)
    told = [event for number in range(1, REGULARS + 1) for event in regular(chance, number, memes)]
    told += [event for number in range(1, PASSERS + 1) for event in passer(chance, number)]
    told.append(
        {
            "kind": "share_click",
            "user_id": "u02",
            "meme_id": FAVOURITES[0],
            "at": FIRST_DAY + timedelta(days=3, hours=9),
            "sharer_id": "u02",
        }
    )
    told.sort(key=lambda event: (event["at"], event["user_id"], event["kind"]))
    return [{"event_id": f"e{number:04}", **event} for number, event in enumerate(told, 1)]


def odd_lines(events: Sequence[Event]) -> list[str]:
    """Lines that an app should not have written: each has its own fate."""
    at = LAST_DAY - timedelta(hours=1)
    base = {"user_id": "u03", "meme_id": FAVOURITES[1], "at": iso(at)}
    odd: list[Mapping[str, Any]] = [
        {"event_id": "odd-kind", "kind": "applause", **base},
        {"event_id": "odd-unknown", "kind": "like", **base, "meme_id": "telegram:lost_sock_sample:999"},
        {"event_id": "odd-untimed", "kind": "like", **base, "at": "yesterday"},
        # Told before, and then as something else.
        {"event_id": events[1]["event_id"], "kind": "dislike", **base},
        # A known event, its time in seconds.
        {"event_id": "odd-seconds", "kind": "sent", **base, "meme_id": COPY, "at": int(at.timestamp())},
    ]
    return [*(json.dumps(line) for line in odd), '{"event_id": "odd-cut", "kind": "like", "user_id": "u0']


def files(memes: Mapping[str, datetime]) -> dict[str, bytes]:
    """Return name -> content, one file per day; the odd lines end the last but one."""
    events = good_events(memes)
    days: dict[str, list[str]] = defaultdict(list)
    for event in events:
        days[event["at"].date().isoformat()].append(json.dumps({**event, "at": iso(event["at"])}))
    days[(LAST_DAY - timedelta(hours=1)).date().isoformat()] += odd_lines(events)
    return {f"{day}.ndjson": "\n".join([*lines, ""]).encode() for day, lines in days.items()}
