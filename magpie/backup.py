"""A backup of what cannot be made again, and putting it back where nothing is.

Belongs here: the form of a backup, in which order its parts are copied, and holding every copy against the manifest.
Does not belong here: how tables of the lake (`backup_lake.py`) and the control database (`backup_control.py`) are
copied, printing.

A backup is a folder: `lake/TABLE/`, each table at one version; `control/`; `home/`, files of the home that are nowhere
else; `manifest.json`, written last, with size and sha256 of each file and the rows of each table. Magpie may go on
working meanwhile: the control database is copied after the lake, so it knows of all that was paid for by then, and what
the lake lacks is made again from the journal's answers.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, Protocol

from pydantic import Field, ValidationError, field_validator

from magpie import backup_control, migrations
from magpie.backup_control import ControlCopy
from magpie.backup_lake import POINTER, Stored, TableFiles, Writable
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.settings import Settings
from magpie.sources.whole_file import write_whole
from magpie.strict import Strict
from magpie.tables import Table

MANIFEST = "manifest.json"
# As `sha256sum --check` reads it.
MANIFEST_SUM = f"{MANIFEST}.sha256"
LAKE, CONTROL, HOME, BLOBS = "lake", "control", "home", "blobs"
# Folders of the home that nothing can be made again from: bytes, answers that are paid for, what live sources said.
FOLDERS = (BLOBS, "journal", "raw/reddit/live", "raw/youtube/live", "raw/memes/live", "raw/tumblr/live")
CHUNK_BYTES = 1 << 20


class Kept(Strict):
    """One file; `modified_ns` where it tells whether a file was read already."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    modified_ns: int | None = None


class Manifest(Strict):
    """What a backup holds.

    Attributes:
        lake: tables by name, with rows as the copied files have them.
        control: None where there was no control database yet.
        files: by path inside the backup.
        damaged_blobs: those left out, because what was kept under their name was something else already.
    """

    format: Literal[1] = 1
    made_at: datetime
    lake: dict[str, Stored]
    control: ControlCopy | None
    files: dict[str, Kept]
    damaged_blobs: tuple[str, ...] = ()

    @field_validator("lake")
    @classmethod
    def _tables(cls, value: dict[str, Stored]) -> dict[str, Stored]:
        for name in value:
            if not name.isidentifier():
                raise ValueError(f"{name[:80]!r} is no table's name")
        return value

    @field_validator("files")
    @classmethod
    def _inside(cls, value: dict[str, Kept]) -> dict[str, Kept]:
        # Each becomes a path to write to.
        allowed = (f"{LAKE}/", f"{CONTROL}/", *(f"{HOME}/{folder}/" for folder in FOLDERS))
        for name in value:
            if not name.startswith(allowed) or name != str(PurePosixPath(name)) or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name[:200]!r} is no file of a backup")
        return value

    def of(self, folder: str) -> Iterator[tuple[str, Kept]]:
        """The files below a folder of the backup, by their paths there, in their order."""
        start = f"{folder}/"
        yield from ((name.removeprefix(start), kept) for name, kept in self.files.items() if name.startswith(start))

    @property
    def bytes(self) -> int:
        return sum(kept.bytes for kept in self.files.values())


@dataclass(frozen=True)
class Places:
    """What is saved, or where it goes."""

    lake: Lake
    control: Control
    home: Path

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        lake = Lake(settings.lake_root, settings.storage_options())
        return cls(lake, Control(settings.control_database), settings.home)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


# Hears what is being copied.
Told = Callable[[str], None]


def _unheard(what: str) -> None:
    """Nobody listens."""


def backup(places: Places, tables: Iterable[Table], out: Path, *, now: datetime, told: Told = _unheard) -> Manifest:
    """Copy everything to `out`, a folder that is new or empty, and hold the copies against what was read.

    Args:
        told: hears what is being copied.

    Raises:
        UserError: the folder cannot be used, something cannot be read or written, or a copy is not whole.
    """
    _new_folder(out, places)
    lake: dict[str, Stored] = {}
    files: dict[str, Kept] = {}
    for table in tables:
        told(table.name)
        found = _save_table(TableFiles(places.lake, table.name), table.name, out, files)
        if found is not None:
            lake[table.name] = found
    told("files")
    damaged = [name for folder in FOLDERS for name in _save_folder(places.home, folder, out, files)]
    told("control database")
    control = _save_control(places.control, out, files)
    manifest = Manifest(made_at=now, lake=lake, control=control, files=files, damaged_blobs=tuple(damaged))
    content = manifest.model_dump_json(indent=1).encode()
    write_whole(out / MANIFEST_SUM, f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode())
    write_whole(out / MANIFEST, content)
    return manifest


