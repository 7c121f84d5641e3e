"""What is asked for a post, and which answers count: persona_write.

Belongs here: the fields of an answer, the questions of an attempt, how much of a thread a writer reads, and the text
that stands in for a model's. Does not belong here: asking (`magpie/llm`), the words of the prompt
(`prompts/persona_write.md`), which texts hold (`draws.py`), the offline writer (`ngram.py`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Row
from magpie.persona.documents import CONTROL_MARKER
from magpie.persona.draws import cut, tags_of

MAX_CHARS = 60_000
# Of a thread; with what is written it fits a window of 2048 with 256 left, and nobody answers more.
PROMPT_TOKENS = 1792
# Of English text, on average.
CHARS_PER_TOKEN = 4
# Tags that are looked at; more are no tags.
TAGS_READ = 100
NOT_SAID = "Nothing is said about the author; take the voice from its own posts in the thread, if there are any."
_SPACE = re.compile(r"\s")
KINDS = {
    "answer": "the author's post that goes on from the thread and answers what was said last.",
    "original": "a post of the author's own that answers nobody: whatever is on its mind.",
    "fiction": "a short story, complete in itself, of at least 150 words; if the thread asks for one, that one.",
    "review": "a review by the author of one book, film, record, game or thing, with its title and what it is worth.",
}
INPUTS = pl.Schema(
    {
        **dict.fromkeys(("row_ref", "partition", "card", "thread", "kind", "draft", "offline_body"), pl.String()),
        "offline_tags": pl.List(pl.String()),
    }
)


def _tags(value: object) -> object:
    """Tags in one text or in a list are tags; what is neither is left out, since the body is what was paid for."""
    given = value if isinstance(value, list | tuple) else [value]
    return tags_of([tag for tag in given if isinstance(tag, str)][:TAGS_READ])


class PostText(BaseModel):
    """A post as answered; its tags are already as Tumblr takes them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    body: str = Field(max_length=MAX_CHARS)
    tags: Annotated[list[str], BeforeValidator(_tags)] = []


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt."""
    return {
        "card": str(row["card"]).strip() or NOT_SAID,
        "kind": KINDS[row["kind"]],
        "draft": str(row["draft"]),
        "thread": str(row["thread"]),
    }


def check(answer: PostText, row: Row, last_try: bool) -> PostText:
    """Hold an answer against what makes a text a post.

    Raises:
        InvalidAnswer: nothing is left of its body where the post ends, and it can be asked again; on the last try it is
            a draw that did not succeed, like others that do not hold.
    """
    if not last_try and not cut(answer.body)[0]:
        raise InvalidAnswer("body holds no text of the post; write it without the heading that stands in the thread")
    return answer


def from_text(text: str) -> PostText | None:
    """Read a plain text as a post; None: it is JSON that broke, too long, or nothing."""
    bare = text.strip().lstrip("`~").removeprefix("json").lstrip()
    if bare.startswith("{") or (bare.startswith("[") and bare[1:].lstrip()[:1] in ('"', "{", "[")):
        return None
    body, tags = cut(text)
    return PostText(body=body, tags=tags) if 0 < len(body) <= MAX_CHARS else None


def offline(row: Row) -> PostText:
    """The offline writer's text; it is made beforehand, since it needs the blog's archive."""
    return PostText(body=str(row["offline_body"])[:MAX_CHARS], tags=row["offline_tags"])


def writer_rows(
    card: str,
    prompt: str,
    kind: str,
    draws: Sequence[str],
    offline: Sequence[tuple[str, list[str]]],
    row_prefix: str,
    partition: str | None = None,
) -> pl.DataFrame:
    """Return one question for each draw, in the columns `INPUTS`.

    Args:
        card: what the author is like, as its owner wrote it.
        prompt: the thread, and the heading of the author's own post at its end; its newest part is asked about.
        kind: one of `KINDS`.
        draws: names of the draws, each different within the thread (`attempt.k`): they stand in the question, so that
            each text has a question, and an answer, of its own.
        offline: body and tags of each draw, should no model be asked; an empty body where there is no offline writer.
        row_prefix: names the input.
    """
    common = {"partition": partition, "card": card, "thread": cut_prompt(prompt), "kind": kind}
    rows = [
        {"row_ref": f"{row_prefix}#{draw}", **common, "draft": draw, "offline_body": body, "offline_tags": tags}
        for draw, (body, tags) in zip(draws, offline, strict=True)
    ]
    return pl.DataFrame(rows, schema=INPUTS)


def cut_prompt(prompt: str, tokens: int = PROMPT_TOKENS) -> str:
    """Return the newest part of a thread that fits a writer's window, some four characters a token.

    It begins with a whole post, unless more than half of the window would stay empty then: in that case with the
    heading of a post and the end of its text.
    """
    room = tokens * CHARS_PER_TOKEN
    if len(prompt) <= room:
        return prompt
    first = len(prompt) - room
    headings = list(CONTROL_MARKER.finditer(prompt))
    within = [found.start() for found in headings if found.start() >= first]
    if within and len(prompt) - within[0] >= room // 2:
        return prompt[within[0] :]
    before = [found[0].strip() for found in headings if found.start() < first]
    heading = f"{before[-1]}\n\n" if before and len(before[-1]) < room // 2 else ""
    start = first + len(heading)
    # The word that would be cut through goes too, unless what is written has no spaces.
    gap = _SPACE.search(prompt, start - 1, start + room // 8)
    return heading + prompt[gap.end() if gap else start :]


PERSONA_WRITE: FunctionSpec[PostText] = FunctionSpec(
    name="persona_write",
    version=1,
    display_name="Write post",
    description="Write one draft of a post in the voice of a blog's author.",
    template=load("magpie.persona", "persona_write"),
    output=PostText,
    alias="writer",
    inputs={**dict.fromkeys(("card", "kind", "draft"), "trusted"), "thread": "untrusted"},
    variables=variables,
    check=check,
    from_text=from_text,
    offline=offline,
    max_output_tokens=1600,
    temperature=1.0,
    reasoning_off=True,
)
