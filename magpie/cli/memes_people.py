"""`magpie memes user`, `upload`, `pop` and `react`: what the people of an app do, from the command line.

Belongs here: arguments and printing. Does not belong here: the gate of uploads (`magpie/memes/uploads.py`), queues
(`magpie/memes/serving.py`).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import uploads
from magpie.memes.serving import Recommender, Served
from magpie.settings import load_settings

User = Annotated[str, typer.Argument(metavar="USER", help="Id of a person.")]


def user(
    user_id: User,
    languages: Annotated[str | None, typer.Option(help="They read these, such as en,ru.")] = None,
    role: Annotated[str | None, typer.Option(help="user, moderator or admin.")] = None,
    accept_rules: Annotated[
        bool | None, typer.Option("--accept-rules/--no-accept-rules", help="Whether they accept the rules of uploads.")
    ] = None,
    invited_by: Annotated[str | None, typer.Option(help="Who brought them.")] = None,
    config: options.Config = None,
) -> None:
    """Show somebody, or say who they are; what is not said stays as it was."""
    control = Control(load_settings(config).control_database)
    known = uploads.person(control, user_id)
    said = (languages, role, accept_rules, invited_by)
    if any(value is not None for value in said):
        before = known or {"languages": [], "role": "user", "rules_accepted": False, "invited_by": None}
        uploads.register(
            control,
            user_id,
            before["languages"] if languages is None else languages.split(","),
            at=datetime.now(UTC),
            role=before["role"] if role is None else role,
            rules_accepted=before["rules_accepted"] if accept_rules is None else accept_rules,
            invited_by=before["invited_by"] if invited_by is None else invited_by,
        )
        known = uploads.person(control, user_id)
    if known is None:
        raise UserError(
            f"nobody is registered as {user_id[:80]!r}; register them: magpie memes user {user_id[:80]} --languages en"
        )
    rules = "accepted" if known["rules_accepted"] else "not accepted"
    out.print(f"{plain(user_id)}: {known['role']}, reads {plain(', '.join(known['languages']))}, rules {rules}")


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture or video.")],
    user: Annotated[str, typer.Option(help="Who sends it in.")],
    language: Annotated[str, typer.Option(help="Of the joke, ISO 639-1.")],
    caption: Annotated[str | None, typer.Option(help="Beside the picture.")] = None,
    forwarded_from: Annotated[str | None, typer.Option(help="Channel that it was forwarded from.")] = None,
    forwarded_at: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="When that was published: 2026-03-02 or 2026-03-02T10:00:00Z.")
    ] = None,
    config: options.Config = None,
) -> None:
    """Send in a meme; it waits for a review."""
    settings = load_settings(config)
    lake, control = Lake(settings.lake_root, settings.storage_options()), Control(settings.control_database)
    try:
        # One byte more than is taken, so that a film is refused without being read.
        with file.open("rb") as opened:
            content = opened.read(uploads.MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    receipt = uploads.upload(
        settings,
        control,
        lake,
        content,
        user=user,
        language=language,
        at=datetime.now(UTC),
        caption=caption,
        forwarded_from=forwarded_from,
        forwarded_at=_moment(forwarded_at),
    )
    if receipt.refused is not None:
        verdict = receipt.refused
        told = f" ({verdict.observed}, asked for: {verdict.threshold})" if verdict.observed else ""
        raise UserError(f"{file.name} is not taken: {verdict.reason}{told}; the catalogue says so of {receipt.meme_id}")
    out.print(
        f"{plain(receipt.meme_id)} is landed; `magpie run memes` takes it in, `magpie memes review` shows it then"
    )


def pop(
    user: User,
    keep: Annotated[bool, typer.Option("--keep", help="Only hand it out: do not write down that it arrived.")] = False,
    config: options.Config = None,
) -> None:
    """Hand out somebody's next meme, and write down that it was sent."""
    recommender = _recommender(config)
    served = recommender.pop(user)
    if served is not None and not keep:
        recommender.delivered(served)
    _print_served(served, user)


def react(
    user: User,
    meme: Annotated[str, typer.Argument(metavar="MEME", help="As in telegram:channel:17.")],
    kind: Annotated[str, typer.Argument(metavar="like|dislike", help="What they think of it.")],
    config: options.Config = None,
) -> None:
    """Write down what somebody thinks of a meme, and hand out the next one."""
    recommender = _recommender(config)
    if recommender.snapshot().catalogue.partition(meme) is None:
        raise UserError(f"there is no meme {meme[:200]}; ids look like telegram:channel:17")
    recommender.person(user)
    served = recommender.react(user, meme, kind)
    out.print(f"{plain(user)}: {kind} of {plain(meme)}")
    if served is not None:
        recommender.delivered(served)
    _print_served(served, user)


def _recommender(config: Path | None) -> Recommender:
    settings = load_settings(config)
    lake = Lake(settings.lake_root, settings.storage_options())
    return Recommender(settings, lake, Control(settings.control_database))


def _print_served(served: Served | None, user: str) -> None:
    if served is None:
        out.print(f"nothing is left for {plain(user)} in the languages they read")
        return
    facts = [
        ("next", served.meme_id),
        ("engine", served.engine),
        ("type", f"{served.type}, {served.mime}"),
        ("caption", served.caption),
        ("file", served.path),
        ("address", served.url),
    ]
    out.print(table(None, ("", " "), [(name, plain(value)) for name, value in facts if value is not None]))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"--forwarded-at {text!r} is no moment; write it as 2026-03-02 or 2026-03-02T10:00:00Z"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
