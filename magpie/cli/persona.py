"""`magpie persona ...`: where each blog stands, its mood, handing out, forgetting.

Belongs here: arguments and printing. Does not belong here: what is found and decided (`magpie/persona`); deciding on
drafts (`persona_review.py`), the story of an input (`persona_why.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from magpie.blobs import Blobs
from magpie.cli import options, persona_review, persona_why
from magpie.cli.output import err, out, plain, table
from magpie.cli.persona_review import reader_of
from magpie.errors import UserError
from magpie.persona import forgetting
from magpie.persona import tables as t
from magpie.persona.drafts import outbox_now
from magpie.persona.live import Courier
from magpie.persona.mood import KICKS, MoodRules
from magpie.persona.mood_graph import MOST_HOURS, mood_graph
from magpie.persona.outbox_states import SENDABLE
from magpie.persona.settings import Blog
from magpie.persona.status import Standing, kicks_before, moment_of, mood_at, standing
from magpie.settings import Settings, load_settings
from magpie.sources.web import Web
from magpie.sources.whole_file import write_whole

app = typer.Typer(no_args_is_help=True)
app.command()(persona_review.review)
app.command("why")(persona_why.why_one)

# Of the kicks of some hours, those that moved the mood most.
KICKS_SHOWN = 8
BODY_CHARS = 80

BlogName = Annotated[str, typer.Argument(metavar="BLOG", help="As magpie.yaml names it.")]
OneBlog = Annotated[str | None, typer.Option(help="Only this blog.")]


@app.command()
def status(
    blog: Annotated[str | None, typer.Argument(help="Only this blog.")] = None, config: options.Config = None
) -> None:
    """Show where each blog stands: inputs, drafts, what goes out next, mood and models."""
    settings = load_settings(config)
    chosen = _chosen(settings, blog)
    if not chosen:
        out.print("no blog is set up; list one under blogs in magpie.yaml")
        return
    reader = reader_of(settings)
    for one in chosen:
        found = standing(reader, one)
        off = "" if one.active else ", not active"
        out.print(f"[bold]{one.name}[/bold]  {one.mode}, {one.delivery}, preset {one.preset}{off}")
        out.print(table(None, ("", " "), list(_facts(found)), whole=("",)))
        out.print()


@app.command()
def mood(
    blog: BlogName,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As 2026-03-04T18:30, UTC unless it says otherwise; default: now."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="Draw the hours before it.")] = None,
    hours: Annotated[int, typer.Option(min=1, max=MOST_HOURS, help="Hours before the moment.")] = MOST_HOURS,
    config: options.Config = None,
) -> None:
    """Show the mood of a blog at a moment, past or to come, the sentiment that suits it, and what moved it."""
    settings = load_settings(config)
    one, reader = settings.blog(blog), reader_of(settings)
    moment = moment_of(reader, one) if at is None else _moment(at)
    found, kicks = mood_at(reader.lake, one, moment), kicks_before(reader.lake, one, moment, hours)
    if file is not None:
        rules = MoodRules.of(one)
        write_whole(file, mood_graph(kicks.select(KICKS.names()), moment, rules, one.preset, hours))
    bounds = found.bounds(one.preset)
    out.print(f"[bold]{one.name}[/bold], {moment:%Y-%m-%d %H:%M} UTC: mood [bold]{found.value:.3f}[/bold]")
    facts = [
        ("base of the date", f"{found.base_name}, {found.base_value:.3f}"),
        ("offset, and its rate", f"{found.offset:+.4f}, {found.rate:+.4f} per hour, on the logistic scale"),
        ("sentiment that suits", _range(bounds.lo, bounds.hi)),
    ]
    out.print(table(None, ("", " "), facts, whole=("",)))
    recent = kicks.filter((pl.lit(moment) - pl.col("kick_ts")).dt.total_hours() < hours)
    _print_kicks(recent, hours)
    if file is not None:
        out.print(f"\ndrawn to {plain(file)}", soft_wrap=True)


@app.command()
def deliver(blog: OneBlog = None, config: options.Config = None) -> None:
    """Visit live blogs now: fetch what is due and post what is ready; elsewhere show what would go out."""
    settings = load_settings(config)
    chosen = [one for one in _chosen(settings, blog) if one.active]
    live = [one for one in chosen if one.mode == "live"]
    if live:
        told = _courier(settings, live).visit()
        for line in told.warnings:
            err.print(f"[yellow]look[/yellow] {plain(line)}", soft_wrap=True)
        out.print(plain(told.line), soft_wrap=True)
    reader = reader_of(settings)
    dry = [one for one in chosen if one.mode != "live" or one.delivery == "dry_run"]
    for one in dry:
        _print_ready(one, outbox_now(reader, one).filter(pl.col("state").is_in(SENDABLE)))
    if not chosen:
        out.print("no blog is active; nothing is delivered")


@app.command()
def forget(
    blog: BlogName,
    item: Annotated[
        str, typer.Argument(metavar="ITEM", help="Id of a post, reply:BLOG:POST:SECONDS, or of the input it was.")
    ],
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Forget a post or a reply that its author took back: at once outside of tables, in them with the next run."""
    settings = load_settings(config)
    reader = reader_of(settings)
    one = settings.blog(blog)
    gone = forgetting.item_of(item)
    days = forgetting.days_of(reader, one, gone)
    forgetting.record(reader.control, one, gone, options.actor(actor), reader.clock())
    done = forgetting.forget(settings, reader.lake, reader.control)
    out.print(f"{plain(gone)} is forgotten: {done.summary}", soft_wrap=True)
    out.print(_next(one, days), soft_wrap=True)


