"""Where a chosen text goes: out, to a human, or nowhere.

Belongs here: the table from word hits and estimated risk to a route, what follows a rejection, and the tags that a post
may carry. Does not belong here: finding the hits (`word_screen.py`), estimating the risk (`scoring.py`), what people
decide (`reviews.py`).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from magpie.persona.word_screen import HARD_REJECT, HARD_REVIEW, INPUT_LENGTH, SOFT, USERNAME, Hit, normalised

# The bot's own marks on posts, which mean something to its tools.
CONTROL_TAGS = frozenset({"rts", "a"})
# Tumblr's limits: more tags are not searched, longer ones are refused.
TAGS_MOST = 30
TAG_CHARS = 140
# What nobody sent in is not tried again when it is turned down.
_UNASKED = ("original", "dash")
_ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Cuts:
    """Estimated risks, as probabilities, at which the route changes; flag None: risk alone sends nothing to a human."""

    accept: float
    accept_original: float
    flag: float | None
    reject: float


@dataclass(frozen=True)
class Route:
    """A value of `decisions.route` and why."""

    route: str
    reason: str


def route(
    kind: str,
    hits: Collection[Hit],
    autoreview_p: float | None,
    cuts: Cuts,
    *,
    trained: bool,
    placeholder: bool,
) -> Route:
    """Say where a text goes; the first reason that holds decides.

    Args:
        kind: of the input; an original goes to the queue instead of straight out.
        autoreview_p: estimated risk; None: there is none, and a human looks.
        trained: the models know something; until then a human looks at everything.
        placeholder: a picture is missing from the body.
    """
    types = {hit.type for hit in hits}
    if HARD_REJECT in types:
        return Route("rejected", "hard_reject")
    if not trained:
        return Route("draft", "not_trained")
    if autoreview_p is None:
        return Route("draft", "not_scored")
    for kind_of_hit in (HARD_REVIEW, USERNAME, INPUT_LENGTH):
        if kind_of_hit in types:
            return Route("draft", kind_of_hit)
    if placeholder:
        return Route("draft", "placeholder")
    return _by_risk(kind, SOFT in types, autoreview_p, cuts)


def _by_risk(kind: str, soft: bool, p: float, cuts: Cuts) -> Route:
    out = "queue" if kind == "original" else "publish"
    if p > cuts.reject:
        return Route("rejected", "ml_rejected")
    if soft:
        accept = cuts.accept_original if kind == "original" else cuts.accept
        return Route(out, "ml_accepted") if p < accept else Route("draft", "soft_words")
    if cuts.flag is not None and p > cuts.flag:
        return Route("draft", "ml_flagged")
    return Route(out, "clean")


def after_rejection(kind: str, automatic_redos: int, redo_max: int) -> Literal["redo", "draft", "discard"]:
    """What follows when a text is turned down by the rules: another try, a human's look, or nothing.

    Args:
        automatic_redos: tries since the input came in, or since a human asked for another one.
    """
    if kind in _UNASKED:
        return "discard"
    return "redo" if automatic_redos < redo_max else "draft"


def clean_tags(tags: Sequence[str], asker: str | None, avoid: Collection[str]) -> list[str]:
    """The tags that a post may carry: each once whatever its case, in order, the asker's name last.

    Left out are control tags and those that hold a string to avoid. A comma would end a tag, so it becomes a space.

    Args:
        asker: whose ask is answered; None or Anonymous: nobody is named.
        avoid: names and strings.
    """
    avoided = [form for name in avoid if (form := normalised(name).strip())]
    named = [asker] if asker and normalised(asker) != _ANONYMOUS else []
    last = list(_fit(named, avoided))
    seen = {normalised(tag) for tag in last}
    kept: list[str] = []
    for tag in _fit(tags, avoided):
        form = normalised(tag)
        if form not in seen:
            seen.add(form)
            kept.append(tag)
    return [*kept[: TAGS_MOST - len(last)], *last]


def _fit(tags: Iterable[str], avoided: Sequence[str]) -> Iterable[str]:
    for tag in tags:
        cleaned = " ".join(tag.replace(",", " ").split()).lstrip("# ")[:TAG_CHARS].rstrip()
        form = normalised(cleaned)
        if form and form not in CONTROL_TAGS and not any(name in form for name in avoided):
            yield cleaned
