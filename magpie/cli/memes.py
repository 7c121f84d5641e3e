"""`magpie memes ...`: what became of each meme, how memes and channels are rated, and asking again.

Belongs here: arguments and printing. Does not belong here: what is found and decided (`magpie/memes`); reviewing
(`memes_review.py`), channels (`memes_channels.py`), people (`memes_people.py`).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
import typer

from magpie.cli import memes_channels, memes_people, memes_review, options
from magpie.cli.output import out, plain, table
from magpie.cli.rated import rated_memes
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import describe_queue
from magpie.memes import tables as t
from magpie.memes.forgetting import forget as forget_memes
from magpie.memes.logs import MODERATION
from magpie.memes.moderation import decide
from magpie.memes.stats import latest, with_words
from magpie.memes.tombstones import purged
from magpie.memes.why import Story, states, why
from magpie.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)
app.command()(memes_review.review)
app.command("decide")(memes_review.decide_one)
app.command()(memes_people.user)
app.command()(memes_people.upload)
app.command()(memes_people.pop)
app.command()(memes_people.react)
app.add_typer(memes_channels.sources_app, name="sources", help="Channels: list them, add, enable, snooze.")
app.command()(memes_channels.fetch)
app.command()(memes_channels.resume)

TEXT_CHARS, OBSERVED_CHARS = 300, 90
COLOURS = {"ok": "green", "pending": "yellow", "failed": "red", "rejected": "dim"}
SHOWN_MEMES = 20

MemeId = Annotated[str, typer.Argument(metavar="MEME", help="As in telegram:channel:17.")]


@app.command()
def status(
    meme: Annotated[
        str | None,
        typer.Argument(metavar="MEME", help="As in telegram:channel:17; default: how many are in which state."),
    ] = None,
    config: options.Config = None,
) -> None:
    """Tell what was decided about a meme, step by step, and why it is served or not."""
    lake, control = _stores(load_settings(config))
    if meme is not None:
        _print_story(why(lake, control, meme.strip()))
        return
    found = states(lake)
    if found.is_empty():
        out.print("no meme is stored; `magpie run memes` reads the folders that magpie.yaml names")
        return
    rows = [
        (row["platform"], row["state"], plain(row["reason"]), f"{row['n']:,}") for row in found.iter_rows(named=True)
    ]
    out.print(table(None, ("platform", "state", "reason", "memes"), rows, ("memes",)))
    served = found.filter(pl.col("state") == "ok")["n"].sum()
    waits = found.filter(pl.col("state") == "waiting_review")["n"].sum()
    out.print(f"\n{found['n'].sum():,} posts, {served:,} are served, {waits:,} wait for a review")


@app.command()
def stats(
    most: Annotated[int, typer.Option(help="At most so many memes.", min=1)] = SHOWN_MEMES,
    by: Annotated[str, typer.Option(help="likes, dislikes, sent, lr_smoothed or engagement.")] = "lr_smoothed",
    config: options.Config = None,
) -> None:
    """Show how memes and their channels are rated."""
    columns = {"likes": "nlikes", "dislikes": "ndislikes", "sent": "nsent", "lr_smoothed": "lr_smoothed"}
    columns["engagement"] = "engagement"
    if by not in columns:
        raise UserError(f"memes are not rated by {by!r}; use one of {', '.join(columns)}")
    lake, _ = _stores(load_settings(config))
    rated = latest(t.MEME_STATS, lake.read(t.MEME_STATS))
    found = with_words(lake, rated).collect()
    if found.is_empty():
        out.print("nobody reacted yet; events come from files (memes.events) and from `magpie memes react`")
        return
    best = found.sort(columns[by], "meme_id", descending=[True, False]).head(most)
    out.print(rated_memes("Memes", best))
    out.print(f"{best.height:,} of {found.height:,} that anybody met\n", style="dim")
    _print_sources(latest(t.SOURCE_STATS, lake.read(t.SOURCE_STATS)).collect())


@app.command()
def retry(
    meme: Annotated[list[str] | None, typer.Option(help="Only this meme; may be repeated.")] = None,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Let descriptions that failed for good be tried again, when their turn comes."""
    lake, control = _stores(load_settings(config))
    failed = lake.read(t.MEME_DESCRIPTIONS).filter(pl.col("status") == "failed").collect()
    unknown = sorted(set(meme or ()) - set(failed["meme_id"]))
    if unknown:
        raise UserError(
            f"the description of {unknown[0]} has not failed; `magpie memes status {unknown[0]}` tells more"
        )
    partitions = describe_queue.retry(control, failed, options.actor(actor), datetime.now(UTC), meme)
    count = len(meme) if meme else failed.height
    if not partitions:
        out.print("no description has failed for good")
        return
    days = ", ".join(name.partition("|")[2] for name in partitions)
    out.print(f"{count:,} descriptions may be tried again, of {days}; `magpie run memes` makes those days anew")


