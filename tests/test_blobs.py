"""Blobs: bytes are kept once under their sha256, by any number of writers, and damage shows."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.blobs import Blobs, NoBlob
from magpie.errors import UserError

SHA = hashlib.sha256(b"bytes").hexdigest()
WRITER = """
import sys
from pathlib import Path
from magpie.blobs import Blobs
blobs = Blobs(Path(sys.argv[1]))
for number in range(20):
    assert blobs.get(blobs.put(bytes([number]) * 50_000)) == bytes([number]) * 50_000
"""


@given(contents=st.lists(st.binary(max_size=200), max_size=8))
def test_what_is_put_is_got_back_under_its_sha256_however_often_it_is_put(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(Path(folder) / "blobs")
        keys = [blobs.put(content) for content in [*contents, *contents]]
        assert keys == [hashlib.sha256(content).hexdigest() for content in [*contents, *contents]]
        assert [blobs.get(key) for key in keys[: len(contents)]] == contents
        assert sum(path.is_file() for path in Path(folder).rglob("*")) == len(set(contents))


def test_a_blob_lies_two_folders_deep_and_tables_name_it_from_the_home(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    assert blobs.path(SHA) == tmp_path / "blobs" / SHA[:2] / SHA[2:4] / SHA
    assert blobs.relative(SHA) == f"blobs/{SHA[:2]}/{SHA[2:4]}/{SHA}"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", SHA.upper(), SHA + "\n", SHA[:-1], "ab/" + SHA[3:]])
def test_what_is_no_sha256_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    blobs = Blobs(tmp_path)
    for ask in (blobs.path, blobs.get, blobs.has, blobs.verify, blobs.remove, blobs.relative):
        with pytest.raises(ValueError, match="no sha256"):
            ask(name)


def test_absent_and_damaged_blobs_are_told_and_putting_them_again_mends_them(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    assert (blobs.has(SHA), blobs.verify(SHA)) == (False, False)
    with pytest.raises(NoBlob, match="no blob"):
        blobs.get(SHA)
    blobs.put(b"bytes")
    blobs.path(SHA).write_bytes(b"bytez")
    assert (blobs.has(SHA), blobs.verify(SHA)) == (True, False)
    with pytest.raises(NoBlob, match="other bytes"):
        blobs.get(SHA)
    blobs.put(b"bytes")
    assert blobs.get(SHA) == b"bytes"


def test_a_removed_blob_is_gone_and_removing_it_again_changes_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    key = blobs.put(b"bytes")
    blobs.remove(key)
    blobs.remove(key)
    assert not blobs.has(key)


def test_a_folder_that_cannot_be_written_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write"):
        Blobs(tmp_path / "blobs").put(b"bytes")


def test_processes_that_put_the_same_bytes_at_once_leave_each_of_them_once_and_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.communicate(timeout=60)[1] == b""
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in files)
