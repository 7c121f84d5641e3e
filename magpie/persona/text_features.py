"""Texts as rows of numbers: by the terms in them, or by an embedder.

Belongs here: counting terms, TF-IDF, its largest singular directions, and what is asked of an embedder's answer. Does
not belong here: what is learnt from the numbers (`text_model.py`).
"""

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

# Words and pairs of neighbouring words.
N_GRAMS = (1, 2)
# A thread may be a megabyte; its end, where the answer stands, says most.
MAX_CHARACTERS = 20_000

Floats = npt.NDArray[np.float64]
# Texts -> one row of numbers each.
Features = Callable[[Sequence[str]], npt.NDArray[Any]]


class Untrainable(ValueError):
    """The rows hold nothing to learn from."""


class Space(NamedTuple):
    """The directions that rows span.

    Attributes:
        rows: the rows themselves in it, one column for each direction.
        places: columns of the counts that it is about, ascending.
        idf: inverse document frequency of each of them.
        directions: one row for each direction, one column for each of them.
    """

    rows: Floats
    places: npt.NDArray[np.int64]
    idf: Floats
    directions: Floats

    def of(self, counts: "csr_matrix") -> Floats:
        """Other rows in it."""
        return weighed(counts[:, self.places], self.idf) @ self.directions.T


class Terms(NamedTuple):
    """The terms of some texts, sorted.

    Attributes:
        words: all words, sorted.
        keys: of each term: the place of its first word times one more than there are words, plus, in a pair, the place
            of the second counted from 1. A space comes before every letter, so keys sort as the terms do.
    """

    words: Sequence[str]
    keys: npt.NDArray[np.int64]

    def name(self, place: int) -> str:
        """One term as text."""
        first, second = divmod(int(self.keys[place]), len(self.words) + 1)
        return self.words[first] if second == 0 else f"{self.words[first]} {self.words[second - 1]}"


def counted(texts: Sequence[str]) -> "tuple[csr_matrix, Terms]":
    """How often each term stands in each text, as scikit-learn counts words and pairs, in a quarter of its time.

    Raises:
        Untrainable: there is no word in any text.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    words_of = CountVectorizer().build_analyzer()
    met: dict[str, int] = {}
    seen, lengths = array("q"), []
    for text in ends(texts):
        found = [met.setdefault(word, len(met)) for word in words_of(text)]
        seen.extend(found)
        lengths.append(len(found))
    if not met:
        raise Untrainable("no words in the texts")
    words = sorted(met)
    place = np.empty(len(words), dtype=np.int64)
    place[[met[word] for word in words]] = np.arange(len(words))
    firsts, owners = place[np.frombuffer(seen, np.int64)], np.repeat(np.arange(len(lengths)), lengths)
    keys = firsts * (len(words) + 1)
    paired = owners[1:] == owners[:-1]
    pairs = (keys[:-1] + firsts[1:] + 1)[paired]
    known, columns = np.unique(np.concatenate([keys, pairs]), return_inverse=True)
    where = np.concatenate([owners, owners[:-1][paired]]), columns
    # Terms that stand in a text several times are summed.
    return csr_matrix((np.ones(len(columns)), where), shape=(len(lengths), len(known))), Terms(words, known)


def spanned(counts: "csr_matrix", max_terms: int, components: int, seed: int) -> Space:
    """The directions in which rows of counts differ most, by TF-IDF; fewer where there are fewer rows or terms.

    Raises:
        Untrainable: fewer than two rows or terms.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    frequency = np.asarray(counts.sum(axis=0)).ravel()
    # Of equally frequent terms the first by name.
    most = np.argsort(-frequency, kind="stable")[:max_terms]
    places = np.sort(most[frequency[most] > 0])
    if min(counts.shape[0], len(places)) < 2:
        raise Untrainable("fewer than two texts or words")
    idf = TfidfTransformer().fit(counts[:, places]).idf_
    svd = TruncatedSVD(min(components, counts.shape[0] - 1, len(places) - 1), random_state=seed)
    # Texts that are all alike have no variance to be explained; that share is computed, and is not asked for here.
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = svd.fit_transform(weighed(counts[:, places], idf))
    return Space(rows, places, idf, svd.components_)


def weighed(counts: "csr_matrix", idf: Floats) -> "csr_matrix":
    """TF-IDF: counts times inverse document frequency, each row of length one."""
    from sklearn.feature_extraction.text import TfidfTransformer

    transformer = TfidfTransformer()
    transformer.idf_ = idf
    return transformer.transform(counts)


def vectorizer_of(vocabulary: Sequence[str], idf: Floats) -> "TfidfVectorizer":
    """From texts to TF-IDF over terms that are known already."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(ngram_range=N_GRAMS, vocabulary={term: place for place, term in enumerate(vocabulary)})
    made.idf_ = idf
    return made


def ends(texts: Sequence[str]) -> list[str]:
    """What of texts is read."""
    return [text[-MAX_CHARACTERS:] for text in texts]


def embedded(features: Features, texts: Sequence[str]) -> Floats:
    """Vectors of texts, held against their number.

    Raises:
        ValueError: not one row of finite numbers for each text.
    """
    found = np.asarray(features(texts), dtype=np.float64)
    if found.ndim != 2 or len(found) != len(texts) or not np.isfinite(found).all():
        raise ValueError(f"the embedder gave {found.shape} for {len(texts)} texts, or numbers without end")
    return found
