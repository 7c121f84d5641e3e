"""Versions of the control database's tables, and the way from one to the next.

`create_all` makes what is missing and leaves what is there; a table that is there and has changed is changed here.
"""

from magpie.migrations.steps import FIRST, LATEST
from magpie.migrations.upgrading import NewerDatabase, is_current, upgrade, version_of, versions

__all__ = ["FIRST", "LATEST", "NewerDatabase", "is_current", "upgrade", "version_of", "versions"]
