"""Files of the lake's tables, out of it and back into it, wherever the lake is.

Belongs here: which files one version of a table consists of, and copying them as they are. Does not belong here:
reading and writing rows (`magpie/lake.py`), and whether copies are whole (`backup.py`).

A copy is the live data files of the newest version and the log up to it, so it is a Delta table of its own, with its
number and its history; files that versions before it needed stay behind.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow.fs
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake._internal import DeltaFileSystemHandler
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from magpie.errors import UserError
from magpie.lake import Lake

LOG = "_delta_log"
POINTER = f"{LOG}/_last_checkpoint"
# Commits, checkpoints and checksums of a version are called by its number.
OF_VERSION = re.compile(rf"{LOG}/(\d{{20}})\.[\w.-]+")


@dataclass(frozen=True)
class Stored:
    """What is in one version of a table, counted in the files themselves."""

    version: int
    rows: int
    files: int


class Writable(Protocol):
    """Takes bytes, a piece after the other."""

    def write(self, content: bytes, /) -> object: ...


class TableFiles:
    """The files of one table, by their paths inside its directory.

    Args:
        lake: local or in a bucket.
        name: of the table.
    """

    def __init__(self, lake: Lake, name: str) -> None:
        self._lake, self._name = lake, name
        self._uri = f"{lake.root.rstrip('/')}/{name}"

    def stored(self) -> Stored | None:
        """Return what is in the newest version, None if there is no such table.

        Raises:
            UserError: it cannot be read, or a file of it is missing.
        """
        with self._told("read"):
            table = self._opened()
            if table is None:
                return None
            paths = _data_files(table)
            return Stored(table.version(), sum(map(self._rows, paths)), len(paths))

    def newest(self) -> tuple[int, list[str]] | None:
        """Return the newest version and the files it consists of, the log's last; None if there is no such table.

        Raises:
            UserError: it cannot be read.
        """
        with self._told("read"):
            table = self._opened()
            if table is None:
                return None
            version = table.version()
            listed = self._files().get_file_info(pyarrow.fs.FileSelector(LOG))
            log = sorted(info.path for info in listed if _of_version(info.path, version))
            if any(info.path == POINTER for info in listed) and self._points_to() <= version:
                log.append(POINTER)
            return version, [*_data_files(table), *log]

    @contextmanager
    def reading(self, path: str) -> Iterator[pyarrow.NativeFile]:
        """Open a file.

        Raises:
            UserError: it cannot be read.
        """
        with self._told("read"), self._files().open_input_stream(path) as file:
            yield file

    @contextmanager
    def writing(self, path: str) -> Iterator[Writable]:
        """Write a file; in a bucket it appears once all of it was written.

        Raises:
            UserError: it cannot be written.
        """
        with self._told("write"):
            if self._lake.is_local:
                target = Path(self._uri) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    yield file
            else:
                # The handler for pyarrow hands on buffers, which delta-rs does not take.
                # Its stub does not know that it is closed, which is what makes the object appear.
                stream: Any = DeltaFileSystemHandler(self._uri, self._lake.options).open_output_stream(path)
                yield stream
                stream.close()

    def _opened(self) -> DeltaTable | None:
        try:
            return DeltaTable(self._uri, storage_options=self._lake.options)
        except TableNotFoundError:
            return None

    def _files(self) -> pyarrow.fs.PyFileSystem:
        return pyarrow.fs.PyFileSystem(DeltaStorageHandler(self._uri, self._lake.options))

    def _rows(self, path: str) -> int:
        with self._files().open_input_file(path) as file:
            return int(pq.ParquetFile(file).metadata.num_rows)

    def _points_to(self) -> int:
        with self._files().open_input_stream(POINTER) as file:
            return int(json.loads(file.read())["version"])

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (DeltaError, OSError) as error:
            told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"cannot {what} table {self._name} in the lake {self._lake.root}: {told}") from None


def _data_files(table: DeltaTable) -> list[str]:
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    return [] if actions.is_empty() else actions["path"].sort().to_list()


def _of_version(path: str, newest: int) -> bool:
    found = OF_VERSION.fullmatch(path)
    return found is not None and int(found.group(1)) <= newest