def check(source: Path, told: Told = _unheard) -> Manifest:
    """Read a backup's manifest and hold every file against it.

    Raises:
        UserError: it is none, is not whole, or is of a newer version.
    """
    manifest = _manifest(source)
    told("files of the backup")
    for name, kept in manifest.files.items():
        path = source / name
        try:
            size = path.stat().st_size
            sha256 = _sha256(path) if size == kept.bytes else ""
        except FileNotFoundError:
            raise _damaged(source, f"{name} is missing") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; grant read permission") from None
        if sha256 != kept.sha256:
            raise _damaged(source, f"{name} holds other bytes than when it was made")
    if manifest.control is not None and manifest.control.version > migrations.LATEST:
        raise UserError(
            f"the backup {source} was made by a newer Magpie (control database of version {manifest.control.version}, "
            f"this one knows {migrations.LATEST}); install that version"
        )
    return manifest


def restore(places: Places, source: Path, *, told: Told = _unheard) -> Manifest:
    """Put a backup back where nothing is; return what came back, which was counted there.

    Raises:
        UserError: the backup is none or damaged, something is there already, or cannot be written.
    """
    manifest = check(source, told)
    _refuse_unless_empty(places, manifest)
    for name, expected in manifest.lake.items():
        told(name)
        _load_table(places.lake, name, expected, source, manifest)
    told("files")
    for folder in FOLDERS:
        for name, kept in manifest.of(f"{HOME}/{folder}"):
            _load_file(source, f"{HOME}/{folder}/{name}", kept, places.home / folder / name)
    if manifest.control is not None:
        told("control database")
        rows = backup_control.load(places.control, source / CONTROL, manifest.control)
        if rows != manifest.control.tables:
            told_apart = _differing(rows, manifest.control.tables)
            raise UserError(f"the control database came back from {source} with other rows: {told_apart}")
    return manifest


