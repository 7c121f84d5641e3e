"""`magpie persona review`: look at drafts, and say what is to become of them.

Belongs here: showing, asking, arguments. Does not belong here: what waits (`magpie/persona/drafts.py`), which decision
is possible when (`reviews.py`), what follows from it (`outbox.py`, the planner).
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import polars as pl
import typer

from magpie.blobs import Blobs
from magpie.cli import options
from magpie.cli.output import err, out, plain, pressed, table, typed
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.persona import reviews
from magpie.persona.drafts import waiting
from magpie.persona.stages import Reader
from magpie.persona.why import texts_of, thread_of
from magpie.settings import Settings, load_settings
from magpie.utc import utc_now

Ask = Callable[[str], str]
Row = Mapping[str, Any]

KEYS = {"a": "approve", "r": "redo", "x": "reject", "e": "edit", "h": "hold"}
WORDS = {
    "a": "a(pprove)",
    "r": "r(edo)",
    "x": "x: reject",
    "e": "e(dit)",
    "h": "h(old)",
    "s": "s(kip)",
    "q": "q(uit)",
}
# A held post is held already; it is released by approving it.
KEYS_OF = {"draft": "arxehsq", "held": "arxesq"}
# More than this is no evening's work.
MOST = 500
THREAD_CHARS, BODY_CHARS, LINE_CHARS, OTHERS = 1200, 4000, 100, 6
FOLLOWS = "`magpie run persona` or the sensor new_inputs makes what follows from it"


class Decide(Protocol):
    """Records one decision."""

    def __call__(
        self, outbox_id: str, action: str, *, body: str | None, tags: Sequence[str] | None, note: str | None
    ) -> None: ...


def review(
    blog: Annotated[str | None, typer.Argument(help="Only this blog.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list what waits.")] = False,
    approve: Annotated[str | None, typer.Option(metavar="POST", help="Let this one go out.")] = None,
    redo: Annotated[str | None, typer.Option(metavar="POST", help="Have this one written anew.")] = None,
    reject: Annotated[str | None, typer.Option(metavar="POST", help="Turn this one down for good.")] = None,
    hold: Annotated[str | None, typer.Option(metavar="POST", help="Keep this one from going out.")] = None,
    edit: Annotated[str | None, typer.Option(metavar="POST", help="Change this one, with --body or --tags.")] = None,
    body: Annotated[str | None, typer.Option(help="The text anew, with --edit.")] = None,
    body_file: Annotated[Path | None, typer.Option(help="The same from a file.")] = None,
    tags: Annotated[str | None, typer.Option(help='All tags anew, with --edit: "tea, rain"; "" for none.')] = None,
    note: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = MOST,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Go through drafts and approve, redo, reject, edit or hold each with a key press."""
    settings = load_settings(config)
    reader = reader_of(settings)
    record = _recorder(reader, options.actor(actor))
    named = {"approve": approve, "redo": redo, "reject": reject, "hold": hold, "edit": edit}
    asked = {action: post for action, post in named.items() if post is not None}
    changed = _body(body, body_file)
    _check(asked, changed is not None or tags is not None, note)
    for action, post in asked.items():
        record(post.strip(), action, body=changed, tags=_tags(tags), note=note)
        out.print(f"{plain(post.strip())}: {action}; {FOLLOWS}", soft_wrap=True)
        return
    blogs = settings.blogs if blog is None else (settings.blog(blog),)
    rows = waiting(reader, blogs).head(limit)
    if rows.is_empty():
        out.print("nothing waits for a review")
    elif listed:
        _print_list(rows)
    elif not (sys.stdin.isatty() and out.is_terminal):
        for row in rows.iter_rows(named=True):
            _print(reader, row)
        told = "this is no terminal, so decide with --approve POST, --redo, --reject, --hold or --edit"
        out.print(f"{rows.height:,} wait; {told}", soft_wrap=True)
    else:
        decided = go_through(reader, rows, record, pressed, typed)
        out.print(f"\n{decided:,} decided, {rows.height - decided:,} left; {FOLLOWS}")


def reader_of(settings: Settings) -> Reader:
    """What reads tables and logs of persona for a command; it asks nothing over the network."""
    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    return Reader(settings, lake, control, Blobs(settings.blobs), None, utc_now)


def go_through(reader: Reader, rows: pl.DataFrame, record: Decide, key: Ask, line: Ask) -> int:
    """Show draft after draft and record what is pressed until they end or somebody quits; return how many were decided.

    An edited draft is shown again, since a change is no decision yet.

    Args:
        rows: of `drafts.waiting`. key: gives one key; line: a whole line.
    """
    decided = 0
    try:
        for row in rows.iter_rows(named=True):
            action = _one(reader, row, record, key, line)
            if action == "q":
                break
            decided += action != "s"
    except (EOFError, KeyboardInterrupt):
        out.print()
    return decided


def _one(reader: Reader, row: Row, record: Decide, key: Ask, line: Ask) -> str:
    """Ask about one draft until it is decided; q and s as pressed."""
    shown = dict(row)
    while True:
        _print(reader, shown)
        pressed_key = _pressed(KEYS_OF[row["state"]], key)
        if pressed_key in "qs":
            return pressed_key
        if pressed_key == "e":
            shown |= _edited(shown, record, line)
            continue
        reason = line("because (Enter: no reason): ").strip()[: reviews.NOTE_CHARS] if pressed_key in "rx" else ""
        done = _recorded(record, row["outbox_id"], KEYS[pressed_key], note=reason or None)
        return pressed_key if done else "s"


def _pressed(keys: str, key: Ask) -> str:
    question = "  ".join(WORDS[name] for name in keys)
    while True:
        found = key(f"{question} ").strip().lower()[:1]
        if found and found in keys:
            return found


