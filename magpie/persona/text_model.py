"""A model that gives a text a probability: terms, their weights, and how far it can be believed.

Belongs here: training, scores out of fold and in use, and the bytes a model is kept as. Does not belong here: how texts
become numbers (`text_features.py`), what is shown of a model (`model_scores.py`), which texts are labelled how
(`labels.py`), when a model is trained and what follows from its scores (`training.py`).

TF-IDF over words and pairs of words, the largest singular directions of it, and five logistic regressions, each fitted
on four fifths of the rows and calibrated on the last (J. Platt, Probabilistic outputs for support vector machines,
1999); the model's answer is the mean of the five. All but the last step is linear, so a fold is kept as one weight for
each term: the same answers as by way of the singular directions, from a hundredth of the bytes.

An embedder may take the place of terms and directions.
"""

import hashlib
import io
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from magpie.persona.model_scores import reliability, top_terms
from magpie.persona.text_features import (
    Features,
    Floats,
    Terms,
    Untrainable,
    counted,
    embedded,
    ends,
    spanned,
    vectorizer_of,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.feature_extraction.text import TfidfVectorizer

TFIDF = "tfidf"
# Of the bytes and of what is done with a text before it is counted; another number means other models.
FORM = 1
# Far beyond what features of length one take to converge.
MAX_ITERATIONS = 2000
# What zipfile and NumPy raise over bytes that are no archive of arrays; the last two: where a file in it is none.
_UNREADABLE = (
    *(ValueError, KeyError, OSError, EOFError, MemoryError, OverflowError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, tokenize.TokenError, TypeError, AttributeError),
)

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Params:
    """What shapes a model beside its rows.

    Attributes:
        features: `tfidf`, or the name of the embedder that is handed over.
        max_terms: the most frequent ones are kept; more cost time and gained nothing to speak of.
        components: singular directions; fewer where there are fewer rows or terms.
        folds: logistic regressions; fewer where a class has fewer rows.
        c: inverse strength of regularisation.
        seed: of the randomised decomposition.
    """

    features: str = TFIDF
    max_terms: int = 10_000
    components: int = 128
    folds: int = 5
    c: float = 1.0
    seed: int = 0
    form: int = FORM


@dataclass(frozen=True, eq=False)
class TextModel:
    """A trained model.

    Attributes:
        version: name of the training rows and parameters.
        features_name: `tfidf`, or the embedder that `features` is.
        vocabulary: terms, in the order of the weights; empty with an embedder.
        idf: inverse document frequency of each term.
        weights: one row for each term or feature, one column for each fold, calibration included.
        intercepts: one for each fold.
        features: the embedder.
    """

    version: str
    features_name: str
    vocabulary: tuple[str, ...]
    idf: Floats
    weights: Floats
    intercepts: Floats
    features: Features | None = None

    def score(self, texts: Sequence[str]) -> list[float]:
        """The probability that each text is of the labelled kind; a text's does not depend on those beside it."""
        from scipy.sparse import csr_matrix
        from scipy.special import expit

        if not texts:
            return []
        found = self._vectorizer.transform(ends(texts)) if self.features is None else embedded(self.features, texts)
        # A sparse product sums row by row; a dense one in blocks that depend on how many rows there are.
        logits = csr_matrix(found) @ self.weights + self.intercepts
        return [float(p) for p in expit(logits).mean(axis=1)]

    @cached_property
    def _vectorizer(self) -> "TfidfVectorizer":
        return vectorizer_of(self.vocabulary, self.idf)

    def to_bytes(self) -> bytes:
        """An .npz archive; equal models give equal bytes."""
        named = {"form": FORM, "version": self.version, "features": self.features_name}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            # A term holds word characters and spaces, so lines keep them apart; NumPy's own text would take the room of
            # the longest for each.
            about=np.frombuffer(json.dumps(named, sort_keys=True).encode(), np.uint8),
            vocabulary=np.frombuffer("\n".join(self.vocabulary).encode(), np.uint8),
            idf=self.idf,
            weights=self.weights,
            intercepts=self.intercepts,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, features: Features | None = None) -> "TextModel":
        """Read what `to_bytes` wrote; nothing in it is executed.

        Args:
            features: the embedder that the model was trained on; left aside by a model of terms.

        Raises:
            ValueError: it is no such model, or one that needs an embedder.
        """
        try:
            _check_sums(content)
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                words = arrays["vocabulary"].tobytes().decode()
                idf, weights, intercepts = arrays["idf"], arrays["weights"], arrays["intercepts"]
        except _UNREADABLE as error:
            raise ValueError(f"these bytes are no text model: {error}") from error
        if not isinstance(about, dict) or about.get("form") != FORM:
            raise ValueError("these bytes are no text model of a form that is known")
        name, version = str(about.get("features")), str(about.get("version"))
        if name != TFIDF and features is None:
            raise ValueError(f"this model reads vectors of {name}; hand that embedder over")
        vocabulary = tuple(words.split("\n")) if words else ()
        _check(name, vocabulary, idf, weights, intercepts)
        needed = None if name == TFIDF else features
        return cls(version, name, vocabulary, idf, weights, intercepts, needed)