def _new_folder(out: Path, places: Places) -> None:
    whole = out.absolute()
    inside = [places.home.absolute(), *([Path(places.lake.root).absolute()] if places.lake.is_local else [])]
    if any(whole.is_relative_to(folder) for folder in inside):
        raise UserError(f"a backup in {out} would be lost with what it saves; name a folder elsewhere with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UserError(f"{out} is not empty; name a new folder with --out")
    except OSError as error:
        raise UserError(f"cannot write a backup to {out}: {error.strerror}; name another folder with --out") from None


def _save_table(source: TableFiles, name: str, out: Path, files: dict[str, Kept]) -> Stored | None:
    found = source.newest()
    if found is None:
        return None
    version, paths = found
    for path in paths:
        target = f"{LAKE}/{name}/{path}"
        with source.reading(path) as reader, _writing(out / target) as writer:
            files[target] = _copied(reader, writer)
    copied = TableFiles(Lake(str(out / LAKE)), name).stored()
    if copied is None or copied.version != version:
        raise UserError(f"table {name} changed its log while it was copied; make the backup again")
    return copied


def _save_folder(home: Path, folder: str, out: Path, files: dict[str, Kept]) -> list[str]:
    """Copy the files of a folder; return the names of blobs that hold other bytes than their name says."""
    damaged = []
    # Hidden files are half written.
    for path in sorted(path for path in (home / folder).rglob("[!.]*") if path.is_file()):
        name = f"{HOME}/{folder}/{path.relative_to(home / folder).as_posix()}"
        try:
            with path.open("rb") as reader, _writing(out / name) as writer:
                modified_ns = os.fstat(reader.fileno()).st_mtime_ns
                kept = _copied(reader, writer)
        except FileNotFoundError:
            continue  # an answer that was settled meanwhile, or a file that people asked to have deleted
        except OSError as error:
            raise UserError(f"cannot copy {path} to {out}: {error.strerror}; free space or grant permission") from None
        if folder == BLOBS and kept.sha256 != path.name:
            damaged.append(path.name)
            (out / name).unlink()
        else:
            files[name] = kept if folder == BLOBS else kept.model_copy(update={"modified_ns": modified_ns})
    return damaged


def _save_control(control: Control, out: Path, files: dict[str, Kept]) -> ControlCopy | None:
    folder = out / CONTROL
    folder.mkdir()
    copied = backup_control.save(control, folder)
    for path in sorted(folder.iterdir()):
        files[f"{CONTROL}/{path.name}"] = Kept(bytes=path.stat().st_size, sha256=_sha256(path))
    return copied


def _manifest(source: Path) -> Manifest:
    try:
        content, told = (source / MANIFEST).read_bytes(), (source / MANIFEST_SUM).read_text("ascii")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{source} is no backup, or one that was not finished: it has no {MANIFEST}") from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"cannot read {source / MANIFEST}; grant read permission or use another backup") from None
    if told.split()[:1] != [hashlib.sha256(content).hexdigest()]:
        raise _damaged(source, f"{MANIFEST} holds other bytes than when it was made")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{source / MANIFEST} cannot be used: {place[:200]}: {first['msg']}") from None


def _refuse_unless_empty(places: Places, manifest: Manifest) -> None:
    mend = "a backup is only restored where nothing is: name another home with MAGPIE_HOME, or move away what is there"
    try:
        there = sorted(path.name for path in places.home.iterdir())
    except FileNotFoundError:
        there = []
    except OSError as error:
        raise UserError(f"cannot restore to {places.home}: {error.strerror}") from None
    if there:
        raise UserError(f"{places.home} holds {there[0]}; {mend}")
    for name in manifest.lake:
        if TableFiles(places.lake, name).newest() is not None:
            raise UserError(f"the lake {places.lake.root} holds table {name}; {mend}")
    saved, here = manifest.control, backup_control.kind_of(places.control)
    if saved is not None and saved.kind != here:
        raise UserError(
            f"the backup holds a control database on {saved.kind}, but the one to restore to is on {here}; set "
            f"MAGPIE_CONTROL_URL to one on {saved.kind}"
        )
    if not backup_control.is_empty(places.control):
        raise UserError(f"the control database holds tables; {mend}")


def _load_table(lake: Lake, name: str, expected: Stored, source: Path, manifest: Manifest) -> None:
    target = TableFiles(lake, name)
    # The log last and in its order, so that no version is there before its files are.
    for path, kept in sorted(manifest.of(f"{LAKE}/{name}"), key=lambda item: _log_order(item[0])):
        with (source / LAKE / name / path).open("rb") as reader, target.writing(path) as writer:
            _same(source, f"{LAKE}/{name}/{path}", _copied(reader, writer), kept)
    found = target.stored()
    if found != expected:
        raise UserError(f"table {name} came back from {source} as {found}, saved was {expected}")


def _log_order(path: str) -> tuple[int, str]:
    return (2 if path == POINTER else int(path.startswith("_delta_log/"))), path


def _load_file(source: Path, name: str, kept: Kept, target: Path) -> None:
    try:
        with (source / name).open("rb") as reader, _writing(target) as writer:
            _same(source, name, _copied(reader, writer), kept)
        if kept.modified_ns is not None:
            os.utime(target, ns=(kept.modified_ns, kept.modified_ns))
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; free space or grant write permission") from None


def _same(source: Path, name: str, copied: Kept, kept: Kept) -> None:
    if copied.sha256 != kept.sha256:
        raise _damaged(source, f"{name} was changed while it was read")


def _writing(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space or grant write permission") from None


def _copied(reader: _Readable, writer: Writable) -> Kept:
    digest, size = hashlib.sha256(), 0
    while chunk := reader.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        writer.write(chunk)
    return Kept(bytes=size, sha256=digest.hexdigest())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(source: Path, what: str) -> UserError:
    return UserError(f"the backup {source} is damaged: {what}; use another backup")


def _differing(rows: dict[str, int], saved: dict[str, int]) -> str:
    names = sorted(name for name in rows.keys() | saved.keys() if rows.get(name) != saved.get(name))
    return ", ".join(f"{name} {rows.get(name)} of {saved.get(name)}" for name in names)
