"""Keys by which a run that was asked for is told from the next.

Belongs here: keys of bounded length: they are tags. Does not belong here: what they are made from.
"""

import hashlib
import json

from magpie.lake import Lake
from magpie.tables import Table

KEY_CHARS = 32


def digest(value: object) -> str:
    """A key of whatever JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:KEY_CHARS]


def version(lake: Lake, table: Table) -> int:
    """Of a table, -1 if it was never written: what changes back to what it was is told from what it was by this."""
    opened = lake.open(table)
    return -1 if opened is None else opened.version()
