"""Uploads: who may send in a meme, and how it lands as a payload that is read like any other.

Belongs here: what is known of people, the gate, files of an upload. Does not belong here: the payload's format
(`magpie/sources/upload_payload.py`), reviewing (`moderation.py`), what becomes of the bytes (`media.py`).

The file lies beside its payload, so an upload is an archive of one post. The payload is written last: a file alone is
nothing yet. One that the gate turns away lands as a payload without a file, so that the catalogue says why.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.media.opening import Unusable, opened
from magpie.media.video_frames import Clip, video_clip
from magpie.memes.listing import PERSON_NAME, moment_of, stamp_of
from magpie.memes.logs import EVENTS, USERS
from magpie.memes.naming import meme_id_of, source_id_of
from magpie.memes.tables import MEME_REACTIONS, ROLES
from magpie.settings import Settings
from magpie.sources.meme_posts import MediaItem, RawPost, Verdict, trimmed
from magpie.sources.upload_payload import dump
from magpie.sources.whole_file import write_whole

# People who have not looked around send what is there already.
MIN_SEEN = 10
MAX_PER_DAY, DAY = 4, timedelta(hours=24)
# Those that moderators read.
LANGUAGES = ("ru", "uk", "en", "es", "ar", "uz")
# What a bot of Telegram can fetch for a user; larger ones are films.
MAX_BYTES = 20 * 2**20
# Clocks of two computers may differ by this much.
CLOCK_SLACK = timedelta(minutes=5)
EXEMPT = ("moderator", "admin")
KINDS = {"image": "photo", "animation": "animation", "video": "video"}


@dataclass(frozen=True)
class Receipt:
    """What became of an upload.

    Attributes:
        refused: why the gate turned it away; None: it is going to be reviewed.
        payload: the file that tells of it.
    """

    meme_id: str
    refused: Verdict | None
    payload: Path


def register(
    control: Control,
    user_id: str,
    languages: Sequence[str],
    *,
    at: datetime,
    role: str = "user",
    rules_accepted: bool = False,
    invited_by: str | None = None,
) -> None:
    """Append what holds of a person from `at` on; a moment not after the last one is moved behind it.

    Raises:
        UserError: an id or role is none, or there is no language.
    """
    for name in (user_id, *([] if invited_by is None else [invited_by])):
        _checked_id(name)
    if role not in ROLES:
        raise UserError(f"{role!r} is no role; use one of {', '.join(ROLES)}")
    spoken = list(dict.fromkeys(language.strip().lower() for language in languages))
    if not spoken or not all(1 < len(language) <= 8 and language.isascii() for language in spoken):
        raise UserError(f"{user_id} needs at least one language, as ISO 639-1 codes such as en or ru")
    known = person(control, user_id)
    moment = at if known is None or at > known["at"] else known["at"] + timedelta(microseconds=1)
    row = {"user_id": user_id, "at": moment, "languages": spoken, "role": role}
    USERS.append(control, [{**row, "rules_accepted": rules_accepted, "invited_by": invited_by}])


def person(control: Control, user_id: str) -> dict[str, Any] | None:
    """The latest row of `users` about somebody, None if there is none."""
    rows = USERS.read(control, user_id=user_id).sort("at")
    return rows.row(-1, named=True) if rows.height else None


def upload(
    settings: Settings,
    control: Control,
    lake: Lake,
    content: bytes,
    *,
    user: str,
    language: str,
    at: datetime,
    caption: str | None = None,
    forwarded_from: str | None = None,
    forwarded_at: datetime | None = None,
) -> Receipt:
    """Land a picture or video that somebody sends in.

    Args:
        at: now; also when the meme counts as published, unless it was forwarded.
        forwarded_at: when what is forwarded was published. If that is before the first day of the catalogue, which
            then has no place for it, it counts as published now.

    Raises:
        UserError: nobody knows the user, the bytes are no picture or video, or the date is in the future.
    """
    known = person(control, _checked_id(user))
    if known is None:
        raise UserError(f"nobody knows {user}; register this user first")
    if forwarded_at is not None and forwarded_at > at + CLOCK_SLACK:
        raise UserError(f"the forwarded post is of {forwarded_at.isoformat()}, which is in the future")
    medium, ending = _medium(content)
    early = forwarded_at is None or forwarded_at.astimezone(UTC).date() < settings.memes_start_day
    published = at if early or forwarded_at is None else forwarded_at
    folder = settings.live_memes / "upload" / user
    with _alone(folder):
        refused = None if known["role"] in EXEMPT else _refusal(known, language, control, lake, folder, at)
        name = _free_name(folder, at)
        if refused is None:
            write_whole(folder / f"{name}.{ending}", content)
        post = RawPost(
            post_id=name,
            published_at=published.astimezone(UTC),
            text=trimmed(caption) if caption else None,
            media=() if refused else (replace(medium, file=f"{name}.{ending}"),),
            forwarded_from=forwarded_from,
            uploader_id=user,
            language=language,
            rejected=refused,
        )
        payload = write_whole(folder / f"{name}.json", dump(post))
    return Receipt(meme_id_of(source_id_of("upload", user), name), refused, payload)


def _checked_id(user_id: str) -> str:
    # It names a folder and a source.
    if not PERSON_NAME.fullmatch(user_id) or user_id.startswith("."):
        raise UserError(f"{user_id[:80]!r} is no id of a user; use 1 to 64 letters, digits and . @ + - _")
    return user_id


def _medium(content: bytes) -> tuple[MediaItem, str]:
    """What the bytes are, and how the name of the file should end."""
    if len(content) > MAX_BYTES:
        raise UserError(f"the file has {len(content)} bytes, allowed are {MAX_BYTES}; send a smaller one")
    found = opened(content)
    if isinstance(found, Unusable):
        raise UserError(f"the file cannot be used: {found.reason} ({found.observed}); send a picture or video")
    clip = video_clip(content, found.mime) if found.kind == "video" else None
    seconds = clip.duration_s if isinstance(clip, Clip) else None
    medium = MediaItem(KINDS[found.kind], width=found.width, height=found.height, duration_s=seconds, mime=found.mime)
    return medium, found.mime.partition("/")[2].replace("jpeg", "jpg").replace("quicktime", "mov")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One upload of a user at a time: two at once would each count the other not yet there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; grant write permission") from None
    with FileLock(folder / ".lock"):
        yield


def _refusal(
    known: Mapping[str, Any], language: str, control: Control, lake: Lake, folder: Path, at: datetime
) -> Verdict | None:
    """The first part of the gate that holds this upload back."""
    if not known["rules_accepted"]:
        return Verdict("rules_not_accepted")
    if language not in LANGUAGES:
        return Verdict("language_not_reviewed", language, ", ".join(LANGUAGES))
    seen = memes_seen(control, lake, known["user_id"])
    if seen < MIN_SEEN:
        return Verdict("too_few_seen", str(seen), str(MIN_SEEN))
    sent = _taken_since(folder, at - DAY)
    return Verdict("upload_limit", str(sent), str(MAX_PER_DAY)) if sent >= MAX_PER_DAY else None


def memes_seen(control: Control, lake: Lake, user_id: str) -> int:
    """How many memes were ever sent to somebody, by the log of events and by what came in files."""
    logged = EVENTS.read(control, user_id=user_id, kind="sent")["meme_id"]
    mine = (pl.col("user_id") == user_id) & (pl.col("kind") == "sent") & (pl.col("status") == "ok")
    filed = lake.read(MEME_REACTIONS).filter(mine).select("meme_id").collect()["meme_id"]
    return pl.concat([logged, filed]).drop_nulls().n_unique()


def _taken_since(folder: Path, since: datetime) -> int:
    """Uploads that were not turned away: those with a file beside the payload."""
    payloads = [path for path in folder.glob("*.json") if moment_of(path.name) > since]
    return sum(any(beside.suffix != ".json" for beside in folder.glob(f"{path.stem}.*")) for path in payloads)


def _free_name(folder: Path, at: datetime) -> str:
    number = 0
    while any(folder.glob(f"{stamp_of(at)}-{number}.*")):
        number += 1
    return f"{stamp_of(at)}-{number}"
