"""The offline writer: texts and tags put together from what a blog has published, without a language model.

Belongs here: learning which word follows which, and walking along it. Does not belong here: which posts are learned
from, which of its texts hold (`draws.py`), and what a model would write (`write_post.py`).

Words are chosen by a chain of order 3 that backs off to 2 and 1 (S. M. Katz, Estimation of probabilities from sparse
data, 1987, without discounts: what was never seen needs no share of its own here).
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise

from magpie.persona.draws import plain, without_images

# Stands before the first word, twice; white space is in no token, so no text holds it.
_START = " "
# How often a context of two, one and no words must have been seen to be followed: two words seen once would go on with
# the very post they are from, to its end.
_SEEN = {2: 2, 1: 1, 0: 1}
# Of a post, and of tags that go with a word: as much as tells what a text is about, and a bound on the work.
WORDS_PER_POST, TAGS_PER_POST, TAGS_PER_WORD = 400, 30, 10
MAX_TAGS = 3
_TOKEN = re.compile(r"\n+|\S+")
_AROUND_BREAK = re.compile(r" ?(\n+) ?")
_LETTERS = re.compile(r"[^\W_]+")


class Ngram:
    """A writer that has read some posts; see `trained`.

    Attributes:
        size: posts with words in them that it has read.
    """

    def __init__(self) -> None:
        self.size = 0
        # By up to two words: what followed them, as often as it did, and how often the post ended there.
        self._after: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        self._ends: Counter[tuple[str, ...]] = Counter()
        self._spelling: dict[str, str] = {}
        # By word: the tags of each post that it stands in; and how often each is there, once that is asked for.
        self._tags_by_post: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        self._tags_with: dict[str, list[tuple[str, int]]] = {}

    @classmethod
    def trained(cls, posts: Sequence[tuple[str, Sequence[str]]]) -> "Ngram":
        """Read posts, each with its body and tags; in which order they come makes no difference."""
        writer = cls()
        read = sorted((body, tuple(dict.fromkeys(tags[:TAGS_PER_POST]))) for body, tags in posts)
        known = [(tokens, tags) for body, tags in read if (tokens := _tokens(body))]
        paths = [(_START, _START, *tokens) for tokens, _ in known]
        pairs = Counter(chain.from_iterable(map(pairwise, paths)))
        writer.size = len(known)
        for path in paths:
            writer._learn(path, pairs)
        for tokens, tags in known:
            for word in _about(tokens):
                writer._tags_by_post[word].append(tags)
        for token, _ in sorted(Counter(writer._after[()]).items(), key=lambda item: (-item[1], item[0])):
            writer._spelling.setdefault(_key(token), token)
        writer._spelling.pop("", None)
        return writer

    def _learn(self, path: tuple[str, ...], pairs: Mapping[tuple[str, str], int]) -> None:
        after = self._after
        for before, last, token in zip(path, path[1:], path[2:], strict=False):
            after[last,].append(token)
            if pairs[before, last] >= _SEEN[2]:
                after[before, last].append(token)
        after[()] += [token for token in path[2:] if token[0] != "\n"]
        self._ends.update((path[-2:], path[-1:]))

    def write(
        self, rng: random.Random, cue: str | None, max_tokens: int = 120, min_words: int = 0
    ) -> tuple[str, list[str]]:
        """Write a text and up to three tags; without posts to write from, nothing.

        Args:
            rng: draws by `.random()` alone.
            cue: what is answered; half of the answers begin with the longest of its words that was read.
            max_tokens: words and line breaks at most.
            min_words: a text of fewer does not end of its own accord.
        """
        if not self.size:
            return "", []
        tokens = self._opening(rng, cue)
        before, last = (_START, tokens[0]) if tokens else (_START, _START)
        words = len(tokens)
        while len(tokens) < max_tokens:
            token = self._next(rng.random(), before, last, may_end=words >= min_words)
            if token is None:
                break
            tokens.append(token)
            words += not token.startswith("\n")
            before, last = last, token
        return _AROUND_BREAK.sub(r"\1", " ".join(tokens)).strip(), self._tags(rng, tokens)

    def _opening(self, rng: random.Random, cue: str | None) -> list[str]:
        if cue is None or rng.random() >= 0.5:
            return []
        known = (key for token in plain(cue).split() if (key := _key(token)) in self._spelling)
        longest = max(known, key=len, default=None)
        return [] if longest is None else [self._spelling[longest]]

    def _next(self, u: float, before: str, last: str, *, may_end: bool) -> str | None:
        """The word that follows; None: the text ends."""
        for context in ((before, last), (last,), ()):
            words = self._after.get(context, ())
            count = len(words) + (self._ends[context] if may_end else 0)
            if count >= _SEEN[len(context)]:
                at = int(u * count)
                return words[at] if at < len(words) else None
        return None

    def _tags(self, rng: random.Random, tokens: Sequence[str]) -> list[str]:
        """Each of the tags that are likeliest for these words, as often as posts with such words had it.

        The share of a tag among posts with a word, averaged over words that rare ones weigh more in: ln(1 + posts /
        posts with the word).
        """
        shares: dict[str, float] = {}
        total = 0.0
        for word in _about(tokens):
            having = len(self._tags_by_post.get(word, ()))
            weight = math.log(1 + self.size / having) if having else 0.0
            total += weight
            for tag, count in self._most(word):
                shares[tag] = shares.get(tag, 0.0) + weight * count / having
        best = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:MAX_TAGS]
        return [tag for tag, share in best if rng.random() * total < share]

    def _most(self, word: str) -> list[tuple[str, int]]:
        """The tags that posts with a word have most often, and how many of these posts have each."""
        if word not in self._tags_with:
            counts = Counter(chain.from_iterable(self._tags_by_post.get(word, ())))
            self._tags_with[word] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TAGS_PER_WORD]
        return self._tags_with[word]


def _tokens(body: str) -> list[str]:
    """Words with what is written to them, and line breaks between them, of which two end a paragraph."""
    return [token[:2] if token[0] == "\n" else token for token in _TOKEN.findall(plain(without_images(body)).strip())]


@lru_cache(maxsize=100_000)
def _key(token: str) -> str:
    """A word without case and signs, by which it is known again."""
    return "".join(_LETTERS.findall(token.casefold()))


def _about(tokens: Sequence[str]) -> list[str]:
    """The different words of a text, in order."""
    return [key for key in dict.fromkeys(map(_key, tokens[:WORDS_PER_POST])) if key]
