"""What the materialisations of the author's tables show: what it wrote and chose, and the mood that follows.

Belongs here: choosing and laying out rows of those tables for the UI. Does not belong here: tables that need no author
(`persona_metadata.py`), drawing the mood (`magpie/persona/mood_graph.py`), sums of calls that every product shows
(`model_calls.py`).

Whatever people posted and models wrote is escaped.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from typing import Any

import dagster as dg
import polars as pl

from assets import metadata as md
from assets import plots
from assets.persona_metadata import BLOGS, DAY, TOP, bins, by_number, of, text
from magpie.lake import Lake
from magpie.persona import tables as t
from magpie.persona.author import KICK_DAYS
from magpie.persona.mood import GRID, MoodRules
from magpie.persona.mood_graph import MOST_HOURS, mood_graph
from magpie.persona.settings import Blog

BEST = 5
# Shares of the texts that were offered and of the choices that were made; originals are offered texts kept from before,
# many of them because the mood turned them away.
_FIGURES = (
    (1 - pl.col("n_retained").sum() / pl.col("n_candidates").sum()).fill_nan(None).round(4).alias("mood_dropped"),
    pl.col("explore").mean().round(4).alias("explored"),
)


def authored_metadata(frames: Mapping[str, pl.DataFrame], lake: Lake) -> dict[str, dict[str, Any]]:
    """What the tables that the author makes in one go show, by table.

    Args:
        lake: as it is before this run's rows are written.
    """
    decisions, kept = frames[t.DECISIONS.name], frames[t.RETENTION_SET.name]
    return {
        t.CANDIDATES.name: _candidates(frames[t.CANDIDATES.name]),
        t.CANDIDATE_SCORES.name: _scores(frames[t.CANDIDATE_SCORES.name]),
        t.MOOD_INPUTS.name: _kicks(frames[t.MOOD_INPUTS.name]),
        t.DECISIONS.name: _decisions(decisions),
        t.RETENTION_SET.name: _retention(kept, decisions, lake),
    }


def _candidates(found: pl.DataFrame) -> dict[str, Any]:
    """Texts that held per attempt, and the share of draws that were turned away, by reason."""
    per_attempt = found.group_by("blog", "input_id", "attempt").agg((pl.col("status") == "ok").sum().alias("texts"))
    again = found.filter(pl.col("status") == "rejected")
    shares = again.group_by("reason").agg(pl.len().alias("draws")).sort("draws", "reason", descending=[True, False])
    return {
        "attempts": dg.MetadataValue.int(per_attempt.height),
        "texts_per_input": md.histogram(by_number(per_attempt["texts"])),
        "regenerated_share": dg.MetadataValue.float(_share(again.height, found.height)),
        "regenerated_by_reason": md.markdown_table(
            shares.with_columns((pl.col("draws") / max(found.height, 1)).round(4).alias("share_of_draws")).to_dicts()
        ),
    }


def _scores(found: pl.DataFrame) -> dict[str, Any]:
    """How the three estimates are distributed."""
    return {name: md.histogram(bins(found[name])) for name in ("selector_p", "sentiment_p", "autoreview_p")}


def _kicks(found: pl.DataFrame) -> dict[str, Any]:
    """How many inputs moved the mood, and how far together."""
    return {
        "kicks": dg.MetadataValue.int(found.height),
        "sum_of_kicks": dg.MetadataValue.float(round(float(found["kick"].sum()), 4)),
    }


def _decisions(found: pl.DataFrame) -> dict[str, Any]:
    """Routes by reason, what the mood dropped and how often chance chose, by kind of input too, and the texts."""
    routed = found.drop_nulls("route")
    matrix = routed.group_by("route_reason", "route").len().sort("route_reason", "route")
    routes = [route for route in t.ROUTES if route in set(routed["route"])]
    counts = {(reason, route): count for reason, route, count in matrix.iter_rows()}
    reasons = matrix["route_reason"].unique(maintain_order=True).to_list()
    by_kind = found.group_by("kind").agg(pl.len().alias("decisions"), *_FIGURES).sort("kind")
    whole = found.select(_FIGURES)
    shown = found.filter(pl.col("body").is_not_null()).sort("tick_ts", "input_id", "attempt", descending=True)
    columns = ("input_id", "attempt", "route", "route_reason", "body", "tags", "mood_value", "autoreview_p")
    return {
        "routes_by_reason": md.markdown_table(
            [{"reason": reason, **{route: counts.get((reason, route), 0) for route in routes}} for reason in reasons]
        ),
        "mood_dropped_share": dg.MetadataValue.float(whole["mood_dropped"][0] or 0.0),
        "explore_share": dg.MetadataValue.float(whole["explored"][0] or 0.0),
        "by_kind": md.markdown_table(by_kind.to_dicts()),
        "chosen_texts": md.markdown_table([_chosen(row) for row in shown.select(columns).head(TOP).to_dicts()]),
    }


def _chosen(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: None if row[name] is None else round(row[name], 4) for name in ("mood_value", "autoreview_p")}
    return {**row, **numbers, "body": text(row["body"]), "tags": ", ".join(row["tags"])}


def _retention(found: pl.DataFrame, decisions: pl.DataFrame, lake: Lake) -> dict[str, Any]:
    """Of each blog, how many texts it keeps at the end of the run, how many came, were posted or pruned."""
    originals = decisions.filter(pl.col("kind") == "original")
    rows = [
        {"blog": blog, **_kept(of(found, blog), of(originals, blog), lake, blog)}
        for blog in sorted({*found["blog"], *originals["blog"]})
    ]
    best = found.filter(pl.col("day") == pl.col("day").max().over("blog")).sort(
        "selector_p", "text_sha256", descending=[True, False]
    )
    return {
        "kept": md.markdown_table(rows),
        "best": md.markdown_table(
            [
                {"selector_p": round(row["selector_p"], 4), "body": text(row["body"]), "added_day": row["added_day"]}
                for row in best.head(BEST).to_dicts()
            ]
        ),
    }


def _kept(found: pl.DataFrame, originals: pl.DataFrame, lake: Lake, blog: str) -> dict[str, int]:
    days = pl.concat([found["day"], originals["day"]]).unique().sort()
    stored = lake.read(t.RETENTION_SET).filter((pl.col("blog") == blog) & (pl.col("day") < days[0]))
    last = stored.filter(pl.col("day") == pl.col("day").max())
    opening = set(last.select("text_sha256").collect()["text_sha256"])
    closing = set(found.filter(pl.col("day") == days[-1])["text_sha256"])
    seen = opening | set(found["text_sha256"])
    posted = set(originals["chosen_sha256"].drop_nulls())
    gone = seen - closing
    return {
        "before": len(opening),
        "added": len(seen - opening),
        "posted": len(gone & posted),
        "pruned": len(gone - posted),
        "size": len(closing),
    }


def mood_metadata(found: pl.DataFrame, kicks: pl.DataFrame, blogs: Iterable[Blog], lake: Lake) -> dict[str, Any]:
    """The mood of the last two days as a picture, and the inputs that moved it most.

    Args:
        kicks: `mood_inputs` of the run; those of the days before are read.
        blogs: of the run.
    """
    made: dict[str, Any] = {
        "values": md.histogram(bins(found["value"])),
        "happiest_kicks": md.markdown_table(_kicks_shown(kicks, glad=True)),
        "saddest_kicks": md.markdown_table(_kicks_shown(kicks, glad=False)),
    }
    for blog in sorted(blogs, key=lambda blog: blog.name)[:BLOGS]:
        made |= _mood_graph(of(found, blog.name), of(kicks, blog.name), blog, lake)
    return made


def _kicks_shown(kicks: pl.DataFrame, *, glad: bool) -> list[dict[str, Any]]:
    """The inputs that moved the mood furthest up, or down."""
    moved = kicks.filter(pl.col("kick") > 0 if glad else pl.col("kick") < 0)
    ordered = moved.sort("kick", "input_id", descending=[glad, False])
    columns = ("input_id", pl.col("kick_ts").dt.strftime("%Y-%m-%d %H:%M"))
    numbers = pl.col("kick", "input_logit", "p75_logit").round(4)
    return ordered.select(*columns, numbers).head(BEST).to_dicts()


def _mood_graph(found: pl.DataFrame, kicks: pl.DataFrame, blog: Blog, lake: Lake) -> dict[str, Any]:
    if found.is_empty():
        return {}
    days = found["day"].unique().sort()
    before = lake.read(t.MOOD_INPUTS).filter(
        (pl.col("blog") == blog.name)
        & pl.col("day").is_between(days[-1] - KICK_DAYS * DAY, days[-1])
        & ~pl.col("day").is_in(days.to_list())
    )
    known = pl.concat([before.collect(), kicks])
    # The last moment of the grid: at midnight begins the base of another day.
    until = datetime.combine(days[-1] + DAY, time(), UTC) - GRID
    png = mood_graph(known, until, MoodRules.of(blog), blog.preset, MOST_HOURS)
    told = f"mood of {blog.name} until {until:%Y-%m-%d %H:%M} UTC"
    return {f"mood_{blog.name}": dg.MetadataValue.md(plots.png(png, told))}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
