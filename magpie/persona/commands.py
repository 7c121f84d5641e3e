"""What an ask wants beside an answer: a command, or a story.

Belongs here: telling them from other asks. Does not belong here: what a command does (`mood_graph.py`, `outbox.py`).
"""

import re

# Asks that are obeyed and not answered; nothing else may stand in them.
COMMANDS = ("!mood",)
# A request, at the beginning of a sentence or after a polite word, for something told or written, of which up to four
# words say what kind; "I want to write a story" asks for nothing.
_STORY = re.compile(
    r"""(?:^|[.!?,:;\n]\s{0,5}
        |\b(?:please|pls|plz)\s{1,5}
        |\b(?:can|could|would|will)\s(?:you|u)\s{1,5}(?:please\s|pls\s)?
        |\b(?:want|like|love)\s(?:you|u)\sto\s)
    (?:tell|write|spin|make\sup)\s{1,5}
    (?:(?:me|us)\s{1,5})?
    (?:[\w',-]{1,30}\s{1,5}){0,4}?
    (?:story|stories|tale|fic|fics|fanfic|fanfics|fanfiction|fiction|drabble)\b""",
    re.IGNORECASE | re.VERBOSE,
)


def command_of(text: str | None) -> str | None:
    """The command that a whole ask consists of; None: it is none, or none that is known."""
    said = (text or "").strip().lower()
    return said if said in COMMANDS else None


def prompt_kind_of(text: str | None) -> str:
    """fiction where a story is asked for, else answer."""
    return "fiction" if _STORY.search(text or "") else "answer"
