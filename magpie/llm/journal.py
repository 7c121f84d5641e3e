"""The journal: what was paid for is on disk before anything reads it, and is given again instead of asked again.

Belongs here: bodies that wait to be settled, and the answers that settled calls left. Does not belong here: money
(`ledger.py`) and what an answer means (`providers/`, `run.py`).
"""

import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from magpie.llm.ledger import SERVABLE
from magpie.llm.reply import Exchange
from magpie.llm.schema import llm_body, llm_call, llm_response
from magpie.llm.store import LedgerUnavailable, Store

# One statement asks for this many keys: well below SQLite's bound on parameters.
KEYS_PER_QUERY = 500
# Only what is worth it is compressed; a vector of floats is not.
COMPRESS_FROM_BYTES = 512
JOURNAL_DIRECTORY = "journal"
BODY_SUFFIX = ".body"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What was thought of the answer that a call brought.

    Attributes:
        state: accepted, invalid (it was asked again), or closed (asked again in vain).
        strategy: how the answer was found in its text.
        error_class: invalid_output, internal_error or refused, where that is why.
        counts: a closed answer ends its row's turn; of a turn that several models had, only the last one does.
    """

    call_id: str
    state: Literal["accepted", "invalid", "closed"]
    strategy: str | None = None
    error_class: str | None = None
    credits: int = 0
    credits_version: str | None = None
    counts: bool = True


# Built once, as every call comes by.
_FORGET = llm_body.delete().where(llm_body.c.call_id == sa.bindparam("of_call"))
_SERVABLE = (
    sa.select(llm_response)
    .where(
        llm_response.c.request_key.in_(sa.bindparam("keys", expanding=True)),
        llm_response.c.state.in_(SERVABLE),
    )
    .order_by(llm_response.c.created_at)
)
# As the ledger calls a closed chain's last answer.
_WORDS = {"accepted": "accepted", "invalid": "invalid", "closed": "exhausted"}


@dataclass(frozen=True)
class Entry:
    """A journalled answer.

    Attributes:
        state: unjudged, accepted or invalid.
        cost_nano: what it cost when it was bought.
    """

    call_id: str
    item: int
    request_key: str
    state: str
    endpoint: str
    exchange: Exchange
    cost_nano: int


class Bodies(Protocol):
    """Received bodies that wait to be settled."""

    def keep(self, call_id: str, exchange: Exchange) -> None:
        """Return once it survives a crash."""

    def find(self, call_id: str) -> Exchange | None: ...

    def forget(self, connection: sa.Connection, call_id: str) -> None:
        """Let go of it in the transaction that settles it, if it is in that database."""

    def drop(self, call_id: str, *, forgotten: bool = False) -> None:
        """Let go of it: it is settled. `forgotten`: what is in the database is gone already."""

    def waiting(self) -> list[str]:
        """The calls whose bodies are kept."""


class BodyFiles:
    """Bodies as files beside the SQLite database, without a turn at the database's lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, call_id: str, exchange: Exchange) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        target = self._path(call_id)
        part = target.with_suffix(".part")
        head = {**head_of(exchange), "crc32": zlib.crc32(exchange.body)}
        with part.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + exchange.body)
            file.flush()
            # Renamed first, data and name are on disk after one pass of the file system instead of two. What a power
            # cut leaves half written in between is known by its checksum.
            part.replace(target)
            os.fsync(file.fileno())
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def find(self, call_id: str) -> Exchange | None:
        try:
            head, _, body = self._path(call_id).read_bytes().partition(b"\n")
            facts = json.loads(head)
        except FileNotFoundError:
            return None
        except ValueError:
            facts = {}
        if facts.get("crc32") != zlib.crc32(body):
            log.warning("the journalled body of call %s is damaged, as by a power cut; it is not used", call_id)
            return None
        return exchange_of(facts, body)

    def forget(self, connection: sa.Connection, call_id: str) -> None:
        """A file is in no transaction: it is dropped after it."""

    def drop(self, call_id: str, *, forgotten: bool = False) -> None:
        try:
            self._path(call_id).unlink(missing_ok=True)
        except OSError as error:
            # A settled body that stays is dropped by the next sweep.
            log.warning("the journalled body of call %s could not be removed: %s", call_id, error.strerror)

    def waiting(self) -> list[str]:
        return sorted(path.stem for path in self._directory.glob(f"*{BODY_SUFFIX}"))

    def _path(self, call_id: str) -> Path:
        return self._directory / f"{call_id}{BODY_SUFFIX}"


class BodyRows:
    """Bodies as committed rows, so that any worker can settle for a dead one.

    Args:
        spool: takes them while the database is away; only this machine can settle those.
    """

    def __init__(self, store: Store, spool: BodyFiles) -> None:
        self._store, self._spool = store, spool

    def keep(self, call_id: str, exchange: Exchange) -> None:
        row = {"call_id": call_id, "head": head_of(exchange), "body": exchange.body}
        try:
            self._store.append(llm_body.insert(), row)
        except LedgerUnavailable:
            self._spool.keep(call_id, exchange)

    def find(self, call_id: str) -> Exchange | None:
        row = self._store.read(lambda c: c.execute(sa.select(llm_body).where(llm_body.c.call_id == call_id)).first())
        return exchange_of(row.head, row.body) if row else self._spool.find(call_id)

    def forget(self, connection: sa.Connection, call_id: str) -> None:
        connection.execute(_FORGET, {"of_call": call_id})

    def drop(self, call_id: str, *, forgotten: bool = False) -> None:
        if not forgotten:
            self._store.append(_FORGET, {"of_call": call_id})
        self._spool.drop(call_id)

    def waiting(self) -> list[str]:
        rows: list[str] = self._store.read(lambda c: list(c.execute(sa.select(llm_body.c.call_id)).scalars()))
        return sorted({*rows, *self._spool.waiting()})


