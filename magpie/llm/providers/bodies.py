"""Reading a provider's JSON without trusting it.

Belongs here: parsing and the counts that every API gives. Does not belong here: any API's own shape (`openai_api.py`,
`anthropic_api.py`).
"""

import json
from collections.abc import Mapping
from typing import Any

from magpie.llm.providers.text import one_line
from magpie.llm.reply import Usage

# No model reads or writes as much in one call; a larger number is a slip, and its cost would not fit the books.
MOST_TOKENS = 1_000_000_000


class BadBody(Exception):
    """A body that is no answer of the API; the message is one line."""


def parsed(body: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        BadBody: it is none.
    """
    # Bytes that are no UTF-8 are replaced, not refused: the answer around them is paid for.
    text = body.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if not text:
        raise BadBody("the body is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadBody(f"the body is no JSON: {one_line(text, 100)}") from None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def count(counts: Mapping[str, Any], *names: str) -> int | None:
    """The first of the named counts that is there.

    Returns:
        None if none is.

    Raises:
        ValueError: it is no count: negative, beyond reason, no whole number.
    """
    for name in names:
        value = counts.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ValueError(f"{name} is no number")
        if not 0 <= value <= MOST_TOKENS or value != int(value):
            raise ValueError(f"{name} is no count of tokens")
        return int(value)
    return None


def told(usage: Usage | None, answered: bool) -> Usage | None:
    """The usage, unless it cannot be true of an answer: no prompt is empty, and no text is written with no token."""
    if usage is None or usage.input_tokens == 0:
        return None
    return None if answered and usage.output_tokens == 0 else usage
