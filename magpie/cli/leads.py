"""`magpie leads ...`: review leads, replay thresholds, explain a post, forget a deleted one.

Belongs here: arguments and printing. Does not belong here: what is decided (`magpie/leads`).
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
import yaml

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.cli.review import review
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import feedback
from magpie.leads.replay import Replay
from magpie.leads.replay import replay as replay_rows
from magpie.leads.why import Story, fullname_of
from magpie.leads.why import why as story_of
from magpie.settings import load_settings
from magpie.yaml_text import read_yaml

app = typer.Typer(no_args_is_help=True)
app.command()(review)

CampaignId = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Campaign id, as in magpie.yaml.")]


@app.command()
def replay(
    campaign: CampaignId,
    set_: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A gate setting; may be repeated.")],
    first: options.First = None,
    last: options.Last = None,
    config: options.Config = None,
) -> None:
    """Answer from stored rows how many posts each gate would keep under other thresholds."""
    settings = load_settings(config)
    lake = Lake(settings.lake_root, settings.storage_options())
    days = options.day(first, "--from"), options.day(last, "--to")
    _print_replay(replay_rows(lake, settings, campaign, assignments(set_), *days))


@app.command()
def why(
    campaign: CampaignId,
    post: Annotated[str, typer.Argument(metavar="FULLNAME", help="t3_... or t1_..., or the post's link.")],
    config: options.Config = None,
) -> None:
    """Tell the whole story of one post: each gate, what it saw, what it asked for."""
    settings = load_settings(config)
    lake = Lake(settings.lake_root, settings.storage_options())
    events = feedback.events(Control(settings.control_database))
    _print_story(story_of(lake, settings, campaign, fullname_of(post), events))


@app.command()
def forget(
    posts: Annotated[list[str], typer.Argument(metavar="FULLNAME...", help="Posts that were deleted on Reddit.")],
    author: Annotated[bool, typer.Option("--author", help="Only their authors are gone.")] = False,
    config: options.Config = None,
) -> None:
    """Record deletions; text and author leave every table when the days are next made."""
    settings = load_settings(config)
    kind = "author" if author else "post"
    events = [(fullname_of(post), kind) for post in posts]
    fresh = Control(settings.control_database).record_deletions(events, datetime.now(UTC))
    out.print(f"{fresh} of {len(events)} recorded; `magpie run leads` or the new_data sensor blanks them in the tables")


def assignments(pairs: list[str]) -> dict[str, Any]:
    """Parse NAME=VALUE; `missing_policy.low_karma=reject` sets one entry of a map.

    Raises:
        UserError: not of that form.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UserError(f"--set {pair!r} is not NAME=VALUE; for example --set min_fused=0.4")
        outer, dot, inner = name.strip().partition(".")
        try:
            parsed = read_yaml(value)
        except yaml.YAMLError:
            raise UserError(f"--set {pair!r}: the value is not valid YAML; quote it") from None
        if dot:
            found.setdefault(outer, {})[inner] = parsed
        else:
            found[outer] = parsed
    return found


def _print_replay(found: Replay) -> None:
    rows = [
        (
            row["gate"],
            row["reason"],
            f"{row['threshold_before']:g}",
            _changed(row["threshold_before"], row["threshold_after"]),
            str(row["rejected_before"]),
            _changed(row["rejected_before"], row["rejected_after"]),
            str(row["kept_before"]),
            _changed(row["kept_before"], row["kept_after"]),
        )
        for row in found.gates.iter_rows(named=True)
    ]
    columns = ("gate", "reason", "threshold", "new", "rejects", "new ", "keeps", "new  ")
    out.print(table(None, columns, rows, columns[2:]))
    out.print(f"\n{found.candidates_before} candidates now, [bold]{found.candidates_after}[/bold] under these settings")
    if found.not_scored:
        out.print(f"{found.not_scored} posts that no run has scored would pass gates 0-7; scoring them costs money")


def _changed(before: float, after: float) -> str:
    return f"[bold]{after:g}[/bold]" if before != after else f"{after:g}"


def _print_story(story: Story) -> None:
    post = story.post
    out.print(f"[bold]{plain(post['title'] or '(comment)', 100)}[/bold]")
    out.print(f"{plain(post['text'], 300)}\n", style="dim")
    facts = [
        ("where", f"r/{post['subreddit']} {post['permalink'] or ''}"),
        ("created", post["created_utc"]),
        ("retrieved", post["retrieved_at"]),
        ("from", f"{post['source']} {post['source_file']}"),
        ("content", post["content_state"]),
    ]
    if story.matched and story.matched["match_kind"]:
        facts.append(("matched", f"{story.matched['match_kind']}: {', '.join(story.matched['matched_keywords'])}"))
    if story.ranked:
        r = story.ranked
        facts.append(
            ("scores", f"bm25 {r['bm25']:.3f}, kw_n {r['kw_n']:.3f}, cosine {r['cosine']:.3f}, fused {r['fused']:.3f}")
        )
        facts.append(
            ("corpus", f"{r['corpus_n']:,} posts, {r['corpus_avglen']:.1f} tokens on average, {r['embed_model']}")
        )
    out.print(table(None, ("", " "), [(name, plain(value)) for name, value in facts]))
    colours = {"pass": "green", "reject": "red", "not_applicable": "dim"}
    rows = [
        (
            entry["gate"],
            entry["reason"],
            f"[{colours[entry['outcome']]}]{entry['outcome'].replace('_', ' ')}[/]",
            plain(entry["detail"]) if entry["detail"] else _number(entry["observed"]),
            _number(entry["threshold"]),
        )
        for entry in story.gates
    ]
    if rows:
        out.print()
        out.print(
            table(None, ("gate", "turns away", "outcome", "observed", "threshold"), rows, ("observed", "threshold"))
        )
    if story.extraction or story.feedback:
        out.print()
        out.print(table(None, ("", " "), [(name, plain(value)) for name, value in _told(story)]))
    out.print(f"\n{plain(story.verdict)}")


def _told(story: Story) -> Iterator[tuple[str, object]]:
    """What was read in the post, what that cost, and what people said of it; what is not known is left out."""
    read, said = story.extraction or {}, story.feedback or {}
    answer = json.loads(read.get("extracted_data") or "{}")
    version = f"prompt {read['prompt_version'][:12]}" if read.get("prompt_version") else ""
    facts = [
        ("intent", f"{read['intent_score']} {read['intent_tier']}" if answer else None),
        ("quote", answer.get("evidence_quote")),
        ("because", answer.get("reason")),
        ("read by", ", ".join(part for part in (read.get("provider"), read.get("model"), version) if part)),
        ("cost", f"{read['cost_usd']:f} USD, invalid answers {read['attempts']}" if read.get("provider") else None),
        ("feedback", ", ".join(said[name] for name in ("workflow", "label", "reason") if said.get(name))),
        ("said by", f"{said['actor']}, {said['at']}" if said else None),
    ]
    return ((name, value) for name, value in facts if value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
