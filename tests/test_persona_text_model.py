"""A text model: it answers as the pipeline it was made from, is the same from the same rows, and reads no garbage."""

import hashlib
import io
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from magpie.persona.model_scores import reliability, top_terms
from magpie.persona.text_features import MAX_CHARACTERS, Untrainable, counted
from magpie.persona.text_model import Params, TextModel, Trained, row_order, train

GLAD = ["sunlight", "picnic", "kitten", "lemonade", "hooray", "garden"]
GLUM = ["drizzle", "invoice", "toothache", "puddle", "alas", "traffic"]
COMMON = ["the", "a", "my", "walked", "saw", "with", "today", "and", "then", "blog"]
WEIRD = ("", "   ", "ünïcødé 日本語 ✨", "\ud800 half a pair", "word " * 30_000)


def made(count: int, seed: int = 1) -> list[tuple[str, bool]]:
    """Rows whose kind shows in some of their words."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        own, other = (GLAD, GLUM) if number % 2 else (GLUM, GLAD)
        words = [*chance.choices(COMMON, k=8), *chance.choices(own, k=2), chance.choice(other)]
        rows.append((" ".join(chance.sample(words, len(words))), bool(number % 2)))
    return rows


def lengths(texts: Sequence[str]) -> np.ndarray:
    """An embedder of two numbers."""
    return np.array([[len(text) / 100, sum(word in text for word in GLAD)] for text in texts], dtype=np.float32)


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, bool]]:
    return made(200)


@pytest.fixture(scope="module")
def trained(rows: list[tuple[str, bool]]) -> Trained:
    return train(rows, version="v1")


def test_scores_are_those_of_the_pipeline_itself(rows: list[tuple[str, bool]], trained: Trained) -> None:
    order = row_order(rows)
    texts, labels = [rows[place][0] for place in order], [rows[place][1] for place in order]
    terms, svd = TfidfVectorizer(ngram_range=(1, 2)), TruncatedSVD(128, random_state=0)
    fitted = CalibratedClassifierCV(LogisticRegression(random_state=0, max_iter=1000), cv=5).fit(
        svd.fit_transform(terms.fit_transform(texts)), labels
    )
    asked = [*texts[:50], *(text for text, _ in made(50, seed=2)), "words that nobody has seen", ""]
    theirs = fitted.predict_proba(svd.transform(terms.transform(asked)))[:, 1]
    assert np.abs(np.array(trained.model.score(asked)) - theirs).max() < 1e-6


def test_the_same_rows_in_any_order_give_the_same_bytes_and_figures(
    rows: list[tuple[str, bool]], trained: Trained
) -> None:
    mixed = random.Random(3).sample(range(len(rows)), len(rows))
    again = train([rows[place] for place in mixed], version="v1")
    assert again.model.to_bytes() == trained.model.to_bytes()
    assert again.oof == [trained.oof[place] for place in mixed]
    assert again[1:2] == trained[1:2] and again[3:] == trained[3:]


def test_another_process_makes_the_same_bytes(rows: list[tuple[str, bool]], trained: Trained) -> None:
    code = (
        "import sys, json, hashlib; from magpie.persona.text_model import train;"
        "rows = [tuple(row) for row in json.load(sys.stdin)];"
        "print(hashlib.sha256(train(rows, version='v1').model.to_bytes()).hexdigest())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(rows), capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == hashlib.sha256(trained.model.to_bytes()).hexdigest()


def test_what_the_words_tell_is_found_and_the_words_are_named(trained: Trained) -> None:
    assert trained.auc_oof > 0.8
    weights = {one["term"]: one["weight"] for one in trained.terms}
    assert all(weights[word] > 0 for word in GLAD) and all(weights[word] < 0 for word in GLUM)
    assert sum(one["n"] for one in trained.reliability) == 200
    glad, glum = trained.model.score(["hooray a kitten in sunlight", "alas traffic and drizzle"])
    assert glad > 0.7 and glum < 0.3


def test_labels_of_held_out_rows_take_no_part_in_their_scores() -> None:
    chance = random.Random(5)
    # Each row has a word of its own, by which a model that has seen its label would know it.
    rows = [(f"own{number}word " + " ".join(chance.choices(COMMON, k=6)), bool(number % 2)) for number in range(300)]
    assert abs(train(rows).auc_oof - 0.5) < 0.12


def test_scores_out_of_fold_are_those_of_models_that_never_saw_the_row(
    rows: list[tuple[str, bool]], trained: Trained
) -> None:
    order = row_order(rows)
    ordered, oof = [rows[place] for place in order], np.array(trained.oof)[order]
    labels = [label for _, label in ordered]
    for known, held_out in StratifiedKFold(5).split(ordered, labels):
        theirs = train([ordered[place] for place in known]).model.score([ordered[place][0] for place in held_out])
        assert np.abs(oof[held_out] - theirs).max() < 1e-9


def test_rows_of_one_group_are_not_learnt_from_and_judged_by_at_once() -> None:
    # Ten texts of a group share a word and a kind that is drawn for the group: nothing is to be learnt but the group.
    chance = random.Random(7)
    rows, groups = [], []
    for group in range(40):
        for number in range(10):
            rows.append(
                (f"topic{group} " + " ".join(chance.choices(COMMON, k=5)) + f" n{number}{group}", group % 2 == 0)
            )
            groups.append(f"input {group}")
    assert train(rows).auc_oof > 0.9
    assert train(rows, groups=groups).auc_oof < 0.65


def test_bytes_lead_back_to_the_same_model(rows: list[tuple[str, bool]], trained: Trained) -> None:
    content = trained.model.to_bytes()
    again = TextModel.from_bytes(content)
    texts = [text for text, _ in rows[:20]]
    assert again.score(texts) == trained.model.score(texts)
    assert (again.version, again.to_bytes()) == ("v1", content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_text_scores_the_same_alone_and_among_others(trained: Trained) -> None:
    texts = [text for text, _ in made(40, seed=9)]
    assert trained.model.score(texts) == [trained.model.score([text])[0] for text in texts]
    assert trained.model.score([]) == []


@given(st.lists(st.text(alphabet="abAÉİß日_0 -'\n", max_size=30), min_size=1, max_size=8))
def test_terms_are_counted_as_scikit_learn_counts_them(texts: list[str]) -> None:
    counter = CountVectorizer(ngram_range=(1, 2))
    try:
        theirs = counter.fit_transform(texts)
    except ValueError:
        with pytest.raises(Untrainable):
            counted(texts)
        return
    counts, terms = counted(texts)
    assert [terms.name(place) for place in range(counts.shape[1])] == list(counter.get_feature_names_out())
    assert (counts.toarray() == theirs.toarray()).all()


def test_odd_texts_are_scored_and_learnt_from(rows: list[tuple[str, bool]], trained: Trained) -> None:
    assert all(0 < p < 1 for p in trained.model.score(WEIRD))
    again = train([*rows[:40], *((text, bool(place % 2)) for place, text in enumerate(WEIRD))])
    assert len(again.oof) == 40 + len(WEIRD)
    assert TextModel.from_bytes(again.model.to_bytes()).score(WEIRD) == again.model.score(WEIRD)


def test_the_end_of_an_endless_thread_decides(trained: Trained) -> None:
    endless = "drizzle alas " * MAX_CHARACTERS
    glum, glad = trained.model.score([endless, endless + "hooray kitten picnic " * 1000])
    assert glad > 0.5 > glum


def test_an_embedder_takes_the_place_of_terms(rows: list[tuple[str, bool]]) -> None:
    params = Params(features="two-numbers")
    found = train(rows, params, lengths, version="e1")
    assert found.auc_oof > 0.8 and found.terms == []
    texts = [text for text, _ in rows]
    again = TextModel.from_bytes(found.model.to_bytes(), lengths)
    assert again.score(texts) == found.model.score(texts)
    order = row_order(rows)
    theirs = CalibratedClassifierCV(LogisticRegression(random_state=0), cv=5).fit(
        lengths(texts)[order].astype(np.float64), np.array([label for _, label in rows])[order]
    )
    mine = np.array(found.model.score(texts))
    assert np.abs(mine - theirs.predict_proba(lengths(texts).astype(np.float64))[:, 1]).max() < 1e-6


def test_a_model_of_vectors_is_not_read_without_its_embedder(rows: list[tuple[str, bool]]) -> None:
    content = train(rows, Params(features="two-numbers"), lengths).model.to_bytes()
    with pytest.raises(ValueError, match="hand that embedder over"):
        TextModel.from_bytes(content)
    with pytest.raises(ValueError, match="no embedder"):
        train(rows, Params(features="two-numbers"))
    with pytest.raises(ValueError, match="an embedder"):
        train(rows, Params(), lengths)


@pytest.mark.parametrize("answer", [np.zeros((1, 2)), np.zeros(200), np.full((200, 2), np.nan)])
def test_vectors_that_do_not_fit_the_texts_are_refused(rows: list[tuple[str, bool]], answer: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the embedder gave"):
        train(rows, Params(features="broken"), lambda texts: answer)


@pytest.mark.parametrize(
    "rows",
    [
        [("only one kind", True)] * 20,
        [("a b c", True), ("! ?", False)] * 20,
        [("same", True), ("same", False)] * 20,
        [],
    ],
)
def test_rows_that_hold_nothing_to_learn_are_said_so(rows: list[tuple[str, bool]]) -> None:
    with pytest.raises(Untrainable):
        train(rows)


def test_few_rows_take_fewer_folds() -> None:
    found = train(made(10))
    assert len(found.oof) == 10
    assert all(0 <= p <= 1 for p in found.oof)


def test_texts_of_both_kinds_at_once_give_no_certainty() -> None:
    found = train([("kitten in the garden", True), ("kitten in the garden", False)] * 30)
    assert found.model.score(["kitten in the garden"])[0] == pytest.approx(0.5, abs=0.05)


@given(st.binary(max_size=400))
def test_bytes_that_are_no_model_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        TextModel.from_bytes(content)


@given(place=st.integers(0, 10**9), changed=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=150)
def test_a_damaged_model_is_refused_or_still_sound(trained: Trained, place: int, changed: int, cut: bool) -> None:
    content = bytearray(trained.model.to_bytes())
    place %= len(content)
    content[place] ^= changed
    try:
        model = TextModel.from_bytes(bytes(content[: place + 1] if cut else content))
    except ValueError:
        return
    assert all(0 <= p <= 1 for p in model.score(["hooray", "alas"]))


def test_arrays_that_do_not_fit_each_other_are_refused(trained: Trained) -> None:
    with np.load(io.BytesIO(trained.model.to_bytes())) as archive:
        arrays = dict(archive)
    wrong = {
        "vocabulary": np.frombuffer(b"one\ntwo", np.uint8),
        "idf": arrays["idf"][1:],
        "weights": arrays["weights"][:, 0],
        "intercepts": arrays["intercepts"] * np.nan,
        "about": np.frombuffer(b'{"form": 99}', np.uint8),
    }
    for name, array in wrong.items():
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{**arrays, name: array})
        with pytest.raises(ValueError, match="no text model"):
            TextModel.from_bytes(buffer.getvalue())


def test_archives_of_something_else_are_refused() -> None:
    single, archive = io.BytesIO(), io.BytesIO()
    np.save(single, np.zeros(3))
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("about", "vocabulary", "idf", "weights", "intercepts"):
            opened.writestr(name, "{}")
    for content in (single.getvalue(), archive.getvalue()):
        with pytest.raises(ValueError, match="no text model"):
            TextModel.from_bytes(content)


def test_objects_in_the_bytes_are_never_unpickled(trained: Trained) -> None:
    with np.load(io.BytesIO(trained.model.to_bytes())) as archive:
        arrays = dict(archive)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**arrays, "idf": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="no text model"):
        TextModel.from_bytes(buffer.getvalue())


def test_reliability_holds_mean_and_share_of_each_bin() -> None:
    bins = reliability(np.array([0.0, 0.05, 0.55, 1.0]), np.array([0, 1, 1, 1]))
    assert bins == [
        {"low": 0.0, "high": 0.1, "n": 2, "mean_p": 0.025, "share": 0.5},
        {"low": 0.5, "high": 0.6, "n": 1, "mean_p": 0.55, "share": 1.0},
        {"low": 0.9, "high": 1.0, "n": 1, "mean_p": 1.0, "share": 1.0},
    ]


def test_terms_come_strongest_first_and_each_on_its_side() -> None:
    found = top_terms(("b", "a", "none", "against"), np.array([1.0, 2.0, 0.0, -3.0]))
    assert [(one["term"], one["weight"]) for one in found] == [("a", 2.0), ("b", 1.0), ("against", -3.0)]


def test_importing_the_module_loads_no_heavy_library() -> None:
    code = "import sys, magpie.persona.training; print('sklearn' in sys.modules or 'scipy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
