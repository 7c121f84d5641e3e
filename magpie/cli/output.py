"""How the command line prints and asks: consoles, tables, untrusted text, keys.

Belongs here: layout and questions shared by commands. Does not belong here: what is printed or asked.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# What people posted is shown as it is: no `:name:` becomes a picture.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

# Control characters in posts could move the cursor or recolour the terminal.
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def bare(value: object) -> str:
    """Text that people posted, for standard output as it is: without what could move a cursor."""
    return ("" if value is None else str(value)).translate(_CONTROL)


def plain(value: object, limit: int | None = None) -> str:
    """Text that people posted, safe to print through a console, and at most `limit` characters."""
    text = bare(value)
    if limit is not None:
        text = " ".join(text.split())
        text = text if len(text) <= limit else text[: limit - 1] + "…"
    return escape(text)


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A table of already safe cells; columns in `right` are aligned so, lines of those in `whole` never broken."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in columns:
        side: Literal["left", "right"] = "right" if name in right else "left"
        made.add_column(name, justify=side, overflow="fold", no_wrap=name in whole)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, str) else plain(cell) for cell in row))
    return made


def pressed(question: str) -> str:
    """Ask for one key.

    Raises:
        KeyboardInterrupt: it was the one that ends a program or its input.
    """
    out.print(plain(question), end="")
    key = typer.getchar()
    out.print(plain(key))
    if key in ("\x03", "\x04"):
        raise KeyboardInterrupt
    return key


def typed(question: str) -> str:
    """Ask for a line."""
    return out.input(plain(question))
