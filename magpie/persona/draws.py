"""What of a draw counts as a text of the author, and which texts are written again.

Belongs here: cutting an answer where its post ends, its tags, its images and plain words, and the rules that turn a
text down before it is scored. Does not belong here: writing (`write_post.py`, `ngram.py`), how many draws there are,
and what a human would not let pass (`word_screen.py`, the models).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from magpie.persona.documents import CONTROL_MARKER, DELIMITER
from magpie.persona.munging import readable
from magpie.persona.settings import Tuning, Words
from magpie.persona.wording import count_words
from magpie.text.tokens import tokenise

# As Tumblr takes them.
MAX_TAGS, MAX_TAG_CHARS = 30, 140
# Words in a row that nobody says again by chance; of a shorter text all, where they are this many.
REPEATED_WORDS, REPEATED_WHOLE = 8, 4
# The tags that bodies keep, and those that models write in their place. Whatever else stands in angle brackets is text.
_MARKUP = re.compile(
    r"</?(?:blockquote|em|i|b|u|strong|h[1-6]|li|ul|ol|a|p|br|small|strike|s|del|span|div|img)(?:\s[^<>]*)?/?>", re.I
)
# Between them words end; within a word, as in <b>f</b>un, they do not.
_BREAKING = re.compile(r"</?(?:blockquote|h[1-6]|li|ul|ol|p|br|div)\b", re.I)
# An image in a body: its text between two delimiters, before that its caption between two more of them.
_IMAGE = re.compile(r"^={7}\n(?:={7}\n(?P<caption>.*?)\n={7}\n)?(?P<text>.*?)\n={7}$", re.DOTALL | re.MULTILINE)
_TAG_LINE = re.compile(r" *\t[ \t]*#")
_MENTION = re.compile(r"(?<![\w@/.-])@([A-Za-z0-9][A-Za-z0-9_-]*)")


@dataclass(frozen=True)
class DrawContext:
    """What a text is held against.

    Attributes:
        kind: of the input; prompt_kind: of the text that was asked for.
        prompt_text: what the writer read.
        participants: names in the thread; owner: of the blog.
        strict_user: who is answered is spared profanity.
        answers_reply: the text answers a reply.
    """

    kind: str
    prompt_kind: str
    prompt_text: str
    participants: Sequence[str]
    owner: str | None
    blog: str
    strict_user: bool
    answers_reply: bool


def cut(text: str) -> tuple[str, list[str]]:
    """Return the post that an answer begins with, and the tags written below it.

    It ends where the document or another post begins; cutting what was cut changes nothing.
    """
    body = readable(text).split(DELIMITER, 1)[0]
    marker = CONTROL_MARKER.search(body)
    lines = (body[: marker.start()] if marker else body).split("\n")
    tagged: list[str] = []
    while lines and (not lines[-1].strip() or _TAG_LINE.match(lines[-1])):
        tagged.append(lines.pop())
    return "\n".join(lines).strip(), tags_of(reversed(tagged))


def tags_of(given: Iterable[str]) -> list[str]:
    """Return tags as Tumblr takes them: split at `#` and commas, each once whatever its case, none too long."""
    parts = (" ".join(part.split()) for text in given for part in re.split("[#,]", readable(text)))
    tags: dict[str, str] = {}
    for part in parts:
        if 0 < len(part) <= MAX_TAG_CHARS:
            tags.setdefault(part.casefold(), part)
    return list(tags.values())[:MAX_TAGS]


def plain(body: str) -> str:
    """A body without its markup."""
    return _MARKUP.sub(lambda tag: "\n" if _BREAKING.match(tag[0]) else "", body)


def images_in(body: str) -> list[tuple[str, str | None]]:
    """Text and caption of each image that a body holds in words."""
    return [(found["text"].strip(), found["caption"]) for found in _IMAGE.finditer(body)]


def without_images(body: str) -> str:
    """A body without the words of images, which are not its author's."""
    return _IMAGE.sub("", body)


def verdict(body: str, tags: Sequence[str], context: DrawContext, tuning: Tuning, lists: Words, u: float) -> str | None:
    """Return the first reason to write a text again, as `candidates` has it; None: it holds.

    Args:
        u: uniform in [0, 1), for lengths that half of the answers may have.
    """
    words = plain(body)
    if not words.strip():
        return "empty"
    if not images_in(body) and count_words(words) < _least(context.prompt_kind, tuning, u):
        return "too_short"
    if _repeats(words, plain(context.prompt_text)):
        return "repeats_prompt"
    if _strangers(words, context):
        return "mentions_stranger"
    if context.answers_reply and body.lstrip().lower().startswith("<blockquote"):
        return "starts_with_quote"
    if context.strict_user and _profane("\n".join((words, *tags)), lists.profanity):
        return "profanity"
    return None


def _least(prompt_kind: str, tuning: Tuning, u: float) -> int:
    """Words that a text needs."""
    if prompt_kind == "fiction":
        return tuning.min_words_fiction
    if prompt_kind != "answer":
        return tuning.min_words_original
    return max(tuning.min_words_answer, tuning.min_words_answer_half if u < 0.5 else 0)


def _repeats(text: str, prompt: str) -> bool:
    said, read = tokenise(text), tokenise(prompt)
    run = min(REPEATED_WORDS, len(said))
    if run < REPEATED_WHOLE:
        return False
    return not _runs(said, run).isdisjoint(_runs(read, run))


def _runs(tokens: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(tokens[at : at + length]) for at in range(len(tokens) - length + 1)}


def _strangers(text: str, context: DrawContext) -> set[str]:
    """Names spoken to that have no part in the conversation."""
    known = {name.casefold() for name in (*context.participants, context.blog, context.owner or "")}
    named = {name.casefold() for name in _MENTION.findall(unicodedata.normalize("NFKC", text))}
    return {name for name in named if name not in known and name.rstrip("-_") not in known}


def _profane(text: str, words: Sequence[str]) -> bool:
    """Whether any of the words stands in it as a word, not merely as letters in another."""
    if not words:
        return False
    pattern = "|".join(re.escape(unicodedata.normalize("NFKC", word).casefold()) for word in words)
    return re.search(rf"(?<!\w)(?:{pattern})(?!\w)", unicodedata.normalize("NFKC", text).casefold()) is not None