def _edited(row: Row, record: Decide, line: Ask) -> dict[str, Any]:
    """Take a text and tags; what is not given stays. Returns what is different now."""
    body = line("text (Enter: as it is; \\n begins a line): ").replace("\\n", "\n").strip() or None
    told = line(f"tags (Enter: {', '.join(row['tags']) or 'none'}; - for none): ").strip()
    tags = None if not told else [] if told == "-" else _tags(told)
    if body is None and tags is None:
        return {}
    if not _recorded(record, row["outbox_id"], "edit", body=body, tags=tags):
        return {}
    return {"body": row["body"] if body is None else body, "tags": row["tags"] if tags is None else tags}


def _recorded(
    record: Decide,
    outbox_id: str,
    action: str,
    *,
    body: str | None = None,
    tags: Sequence[str] | None = None,
    note: str | None = None,
) -> bool:
    try:
        record(outbox_id, action, body=body, tags=tags, note=note)
    except UserError as error:
        # Somebody else may have decided meanwhile; the next ones can be reviewed all the same.
        err.print(f"not recorded: {plain(error)}")
        return False
    return True


def _recorder(reader: Reader, actor: str) -> Decide:
    def record(outbox_id: str, action: str, *, body: str | None, tags: Sequence[str] | None, note: str | None) -> None:
        now = datetime.now(UTC)
        reviews.record(
            reader.control,
            reader.lake,
            reader.settings,
            outbox_id,
            action,
            actor,
            now,
            body=body,
            tags=tags,
            note=note,
        )

    return record


def _check(asked: Mapping[str, str], changed: bool, note: str | None) -> None:
    if len(asked) > 1:
        raise UserError(f"--{' and --'.join(asked)} are several decisions; make one at a time")
    if changed and "edit" not in asked:
        raise UserError("--body, --body-file and --tags go with --edit POST")
    if note is not None and not asked:
        raise UserError("--note goes with a decision, such as --reject POST")


def _body(text: str | None, file: Path | None) -> str | None:
    if text is not None and file is not None:
        raise UserError("--body and --body-file are two texts; give one")
    if file is None:
        return text
    try:
        # A character has at most four bytes; what is longer is refused without being read.
        if file.stat().st_size > 4 * reviews.BODY_CHARS:
            raise UserError(f"{file} has {file.stat().st_size:,} bytes; {reviews.BODY_CHARS:,} characters at most")
        return file.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8; save it as UTF-8") from None


def _tags(text: str | None) -> list[str] | None:
    """Tags between commas, without their sign."""
    if text is None:
        return None
    return [tag for part in text.split(",") if (tag := " ".join(part.split()).lstrip("#").strip())]


def _print_list(rows: pl.DataFrame) -> None:
    cells = [
        (
            row["outbox_id"],
            row["kind"],
            row["state"],
            plain(row["route_reason"]),
            plain(row["from_blog"]),
            f"{row['tick_ts']:%Y-%m-%d %H:%M}",
            plain(row["body"], LINE_CHARS),
        )
        for row in rows.iter_rows(named=True)
    ]
    columns = ("post", "as", "state", "because", "to", "of", "text")
    out.print(table(None, columns, cells, whole=("post", "of")))
    out.print(f"\n{rows.height:,} wait for a person")


def _print(reader: Reader, row: Row) -> None:
    for line in _lines(reader, row):
        out.print(line, soft_wrap=True)
    _print_others(reader, row)
    out.print()


def _lines(reader: Reader, row: Row) -> Iterator[str]:
    waits = f" ({plain(row['reason'])})" if row["state"] == "held" else ""
    head = f"[bold]{row['outbox_id']}[/bold]  {row['kind']}, {row['state']}{waits}, {plain(row['blog'])}"
    yield f"{head}, {plain(row['input_id'])}, attempt {row['attempt']}"
    slot = "" if row["publish_at"] is None else f", for {row['publish_at']:%Y-%m-%d %H:%M} UTC"
    risk = "not scored" if row["autoreview_p"] is None else f"{row['autoreview_p']:.3f}"
    yield f"  a draft because {plain(row['route_reason'])}; risk {risk}{slot}"
    hits = ", ".join(f"{hit['type']} {hit['text']}" for hit in row["screen_hits"] or ())
    if hits:
        yield f"  [yellow]words: {plain(hits, BODY_CHARS)}[/yellow]"
    thread = thread_of(reader, reader.settings.blog(row["blog"]), row["post_id"]).strip()
    if thread:
        # Its end is what is answered.
        yield "[dim]" + plain(("…" if len(thread) > THREAD_CHARS else "") + thread[-THREAD_CHARS:]) + "[/dim]"
    if row["kind"] == "reply_post":
        yield f"[dim]{plain(row['from_blog'])} replied: {plain(row['text'], THREAD_CHARS)}[/dim]"
    yield ""
    yield plain((row["body"] or "")[:BODY_CHARS])
    if row["tags"]:
        yield plain(" ".join(f"#{tag}" for tag in row["tags"]))
    yield ""


def _print_others(reader: Reader, row: Row) -> None:
    """What else was written, and how it stood beside the chosen text."""
    texts = texts_of(reader, row["blog"], row["day"], row["input_id"], row["attempt"]).head(OTHERS)
    cells = [
        (
            ("> " if one["k"] == row["chosen_k"] else "") + str(one["k"]),
            f"{one['selector_adjusted']:.3f}",
            f"{one['sentiment_p']:.3f}",
            "" if one["autoreview_p"] is None else f"{one['autoreview_p']:.3f}",
            plain(one["body"], LINE_CHARS),
        )
        for one in texts.iter_rows(named=True)
    ]
    if cells:
        columns = ("k", "liked", "glad", "risk", "what was written")
        out.print(table(None, columns, cells, columns[:4]))
