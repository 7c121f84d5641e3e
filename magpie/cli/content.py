"""`magpie content ...`: how far each batch got, what an article says, and why it is as it is.

Belongs here: arguments and printing. Does not belong here: what is found and decided (`magpie/content`); deciding
(`content_review.py`), sending articles out (`content_out.py`).
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from magpie.cli import content_out, content_review, options
from magpie.cli.content_review import stores
from magpie.cli.output import bare, out, plain, table
from magpie.content.reviews import REVIEWS, waiting
from magpie.content.status import STAGES, fates
from magpie.content.why import Story, why
from magpie.settings import load_settings
from magpie.text.html_markdown import markdown_of

app = typer.Typer(no_args_is_help=True)
app.command()(content_review.review)
app.command("decide")(content_review.decide_one)
app.command()(content_review.edit)
app.command()(content_out.export)
app.command()(content_out.wordpress)

# As the stages are called beside a number.
NAMES = {"keywords": "keywords", "keyword_clusters": "topics", "content_ideas": "ideas", "article_images": "images"}
COLOURS = {"ok": "green", "pending": "yellow", "failed": "red", "rejected": "dim"}
TEXT_CHARS, OBSERVED_CHARS, HASH_CHARS = 300, 60, 12
KEYWORDS_SHOWN = 10

ArticleId = Annotated[str, typer.Argument(metavar="ARTICLE", help="As `magpie content review` names it.")]


@app.command()
def status(
    site: Annotated[str | None, typer.Argument(help="Only this site.")] = None, config: options.Config = None
) -> None:
    """Show how far each batch of keywords got, and what stopped the rest."""
    settings = load_settings(config)
    if site is not None:
        settings.site(site)
    lake, control = stores(settings)
    found = fates(lake, REVIEWS.read(control))
    found = found if site is None else found.filter(pl.col("site_id") == site)
    if found.is_empty():
        out.print("no keyword is stored; `magpie run content` reads the folders and lists that magpie.yaml names")
        return
    columns = ("site", "batch", *(NAMES.get(stage.name, stage.name) for stage in STAGES))
    out.print(table(None, columns, _batches(found), whole=columns[:2]))
    rows = [
        (
            NAMES.get(row["table"], row["table"]),
            f"[{COLOURS[row['status']]}]{row['status']}[/]",
            plain(row["reason"]),
            f"{row['n']:,}",
        )
        for row in _summed(found)
    ]
    out.print()
    out.print(table(None, ("stage", "status", "reason or state", "rows"), rows, ("rows",)))
    left = waiting(lake, control, settings.sites)
    left = left if site is None else left.filter(pl.col("site_id") == site)
    kinds = {kind: left.filter(pl.col("object_type") == kind).height for kind in ("idea", "article")}
    out.print(f"\n{kinds['idea']:,} ideas and {kinds['article']:,} articles wait for a person: `magpie content review`")


@app.command()
def show(
    article: ArticleId,
    html: Annotated[bool, typer.Option("--html", help="Only the HTML, as it would be published.")] = False,
    config: options.Config = None,
) -> None:
    """Show an article: its text as Markdown, what is wrong with it, and where links could stand."""
    settings = load_settings(config)
    story = why(settings, *stores(settings), article.strip())
    written = story.article
    if written is None or not written["content_html"]:
        out.print(plain(f"{story.idea['idea_id']} has no text: {_fate(written or story.idea)}"), soft_wrap=True)
        return
    if html:
        out.out(bare(written["content_html"]), highlight=False)
        return
    out.print(f"[bold]{plain(written['title'])}[/bold]")
    out.print(table(None, ("", " "), [(name, plain(value)) for name, value in _facts(story, written)]))
    out.print()
    out.out(bare(markdown_of(written["content_html"])), highlight=False)
    links = [
        (plain(link["anchor"]), plain(link["url"]), f"{link['cosine']:.2f}") for link in written["link_suggestions"]
    ]
    if links:
        out.print(table("Links that could be set", ("at the words", "to", "cosine"), links, ("cosine",)))


@app.command("why")
def why_one(article: ArticleId, config: options.Config = None) -> None:
    """Tell how an article came about: keywords, topic, idea, text, images, decisions, and who was asked how."""
    settings = load_settings(config)
    story = why(settings, *stores(settings), article.strip())
    idea = story.idea
    out.print(f"[bold]{plain((story.article or idea)['title'])}[/bold]")
    out.print(plain(f"{idea['idea_id']} of {idea['site_id']}, batch {idea['day']}, {idea['sector']}"), style="dim")
    out.print()
    _print_keywords(story)
    steps = list(_steps(story))
    rows = [
        (
            name,
            f"[{COLOURS[row['status']]}]{row['status']}[/]",
            plain(row["reason"]),
            plain(row["observed"], OBSERVED_CHARS),
            plain(row["threshold"], OBSERVED_CHARS),
            "" if row["not_before"] is None else f"{row['not_before']:%Y-%m-%d %H:%M} UTC",
        )
        for name, row in steps
    ]
    out.print(table(None, ("step", "status", "reason", "observed", "threshold", "again from"), rows, whole=("step",)))
    out.print()
    _print_asked(steps)
    if story.events.height:
        _print_events(story.events)
    off = ", but it is disabled" if story.disabled else ""
    out.print(f"\n{_verdict(story)}{off}")


def _batches(found: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """Per batch how many rows of each stage are ok, and how many wait."""
    for (site, day), part in found.partition_by("site_id", "day", as_dict=True, maintain_order=True).items():
        cells = []
        for stage in STAGES:
            mine = part.filter(pl.col("table") == stage.name)
            ok, waits = (mine.filter(pl.col("status") == name)["n"].sum() for name in ("ok", "pending"))
            cells.append(f"{ok:,}" + (f", {waits:,} wait" if waits else ""))
        yield plain(site), str(day), *cells


def _summed(found: pl.DataFrame) -> Iterable[dict[str, Any]]:
    """All batches together, in the order of the stages."""
    order = pl.col("table").cast(pl.Enum([stage.name for stage in STAGES]))
    summed = found.group_by("table", "status", "reason").agg(pl.sum("n"))
    return summed.sort(order, "status", "reason", nulls_last=True).iter_rows(named=True)


def _fate(row: Mapping[str, Any]) -> str:
    said = f"{row['status']} ({row['reason']})" if row["reason"] else f"{row['status']}, and not written yet"
    seen = f": {row['observed']}, held against {row['threshold']}" if row["observed"] and row["threshold"] else ""
    return said + seen


def _facts(story: Story, written: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What is known beside the text; what is not is left out."""
    categories = ", ".join(written["moderation_categories"])
    facts: list[tuple[str, object]] = [
        ("id", written["article_id"]),
        ("state", story.state + (", disabled" if story.disabled else "")),
        ("meta title", written["meta_title"]),
        ("meta description", written["meta_description"]),
        ("keywords", ", ".join((written["primary_keyword"], *written["secondary_keywords"]))),
        ("words", f"{written['word_count']:,} of {written['target_word_count']:,}"),
        ("quality", written["quality_score"]),
        ("flags", ", ".join(written["quality_flags"])),
        ("tags", ", ".join(written["tags"])),
        ("categories", ", ".join(written["categories"])),
        ("moderated by", written["moderation_provider"]),
        ("moderation", f"flagged: {categories}" if written["moderation_flagged"] else None),
        ("written by", _writer(written)),
        ("not ok", _fate(written) if written["status"] != "ok" else None),
    ]
    return ((name, value) for name, value in facts if value not in (None, ""))


