"""`magpie spend` and `magpie breaker`: what was spent, what is left, what stands in the way, and clearing it.

Belongs here: arguments and printing. Does not belong here: summing up (`magpie/llm/spend.py`), closing a breaker
(`magpie/llm/breaker.py`), what a sweep does (`magpie/llm/sweep.py`).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.control import Control
from magpie.errors import UserError
from magpie.llm import breaker as breakers
from magpie.llm import pacing, spend
from magpie.llm.money import shown
from magpie.llm.store import Store
from magpie.settings import Settings, load_settings

app = typer.Typer(invoke_without_command=True)
breaker_app = typer.Typer(invoke_without_command=True)

NOTHING = "nothing spent yet"
BAR_CHARS = 20
PER = {"D": "day", "M": "month"}

Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="Only this scope, or all of a kind: campaign; may be repeated."),
]
Since = Annotated[str | None, typer.Option("--since", metavar="DAY", help="Per day from this day on, YYYY-MM-DD, UTC.")]


@app.callback()
def spend_(context: typer.Context, since: Since = None, scope: Scopes = None, config: options.Config = None) -> None:
    """Show what was spent today by scope, against its caps, and what stands in the way of calls."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(config)
    first, now = options.day(since, "--since"), _now()
    store = _store(settings)
    if store is None:
        out.print(NOTHING)
    elif first is not None:
        _print_days(store, first, scope or ())
    else:
        _print_today(settings, store, now, scope or ())


@app.command()
def sweep(config: options.Config = None) -> None:
    """Bring calls whose process ended to an end: settle them from the journal, free what was never sent."""
    from magpie.engine import engine_of  # the engine takes a third of a second to import, and only this command sweeps

    settings = load_settings(config)
    control = Control(settings.control_database)
    if _store(settings) is None:
        out.print(f"{NOTHING}: no call to end")
        return
    done = engine_of(settings, control).gateway.sweep()
    out.print(
        f"{done.voided} never sent, their money is free again; {done.settled} settled from the journal; "
        f"{done.lost} given up, charged at their estimate"
    )


@breaker_app.callback()
def breaker(context: typer.Context, config: options.Config = None) -> None:
    """List what is stopped, resting or gone: breakers, cool-downs and hidden models, until when, and why."""
    if context.invoked_subcommand is not None:
        return
    from magpie.llm.free_models import hidden_models  # it knows the gateway, which the other commands do without

    store, now = _store(load_settings(config)), _now()
    found = spend.obstacles(store, now) if store is not None else None
    gone = hidden_models(store) if store is not None else []
    if found is None or not (found.breakers or found.cooling or gone):
        out.print("no breaker is open, nothing cools down")
        return
    rows = [(item.scope, "breaker", _until(item, now), plain(item.detail)) for item in found.breakers]
    rows += [(item.scope, "cool-down", _moment(item.until), plain(item.detail)) for item in found.cooling]
    missing = "its provider no longer lists it; since {}"
    rows += [
        (f"model:{item.name}", "hidden", "it is listed again", missing.format(_moment(item.since))) for item in gone
    ]
    out.print(table(None, ("scope", "what", "until", "why"), [(plain(row[0]), *row[1:]) for row in rows]))
    out.print("\nmagpie breaker reset SCOPE ends one, magpie breaker reset ends all")


