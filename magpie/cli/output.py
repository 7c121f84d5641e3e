"""How the command line prints: consoles, tables, untrusted text.

Belongs here: layout shared by commands. Does not belong here: what is printed.
"""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

# Control characters in posts could move the cursor or recolour the terminal.
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def plain(value: object, limit: int | None = None) -> str:
    """Text that people posted, safe to print and at most `limit` characters."""
    text = ("" if value is None else str(value)).translate(_CONTROL)
    if limit is not None:
        text = " ".join(text.split())
        text = text if len(text) <= limit else text[: limit - 1] + "…"
    return escape(text)


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()
) -> Table:
    """A table of already safe cells; columns named in `right` are aligned so."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, str) else plain(cell) for cell in row))
    return made
