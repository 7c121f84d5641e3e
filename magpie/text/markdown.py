"""Text of others inside Markdown.

Belongs here: making it safe to show, whatever the text says. Does not belong here: the layout of any page or table.
"""

import html
import re

# A cell longer than this makes a table unreadable; the row itself is one query away.
CELL_CHARS = 90
# What Markdown reads as something else than itself, $ as the start of a formula.
_MARKUP = re.compile(r"[\\`*_~\[\]|!#$]")
# What GitHub's dialect turns into links by itself, and what begins a list at the start of a line.
_AUTOLINK = re.compile(r"(?<=\w)(?=://)|(?<=\bwww)(?=\.)", re.IGNORECASE)
_LIST = re.compile(r"^(?:[-+](?= |$)|\d+(?=[.)]( |$)))")
# Nothing but what an address of a video needs, so that none ends the link it stands in.
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+/[A-Za-z0-9._~/?=&%+-]*")


def escaped(value: object, chars: int = CELL_CHARS) -> str:
    """Make text that people posted one line of at most `chars` characters, that Markdown shows as it is."""
    text = " ".join(("" if value is None else str(value)).split())
    cut = text if len(text) <= chars else text[: chars - 1] + "…"
    plain = _AUTOLINK.sub(r"\\", _MARKUP.sub(r"\\\g<0>", html.escape(cut, quote=False)))
    start = _LIST.match(plain)
    if start is None:
        return plain
    marker = start.group()
    return f"\\{plain}" if marker in "-+" else f"{marker}\\{plain[len(marker) :]}"


def link(text: str, address: str | None, chars: int = CELL_CHARS) -> str:
    """A link with the escaped text; the text alone where the address is not a plain https one."""
    shown = escaped(text, chars)
    return f"[{shown}]({address})" if address and _ADDRESS.fullmatch(address) else shown