def _writer(row: Mapping[str, Any]) -> str:
    provider, model = row["provider"], row["model"]
    return provider if provider == model else f"{provider}/{model}"


def _print_keywords(story: Story) -> None:
    rows = [
        (
            plain(row["keyword"]),
            "" if row["volume"] is None else f"{row['volume']:,}",
            row["intent"] or "",
            plain(f"{Path(row['source_file']).name}, row {row['row_no']}"),
        )
        for row in story.keywords.head(KEYWORDS_SHOWN).iter_rows(named=True)
    ]
    topic = story.cluster["name"] if story.cluster else story.idea["cluster_key"]
    out.print(table(f"Keywords of {plain(topic)}", ("keyword", "volume", "intent", "from"), rows, ("volume",)))
    more = story.keywords.height - len(rows)
    out.print(f"and {more:,} more\n" if more > 0 else "", style="dim")


def _steps(story: Story) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if story.cluster is not None:
        yield "topic", story.cluster
    yield "idea", story.idea
    if story.article is not None:
        yield "article", story.article
    for name, rows in (("prompt", story.prompts), ("image", story.images)):
        for row in rows.iter_rows(named=True):
            yield f"{name} {row['image_type']} {row['position']}", row


def _print_asked(steps: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Who answered each step, which tier its prompt came from, and what that took; equal ones once."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, row in steps:
        if row["provider"]:
            cells = (
                plain(_writer(row)),
                row["prompt_source"] or "",
                (row["prompt_version"] or "")[:HASH_CHARS],
                f"{row['attempts']:,}",
                f"{row['credits']:,}",
                f"{row['cost_usd']:.6f}",
            )
            rows.setdefault((name.partition(" ")[0], *cells), []).append(name)
    shown = [(f"{key[0]} x {len(names)}" if len(names) > 1 else names[0], *key[1:]) for key, names in rows.items()]
    columns = ("asked for", "of", "prompt from", "version", "invalid answers", "credits", "dollars")
    out.print(table(None, columns, shown, columns[4:], columns[:1]))


def _print_events(events: pl.DataFrame) -> None:
    rows = [
        (
            f"{row['at']:%Y-%m-%d %H:%M}",
            row["object_type"],
            row["action"],
            plain(row["actor"]),
            plain(row["payload"], TEXT_CHARS),
        )
        for row in events.iter_rows(named=True)
    ]
    out.print()
    out.print(table(None, ("decided", "what", "action", "by", "with"), rows))


def _verdict(story: Story) -> str:
    written, idea = story.article, story.idea
    if written is not None and written["status"] == "ok":
        return f"it is written; state: {story.state}"
    if idea["reason"] == "awaiting_approval":
        return f"it is written when somebody says yes: `magpie content decide idea {idea['idea_id']} approve`"
    if written is None and idea["status"] == "rejected":
        over = idea["reason"] in ("duplicate_topic", "too_many_ideas", "declined", "disabled")
        hint = f"; `magpie content decide idea {idea['idea_id']} approve` has it written all the same" if over else ""
        return f"it is not written: {plain(_fate(idea))}{hint}"
    return f"it has no text that may go out: {plain(_fate(written or idea))}"
