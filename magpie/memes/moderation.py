"""Decisions of people about memes, and what waits for one.

Belongs here: who may decide what, appending it, what to look at next, which likes and deletions follow. Does not belong
here: what decisions mean for the state (`status.py`), asking and printing (`magpie/cli`), deleting (`maintenance.py`).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.memes import tables as t
from magpie.memes.listing import PERSON_NAME
from magpie.memes.logs import MODERATION
from magpie.memes.reactions import react
from magpie.memes.status import SPOKEN, fold, main_media, meme_status
from magpie.memes.uploads import person
from magpie.tables import UTC

MODERATORS = ("moderator", "admin")
# As events name where a like came from that nobody tapped.
UPLOADED = "uploaded_meme"
# What a person does not decide of a meme of their own.
REVIEWS = ("approve", "reject", "distinct", "publish", "restore")
# A decision that would change nothing is refused, so that whoever makes it learns how things stand.
POSSIBLE_IN = {
    "approve": ("waiting_review", "ad", "rejected", "duplicate"),
    "reject": tuple(state for state in t.STATES if state != "rejected"),
    "distinct": tuple(state for state in t.STATES if state not in ("rejected", "broken")),
    "publish": ("ok",),
    "unpublish": ("published",),
    "restore": t.STATES,
    "set_language": t.STATES,
    "purge": t.STATES,
}
# A reason is a line or two for people.
REASON_CHARS = 500
WAITING = pl.Schema(
    {
        "meme_id": pl.String(),
        "why": pl.String(),
        "detail": pl.String(),
        "type": pl.String(),
        "caption": pl.String(),
        "language": pl.String(),
        "ocr_text": pl.String(),
        "description": pl.String(),
        "source_id": pl.String(),
        "uploader_id": pl.String(),
        "url": pl.String(),
        "published_at": UTC,
        "path": pl.String(),
        "mime": pl.String(),
        "looks_like": pl.String(),
        "looks_like_path": pl.String(),
        "phash_distance": pl.Int64(),
        "text_similarity": pl.Float64(),
    }
)
_WHYS = ("upload", "ad", "uncertain")


def decide(
    control: Control,
    lake: Lake,
    meme_id: str,
    action: str,
    *,
    actor: str,
    at: datetime,
    reason: str | None = None,
    value: str | None = None,
    operator: bool = False,
) -> str:
    """Append what somebody decided of a meme; return the id of the decision.

    The first approval of an upload is also a like of whoever uploaded it and of whoever approved it.

    Args:
        at: when; a moment not after the last decision about the meme is moved behind it.
        value: the language that set_language sets, and nothing else.
        operator: the actor sits at the command line and needs no role.

    Raises:
        UserError: there is no such meme or action, the actor may not, or the meme's state does not allow it.
    """
    value = _checked(action, actor, reason, value)
    _allowed(control, actor, operator)
    said = MODERATION.read(control, meme_id=meme_id)
    found = _any_post(lake, meme_id, said) if action == "purge" else standing(lake, meme_id, said)
    _possible(found, action, actor)
    last = said["at"].max()
    moment = at if not isinstance(last, datetime) or at > last else last + timedelta(microseconds=1)
    told = (meme_id, action, value or "", reason or "", actor, moment.isoformat())
    decision_id = _id("decision", *told)
    row = {"decision_id": decision_id, "meme_id": meme_id, "action": action, "reason": reason, "value": value}
    MODERATION.append(control, [{**row, "actor": actor, "at": moment}])
    if action == "approve" and found["platform"] == "upload":
        uploads = pl.DataFrame([{"meme_id": meme_id, "uploader_id": found["uploader_id"]}], schema=_UPLOADERS)
        record_approval_likes(control, uploads)
    return decision_id


def _checked(action: str, actor: str, reason: str | None, value: str | None) -> str | None:
    """The value as it is stored."""
    if action not in t.DECISIONS:
        raise UserError(f"{action!r} is no decision about a meme; use one of {', '.join(t.DECISIONS)}")
    # Actors are people of the app, or named like them: an approval is an event of theirs.
    if not PERSON_NAME.fullmatch(actor):
        raise UserError(f"{actor[:80]!r} cannot decide; name who does with letters, digits and . @ + - _ alone")
    if reason is not None and (len(reason) > REASON_CHARS or not reason.isprintable()):
        raise UserError(f"the reason must be one line of at most {REASON_CHARS} characters")
    if action != "set_language":
        if value is not None:
            raise UserError(f"{action} takes no value; {value[:80]!r} goes with set_language")
        return None
    language = (value or "").lower()
    if language not in SPOKEN:
        raise UserError(f"set_language needs a language, not {(value or 'nothing')[:80]!r}; use {', '.join(SPOKEN)}")
    return language


def _allowed(control: Control, actor: str, operator: bool) -> None:
    if operator:
        return
    known = person(control, actor)
    if known is None or known["role"] not in MODERATORS:
        role = "not known" if known is None else f"a {known['role']}"
        raise UserError(f"{actor} is {role} and may not decide of memes; only {' and '.join(MODERATORS)} may")


def _possible(found: dict[str, Any], action: str, actor: str) -> None:
    meme_id, state = found["meme_id"], found["state"]
    if found["purged"]:
        raise UserError(f"{meme_id} is deleted on request; nothing can be decided of it")
    if action in REVIEWS and found["uploader_id"] == actor:
        raise UserError(f"{meme_id} was uploaded by {actor}; somebody else has to {action} it")
    if state not in POSSIBLE_IN[action]:
        needed = ", ".join(POSSIBLE_IN[action])
        raise UserError(f"cannot {action} {meme_id}, which is {state}; it would have to be one of {needed}")
    if action == "distinct" and found["distinct"]:
        raise UserError(f"{meme_id} is called distinct already")
    if action == "restore" and found["verdict"] is None:
        raise UserError(f"nobody approved or rejected {meme_id}, so there is nothing to restore")


def standing(lake: Lake, meme_id: str, decisions: pl.DataFrame) -> dict[str, Any]:
    """How a meme stands with these decisions: its row of `meme_status`, `uploader_id`, and what `fold` says.

    Facts are those of the lake, which may be older than the decisions.

    Raises:
        UserError: the catalogue does not have it, or turned it down.
    """
    platform = meme_id.partition(":")[0]
    mine = (pl.col("platform") == platform) & (pl.col("meme_id") == meme_id)
    memes = lake.read(t.MEMES).filter(mine).collect()
    if memes.is_empty():
        raise UserError(f"there is no meme {meme_id[:200]}; ids look like telegram:channel:17")
    row = memes.row(0, named=True)
    here = mine & (pl.col("day") == row["day"])
    media, told, compared = (
        lake.read(table).filter(here).collect() for table in (t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES)
    )
    sources = lake.read(t.MEME_SOURCES).filter(pl.col("source_id") == row["source_id"]).collect()
    made = meme_status(memes, media, told, compared, decisions, sources, compared)
    if made.is_empty():
        raise UserError(f"{meme_id} was turned down ({row['reason']}), so there is nothing to decide")
    folded = fold(decisions.filter(pl.col("meme_id") == meme_id))
    held = folded.row(0, named=True) if folded.height else _UNDECIDED
    return {**made.row(0, named=True), **held, "meme_id": meme_id, "uploader_id": row["uploader_id"]}


def _any_post(lake: Lake, meme_id: str, decisions: pl.DataFrame) -> dict[str, Any]:
    """What is to be deleted: what rules turned down is in the tables as well, and nobody asks what state it is in.

    Raises:
        UserError: there is no such post.
    """
    platform = meme_id.partition(":")[0]
    mine = (pl.col("platform") == platform) & (pl.col("meme_id") == meme_id)
    if not any(lake.read(table).filter(mine).head(1).collect().height for table in (t.MEMES, t.MEME_POSTS)):
        raise UserError(f"there is no meme {meme_id[:200]}; ids look like telegram:channel:17")
    folded = fold(decisions.filter(pl.col("meme_id") == meme_id))
    held = folded.row(0, named=True) if folded.height else _UNDECIDED
    return {**held, "meme_id": meme_id, "platform": platform, "state": "created", "uploader_id": None}


_UNDECIDED: dict[str, Any] = {"verdict": None, "published": False, "distinct": False, "purged": False}
_UPLOADERS = pl.Schema({"meme_id": pl.String(), "uploader_id": pl.String()})


def record_approval_likes(control: Control, uploads: pl.DataFrame) -> None:
    """Append a like of the uploader and of the first approver for each of these uploads that was ever approved.

    What is there already stays as it is, so a run that died is mended by calling it again.

    Args:
        uploads: `meme_id`, `uploader_id`.
    """
    said = MODERATION.read(control, action="approve", meme_id=uploads["meme_id"].to_list())
    first = said.sort("at", "decision_id").unique("meme_id", keep="first", maintain_order=True)
    for row in first.join(uploads, on="meme_id").iter_rows(named=True):
        for user in dict.fromkeys((row["uploader_id"], row["actor"])):
            if user is not None:
                _like(control, user, row["meme_id"], row["meme_id"], row["at"])


def record_duplicate_likes(control: Control, status: pl.DataFrame, memes: pl.DataFrame, at: datetime) -> None:
    """Append a like of the original by the uploader for each upload that is a copy; once, whenever it is called.

    Args:
        status, memes: rows of `meme_status` and `memes` of the same partitions.
        at: the moment of the likes that are new.
    """
    copies = status.filter((pl.col("platform") == "upload") & (pl.col("state") == "duplicate"))
    uploaders = memes.select("meme_id", "uploader_id").drop_nulls()
    for row in copies.join(uploaders, on="meme_id").sort("meme_id").iter_rows(named=True):
        _like(control, row["uploader_id"], row["canonical_id"], row["meme_id"], at)


def _like(control: Control, user: str, meme_id: str, because_of: str, at: datetime) -> None:
    react(control, "like", user, meme_id, at, event_id=_id(UPLOADED, because_of, user), engine=UPLOADED)


def _id(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(("magpie", *parts)).encode()).hexdigest()[:32]


def waiting(lake: Lake, control: Control, limit: int, *, actor: str | None = None) -> pl.DataFrame:
    """Return the next memes that a person should look at, in the columns of `WAITING`.

    Uploads come first, the oldest ahead; then ads and memes that may be copies, the newest ahead. Paths are relative
    to the home. What was decided since the status was made is left out, and so are uploads of `actor`.
    """
    uncertain = lake.read(t.MEME_DUPLICATES).filter(pl.col("verdict") == "uncertain")
    uncertain = uncertain.select("meme_id", "duplicate_of", "phash_distance", "text_similarity")
    why = (
        pl.when(pl.col("state") == "waiting_review")
        .then(pl.lit("upload"))
        .when(pl.col("state") == "ad")
        .then(pl.lit("ad"))
        .when(pl.col("duplicate_of").is_not_null() & (pl.col("state") == "ok"))
        .then(pl.lit("uncertain"))
    )
    status = lake.read(t.MEME_STATUS).select("meme_id", "platform", "day", "state", "language", "published_at")
    decided = fold(MODERATION.read(control)).filter(
        pl.col("verdict").is_not_null() | pl.col("distinct") | pl.col("purged")
    )
    memes = lake.read(t.MEMES).select(
        "meme_id", "type", "caption", "source_id", "uploader_id", "url", "ad_reason", "platform", "day"
    )
    open_ones = (
        status.join(uncertain, on="meme_id", how="left")
        .with_columns(why.alias("why"))
        .filter(pl.col("why").is_not_null())
        .join(decided.lazy(), on="meme_id", how="anti")
        .join(memes, on=["platform", "day", "meme_id"])
        .filter(pl.lit(actor, pl.String).ne_missing(pl.col("uploader_id")) | pl.lit(actor is None))
        .with_columns(
            pl.col("why").replace_strict({name: min(place, 1) for place, name in enumerate(_WHYS)}).alias("turn"),
            pl.when(pl.col("why") == "upload").then(1).otherwise(-1).alias("sign"),
        )
        .sort("turn", pl.col("sign") * pl.col("published_at").dt.timestamp("us"), "meme_id")
        .head(limit)
        .collect()
    )
    return _with_looks(lake, open_ones)


def _with_looks(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    wanted = pl.concat([rows["meme_id"], rows["duplicate_of"].rename("meme_id")]).drop_nulls().unique().implode()
    media = main_media(lake.read(t.MEME_MEDIA).filter(pl.col("meme_id").is_in(wanted)))
    paths = media.select("meme_id", "path", "mime").collect()
    told = lake.read(t.MEME_DESCRIPTIONS).filter(pl.col("meme_id").is_in(wanted))
    joined = (
        rows.join(paths, on="meme_id", how="left", maintain_order="left")
        .join(
            paths.select(pl.col("meme_id").alias("duplicate_of"), pl.col("path").alias("looks_like_path")),
            on="duplicate_of",
            how="left",
            maintain_order="left",
        )
        .join(
            told.select("meme_id", "ocr_text", "description").collect(), on="meme_id", how="left", maintain_order="left"
        )
    )
    detail = pl.when(pl.col("why") == "ad").then("ad_reason").when(pl.col("why") == "uncertain").then("duplicate_of")
    return joined.with_columns(detail.alias("detail"), pl.col("duplicate_of").alias("looks_like")).select(list(WAITING))


@dataclass(frozen=True)
class Gone:
    """What must go because people asked for it.

    Attributes:
        meme_ids: memes that become tombstones in tables and payloads, and whose answers are blanked.
        sha256: blobs that no other meme has.
    """

    meme_ids: tuple[str, ...]
    sha256: tuple[str, ...]


def gone(decisions: pl.DataFrame, media: pl.LazyFrame) -> Gone:
    """Return what the decisions to purge take away.

    Args:
        decisions: rows of `meme_moderation`.
        media: `meme_media` of the whole catalogue, as it was before tombstones were made.
    """
    purged = fold(decisions).filter("purged")["meme_id"].to_list()
    held = media.select("meme_id", pl.concat_list("sha256", "watermarked_sha256").alias("sha256"))
    blobs = held.explode("sha256").drop_nulls().collect()
    mine = pl.col("meme_id").is_in(purged)
    shared = set(blobs.filter(~mine)["sha256"])
    return Gone(tuple(sorted(purged)), tuple(sorted(set(blobs.filter(mine)["sha256"]) - shared)))
