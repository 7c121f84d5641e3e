"""Archive files as blocks of whole lines: plain, .zst with long windows, .gz; one pass, bounded memory.

Belongs here: finding files by path, directory or glob, and decompressing them. Does not belong here: what a line
means (`magpie/sources/reddit_lines.py`).
"""

import glob
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import zstandard

from magpie.errors import UserError

COMPRESSED = (".zst", ".gz")
ENDINGS = (".ndjson", ".jsonl", ".json", *COMPRESSED)
# Pushshift and Arctic Shift compress with --long=31; zstd refuses such windows unless told.
ZST_WINDOW_BYTES = 2**31
# Compressed bytes per step. zstd packs at most 128 KiB into four bytes, so a step yields 128 MiB at worst; and what it
# usually yields is still in the processor's cache when it is copied.
READ_BYTES = 4 << 10
# Decompressed bytes that zstandard collects before it starts another piece, which it would have to join.
ZST_STEP_BYTES = 1 << 20
# Large enough that the cost per block vanishes beside the cost per line, small enough for several in memory.
BLOCK_BYTES = 32 << 20

T = TypeVar("T")


class UnreadableFile(UserError):
    """A file or directory that cannot be read at all."""


@dataclass(frozen=True)
class Block:
    """Whole lines.

    Attributes:
        data: complete lines, each ending in a newline; not to be used after `release`.
        ends: where in `data` those newlines are.
        first_line: number of the first one; 1 is the first of the file.
        too_long: numbers of lines that exceeded the limit and were passed over; `data` is empty then.
        truncated_line: number of the line in which the file breaks off, if it does.
        release: gives the memory back for a later block; a block that is only dropped costs new memory.
    """

    data: memoryview
    ends: npt.NDArray[np.int64]
    first_line: int
    too_long: tuple[int, ...] = ()
    truncated_line: int | None = None
    release: Callable[[], None] = lambda: None

    def line(self, number: int) -> bytes:
        """Return one line by its number in the file, without its newline."""
        position = number - self.first_line
        start = self.ends[position - 1] + 1 if position else 0
        return bytes(self.data[start : self.ends[position]])


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


class _Readable(Protocol):
    def readinto(self, into: memoryview, /) -> int | None: ...


class _Decompressed:
    """Decompressed bytes over all frames; raises EOFError where the last one is not complete."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._file, self._suffix = file, suffix
        self._stream: _Decompressor | None = None
        self._left = memoryview(b"")

    def readinto(self, into: memoryview, /) -> int:
        while not self._left:
            if not self._advance():
                return 0
        size = min(len(self._left), len(into))
        into[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def _advance(self) -> bool:
        """Decompress one step into `_left`; false at the end of the file."""
        compressed = b""
        if self._stream is not None and self._stream.eof:
            compressed, self._stream = self._stream.unused_data, None
        compressed = compressed or self._file.read(READ_BYTES)
        if not compressed:
            if self._stream is not None:
                raise EOFError
            return False
        if self._stream is None:
            self._stream = _new_stream(self._suffix)
        self._left = memoryview(self._stream.decompress(compressed))
        return True


def _new_stream(suffix: str) -> _Decompressor:
    if suffix == ".zst":
        unlimited = zstandard.ZstdDecompressor(max_window_size=ZST_WINDOW_BYTES)
        stream: _Decompressor = unlimited.decompressobj(write_size=ZST_STEP_BYTES)
        return stream
    return zlib.decompressobj(wbits=31)


def blocks(path: Path, *, max_line_bytes: int, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the file's lines in blocks, in order, reading it once.

    A broken or truncated compressed file yields what was readable, then a block with `truncated_line`.

    Raises:
        UnreadableFile: it cannot be opened, or its first bytes are not what its ending says.
    """
    splitter = _Splitter(max_line_bytes, block_bytes)
    try:
        with path.open("rb", buffering=0) as file:
            source: _Readable = _Decompressed(file, path.suffix) if path.suffix in COMPRESSED else file
            try:
                while splitter.fill(source):
                    yield from splitter.whole_lines()
            except (EOFError, zlib.error, zstandard.ZstdError) as error:
                if splitter.empty:
                    raise UnreadableFile(
                        f"cannot decompress {path}: it is no {path.suffix} file or broken at its start; "
                        "download it again or remove it"
                    ) from error
                yield from splitter.finish(truncated=True)
            else:
                yield from splitter.finish(truncated=False)
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}; grant read permission or remove it") from None