def _check_sums(content: bytes) -> None:
    """Raise ValueError where a file of an archive is not what was written, before NumPy makes something of it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")


def _check(name: str, vocabulary: Sequence[str], idf: Floats, weights: Floats, intercepts: Floats) -> None:
    """Raise ValueError where the arrays of a model do not fit each other."""
    numbers = (idf, weights, intercepts)
    sound = all(array.dtype == np.float64 and np.isfinite(array).all() for array in numbers)
    fits = weights.ndim == 2 and weights.size > 0 and intercepts.shape == weights.shape[1:]
    terms = len(vocabulary) if name == TFIDF else 0
    listed = idf.shape == (terms,) and len(set(vocabulary)) == terms
    if not (sound and fits and listed and (name != TFIDF or terms == len(weights))):
        raise ValueError("these bytes are no text model: its arrays do not fit each other")


class Trained(NamedTuple):
    """A model with what is known of it.

    Attributes:
        auc_oof: area under the ROC curve of `oof`; 0.5: no better than chance.
        oof: for each row, in the order given, the answer of a model that was trained without it.
        reliability: by bin of `oof` that holds any: low, high, n, mean_p and the share that is of the labelled kind.
        terms: the largest weights of either side, as logits per unit of TF-IDF; none with an embedder.
    """

    model: TextModel
    auc_oof: float
    oof: list[float]
    reliability: list[dict[str, float]]
    terms: list[dict[str, Any]]


def train(
    rows: Sequence[tuple[str, bool]],
    params: Params = Params(),
    features: Features | None = None,
    *,
    version: str = "",
    groups: Sequence[str] | None = None,
) -> Trained:
    """Train a model and evaluate it on rows that it has not seen.

    The same rows in any order give the same bytes. What is held out takes no part in what scores it, neither by its
    label nor by its words: directions that a text has helped to span favour it.

    Args:
        rows: texts, and whether each is of the labelled kind.
        groups: of each row; those of one group stay in one fold, but for the few that a fold ends among. By default
            each text is its own.

    Raises:
        Untrainable: fewer than three rows of either kind, or no words in them.
        ValueError: `params.features` asks for an embedder, and there is none.
    """
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    if (params.features == TFIDF) != (features is None):
        raise ValueError(f"features is {params.features}, and {'no' if features is None else 'an'} embedder is given")
    order = row_order(rows, groups)
    texts = [rows[place][0] for place in order]
    labels = np.array([rows[place][1] for place in order], dtype=np.int64)
    if np.bincount(labels, minlength=2).min() < 3:
        raise Untrainable("fewer than three rows of a kind")
    # Sums over several threads come in any order, and so would the last bits.
    with threadpool_limits(1):
        if features is None:
            model, scores = _fitted(*counted(texts), labels, version, params)
        else:
            model, scores = _fitted_on_vectors(embedded(features, texts), labels, version, params, features)
    oof = np.empty_like(scores)
    oof[order] = scores
    terms = top_terms(model.vocabulary, model.weights.mean(axis=1))
    auc = float(roc_auc_score(labels, scores))
    return Trained(model, auc, [float(p) for p in oof], reliability(scores, labels), terms)


def row_order(rows: Sequence[tuple[str, bool]], groups: Sequence[str] | None = None) -> list[int]:
    """Places of rows in an order that is that of no clock and no author, and that rows of one group share.

    Folds are runs of this order, so that a model is not asked about what it has almost seen.
    """

    def key(place: int) -> tuple[bytes, str, bool]:
        text, label = rows[place]
        group = text if groups is None else groups[place]
        return hashlib.sha256(group.encode(errors="surrogatepass")).digest(), text, label

    return sorted(range(len(rows)), key=key)


def _calibrated(rows: Floats, labels: Labels, params: Params) -> "CalibratedClassifierCV":
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression

    folds = min(params.folds, int(np.bincount(labels).min()))
    regression = LogisticRegression(C=params.c, random_state=params.seed, max_iter=MAX_ITERATIONS)
    return CalibratedClassifierCV(regression, method="sigmoid", cv=folds, ensemble=True).fit(rows, labels)


def _fitted(
    counts: "csr_matrix", terms: Terms, labels: Labels, version: str, params: Params
) -> tuple[TextModel, Floats]:
    """The model of counted terms, and its scores out of fold."""
    space = spanned(counts, params.max_terms, params.components, params.seed)
    weights, intercepts = _folded(_calibrated(space.rows, labels, params))
    vocabulary = tuple(terms.name(place) for place in space.places)
    stacked = np.ascontiguousarray((weights @ space.directions).T)
    scores = np.empty(len(labels))
    for known, held_out in _folds(labels, params):
        seen = spanned(counts[known], params.max_terms, params.components, params.seed)
        fitted = _calibrated(seen.rows, labels[known], params)
        scores[held_out] = fitted.predict_proba(seen.of(counts[held_out]))[:, 1]
    return TextModel(version, params.features, vocabulary, space.idf, stacked, intercepts), scores


def _fitted_on_vectors(
    rows: Floats, labels: Labels, version: str, params: Params, features: Features
) -> tuple[TextModel, Floats]:
    """The model of an embedder's vectors, and its scores out of fold."""
    weights, intercepts = _folded(_calibrated(rows, labels, params))
    scores = np.empty(len(labels))
    for known, held_out in _folds(labels, params):
        fitted = _calibrated(rows[known], labels[known], params)
        scores[held_out] = fitted.predict_proba(rows[held_out])[:, 1]
    stacked = np.ascontiguousarray(weights.T)
    return TextModel(version, params.features, (), np.empty(0), stacked, intercepts, features), scores


def _folds(labels: Labels, params: Params) -> "list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]":
    """Rows to learn from and rows to be judged by, so that each is judged by once."""
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(min(params.folds, int(np.bincount(labels).min())))
    return list(folds.split(np.zeros(len(labels)), labels))


def _folded(fitted: "CalibratedClassifierCV") -> tuple[Floats, Floats]:
    """One row of weights and one intercept for each fold: 1/(1+e^(a*(w.x+b0)+b)) is the sigmoid of -a*w.x-(a*b0+b)."""
    weights, intercepts = [], []
    for fold in fitted.calibrated_classifiers_:
        sigmoid = fold.calibrators[0]
        weights.append(-sigmoid.a_ * fold.estimator.coef_[0])
        intercepts.append(-(sigmoid.a_ * fold.estimator.intercept_[0] + sigmoid.b_))
    return np.array(weights), np.array(intercepts)
