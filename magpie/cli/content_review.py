"""`magpie content review`, `decide` and `edit`: look at what waits for a person, and say what is to become of it.

Belongs here: showing, asking, arguments. Does not belong here: what waits and which decision is possible when
(`magpie/content/reviews.py`), what an edit makes of a text (`article_edits.py`).
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import polars as pl
import typer

from magpie.cli import options
from magpie.cli.output import bare, err, out, plain, pressed, typed
from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.why import articles_now
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.settings import Settings, load_settings
from magpie.text.html_markdown import markdown_of

Ask = Callable[[str], str]
Row = Mapping[str, Any]

WORDS = {"a": "a(pprove)", "d": "d(ecline)", "t": "t(ext)", "s": "s(kip)", "q": "q(uit)"}
KEYS = {"idea": ("a", "d", "s", "q"), "article": ("a", "d", "t", "s", "q")}
# More than this is no evening's work.
MOST = 500
TEXT_CHARS, REASON_CHARS = 300, 1000
FOLLOWS = "`magpie run content` or the sensor new_keywords makes what follows from it"

Reason = Annotated[str | None, typer.Option(help="Why, for those who read it later.")]


class Decide(Protocol):
    """Records one decision."""

    def __call__(self, object_type: str, object_id: str, action: str, payload: Mapping[str, Any]) -> None: ...


def review(
    site: Annotated[str | None, typer.Argument(help="Only this site.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = MOST,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Go through ideas, then articles, and approve or decline them with a key press."""
    settings, who = load_settings(config), options.actor(actor)
    sites = [settings.site(site)] if site is not None else list(settings.sites)
    lake, control = stores(settings)
    rows = reviews.waiting(lake, control, sites)
    rows = rows.filter(pl.col("site_id").is_in([one.id for one in sites])).head(limit)
    if rows.is_empty():
        out.print("nothing waits for a review")
        return
    behind = _behind(settings, lake, control, rows)
    least = settings.content.publish_min_quality
    if not (sys.stdin.isatty() and out.is_terminal):
        for row in rows.iter_rows(named=True):
            _print(row, behind[row["object_type"], row["object_id"]], least)
        out.print(
            f"{rows.height:,} wait; this is no terminal, so decide with `magpie content decide KIND ID ACTION`: "
            "an article needs submit before approve",
            soft_wrap=True,
        )
        return
    decided = go_through(rows, behind, least, _recorder(control, lake, who), pressed, typed)
    out.print(f"\n{decided:,} decided, {rows.height - decided:,} left; {FOLLOWS}")


def decide_one(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="cluster, idea, article or image.")],
    object_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Of an article or its idea; SITE/SECTOR/TOPIC, or ARTICLE/TYPE/POSITION."),
    ],
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="submit, approve, decline, publish, disable or enable.")
    ],
    url: Annotated[str | None, typer.Option(help="Where it was published, with publish.")] = None,
    reason: Reason = None,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Record any decision; nothing is edited, and what is decided is folded from all of them."""
    lake, control = stores(load_settings(config))
    payload = {name: value for name, value in (("reason", reason), ("url", url)) if value is not None}
    _recorder(control, lake, options.actor(actor))(kind, object_id.strip(), action, payload)
    out.print(f"{plain(kind)} {plain(object_id)}: {action}; {FOLLOWS}", soft_wrap=True)


def edit(
    article: Annotated[str, typer.Argument(metavar="ARTICLE", help="As `magpie content review` names it.")],
    title: Annotated[str | None, typer.Option(help="The heading of the page.")] = None,
    meta_title: Annotated[str | None, typer.Option(help="As search results show it, 60 characters.")] = None,
    meta_description: Annotated[str | None, typer.Option(help="The same, 160 characters.")] = None,
    file: Annotated[Path | None, typer.Option(help="The whole text anew, as HTML or Markdown.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="All tags anew; may be repeated.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="All categories anew; may be repeated.")] = None,
    reason: Reason = None,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Change an article; one that was approved waits for a review again."""
    lake, control = stores(load_settings(config))
    given: dict[str, Any] = {
        "title": title,
        "meta_title": meta_title,
        "meta_description": meta_description,
        "content_html": None if file is None else _text_of(file),
        "tags": tag,
        "categories": category,
        "reason": reason,
    }
    payload = {name: value for name, value in given.items() if value is not None}
    _recorder(control, lake, options.actor(actor))("article", article.strip(), "edit", payload)
    out.print(f"article {plain(article)}: changed; `magpie content show {plain(article)}` has it as it is now")


def stores(settings: Settings) -> tuple[Lake, Control]:
    """Where tables and decisions are."""
    return Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)


def _text_of(file: Path) -> str:
    try:
        if file.stat().st_size > reviews.PAYLOAD_CHARS:
            raise UserError(f"{file} has {file.stat().st_size:,} bytes; {reviews.PAYLOAD_CHARS:,} at most")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8; save it as UTF-8") from None


def _recorder(control: Control, lake: Lake, actor: str) -> Decide:
    def record(object_type: str, object_id: str, action: str, payload: Mapping[str, Any]) -> None:
        reviews.decide(control, lake, object_type, object_id, action, actor, payload, datetime.now(UTC))

    return record


