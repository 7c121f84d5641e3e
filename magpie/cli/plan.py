"""`magpie plan`: what a run would ask of models, what that can cost, and what the caps let through of it.

Belongs here: arguments and printing. Does not belong here: planning (`magpie/llm/plan.py`, one module per product),
holding a plan against the caps (`magpie/llm/budget.py`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.money import shown
from magpie.llm.purpose import ALL
from magpie.llm.spend import obstacles
from magpie.settings import Settings, load_settings

if TYPE_CHECKING:
    from magpie.llm.engine import Engine
    from magpie.llm.plan import Call, Line, Plan

# More lines than this are no overview: then an asset's days are summed up in one.
MOST_DAYS_SHOWN = 31
PER = {"D": "day", "M": "month", "R": "run"}
COLUMNS = ("asked for", "of", "day", "items", "journalled", "free", "new", "refused")
COSTS = ("tokens in ≤", "out ≤", "dollars ≤", "fit today")
# What a narrow terminal is spared, the widest bound that applies first; the lines below the table tell it too.
LEFT_OUT = {100: ("tokens in ≤", "out ≤", "free", "refused"), 120: ("tokens in ≤", "out ≤")}
WHOLE = ("asked for", "items", "journalled", "new", "dollars ≤")
DAY_CHARS = 10


def plan(
    product: Annotated[str, typer.Argument(help="leads, videos, memes, content or persona.")],
    first: options.First = None,
    last: options.Last = None,
    campaign: Annotated[list[str] | None, typer.Option(help="Only this campaign; may be repeated.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel (UC...); may be repeated.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only this site; may be repeated.")] = None,
    blog: Annotated[list[str] | None, typer.Option(help="Only this blog; may be repeated.")] = None,
    days: Annotated[bool, typer.Option("--days", help="A line per day, however many there are.")] = False,
    config: options.Config = None,
) -> None:
    """Show what a run would ask of models over a range of days, and what it can cost; asks nothing, spends nothing."""
    settings = load_settings(config)
    range_ = options.day(first, "--from"), options.day(last, "--to")
    if product not in PLANNERS:
        raise UserError(f"no product {product!r} asks models; products: {', '.join(PLANNERS)}")
    given = {"leads": campaign, "videos": channel, "content": site, "persona": blog}
    subjects = given.pop(product, None)
    if any(given.values()):
        raise UserError(
            "--campaign narrows leads, --channel narrows videos, --site narrows content, --blog narrows persona; "
            "give the one that fits the product"
        )
    from magpie.engine import engine_of  # the engine takes a third of a second to import

    engine = engine_of(settings, Control(settings.control_database))
    found = PLANNERS[product](settings, engine, *range_, subjects or ())
    _print(found, engine, days)


def _leads(
    settings: Settings, engine: "Engine", first: date | None, last: date | None, campaigns: Sequence[str]
) -> "Plan":
    from magpie.leads.plan import plan as plan_of_leads

    return plan_of_leads(settings, Lake(settings.lake_root, settings.storage_options()), engine, first, last, campaigns)


def _videos(
    settings: Settings, engine: "Engine", first: date | None, last: date | None, channels: Sequence[str]
) -> "Plan":
    from magpie.videos.plan import plan as plan_of_videos

    return plan_of_videos(settings, Lake(settings.lake_root, settings.storage_options()), engine, first, last, channels)


def _memes(settings: Settings, engine: "Engine", first: date | None, last: date | None, _: Sequence[str]) -> "Plan":
    from magpie.memes.plan import plan as plan_of_memes

    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    return plan_of_memes(settings, lake, control, engine, first, last)


def _content(
    settings: Settings, engine: "Engine", first: date | None, last: date | None, sites: Sequence[str]
) -> "Plan":
    from magpie.content.plan import plan as plan_of_content

    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    return plan_of_content(settings, lake, control, engine, first, last, sites)


def _persona(
    settings: Settings, engine: "Engine", first: date | None, last: date | None, blogs: Sequence[str]
) -> "Plan":
    from magpie.persona.plan import plan as plan_of_persona

    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    return plan_of_persona(settings, lake, control, engine, first, last, blogs)


PLANNERS: dict[str, Callable[..., "Plan"]] = {
    "leads": _leads,
    "videos": _videos,
    "memes": _memes,
    "content": _content,
    "persona": _persona,
}


def _print(found: "Plan", engine: "Engine", every_day: bool) -> None:
    from magpie.llm.budget import course, used_now
    from magpie.llm.engine import OFFLINE

    gateway = engine.gateway
    now = gateway.clock().astimezone(UTC)
    used = used_now(gateway.store, now)
    at_most = course(found.calls, gateway.limits, used, now)
    out.print(f"[bold]Plan of {found.product}[/bold], {found.first} to {found.last}; nothing was asked\n")
    today = {number for number, day in enumerate(at_most) if day == 0}
    _print_lines(list(_rows(found, today, _shown_by_day(found, every_day))))
    out.print()
    for label, who in found.asked.items():
        answers = "the offline rules answer, nothing is spent" if who == OFFLINE else plain(who)
        out.print(f"{plain(label)}: {answers}")
    _print_refused(found)
    for note in found.notes:
        _look(note)
    if found.calls:
        _print_caps(found, engine, now)
        likely = course(found.calls, gateway.limits, used, now, likely=True)
        _print_course(found.calls, at_most, likely)
        _print_obstacles(found.calls, engine, now)
    else:
        out.print("\nno call is to be made: nothing is spent")


def _print_lines(rows: Sequence[tuple[str, ...]]) -> None:
    columns = (*COLUMNS, *COSTS)
    spared = next((names for width, names in LEFT_OUT.items() if out.width < width), ())
    kept = [number for number, name in enumerate(columns) if name not in spared]
    whole = [*WHOLE, *(["day"] if all(len(row[2]) <= DAY_CHARS for row in rows) else [])]
    shown = [[row[number] for number in kept] for row in rows]
    out.print(table(None, [columns[number] for number in kept], shown, (*COLUMNS[3:], *COSTS), whole))


def _shown_by_day(found: "Plan", every_day: bool) -> set[str]:
    """The assets, or parts, that get a line per day: those that cost something, as long as the days are few."""
    if every_day:
        return set(found.asked)
    if (found.last - found.first).days >= MOST_DAYS_SHOWN:
        return set()
    return {line.label for line in found.lines if line.tally and line.tally.free < line.tally.items}


def _rows(found: "Plan", today: set[int], by_day: set[str]) -> Iterator[tuple[str, ...]]:
    """Lines of the table, days of an asset summed up where they are not shown one by one, and the total."""
    calls: dict[tuple[str | None, str | None], list[int]] = defaultdict(list)
    for number, call in enumerate(found.calls):
        calls[call.part or call.asset, call.partition].append(number)
    groups: dict[tuple[str, str, date | None], list[Line]] = defaultdict(list)
    for line in found.lines:
        groups[line.label, line.subject, line.day if line.label in by_day else None].append(line)
    for (label, subject, _), lines in groups.items():
        mine = [number for line in lines for number in calls[label, line.partition]]
        yield (
            plain(label),
            plain(found.names.get(subject, subject)),
            *_cells(lines, [(found.calls[n], n in today) for n in mine]),
        )
    whole = [(call, number in today) for number, call in enumerate(found.calls)]
    yield tuple(f"[bold]{cell}[/bold]" if cell else "" for cell in ("total", "", *_cells(found.lines, whole, "")))


def _cells(lines: Sequence["Line"], calls: Sequence[tuple["Call", bool]], when: str | None = None) -> tuple[str, ...]:
    from magpie.llm.plan import Tally

    made = [line.tally for line in lines if line.tally is not None]
    if not made:
        return (_when(lines) if when is None else when, *[""] * (len(COLUMNS) - 3 + len(COSTS)))
    tally = sum(made, Tally())
    counts = (tally.items, tally.journalled, tally.free, tally.new, sum(tally.refused.values()))
    fit = sum(call.items for call, fits in calls if fits)
    return (
        when if when is not None else _when(lines),
        *(f"{count:,}" for count in counts),
        f"{sum(call.tokens_in for call, _ in calls):,}",
        f"{sum(call.tokens_out for call, _ in calls):,}",
        shown(sum(call.est_nano for call, _ in calls)),
        f"{fit:,} of {tally.new:,}" if tally.new else "",
    )


def _when(lines: Sequence["Line"]) -> str:
    missing = sum(line.tally is None for line in lines)
    if len(lines) == 1:
        return str(lines[0].day or "") + (" [yellow]not made yet[/yellow]" if missing else "")
    return f"{len(lines):,} days" + (f", [yellow]{missing:,} not made yet[/yellow]" if missing else "")


def _print_refused(found: "Plan") -> None:
    refused: dict[str, int] = defaultdict(int)
    for line in found.lines:
        for reason, count in (line.tally.refused if line.tally else {}).items():
            refused[reason] += count
    for reason, count in sorted(refused.items()):
        _look(f"{count:,} refused, {reason}: {found.details[reason]}")


def _print_caps(found: "Plan", engine: "Engine", now: datetime) -> None:
    from magpie.llm.budget import used_now, uses

    gateway = engine.gateway
    touched = {ALL, *(scope for call in found.calls for scope in call.scopes)}
    # The whole, the product, its campaigns or channels, then what the machinery counts by.
    order = (ALL, "product", "campaign", "channel", "site", "blog", "provider", "model")
    kinds = {scope: scope.partition(":")[0] for scope in touched}
    scopes = sorted(touched, key=lambda s: (order.index(kinds[s]) if kinds[s] in order else len(order), s))
    rows = []
    for use in uses(scopes, gateway.limits, used_now(gateway.store, now), now):
        wanted = [call for call in found.calls if use.scope in call.scopes]
        money = ("", "", "") if use.cap_nano is None else (use.cap_nano, use.spent_nano, use.left_nano or 0)
        cells = (cell if isinstance(cell, str) else shown(cell) for cell in money)
        quota = "" if use.cap_calls is None else f"{max(0, use.cap_calls - use.calls):,} of {use.cap_calls:,}"
        needed = shown(sum(call.est_nano for call in wanted)), f"{len(wanted):,}"
        rows.append((plain(use.scope), PER[use.window[0]], *cells, quota, *needed))
    if rows:
        columns = ("scope", "per", "cap", "used", "left", "calls left", "planned ≤", "calls")
        out.print()
        out.print(table(None, columns, rows, columns[2:]))


def _print_course(calls: Sequence["Call"], at_most: Sequence[int | None], likely: Sequence[int | None]) -> None:
    items = sum(call.items for call in calls)
    est = sum(call.est_nano for call in calls)
    out.print(f"\nat most {shown(est)}: {_fate(calls, at_most, items)}")
    if any(call.likely_nano is not None for call in calls):
        usual = sum(call.est_nano if call.likely_nano is None else call.likely_nano for call in calls)
        out.print(f"as calls have cost lately, about {shown(usual)}: {_fate(calls, likely, items)}")
    out.print("an answer that does not hold is asked for again, twice at most; those calls come on top", style="dim")


def _print_obstacles(calls: Sequence["Call"], engine: "Engine", now: datetime) -> None:
    """Breakers and cool-downs that would turn planned calls away now."""
    store = engine.gateway.store
    if not store.exists:
        return
    touched = {scope for call in calls for scope in call.scopes}
    touched |= {f"function:{name}" for name in engine.functions.names()}
    there = obstacles(store, now)
    stopped = [(item.scope, item.detail) for item in there.breakers]
    for scope, detail in [*stopped, *((rest.scope, rest.detail) for rest in there.cooling)]:
        if scope in touched:
            _look(f"{scope} is stopped or rests now: {detail}; `magpie breaker` says until when")


def _fate(calls: Sequence["Call"], when: Sequence[int | None], items: int) -> str:
    """How many fit today, and how long the rest takes."""
    fit = sum(call.items for call, day in zip(calls, when, strict=True) if day == 0)
    if fit == items:
        return f"all {items:,} fit today"
    told = f"{fit:,} of {items:,} fit today; the rest waits for midnight UTC"
    never = sum(call.items for call, day in zip(calls, when, strict=True) if day is None)
    if never:
        return f"{told}; {never:,} of it for more than a year at these caps"
    return f"{told}, {max(day for day in when if day is not None) + 1:,} days in all at these caps"


def _look(text: str) -> None:
    out.print(f"[yellow]look[/yellow] {plain(text)}", soft_wrap=True)
