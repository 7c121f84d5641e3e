"""Keys by which a run that was asked for is told from the next.

Belongs here: keys of bounded length: they are tags. Does not belong here: what they are made from.
"""

import hashlib
import json

KEY_CHARS = 32


def digest(value: object) -> str:
    """A key of whatever JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:KEY_CHARS]