def _behind(settings: Settings, lake: Lake, control: Control, rows: pl.DataFrame) -> dict[tuple[str, str], Row]:
    """The rows of ideas and articles that wait, by kind and id; articles with all edits."""
    found: dict[tuple[str, str], Row] = {}
    ids = rows["object_id"].to_list()
    for row in lake.read(t.CONTENT_IDEAS).filter(pl.col("idea_id").is_in(ids)).collect().iter_rows(named=True):
        found["idea", row["idea_id"]] = row
    sites = rows.filter(pl.col("object_type") == "article")["site_id"].unique().to_list()
    for site in (site for site in settings.sites if site.id in sites):
        written = articles_now(settings, lake, control, site).filter(pl.col("article_id").is_in(ids))
        found |= {("article", row["article_id"]): row for row in written.iter_rows(named=True)}
    return found


def go_through(
    rows: pl.DataFrame, behind: Mapping[tuple[str, str], Row], least: int, record: Decide, key: Ask, line: Ask
) -> int:
    """Show row after row and record what is pressed until they end or somebody quits; return how many were decided.

    Args:
        rows: of `reviews.waiting`; behind: the ideas and articles they are of, by kind and id.
        least: quality from which an article may go out.
        key: gives one key; line: a whole line.
    """
    decided = 0
    try:
        for row in rows.iter_rows(named=True):
            about = behind[row["object_type"], row["object_id"]]
            _print(row, about, least)
            pressed = _pressed(row["object_type"], about, key)
            if pressed == "q":
                break
            if pressed == "s":
                continue
            reason = line("because (Enter: no reason): ").strip()[:REASON_CHARS] if pressed == "d" else ""
            decided += _recorded(record, row, "approve" if pressed == "a" else "decline", reason)
    except (EOFError, KeyboardInterrupt):
        out.print()
    return decided


def _pressed(kind: str, about: Row, key: Ask) -> str:
    question = "  ".join(WORDS[name] for name in KEYS[kind])
    while True:
        pressed = key(f"{question} ").strip().lower()[:1]
        if pressed == "t" and "t" in KEYS[kind]:
            out.out(bare(markdown_of(about["content_html"])), highlight=False)
        elif pressed in KEYS[kind]:
            return pressed


def _recorded(record: Decide, row: Row, action: str, reason: str) -> bool:
    """Record a decision; a draft that is approved has been looked at, which is what submitting asks for."""
    actions = (
        ["submit", action]
        if (action, row["object_type"], row["state"]) == ("approve", "article", "draft")
        else [action]
    )
    try:
        for name in actions:
            record(row["object_type"], row["object_id"], name, {"reason": reason} if reason else {})
    except UserError as error:
        # Somebody else may have decided meanwhile; the next ones can be reviewed all the same.
        err.print(f"not recorded: {plain(error)}")
        return False
    return True


def _print(row: Row, about: Row, least: int) -> None:
    for line in _of_idea(about) if row["object_type"] == "idea" else _of_article(about, least):
        out.print(line, soft_wrap=True)
    if row["paused"]:
        out.print("  [yellow]its site is not active: nothing follows from a yes until it is[/yellow]")
    out.print()


def _of_idea(idea: Row) -> Iterator[str]:
    yield f"[bold]{plain(idea['title'])}[/bold]"
    yield f"  idea {plain(idea['idea_id'])}, {plain(idea['site_id'])}, {idea['day']}, of {plain(idea['cluster_key'])}"
    kind = f"{idea['content_structure']}, {idea['estimated_word_count']:,} words, {idea['priority']} priority"
    yield f"  {kind}; keywords: {plain(', '.join(_keywords(idea)), TEXT_CHARS)}"
    yield f"  {plain(idea['description'], TEXT_CHARS)}"
    headings = "; ".join(_headings(idea["outline"]))
    if headings:
        yield f"  outline: {plain(headings, TEXT_CHARS)}"
    if idea["similar_to"]:
        near = "" if idea["similarity"] is None else f" ({idea['similarity']:.2f})"
        yield f"  most like {plain(idea['similar_to'])}{near}"
    if idea["flags"]:
        yield f"  flags: {plain(', '.join(idea['flags']))}"


def _of_article(article: Row, least: int) -> Iterator[str]:
    yield f"[bold]{plain(article['title'])}[/bold]"
    yield f"  article {plain(article['article_id'])}, {plain(article['site_id'])}, {article['day']}"
    score = article["quality_score"]
    short = f" [yellow](below {least}: not exported even if approved)[/yellow]" if score < least else ""
    yield f"  {article['word_count']:,} of {article['target_word_count']:,} words, quality {score}{short}"
    yield f"  keywords: {plain(', '.join(_keywords(article)), TEXT_CHARS)}"
    yield f"  {plain(article['meta_description'], TEXT_CHARS)}"
    if article["quality_flags"]:
        yield f"  flags: {plain(', '.join(article['quality_flags']))}"


def _keywords(row: Row) -> list[str]:
    return [word for word in (row["primary_keyword"], *row["secondary_keywords"]) if word]


def _headings(outline: str) -> list[str]:
    """The second-level headings of an idea's outline, which was held against its form when it was stored."""
    held = json.loads(outline)
    return [str(part["heading"]) for part in held.get("h2", ())]
