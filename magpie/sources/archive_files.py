"""Archive files as blocks of whole lines: plain, .zst with long windows, .gz; one pass, bounded memory.

Belongs here: finding files by path, directory or glob, and decompressing them. Does not belong here: what a line
means (`magpie/sources/reddit_lines.py`).
"""

import glob
import os
import queue
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from magpie.errors import UserError

ENDINGS = (".ndjson", ".jsonl", ".json", ".zst", ".gz")
# Pushshift and Arctic Shift compress with --long=31; zstd refuses such windows unless told.
ZST_WINDOW_BYTES = 2**31
READ_BYTES = 1 << 20
# Large enough that per-block overhead vanishes, small enough that malloc reuses its memory (above 32 MiB every block
# is mapped and faulted in anew, which costs more than parsing it).
BLOCK_BYTES = 16 << 20


class UnreadableFile(UserError):
    """A file or directory that cannot be read at all."""


@dataclass(frozen=True)
class Block:
    """Whole lines.

    Attributes:
        data: complete lines, each ending in a newline.
        first_line: number of the first one; 1 is the first of the file.
        too_long: numbers of lines that exceeded the limit and were passed over; `data` is empty then.
        truncated_line: number of the line in which the file breaks off, if it does.
    """

    data: bytes
    first_line: int
    too_long: tuple[int, ...] = ()
    truncated_line: int | None = None


def find_files(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the files that paths, directories (searched through) and globs name, sorted, each once.

    Raises:
        UnreadableFile: a directory may not be listed, or a name matches nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        path = root / Path(pattern).expanduser()
        if path.is_dir():
            found.update(_in_directory(path))
        elif path.is_file():
            found.add(path)
        else:
            matched = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - absolute patterns
            files = [name for name in matched if name.is_file() and name.suffix in ENDINGS]
            if not files:
                raise UnreadableFile(f"reddit.archives: {pattern!r} matches no file; correct it in magpie.yaml")
            found.update(files)
    return sorted(found)


def _in_directory(path: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise UnreadableFile(f"cannot list {error.filename}: {error.strerror}; grant read permission or remove it")

    return [
        Path(folder) / name
        for folder, _, names in os.walk(path, onerror=refuse)
        for name in names
        if Path(name).suffix in ENDINGS and not name.startswith(".")
    ]


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _decompressed(file: BinaryIO, suffix: str) -> Iterator[bytes]:
    """Yield decompressed bytes over all frames; raise EOFError where the last one is not complete."""
    if suffix not in (".zst", ".gz"):
        while data := file.read(READ_BYTES):
            yield data
        return
    stream: _Decompressor | None = None
    while data := file.read(READ_BYTES):
        while data:
            if stream is None:
                stream = _new_stream(suffix)
            yield stream.decompress(data)
            data = b""
            if stream.eof:
                data, stream = stream.unused_data, None
    if stream is not None:
        raise EOFError


def _new_stream(suffix: str) -> _Decompressor:
    if suffix == ".zst":
        stream: _Decompressor = zstandard.ZstdDecompressor(max_window_size=ZST_WINDOW_BYTES).decompressobj()
        return stream
    return zlib.decompressobj(wbits=31)


def blocks(path: Path, *, max_line_bytes: int, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the file's lines in blocks, in order, reading it once.

    A broken or truncated compressed file yields what was readable, then a block with `truncated_line`.

    Raises:
        UnreadableFile: it cannot be opened, or its first bytes are not what its ending says.
    """
    splitter = _Splitter(max_line_bytes, block_bytes)
    anything = False
    try:
        with path.open("rb") as file:
            try:
                for data in _decompressed(file, path.suffix):
                    anything = anything or bool(data)
                    yield from splitter.feed(data)
            except (EOFError, zlib.error, zstandard.ZstdError) as error:
                if not anything:
                    raise UnreadableFile(
                        f"cannot decompress {path}: it is no {path.suffix} file or broken at its start; "
                        "download it again or remove it"
                    ) from error
                yield splitter.finish(truncated=True)
            else:
                yield splitter.finish(truncated=False)
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}; grant read permission or remove it") from None


class _Splitter:
    """Cuts a stream of bytes into blocks at line ends and passes over lines longer than allowed."""

    def __init__(self, max_line_bytes: int, block_bytes: int) -> None:
        self._max_line, self._block = max_line_bytes, block_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._next_line = 1
        self._discarding = False

    def feed(self, data: bytes) -> Iterator[Block]:
        if self._discarding:
            end = data.find(b"\n")
            if end < 0:
                return
            data = data[end + 1 :]
            self._discarding = False
            yield self._too_long()
        cut = data.rfind(b"\n") + 1 if self._size + len(data) >= self._block else 0
        if cut:
            yield self._lines(data[:cut])
            data = data[cut:]
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max_line + self._block:
            yield from self._give_up()

    def finish(self, *, truncated: bool) -> Block:
        if self._discarding:
            return self._too_long()
        rest = b"".join(self._parts)
        whole = rest.rfind(b"\n") + 1
        if truncated:
            rest = rest[:whole]
        elif rest and whole < len(rest):
            rest += b"\n"
        self._parts, self._size = [], 0
        block = self._lines(rest)
        return Block(block.data, block.first_line, truncated_line=self._next_line if truncated else None)

    def _lines(self, last: bytes) -> Block:
        data = b"".join([*self._parts, last])
        self._parts, self._size = [], 0
        first = self._next_line
        self._next_line += data.count(b"\n")
        return Block(data, first)

    def _give_up(self) -> Iterator[Block]:
        """No line end came for longer than a line may be: hand out what came before it and skip to the next."""
        rest = b"".join(self._parts)
        cut = rest.rfind(b"\n") + 1
        self._parts, self._size = [], 0
        if cut:
            yield self._lines(rest[:cut])
        self._discarding = True

    def _too_long(self) -> Block:
        line = self._next_line
        self._next_line += 1
        return Block(b"", line, too_long=(line,))


@contextmanager
def read_ahead(source: Iterator[Block], depth: int = 2) -> Iterator[Iterator[Block]]:
    """Decompress in a thread of its own while the last block is parsed; at most `depth` blocks wait."""
    waiting: queue.Queue[Block | BaseException | None] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: Block | BaseException | None) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def fill() -> None:
        try:
            for block in source:
                put(block)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed over to the consumer, which raises it
            put(error)

    def drain() -> Iterator[Block]:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=fill, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield drain()
    finally:
        stop.set()
        thread.join()
