"""Writing files that appear whole or not at all.

Belongs here: making one file durable under its name. Does not belong here: what is in it.
"""

import os
import uuid
from pathlib import Path

from magpie.errors import UserError


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file, replacing one of that name; readers see the old or the new one, whole, even after a crash.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space or grant write permission") from None
    return path


def _replace(path: Path, content: bytes) -> None:
    # Hidden, so that whoever lists the folder passes over it, and of a name that no other writer has.
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