class _Splitter:
    """Cuts a stream of bytes into blocks at line ends and passes over lines longer than allowed."""

    def __init__(self, max_line_bytes: int, block_bytes: int) -> None:
        self._max_line, self._block_bytes = max_line_bytes, block_bytes
        # Fresh memory costs a page fault every 4 KiB, which is more than reading it: blocks are filled again.
        self._free: deque[bytearray] = deque()
        self._buffer = bytearray(block_bytes)
        self._filled = 0
        self._next_line = 1
        self._discarding = False
        self.empty = True

    def fill(self, source: _Readable) -> bool:
        """Read until the buffer is full; false at the end of the source."""
        view = memoryview(self._buffer)
        while self._filled < len(view):
            size = source.readinto(view[self._filled :])
            if not size:
                return False
            self._filled += size
            self.empty = False
        return True

    def whole_lines(self) -> Iterator[Block]:
        """Yield what a full buffer holds up to its last line end; the rest stays."""
        full, size = self._buffer, self._filled
        if self._discarding:
            end = full.find(b"\n", 0, size) + 1
            self._start_with(memoryview(full)[end:size] if end else memoryview(b""))
            if end:
                yield self._too_long()
            return
        cut = full.rfind(b"\n", 0, size) + 1
        if cut:
            self._start_with(memoryview(full)[cut:size])
            yield self._lines(full, cut)
        elif size > self._max_line:
            self._discarding = True
            self._start_with(memoryview(b""))
        else:
            self._buffer = full + bytes(self._block_bytes)

    def finish(self, *, truncated: bool) -> Iterator[Block]:
        """Yield what is left at the end of the source."""
        rest = self._buffer[: self._filled]
        if self._discarding and b"\n" in rest:
            rest = rest[rest.find(b"\n") + 1 :]
            yield self._too_long()
        if self._discarding and not truncated:
            yield self._too_long()
            return
        if not truncated and rest and not rest.endswith(b"\n"):
            rest += b"\n"
        block = self._lines(rest, rest.rfind(b"\n") + 1)
        yield replace(block, truncated_line=self._next_line if truncated else None)

    def _start_with(self, rest: memoryview) -> None:
        fits = self._free and len(rest) <= self._block_bytes
        self._buffer = self._free.popleft() if fits else bytearray(max(self._block_bytes, len(rest)))
        self._buffer[: len(rest)] = rest
        self._filled = len(rest)

    def _lines(self, buffer: bytearray, size: int) -> Block:
        ends = _line_ends(buffer, size)
        first = self._next_line
        self._next_line += len(ends)

        def release() -> None:
            if len(buffer) == self._block_bytes:
                self._free.append(buffer)

        return Block(memoryview(buffer)[:size], ends, first, release=release)

    def _too_long(self) -> Block:
        self._discarding = False
        line = self._next_line
        self._next_line += 1
        return Block(memoryview(b""), np.empty(0, np.int64), line, too_long=(line,))


def _line_ends(buffer: bytearray, size: int) -> npt.NDArray[np.int64]:
    """A search per line: dump lines are long, and comparing every byte costs three times as much."""
    ends: list[int] = []
    end = buffer.find(b"\n", 0, size)
    while end >= 0:
        ends.append(end)
        end = buffer.find(b"\n", end + 1, size)
    return np.array(ends, dtype=np.int64)


def in_order(parse: Callable[[Block], T], source: Iterator[Block], workers: int) -> Iterator[T]:
    """Yield the parsed blocks in their order, parsing `workers` at once while the next ones are read.

    Blocks are read and results are used in the caller's thread; at most `workers` + 1 blocks are under way.
    """
    with ThreadPoolExecutor(workers, "parse") as pool:
        waiting: deque[Future[T]] = deque()
        for block in source:
            waiting.append(pool.submit(parse, block))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
