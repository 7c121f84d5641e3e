"""Bytes by the sha256 of their content.

Belongs here: keeping, finding and checking them. Does not belong here: what they are (`magpie/media`), who may be
served which (the products).
"""

import hashlib
import re
from pathlib import Path

from magpie.errors import UserError
from magpie.sources.whole_file import write_whole

FOLDER = "blobs"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoBlob(LookupError):
    """There are no bytes of this sha256, or what is kept under it is something else."""


class Blobs:
    """A folder of files `ab/cd/<sha256>`; several processes may write it at once.

    Args:
        root: the folder, made with the first blob.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        """Where the bytes are, or would be.

        Raises:
            ValueError: it is no sha256 in lower-case hex.
        """
        return self._root.joinpath(*_levels(sha256))

    @staticmethod
    def relative(sha256: str) -> str:
        """`blobs/ab/cd/<sha256>`, as tables tell it."""
        return "/".join((FOLDER, *_levels(sha256)))

    def put(self, content: bytes) -> str:
        """Keep the bytes and return their sha256; what is there already is not written again.

        Raises:
            UserError: they cannot be written.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        # What a disk has damaged since is mended here.
        if not self.verify(sha256):
            write_whole(self.path(sha256), content)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes.

        Raises:
            NoBlob: they are not there, or are not what they were.
            UserError: they may not be read.
        """
        path = self.path(sha256)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NoBlob(f"no blob {sha256}") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; grant read permission") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise NoBlob(f"blob {sha256} holds other bytes")
        return content

    def has(self, sha256: str) -> bool:
        """Whether there is a file of that name; `verify` reads it."""
        return self.path(sha256).is_file()

    def verify(self, sha256: str) -> bool:
        """Whether the bytes are there and are what they were."""
        try:
            self.get(sha256)
        except NoBlob:
            return False
        return True

    def remove(self, sha256: str) -> None:
        """Delete the bytes, if they are there.

        Raises:
            UserError: they cannot be deleted.
        """
        path = self.path(sha256)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot delete {path}: {error.strerror}; grant write permission to its folder") from None


def _levels(sha256: str) -> tuple[str, str, str]:
    # A name from a table or a log becomes a path only if it cannot lead anywhere else.
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is no sha256 in lower-case hex")
    return sha256[:2], sha256[2:4], sha256