@breaker_app.command()
def reset(
    scope: Annotated[str | None, typer.Argument(metavar="SCOPE", help="As `magpie breaker` lists it.")] = None,
    config: options.Config = None,
) -> None:
    """Close an open breaker and end a cool-down, or all of them: the next call is made."""
    store, now = _store(load_settings(config)), _now()
    found = spend.obstacles(store, now) if store is not None else None
    there = {item.scope for item in found.breakers} | {item.scope for item in found.cooling} if found else set()
    if scope is not None and scope not in there:
        listed = f"; stopped now: {', '.join(sorted(there))}" if there else "; nothing is stopped"
        raise UserError(f"no open breaker and no cool-down of {scope!r}{listed}")
    if store is not None:
        store.write(lambda c: (breakers.close(c, scope), pacing.clear_cooldowns(c, scope)))
    out.print(
        f"free again: {plain(', '.join(sorted({scope} if scope else there)))}" if there else "nothing was stopped"
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _store(settings: Settings) -> Store | None:
    """The books; None where there are none yet: looking must not make a database."""
    control = Control(settings.control_database)
    return Store(control) if control.file is None or control.file.exists() else None


def _print_today(settings: Settings, store: Store, now: datetime, wanted: Sequence[str]) -> None:
    from magpie.engine import limits_of

    uses = spend.today(store, limits_of(settings), now)
    chosen = [use for use in uses if spend.matching(use.scope, wanted)]
    _refuse_unknown(wanted, [use.scope for use in uses])
    if not any(use.spent_nano or use.reserved_nano or use.calls for use in uses):
        out.print(f"{NOTHING} today, {now:%Y-%m-%d} UTC\n")
    columns = ("scope", "per", "spent", "reserved", "calls", "cap", "left", "used")
    out.print(table(f"{now:%Y-%m-%d %H:%M} UTC", columns, [_use_cells(use) for use in chosen], columns[2:7]))
    saved = spend.saved_since(store, now.date()).get(now.date())
    if saved:
        out.print(f"\nfrom the journal: {saved.hits:,} answers, worth {shown(saved.saved_nano)}")
    for use in chosen:
        if use.share is not None and use.share >= spend.WARN_SHARE:
            _note("look", f"{use.scope} has used {use.share:.0%} of its {_bound(use)}")
    _print_obstacles(spend.obstacles(store, now))


def _print_days(store: Store, first: date, wanted: Sequence[str]) -> None:
    uses = spend.since(store, first)
    if not uses:
        out.print(f"nothing spent since {first}")
        return
    _refuse_unknown(wanted, [use.scope for use in uses])
    saved = spend.saved_since(store, first)
    rows = []
    for use in (use for use in uses if spend.matching(use.scope, wanted)):
        hits = saved.get(use.day) if use.scope == spend.ALL else None
        again = (f"{hits.hits:,}", shown(hits.saved_nano)) if hits else ("", "")
        rows.append((str(use.day), plain(use.scope), shown(use.spent_nano), f"{use.calls:,}", *again))
    columns = ("day", "scope", "spent", "calls", "from the journal", "saved")
    out.print(table(None, columns, rows, columns[2:]))


def _print_obstacles(found: spend.Obstacles) -> None:
    for item in found.breakers:
        _note("stopped", f"{item.scope}: {item.detail}")
    for rest in found.cooling:
        _note("resting", f"{rest.scope} until {_moment(rest.until)}: {rest.detail}")
    if found.unknown or found.lost:
        counts = f"calls that may still be reconciled: {found.unknown}, given up: {found.lost}"
        _note("cut off", f"{counts}; charged at {shown(found.cut_nano)} in all")
    if found.dead:
        _note("look", f"calls of ended processes: {found.dead}; `magpie spend sweep` brings them to an end")


def _note(word: str, text: str) -> None:
    out.print(f"[yellow]{word}[/yellow] {plain(text)}", soft_wrap=True)


def _use_cells(use: spend.Use) -> tuple[str, ...]:
    cap = "" if use.cap_nano is None else shown(use.cap_nano)
    left = "" if use.left_nano is None else shown(use.left_nano)
    calls = f"{use.calls:,}" + (f" of {use.cap_calls:,}" if use.cap_calls is not None else "")
    money = (shown(use.spent_nano), shown(use.reserved_nano), calls, cap, left)
    return (plain(use.scope), PER[use.window[0]], *money, _bar(use.share))


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    full = min(BAR_CHARS, round(share * BAR_CHARS))
    colour = "red" if share >= 1 else "yellow" if share >= spend.WARN_SHARE else "green"
    return f"[{colour}]{'█' * full}[/{colour}][dim]{'░' * (BAR_CHARS - full)}[/dim] {share:.0%}"


def _bound(use: spend.Use) -> str:
    """Which of the two bounds it is that is met first."""
    return f"cap of {shown(use.cap_nano or 0)}" if use.share == use.money_share else f"{use.cap_calls:,} calls"


def _refuse_unknown(wanted: Sequence[str], there: Sequence[str]) -> None:
    for name in wanted:
        if not any(spend.matching(scope, (name,)) for scope in there):
            known = ", ".join(dict.fromkeys(there))
            raise UserError(f"nothing is counted for --scope {name!r}; scopes: {known}")


def _until(item: breakers.Open, now: datetime) -> str:
    if item.probing:
        return "one call tries it now"
    if item.until is None:
        return "you reset it"
    return _moment(item.until) if item.until > now else "now: the next call tries it"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
