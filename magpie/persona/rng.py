"""Randomness that a name seeds, so that the same input takes the same course in every run.

Belongs here: the generator. Does not belong here: what it decides.
"""

import hashlib
import random

# Joins the parts of a name; it stands in no part, so that no two names run into one.
SEPARATOR = "\x1f"
SEED_BYTES = 8


def rng(*parts: object) -> random.Random:
    """A generator seeded by these parts as text; draw from it with `.random()` alone, whose sequence is guaranteed."""
    digest = hashlib.sha256(SEPARATOR.join(("magpie", *map(str, parts))).encode()).digest()
    return random.Random(int.from_bytes(digest[:SEED_BYTES], "big"))  # replayable, not secret
