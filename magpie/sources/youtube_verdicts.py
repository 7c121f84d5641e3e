"""What YouTube's answers come to, one word each.

Belongs here: the words of YouTube and yt-dlp and what they mean. Does not belong here: getting the answers
(`youtube_dlp.py`) and what an outcome means for a row (the product).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from magpie.fetches import plain_detail
from magpie.sources.youtube_info import Restriction

Outcome = Literal[
    "captions",
    "no_captions",
    "restricted",
    "private",
    "deleted",
    "upcoming",
    "live_now",
    "source_blocked",
    "po_token_required",
    "cooling_down",
    "transport",
]
# Refusals of the address that asks: the next question would be refused too, and makes it worse.
WHOLE_SOURCE: tuple[Outcome, ...] = ("cooling_down", "source_blocked")

# The words of YouTube and yt-dlp, the first that are found decide: what concerns the whole source says nothing of the
# video, and "video unavailable" stands before many a better reason.
_RULES: tuple[tuple[Outcome, Restriction | None, str], ...] = (
    ("cooling_down", None, r"http error 429|too many requests|rate-limited by youtube|try again later"),
    (
        "source_blocked",
        None,
        r"not a bot|ip is likely being blocked|captcha|unusual traffic|unable to download.*http error 403",
    ),
    ("private", None, r"private video|video is private"),
    ("restricted", "age_restricted", r"confirm your age|age-restricted|inappropriate for some users"),
    ("restricted", "members_only", r"members-only|join this channel|channel's members"),
    ("restricted", "premium_only", r"premium members|requires payment|video is paid"),
    ("restricted", "country", r"in your country|video is not available\b|video isn't available in"),
    ("upcoming", None, r"premieres in|premiere will begin|event will begin|will begin in"),
    (
        "deleted",
        None,
        r"video unavailable|video is unavailable|has been removed|no longer available|isn't available anymore"
        r"|has been terminated|recording is not available|does not exist",
    ),
    ("restricted", "login", r"\bsign in\b|\blog ?in\b"),
    ("po_token_required", None, r"subtitles require a po token|missing subtitles languages because a po token"),
    (
        "transport",
        None,
        r"unable to download|http error \d\d\d:|timed out|failed to extract any player|incomplete data",
    ),
)

# Of the web; numbers with dots; groups with colons.
_ADDRESSES = re.compile(
    r"\b[a-z][a-z0-9+.-]*://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){3,7}\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Verdict:
    """What became of a question; detail is one line without addresses."""

    outcome: Outcome
    restriction: Restriction | None = None
    detail: str | None = None


class Refused(Exception):
    """A question that was not answered, with the verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.outcome)
        self.verdict = verdict


def judged(messages: Sequence[str], *, described: bool) -> Verdict:
    """Say what yt-dlp's warnings and errors amount to, `no_captions` if they give no reason.

    Args:
        described: the video's description came; without one and without a reason, it is the transport.
    """
    kept = [message.replace("’", "'") for message in messages]
    for outcome, restriction, words in _RULES:
        for message in kept:
            if re.search(words, message, re.IGNORECASE):
                return Verdict(outcome, restriction, detail_of(message))
    return Verdict("no_captions") if described else Verdict("transport", detail=detail_of(" ".join(kept[-1:])))


def of_status(status: int) -> Verdict:
    """Judge an HTTP status that is an error."""
    outcomes: Mapping[int, Outcome] = {403: "source_blocked", 429: "cooling_down"}
    return Verdict(outcomes.get(status, "transport"), detail=f"HTTP {status}")


def detail_of(message: str) -> str | None:
    """Return the part of a message that tells a person what happened: no advice, internals or addresses."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message)
    text = re.sub(r"^(?:ERROR: |WARNING: )?(?:\[[a-z:]+\] )?(?:[A-Za-z0-9_-]{11}: )?", "", text)
    text = re.split(
        r"\(caused by|[;.]? *(?:please report|Use --|You can manually|It is recommended|Confirm you are)", text
    )[0]
    return plain_detail(_ADDRESSES.sub("…", text)) or None
