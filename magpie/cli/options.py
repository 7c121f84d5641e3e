"""Options that several commands share.

Belongs here: an option's name, help and parsing, said once. Does not belong here: commands.
"""

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from magpie.errors import UserError

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; default MAGPIE_CONFIG or ./magpie.yaml.")]
First = Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day, YYYY-MM-DD, UTC.")]
Actor = Annotated[str | None, typer.Option(help="Who says so; default: the name you are logged in with.")]
Last = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, included.")]


def day(text: str | None, option: str) -> date | None:
    """Parse a day.

    Raises:
        UserError: it is none.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text!r} is not a day; write it as 2026-03-02") from None


def actor(name: str | None) -> str:
    """Who decides: as told, else the name of the login."""
    return name if name is not None else os.environ.get("USER") or os.environ.get("USERNAME") or "someone"
