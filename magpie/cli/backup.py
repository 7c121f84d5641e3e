"""`magpie backup` and `restore`.

Belongs here: arguments and printing. Does not belong here: what is copied and how it is verified (`magpie/backup.py`).
"""

from pathlib import Path
from typing import Annotated

import typer

from magpie.backup import Manifest, Places
from magpie.backup import backup as backup_to
from magpie.backup import restore as restore_from
from magpie.catalog import TABLES
from magpie.cli import options
from magpie.cli.output import err, out, plain, table
from magpie.settings import load_settings
from magpie.utc import utc_now


def backup(
    to: Annotated[Path, typer.Option("--out", help="A new folder, outside of the home.")],
    config: options.Config = None,
) -> None:
    """Copy lake, control database, blobs and fetched files to a folder; Magpie may go on working meanwhile."""
    places = Places.of(load_settings(config))
    with err.status("") as status:
        made = backup_to(places, TABLES.values(), to, now=utc_now(), told=lambda what: status.update(plain(what)))
    _print(made)
    for sha256 in made.damaged_blobs:
        out.print(f"left out: blob {sha256} holds other bytes than its name says")
    out.print(f"{_size(made)} saved to {plain(to)}", soft_wrap=True)


def restore(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `magpie backup` made.")],
    config: options.Config = None,
) -> None:
    """Put a backup back into an empty home, after every file of it was verified, and count what came back."""
    settings = load_settings(config)
    with err.status("") as status:
        back = restore_from(Places.of(settings), source, told=lambda what: status.update(plain(what)))
    _print(back)
    made = f"made {back.made_at:%Y-%m-%d %H:%M} UTC"
    out.print(f"{_size(back)} restored to {plain(settings.home)}, {made}", soft_wrap=True)


def _print(manifest: Manifest) -> None:
    rows = [("lake", name, f"{stored.rows:,}", f"{stored.version:,}") for name, stored in manifest.lake.items()]
    if manifest.control is not None:
        rows += [("control", name, f"{count:,}", "") for name, count in sorted(manifest.control.tables.items())]
    out.print(table(None, ("where", "table", "rows", "version"), rows, ("rows", "version")))


def _size(manifest: Manifest) -> str:
    return f"{len(manifest.files):,} files, {manifest.bytes / 1e6:,.1f} MB"
