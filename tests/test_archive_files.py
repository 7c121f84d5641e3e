"""Archive files of every form become whole lines: compression, breaks, long lines, names, permissions."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.sources.archive_files import Block, UnreadableFile, blocks, find_files, in_order

MAX_LINE = 1 << 16
NOBODY = 65534
LINES = [b"a", b"", b"bcd", b"e" * 300, b"\xff", b"f\r"]


def lines_of(path: Path, *, max_line_bytes: int = MAX_LINE, block_bytes: int = 1 << 16) -> list[tuple[int, bytes]]:
    """Return every line with its number, checking what each block says of itself."""
    found = []
    for block in blocks(path, max_line_bytes=max_line_bytes, block_bytes=block_bytes):
        assert bytes(block.data).count(b"\n") == len(block.ends)
        found += [(n, block.line(n)) for n in range(block.first_line, block.first_line + len(block.ends))]
        block.release()
    return found


def numbered(lines: list[bytes]) -> list[tuple[int, bytes]]:
    return list(enumerate(lines, start=1))


def too_long(path: Path, max_line_bytes: int, block_bytes: int) -> list[int]:
    found = blocks(path, max_line_bytes=max_line_bytes, block_bytes=block_bytes)
    return [number for block in found for number in block.too_long]


def truncated(path: Path) -> int | None:
    *_, last = blocks(path, max_line_bytes=MAX_LINE)
    return last.truncated_line


def zst(data: bytes, *, window_log: int = 27) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, window_log=window_log, enable_ldm=True, write_content_size=False, write_checksum=True
    )
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(data) + stream.flush()


def as_user_without_rights(code: str, *arguments: str) -> str:
    """Run code as a user whom permissions bind, also where the tests run as root; return what it printed."""
    drop = f"import os\nif os.geteuid() == 0: os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    # Imports come first: that user need not be able to read the modules.
    whole = "import sys\nfrom pathlib import Path\nfrom magpie.sources.archive_files import *\n" + drop + code
    done = subprocess.run([sys.executable, "-c", whole, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@settings(max_examples=80, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), min_size=1),
    block_bytes=st.integers(1, 120),
    ended=st.booleans(),
)
def test_where_blocks_are_cut_changes_no_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], block_bytes: int, ended: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"cut-{os.getpid()}.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n" * ended)
    expected = lines if ended or lines[-1] else lines[:-1]
    assert lines_of(path, block_bytes=block_bytes) == numbered(expected)


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1),
    block_bytes=st.integers(1, 40),
    max_line=st.integers(1, 40),
)
def test_every_line_is_handed_out_or_named_as_too_long(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], block_bytes: int, max_line: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"long-{os.getpid()}.ndjson"
    path.write_bytes(b"".join(b"x" * size + b"\n" for size in sizes))
    found = lines_of(path, max_line_bytes=max_line, block_bytes=block_bytes)
    passed_over = too_long(path, max_line, block_bytes)
    assert sorted([*(number for number, _ in found), *passed_over]) == list(range(1, len(sizes) + 1))
    assert all(sizes[number - 1] > max_line for number in passed_over)
    assert all(len(line) == sizes[number - 1] for number, line in found)
    assert all(sizes[number - 1] <= max_line + 2 * block_bytes for number, _ in found)


@pytest.mark.parametrize("window_log", [27, 29, 31])
def test_a_zst_with_a_long_window_is_read(tmp_path: Path, window_log: int) -> None:
    path = tmp_path / "RS.zst"
    path.write_bytes(zst(b"\n".join(LINES) + b"\n", window_log=window_log))
    assert lines_of(path) == numbered(LINES)


def test_frames_and_members_follow_each_other_even_in_the_middle_of_a_line(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    whole = b"\n".join(LINES) + b"\n"
    (tmp_path / "a.zst").write_bytes(skippable + zst(whole[:5]) + zst(b"") + skippable + zst(whole[5:]))
    (tmp_path / "a.gz").write_bytes(gzip.compress(whole[:5]) + gzip.compress(b"") + gzip.compress(whole[5:]))
    assert lines_of(tmp_path / "a.zst") == numbered(LINES)
    assert lines_of(tmp_path / "a.gz") == numbered(LINES)


@pytest.mark.parametrize("suffix", [".zst", ".gz", ".ndjson"])
def test_the_last_line_needs_no_line_end(tmp_path: Path, suffix: str) -> None:
    pack = {".zst": zst, ".gz": gzip.compress, ".ndjson": bytes}[suffix]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(b"one\ntwo"))
    assert lines_of(path) == [(1, b"one"), (2, b"two")]
    assert truncated(path) is None


@pytest.mark.parametrize("suffix", [".zst", ".gz", ".ndjson"])
def test_an_empty_file_has_no_lines(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    assert lines_of(tmp_path / f"a{suffix}") == []


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_a_file_that_breaks_off_gives_its_whole_lines_and_names_the_broken_one(tmp_path: Path, suffix: str) -> None:
    lines = [os.urandom(400).hex().encode() for _ in range(2000)]
    packed = {".zst": zst, ".gz": gzip.compress}[suffix](b"\n".join(lines))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    found = lines_of(path)
    assert 500 < len(found) < 2000
    assert found == numbered(lines)[: len(found)]
    assert truncated(path) == len(found) + 1


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_damage_in_the_middle_ends_the_file_there(tmp_path: Path, suffix: str) -> None:
    lines = [os.urandom(400).hex().encode() for _ in range(2000)]
    packed = bytearray({".zst": zst, ".gz": gzip.compress}[suffix](b"\n".join(lines)))
    middle = len(packed) // 2
    packed[middle : middle + 5000] = b"\xff" * 5000
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packed)
    found = lines_of(path)
    assert found[:500] == numbered(lines)[:500]
    assert truncated(path) == len(found) + 1


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_a_file_that_is_not_what_its_ending_says_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b'{"id": "abc"}\n' * 100)
    with pytest.raises(UnreadableFile) as refused:
        lines_of(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_line_of_50_mb_costs_no_memory_of_its_size_and_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    with path.open("wb") as file:
        file.write(b"first\n")
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\nlast\n")
    code = """