@app.command()
def resume(config: options.Config = None) -> None:
    """Let Tumblr be asked, and posts be sent, again after whatever stopped them."""
    settings = load_settings(config)
    ended = _courier(settings, settings.blogs).resume()
    out.print(f"ended: {', '.join(ended)}" if ended else "nothing was stopped")


def _chosen(settings: Settings, blog: str | None) -> Sequence[Blog]:
    return settings.blogs if blog is None else [settings.blog(blog)]


def _courier(settings: Settings, blogs: Sequence[Blog]) -> Courier:
    """The courier of some blogs; the others are left alone."""
    mine = settings.model_copy(update={"blogs": tuple(blogs)})
    reader = reader_of(mine)
    return Courier(mine, reader.lake, reader.control, Web(), Blobs(mine.blobs))


def _facts(found: Standing) -> Iterator[tuple[str, str]]:
    if found.first is None:
        made = f"none; `magpie run persona --blog {found.blog.name}` makes what its pages hold"
    else:
        made = f"{found.days:,}, {found.first} to {found.last}"
    yield "days made", made
    yield "inputs", _counted(found.inputs, t.INPUT_STATES)
    yield "posts", _counted(found.posts, t.OUTBOX_STATES)
    yield "wait for you", f"{found.drafts:,}: `magpie persona review`" if found.drafts else "none"
    slot = "" if found.next_slot is None else f", the next slot {found.next_slot:%Y-%m-%d %H:%M} UTC"
    yield "ready to go", f"{found.ready:,}{slot}"
    bounds = found.mood.bounds(found.blog.preset)
    suits = _range(bounds.lo, bounds.hi)
    yield "mood", f"{found.mood.value:.3f} at {found.at:%Y-%m-%d %H:%M} UTC, {found.mood.base_name}; suits {suits}"
    for kind, row in found.models.items():
        if row is None:
            yield kind, "not trained: every text counts 0.5, and every post is a draft"
        else:
            labels = f"{row['n_pos']:,} and {row['n_neg']:,} labels"
            yield (
                kind,
                f"{row['version'][:12]} since {row['effective_from']:%Y-%m-%d}, {labels}, AUC {row['auc_oof']:.2f}",
            )


def _counted(counts: Mapping[str, int], states: Sequence[str]) -> str:
    return ", ".join(f"{counts[state]:,} {state}" for state in states if state in counts) or "none"


def _range(lo: float | None, hi: float | None) -> str:
    if lo is None and hi is None:
        return "any"
    return f"{lo or 0:.3f} to {1 if hi is None else hi:.3f}"


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--at {text[:80]!r} is no time; write it as 2026-03-04T18:30") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _print_kicks(kicks: pl.DataFrame, hours: int) -> None:
    if kicks.is_empty():
        out.print(f"\nnothing moved it in the {hours} hours before")
        return
    most = kicks.sort(pl.col("kick").abs(), "kick_ts", descending=[True, False]).head(KICKS_SHOWN).sort("kick_ts")
    rows = [
        (
            f"{row['kick_ts']:%Y-%m-%d %H:%M}",
            plain(row["input_id"]),
            f"{row['input_logit']:+.2f}",
            "" if row["p75_logit"] is None else f"{row['p75_logit']:+.2f}",
            f"{row['kick']:+.3f}",
        )
        for row in most.iter_rows(named=True)
    ]
    out.print()
    title = f"What moved it most in the {hours} hours before, of {kicks.height:,} inputs"
    out.print(
        table(title, ("at", "input", "its logit", "P75 of texts", "kick"), rows, ("its logit", "P75 of texts", "kick"))
    )


def _print_ready(blog: Blog, rows: pl.DataFrame) -> None:
    why = "is an archive" if blog.mode != "live" else "has delivery: dry_run"
    out.print(f"{blog.name} {why}, so nothing is sent; {rows.height:,} posts would go out")
    cells = [
        (
            row["outbox_id"],
            row["kind"],
            "at once" if row["publish_at"] is None else f"{row['publish_at']:%Y-%m-%d %H:%M} UTC",
            "a picture of the mood" if row["kind"] == "mood_graph" else plain(row["body"], BODY_CHARS),
        )
        for row in rows.sort("publish_at", "day", "outbox_id").iter_rows(named=True)
    ]
    if cells:
        out.print(table(None, ("post", "as", "when", "text"), cells, whole=("post", "when")))


def _next(blog: Blog, days: Sequence[date]) -> str:
    if not days:
        return "no table holds it yet; it will not come in"
    run = f"magpie run persona --blog {blog.name} --from {min(days)} --to {max(days)}"
    return (
        f"tables hold it until `{run}` or the sensor new_inputs makes these days anew, and old versions of them until "
        "the job lake_maintenance removes those"
    )
