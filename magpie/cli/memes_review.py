"""`magpie memes review` and `decide`: look at what waits for a person, and say what is to become of it.

Belongs here: showing, asking, opening pictures, arguments. Does not belong here: what waits and who may decide
(`magpie/memes/moderation.py`).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from mimetypes import guess_extension
from pathlib import Path
from typing import Annotated, Any, Protocol

import polars as pl
import typer

from magpie.cli import options
from magpie.cli.output import err, out, plain, pressed, typed
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import moderation
from magpie.settings import Settings, load_settings

Ask = Callable[[str], str]
Open = Callable[[Path, str | None], None]

# What each key decides, by why the meme waits: nobody approves what is served already.
KEYS = {
    "upload": {"a": "approve", "r": "reject"},
    "ad": {"a": "approve", "r": "reject"},
    "uncertain": {"d": "distinct", "r": "reject"},
}
WORDS = {"a": "a(pprove)", "r": "r(eject)", "d": "d(istinct: no copy)", "s": "s(kip)", "q": "q(uit)"}
WHY = {
    "upload": "an upload that nobody reviewed yet",
    "ad": "taken for an ad",
    "uncertain": "perhaps a copy; served meanwhile",
}
TEXT_CHARS = 400
# More than this is no evening's work.
MOST = 500


class Decide(Protocol):
    """Records one decision."""

    def __call__(self, meme_id: str, action: str, reason: str | None) -> None: ...


def review(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = MOST,
    approve: Annotated[str | None, typer.Option(metavar="MEME", help="Approve this one without asking.")] = None,
    reject: Annotated[str | None, typer.Option(metavar="MEME", help="Reject this one without asking.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    actor: options.Actor = None,
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open pictures in a viewer where there is one.")
    ] = True,
    config: options.Config = None,
) -> None:
    """Go through uploads, ads and possible copies, and approve or reject them with a key press."""
    settings, who = load_settings(config), options.actor(actor)
    lake, control = _stores(settings)
    record = _recorder(control, lake, who)
    if approve is not None and reject is not None:
        raise UserError("--approve and --reject are two decisions; make one at a time")
    for action, meme_id in (("approve", approve), ("reject", reject)):
        if meme_id is not None:
            record(meme_id, action, reason)
            _told(meme_id, action)
            return
    if reason is not None:
        raise UserError("--reason goes with --approve MEME or --reject MEME")
    rows = moderation.waiting(lake, control, limit, actor=who)
    if rows.is_empty():
        out.print("nothing waits for a review")
        return
    if not (sys.stdin.isatty() and out.is_terminal):
        for row in rows.iter_rows(named=True):
            _print(row, settings.home)
        out.print(f"{rows.height:,} wait; this is no terminal, so decide with --approve MEME or --reject MEME")
        return
    with tempfile.TemporaryDirectory(prefix="magpie-") as folder:
        decided = go_through(rows, settings.home, record, pressed, typed, viewer(Path(folder)) if show else _leave)
    out.print(f"\n{decided:,} decided, {rows.height - decided:,} left; `magpie run memes` makes their states anew")


def decide_one(
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION", help="approve, reject, distinct, publish, unpublish, set_language, restore or purge."
        ),
    ],
    meme: Annotated[str, typer.Argument(metavar="MEME", help="As in telegram:channel:17.")],
    value: Annotated[str | None, typer.Option(help="The language, for set_language.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Record any decision about a meme; nothing is edited, the latest one counts."""
    lake, control = _stores(load_settings(config))
    _recorder(control, lake, options.actor(actor), value)(meme, action, reason)
    _told(meme, action)


def _recorder(control: Control, lake: Lake, actor: str, value: str | None = None) -> Decide:
    def record(meme_id: str, action: str, reason: str | None) -> None:
        now = datetime.now(UTC)
        moderation.decide(
            control, lake, meme_id, action, actor=actor, at=now, reason=reason, value=value, operator=True
        )

    return record