def bodies_of(store: Store, home: Path) -> Bodies:
    """Files on SQLite, rows on a server; `home` is where the files stand."""
    files = BodyFiles(home / JOURNAL_DIRECTORY)
    return files if store.single_machine else BodyRows(store, files)


def head_of(exchange: Exchange) -> dict[str, Any]:
    return {"status": exchange.status, "headers": dict(exchange.headers)}


def exchange_of(head: dict[str, Any], body: bytes) -> Exchange:
    return Exchange(head["status"], head["headers"], body)


def packed(body: bytes) -> tuple[dict[str, Any], bytes]:
    """A body as it is stored, and what its head has to say about that."""
    if len(body) < COMPRESS_FROM_BYTES:
        return {}, body
    return {"zlib": True}, zlib.compress(body, 1)


def find(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Entry]:
    """The newest answer of each key that may be given again."""
    found: dict[str, Entry] = {}
    for chunk in _chunks(keys):
        for row in connection.execute(_SERVABLE, {"keys": chunk}):
            found[row.request_key] = _entry(row)
    return found


def held(connection: sa.Connection, keys: Sequence[str]) -> frozenset[str]:
    """The keys that have an answer which may be given again; the answers, which may be large, are not read."""
    found: set[str] = set()
    for chunk in _chunks(keys):
        chosen = llm_response.c.request_key.in_(chunk), llm_response.c.state.in_(SERVABLE)
        found.update(connection.execute(sa.select(llm_response.c.request_key).where(*chosen)).scalars())
    return frozenset(found)


def answers_of(connection: sa.Connection, call_id: str) -> list[Entry]:
    """All answers that one call brought, by item."""
    query = sa.select(llm_response).where(llm_response.c.call_id == call_id).order_by(llm_response.c.item)
    return [_entry(row) for row in connection.execute(query)]


def judge(connection: sa.Connection, verdicts: Sequence[Verdict]) -> None:
    """Say of answers whether they hold; `closed` ends a chain of re-asks that came to nothing.

    An accepted answer stays so: a later, stricter check asks again, and does not undo what rows rest on.
    """
    if not verdicts:
        return
    answers = llm_response.update().where(
        llm_response.c.call_id == sa.bindparam("id_"),
        (llm_response.c.state == "unjudged") | (llm_response.c.state == "invalid"),
    )
    connection.execute(
        answers.values(state=sa.bindparam("state_")), [{"id_": v.call_id, "state_": v.state} for v in verdicts]
    )
    calls = (
        llm_call.update()
        .where(llm_call.c.id == sa.bindparam("id_"))
        .values(
            verdict=sa.bindparam("verdict_"),
            parse_strategy=sa.bindparam("strategy_"),
            error_class=sa.bindparam("class_"),
            credits=sa.bindparam("credits_"),
            credits_version=sa.bindparam("version_"),
        )
    )
    rows: list[dict[str, Any]] = [
        {
            "id_": v.call_id,
            "verdict_": _WORDS[v.state if v.counts else "invalid"],
            "strategy_": v.strategy,
            "class_": v.error_class,
            "credits_": v.credits,
            "version_": v.credits_version,
        }
        for v in verdicts
    ]
    connection.execute(calls, rows)


def name_rows(connection: sa.Connection, refs: Mapping[str, str]) -> None:
    """Note which rows answers belong to, by request key, so that they go when the row's source does."""
    if refs:
        chosen = llm_response.update().where(llm_response.c.request_key == sa.bindparam("key_"))
        connection.execute(
            chosen.values(row_ref=sa.bindparam("ref_")), [{"key_": key, "ref_": ref} for key, ref in refs.items()]
        )


def discard(connection: sa.Connection, call_ids: Sequence[str]) -> None:
    """Give these answers no more, whatever was thought of them: they cannot be read."""
    for chunk in _chunks(call_ids):
        connection.execute(llm_response.update().where(llm_response.c.call_id.in_(chunk)).values(state="closed"))


def purge(connection: sa.Connection, row_refs: Iterable[str]) -> int:
    """Blank the answers about rows whose source was deleted; they are not given again. Returns how many."""
    blanked = 0
    for chunk in _chunks(list(row_refs)):
        keys = sa.select(llm_call.c.request_key).where(llm_call.c.row_ref.in_(chunk))
        about = llm_response.c.row_ref.in_(chunk) | llm_response.c.request_key.in_(keys)
        chosen = llm_response.update().where(about, llm_response.c.state != "purged")
        blanked += connection.execute(chosen.values(state="purged", body=None, head={})).rowcount
    return blanked


def row_refs_of(connection: sa.Connection, items: Iterable[str]) -> list[str]:
    """The rows that were asked about and are parts of these items: `id#1`, `id#2`."""
    found: set[str] = set()
    for item in items:
        parts = sa.select(llm_call.c.row_ref).where(llm_call.c.row_ref.startswith(f"{item}#", autoescape=True))
        found |= set(connection.execute(parts.distinct()).scalars())
    return sorted(found)


def _entry(row: sa.Row[Any]) -> Entry:
    body = zlib.decompress(row.body) if row.head.get("zlib") else row.body
    exchange = exchange_of(row.head, body)
    return Entry(row.call_id, row.item, row.request_key, row.state, row.endpoint, exchange, row.cost_nano)


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), KEYS_PER_QUERY):
        yield list(values[start : start + KEYS_PER_QUERY])
