"""`magpie persona why`: the whole story of one input.

Belongs here: printing it. Does not belong here: finding it (`magpie/persona/why.py`).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.cli.persona_review import reader_of
from magpie.persona.why import Attempt, Story, why
from magpie.settings import load_settings

Row = Mapping[str, Any]

COLOURS = {"ok": "green", "pending": "yellow", "failed": "red", "rejected": "dim"}
TEXT_CHARS, BODY_CHARS, DRAW_CHARS = 500, 2000, 70


def why_one(
    name: Annotated[str, typer.Argument(metavar="INPUT", help="As ask:123, or the id of a post in the outbox.")],
    blog: Annotated[str | None, typer.Option(help="Where several blogs have it.")] = None,
    config: options.Config = None,
) -> None:
    """Tell how an input was dealt with: rules, admissions, mood, every text, choice, route, delivery."""
    story = why(reader_of(load_settings(config)), name.strip(), blog)
    row = story.input
    by = f" by {plain(row['from_blog'])}" if row["from_blog"] else ""
    out.print(f"[bold]{plain(row['input_id'])}[/bold]")
    out.print(f"{row['kind']}{by} to {story.blog.name}, {row['created_at']:%Y-%m-%d %H:%M} UTC", style="dim")
    if row["text"]:
        out.print(plain(row["text"], TEXT_CHARS), soft_wrap=True)
    out.print()
    out.print(table(None, ("", " "), list(_facts(story)), whole=("",)))
    for attempt in story.attempts:
        _print_attempt(attempt)
    out.print(f"\n{_verdict(story)}", soft_wrap=True)


def _facts(story: Story) -> Iterator[tuple[str, str]]:
    row, thread, kick = story.input, story.thread, story.kick
    yield "state", f"{row['state']}, [{COLOURS[row['status']]}]{_fate(row)}[/]"
    if row["cost"] is not None:
        yield "cost", f"{row['cost']:g}, left at {story.blog.tuned().stop_cost:g}"
    if row["command"]:
        yield "command", plain(row["command"])
    yield "asks for", row["prompt_kind"]
    if thread is not None:
        names = plain(", ".join(thread["participants"]), TEXT_CHARS)
        yield "thread", f"{thread['n_posts']:,} posts of {names}; {thread['n_images']:,} images"
    for tick in story.ticks.iter_rows(named=True):
        level = "" if tick["slowdown_level"] == "base" else f", going {tick['slowdown_level']}"
        yield "admitted", f"{tick['tick_ts']:%Y-%m-%d %H:%M} UTC, attempt {tick['attempt']}, step {tick['step']}{level}"
    if kick is not None:
        p75 = "no text" if kick["p75_logit"] is None else f"texts {kick['p75_logit']:+.3f}"
        read = f"its own logit {kick['input_logit']:+.3f}, {p75}, together {kick['determiner']:+.3f}"
        yield "moved the mood", f"by {kick['kick']:+.4f}: {read}"


def _print_attempt(attempt: Attempt) -> None:
    decision = attempt.decision
    by = "" if attempt.tick else ", of the author's own accord"
    out.print(f"\n[bold]Attempt {decision['attempt']}[/bold]{by}")
    out.print(table(None, ("", " "), list(_decided(attempt)), whole=("",)))
    _print_texts(attempt)
    if decision["body"]:
        out.print()
        out.print(plain(decision["body"][:BODY_CHARS]), soft_wrap=True)
        if decision["tags"]:
            out.print(plain(" ".join(f"#{tag}" for tag in decision["tags"])), soft_wrap=True)
    _print_events(attempt)


def _decided(attempt: Attempt) -> Iterator[tuple[str, str]]:
    decision, trace = attempt.decision, attempt.trace
    if decision["mood_value"] is not None:
        lo, hi = decision["lo"], decision["hi"]
        suits = "any" if lo is None and hi is None else f"{lo or 0:.3f} to {1 if hi is None else hi:.3f}"
        yield "mood", f"{decision['mood_value']:.3f}; sentiment that suits: {suits}"
    if decision["status"] != "ok":
        yield "decided", f"[{COLOURS[decision['status']]}]{_fate(decision)}[/]"
    if decision["strategy"]:
        u, v = attempt.dice
        how = "chance" if decision["explore"] else "the best"
        left = f"{decision['n_retained']:,} of {decision['n_candidates']:,} suit the mood"
        taken = "a text kept from before" if decision["chosen_k"] is None else f"k {decision['chosen_k']}"
        yield "choice", f"{left}; {decision['strategy']}, u {u:.6f}, v {v:.6f}: {how}, {taken}"
    hits = ", ".join(f"{hit['type']} {hit['text']}" for hit in decision["screen_hits"] or ())
    if hits:
        yield "words found", plain(hits, TEXT_CHARS)
    if decision["route"]:
        cuts = ", ".join(
            f"{name} {'none' if cut is None else f'{cut:g}'}" for name, cut in trace.get("cuts", {}).items()
        )
        risk = "not scored" if decision["autoreview_p"] is None else f"{decision['autoreview_p']:.3f}"
        held = f"; risk {risk}, cuts {plain(cuts)}" if cuts else ""
        yield "route", f"{decision['route']}, {plain(decision['route_reason'])}{held}"
    versions = [str(trace[name])[:12] for name in ("selector_version", "autoreview_version") if trace.get(name)]
    if trace:
        yield "by", f"settings {plain(trace.get('settings'))}, models {plain(', '.join(versions)) or 'none yet'}"


def _print_texts(attempt: Attempt) -> None:
    chosen = attempt.decision["chosen_k"] if attempt.decision["body"] else -1
    rows = [
        (
            (">" if row["k"] == chosen else "") + str(row["k"]),
            _number(row["selector_p"]),
            _number(row["selector_adjusted"]),
            _number(row["sentiment_p"]),
            _number(row["autoreview_p"]),
            _number(row["judge_p"]),
            _standing(row, attempt),
            plain(row["body"], DRAW_CHARS),
        )
        for row in attempt.candidates.iter_rows(named=True)
    ]
    rows += [
        (
            "kept",
            "",
            _number(one["selector"]),
            _number(one["sentiment"]),
            _number(one["autoreview"]),
            "",
            "" if one["kept"] in attempt.suits else "not the mood",
            plain(one["kept"]),
        )
        for one in attempt.kept
    ]
    if rows:
        columns = ("k", "liked", "adjusted", "glad", "risk", "judged", "turned down", "text")
        out.print(table(None, columns, rows, columns[:6]))
    writers = sorted({f"{row['provider']}/{row['model']}" for row in attempt.candidates.to_dicts() if row["provider"]})
    cost = attempt.candidates["cost_usd"].sum()
    if writers:
        out.print(f"written by {plain(', '.join(writers))} for {cost:.6f} dollars", style="dim")


def _standing(row: Row, attempt: Attempt) -> str:
    if row["status"] != "ok":
        return plain(_fate(row))
    if not attempt.offered or row["k"] in attempt.suits:
        return ""
    return "not the mood" if row["k"] in attempt.offered else "liked less than the post"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _print_events(attempt: Attempt) -> None:
    post = attempt.post
    if post is None:
        return
    edited = ", edited" if post["edited"] else ""
    slot = "" if post["publish_at"] is None else f", slot {post['publish_at']:%Y-%m-%d %H:%M} UTC"
    remote = f", Tumblr's {plain(post['remote_id'])}" if post["remote_id"] else ""
    fate = f" ({plain(_fate(post))})" if post["status"] != "ok" else ""
    out.print(f"\npost {post['outbox_id']}: {post['state']}{edited}{slot}{remote}{fate}", soft_wrap=True)
    rows = [
        (f"{row['at']:%Y-%m-%d %H:%M:%S}", row["action"], plain(row["actor"]), plain(row["note"], TEXT_CHARS))
        for row in attempt.reviews.iter_rows(named=True)
    ]
    rows += [
        (f"{row['at']:%Y-%m-%d %H:%M:%S}", row["phase"], "delivery", plain(row["error_class"] or row["remote_state"]))
        for row in attempt.deliveries.iter_rows(named=True)
    ]
    if rows:
        out.print(table(None, ("at", "what", "by", "with"), sorted(rows)))


def _fate(row: Row) -> str:
    said = f"{row['status']}" + (f", {row['reason']}" if row["reason"] else "")
    seen = f": {row['observed']}" if row["observed"] else ""
    held = f", held against {row['threshold']}" if row["threshold"] else ""
    again = f", again from {row['not_before']:%Y-%m-%d %H:%M} UTC" if row["not_before"] else ""
    return plain(said + seen + held + again)


def _verdict(story: Story) -> str:
    state = story.input["state"]
    if not story.attempts:
        if state == "admitted":
            return "it is admitted, and dealt with by the next run"
        return f"nothing was written for it: {_fate(story.input)}"
    last = story.attempts[-1]
    post = last.post
    if post is not None and post["state"] in ("draft", "held"):
        return f"it waits for a person: `magpie persona review --approve {post['outbox_id']}`"
    if post is not None:
        return f"its post is {post['state']}"
    return f"it has no post: {_fate(last.decision)}"