def _told(meme_id: str, action: str) -> None:
    out.print(f"{plain(meme_id)}: {action}; `magpie run memes` or the sensor new_memes makes its state anew")


def go_through(rows: pl.DataFrame, home: Path, record: Decide, key: Ask, line: Ask, show: Open) -> int:
    """Show row after row and record what is pressed until they end or somebody quits; return how many were recorded.

    Args:
        rows: of `moderation.waiting`.
        key: gives one key; line: a whole line.
        show: opens a picture.
    """
    decided = 0
    try:
        for row in rows.iter_rows(named=True):
            _print(row, home)
            for path in _pictures(row, home):
                show(path, row["mime"])
            actions = KEYS[row["why"]]
            pressed = _one_of({*actions, "s", "q"}, "  ".join(WORDS[name] for name in (*actions, "s", "q")), key)
            if pressed == "q":
                break
            if pressed == "s":
                continue
            reason = line("because (Enter: no reason): ").strip()[: moderation.REASON_CHARS] if pressed == "r" else ""
            decided += _recorded(record, row["meme_id"], actions[pressed], reason or None)
    except (EOFError, KeyboardInterrupt):
        out.print()
    return decided


def _recorded(record: Decide, meme_id: str, action: str, reason: str | None) -> bool:
    try:
        record(meme_id, action, reason)
    except UserError as error:
        # Somebody else may have decided meanwhile; the next ones can be reviewed all the same.
        err.print(f"not recorded: {plain(error)}")
        return False
    return True


def _one_of(keys: set[str], question: str, key: Ask) -> str:
    while True:
        pressed = key(f"{question} ").strip().lower()[:1]
        if pressed in keys:
            return pressed


def _leave(path: Path, mime: str | None) -> None:
    """The path was printed, and that is enough."""


def viewer(folder: Path) -> Open:
    """What opens pictures on this computer; where there is no display, their paths have to do.

    Args:
        folder: pictures are copied there under a name that says what they are, which viewers go by.
    """
    command = shutil.which("open") if sys.platform == "darwin" else shutil.which("xdg-open")
    display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if command is None or not display:
        return _leave

    def show(path: Path, mime: str | None) -> None:
        if path.is_file():
            copy = folder / (path.name + (guess_extension(mime or "") or ""))
            shutil.copyfile(path, copy)
            subprocess.Popen([command, str(copy)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return show


def _pictures(row: Mapping[str, Any], home: Path) -> Iterator[Path]:
    return (home / path for name in ("path", "looks_like_path") if (path := row[name]))


def _print(row: Mapping[str, Any], home: Path) -> None:
    for line in _lines(row, home):
        out.print(line, soft_wrap=True)
    out.print()


def _lines(row: Mapping[str, Any], home: Path) -> Iterator[str]:
    detail = f" ({plain(row['detail'])})" if row["detail"] else ""
    yield f"[bold]{plain(row['meme_id'])}[/bold]  {WHY[row['why']]}{detail}"
    by = f", by {plain(row['uploader_id'])}" if row["uploader_id"] else ""
    yield f"  {row['type']}, {row['language']}, {row['published_at']:%Y-%m-%d %H:%M} UTC, {plain(row['source_id'])}{by}"
    told = (("caption", row["caption"]), ("text in it", row["ocr_text"]), ("description", row["description"]))
    for name, text in told:
        if text:
            yield f"  {name}: {plain(text, TEXT_CHARS)}"
    if row["ocr_text"] is None and row["type"] == "image":
        yield "  [dim]its text was not read[/dim]"
    if row["path"]:
        yield f"  picture:    {plain(home / row['path'])}"
    if row["looks_like_path"]:
        bits = "" if row["phash_distance"] is None else f"  [dim]{row['phash_distance']} bits apart[/dim]"
        yield f"  looks like: {plain(home / row['looks_like_path'])}  {plain(row['looks_like'])}{bits}"
    if row["url"]:
        yield f"  {plain(row['url'])}"


def _stores(settings: Settings) -> tuple[Lake, Control]:
    return Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