import tracemalloc
tracemalloc.start()
found = []
for block in blocks(Path(sys.argv[1]), max_line_bytes=1 << 20, block_bytes=1 << 20):
    found += [bytes(block.data).decode().split(), list(block.too_long)]
    block.release()
print([one for one in found if one], tracemalloc.get_traced_memory()[1] < 8 << 20)
"""
    program = "import sys\nfrom pathlib import Path\nfrom magpie.sources.archive_files import blocks\n" + code
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[['first'], [2], ['last']] True"


def test_files_come_from_names_directories_and_globs_each_once(tmp_path: Path) -> None:
    for name in ("a/RS.zst", "a/b/RC.ndjson", "a/notes.txt", "a/.hidden.zst", "c.gz", "c.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(tmp_path, ("a", "a/RS.zst", "*.gz", "**/*.ndjson", str(tmp_path / "c.jsonl")))
    assert found == [tmp_path / name for name in ("a/RS.zst", "a/b/RC.ndjson", "c.gz", "c.jsonl")]


@pytest.mark.parametrize("pattern", ["missing.zst", "missing/*.zst", "*.txt"])
def test_a_name_that_matches_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UnreadableFile, match=r"matches no file; correct it in magpie\.yaml"):
        find_files(tmp_path, (pattern,))


def test_a_directory_that_may_not_be_listed_is_refused_in_one_line(tmp_path: Path) -> None:
    closed = tmp_path / "archives" / "closed"
    closed.mkdir(parents=True)
    closed.chmod(0o000)
    _open_the_way_to(tmp_path / "archives")
    code = """
try:
    print(find_files(Path(sys.argv[1]), (".",)))
except UnreadableFile as error:
    print(error)
"""
    said = as_user_without_rights(code, str(closed.parent))
    closed.chmod(0o755)
    assert said == f"cannot list {closed}: Permission denied; grant read permission or remove it"


def test_a_file_that_may_not_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"{}\n")
    path.chmod(0o000)
    _open_the_way_to(tmp_path)
    code = """
try:
    print(list(blocks(Path(sys.argv[1]), max_line_bytes=1)))
except UnreadableFile as error:
    print(error)
"""
    said = as_user_without_rights(code, str(path))
    assert said == f"cannot read {path}: Permission denied; grant read permission or remove it"


def _open_the_way_to(folder: Path) -> None:
    """Let every user pass as far as `folder`: pytest keeps its directories to the user who runs it."""
    root = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir()))
    for part in (folder, *folder.parents):
        if root in part.parents:
            part.chmod(0o755)


def test_blocks_parsed_side_by_side_come_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(json.dumps({"n": n}).encode() + b"\n" for n in range(500)))

    def parse(block: Block) -> list[bytes]:
        found = bytes(block.data).splitlines()
        block.release()
        return found

    found = in_order(parse, blocks(path, max_line_bytes=MAX_LINE, block_bytes=100), workers=4)
    assert [json.loads(line)["n"] for lines in found for line in lines] == list(range(500))


def test_an_error_in_one_block_reaches_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"x\n" * 100)

    def parse(block: Block) -> int:
        if block.first_line > 50:
            raise ValueError("block")
        return block.first_line

    with pytest.raises(ValueError, match="block"):
        list(in_order(parse, blocks(path, max_line_bytes=MAX_LINE, block_bytes=20), workers=2))