@app.command()
def forget(
    memes: Annotated[list[str], typer.Argument(metavar="MEME...", help="Memes that somebody asks to have deleted.")],
    reason: Annotated[str | None, typer.Option(help="Who asked, or why.")] = None,
    actor: options.Actor = None,
    config: options.Config = None,
) -> None:
    """Delete memes for good: bytes, files and answers now, table rows when their days are next made."""
    settings = load_settings(config)
    lake, control = _stores(settings)
    known = set(purged(MODERATION.read(control)))
    asked = [meme_id.strip() for meme_id in memes]
    try:
        for meme_id in asked:
            # Asked for again, what came back since is removed.
            if meme_id not in known:
                who, now = options.actor(actor), datetime.now(UTC)
                decide(control, lake, meme_id, "purge", actor=who, at=now, reason=reason, operator=True)
    finally:
        done = forget_memes(settings, lake, control)
    out.print(f"{len(asked):,} recorded; {done.summary}")
    out.print(
        "`magpie run memes` or the sensor new_memes blanks them in the tables; archives you brought stay as they are"
    )


def _stores(settings: Settings) -> tuple[Lake, Control]:
    return Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)


def _print_story(story: Story) -> None:
    meme, media = story.steps.get(t.MEMES.name, {}), story.steps.get(t.MEME_MEDIA.name, {})
    out.print(f"[bold]{plain(story.meme_id)}[/bold]")
    if meme.get("caption"):
        out.print(f"{plain(meme['caption'], TEXT_CHARS)}", style="dim")
    rows = [_step(name, row) for name, row in story.steps.items()]
    out.print()
    out.print(table(None, ("table", "status", "reason", "observed", "threshold", "again from"), rows))
    out.print()
    facts = [(name, plain(value, TEXT_CHARS)) for name, value in _facts(story, meme, media)]
    out.print(table(None, ("", " "), facts))
    if story.decisions.height:
        said = [
            (f"{row['at']:%Y-%m-%d %H:%M}", row["action"], plain(row["actor"]), plain(row["reason"] or row["value"]))
            for row in story.decisions.iter_rows(named=True)
        ]
        out.print()
        out.print(table(None, ("decided", "action", "by", "because"), said))
    out.print(f"\n{plain(story.verdict)}")


def _step(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    again = "" if row["not_before"] is None else f"{row['not_before']:%Y-%m-%d %H:%M} UTC"
    told = (plain(row["reason"]), plain(row["observed"], OBSERVED_CHARS), plain(row["threshold"], OBSERVED_CHARS))
    return (name, f"[{COLOURS[row['status']]}]{row['status']}[/]", *told, again)


def _facts(story: Story, meme: Mapping[str, Any], media: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What is known beside the steps; what is not is left out."""
    post, told = (story.steps.get(name, {}) for name in (t.MEME_POSTS.name, t.MEME_DESCRIPTIONS.name))
    compared, status, source = (
        story.steps.get(t.MEME_DUPLICATES.name, {}),
        story.steps.get(t.MEME_STATUS.name, {}),
        story.source,
    )
    rests = f" ({source['snooze_reason']})" if source and source["snooze_reason"] else ""
    size = f"{media['width']}x{media['height']}" if media.get("width") else ""
    text = told.get("ocr_text")
    likeness = [
        f"{compared.get('verdict')} by {compared.get('rule')}: {compared.get('duplicate_of')}",
        f"{compared.get('phash_distance')} bits apart" if compared.get("phash_distance") is not None else "",
        f"texts alike {compared['text_similarity']:.2f}" if compared.get("text_similarity") is not None else "",
    ]
    rated = story.stats
    facts: list[tuple[str, object]] = [
        ("published", f"{post['published_at']:%Y-%m-%d %H:%M} UTC" if post else None),
        ("address", post.get("url")),
        ("from", post.get("source_file")),
        ("source", f"{source['source_id']}, {source['state']}{rests}" if source else None),
        ("views", f"{post['views']:,}" if post.get("views") is not None else None),
        ("median of views", meme.get("views_median")),
        ("ad", meme.get("ad_reason")),
        ("medium", ", ".join(str(part) for part in (meme.get("type"), media.get("mime"), size) if part)),
        ("bytes", media.get("path")),
        ("description", told.get("description")),
        ("text in it", '""' if text == "" else text),
        ("read by", told.get("model_served") or told.get("ocr_engine")),
        ("looks like", ", ".join(part for part in likeness if part) if compared.get("rule") else None),
        ("copies of it", ", ".join(story.copies)),
        ("language", status.get("language") or meme.get("language")),
        ("rated", _rating(rated) if rated else None),
    ]
    return ((name, value) for name, value in facts if value not in (None, ""))


def _rating(row: Mapping[str, Any]) -> str:
    counts = f"{row['nlikes']:,} likes, {row['ndislikes']:,} dislikes, {row['nsent']:,} sent"
    return f"{counts}; lr_smoothed {row['lr_smoothed']:.3f}, engagement {row['engagement']:.3f} on {row['day']}"


def _print_sources(found: pl.DataFrame) -> None:
    names = ("source", "memes", "shown", "sent", "likes", "dislikes", "like rate", "ads, 7 days")
    rows = [
        (
            plain(row["source_id"]),
            *(f"{row[name]:,}" for name in ("nmemes", "nmemes_sent", "nsent_events", "nlikes", "ndislikes")),
            f"{row['nlikes'] / both:.0%}" if (both := row["nlikes"] + row["ndislikes"]) else "",
            "" if row["ad_rate_7d"] is None else f"{row['ad_rate_7d']:.0%}",
        )
        for row in found.iter_rows(named=True)
    ]
    out.print(table("Sources", names, rows, names[1:], names[:1]))
