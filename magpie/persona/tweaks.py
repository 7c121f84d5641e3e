"""What is known about texts that readers like or not, beside what the selector has learned.

Belongs here: numbers that are added to a text's estimate, and what calls for each. Does not belong here: the estimate
(`text_model.py`), how large each number is (`settings.py`), the choice (`choice.py`).
"""

import re
from collections.abc import Sequence

from magpie.persona.draws import images_in
from magpie.persona.settings import Tuning

# A tag under which others are quoted: a good line there is not the author's.
QUOTES = "quotes"
# What stands in place of an image that the platform has taken down.
_REMOVED = re.compile(r"\bremoved\b.{0,80}\bguidelines\b", re.DOTALL)
# A caption that speaks of something to read.
_TEXT_WANTED = re.compile(r"\b(?:text|words|writing|written|caption(?:ed)?|lettering|says|saying|that reads)\b")


def adjusted(
    p: float, body: str, tags: Sequence[str], images: Sequence[tuple[str, str | None, bool]], tuning: Tuning
) -> float:
    """Return an estimate with what is added to it, each once; it may leave the range from 0 to 1.

    Args:
        p: the selector's.
        images: text ("" where none was found), caption, and whether it moves, of each that belongs to the text beside
            those that its body holds in words.
    """
    shown = [
        (text.casefold(), (caption or "").casefold(), animated)
        for text, caption, animated in (*images, *((*image, False) for image in images_in(body)))
    ]
    unread = any(_TEXT_WANTED.search(caption) and not text.strip() for text, caption, _ in shown)
    added = (
        (tuning.tweak_quotes, any(tag.strip().casefold() == QUOTES for tag in tags)),
        (tuning.tweak_removed_image, any(_REMOVED.search(text) for text, _, _ in shown)),
        (tuning.tweak_missing_text, unread),
        (tuning.tweak_image, bool(shown)),
        (tuning.tweak_animated, any(animated for _, _, animated in shown)),
    )
    return p + sum(tweak for tweak, called_for in added if called_for)
