"""Bounding a text by its size in bytes.

Belongs here: cutting without breaking a character. Does not belong here: bounds by tokens (each model's own) and by
lines or fields (the readers of `magpie/sources`).
"""

# A token of a provider's embedding model covers at least one byte, so 8 000 bytes can never exceed its 8 191 tokens.
EMBEDDED_BYTES = 8000


def cut_utf8(text: str, limit: int = EMBEDDED_BYTES) -> str:
    """Return the longest prefix of `text` whose UTF-8 form has at most `limit` bytes."""
    if len(text) * 4 <= limit:  # no character is longer than four bytes
        return text
    # More characters than bytes can never fit; dropping them first keeps the encoding small for huge texts.
    encoded = text[:limit].encode()
    return encoded[:limit].decode(errors="ignore")
