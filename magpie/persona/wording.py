"""How long a text is, in words.

Belongs here: counting. Does not belong here: what a text must be long enough for (the rules of inbox and draws).
"""

from wcwidth import wcwidth


def count_words(text: str) -> int:
    """Words between white space, each counted as wide as its widest character is in a terminal.

    An ASCII word counts 1, one with Chinese, Japanese, Korean or an emoji in it 2, and what does not show 0.
    """
    return sum(1 if word.isascii() and word.isprintable() else _width(word) for word in text.split())


def _width(word: str) -> int:
    # Of a control character the width is -1.
    return max(0, *map(wcwidth, word))
