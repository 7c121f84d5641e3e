"""Training: which version is made when, what too few labels come to, and the cuts that follow from scores."""

import hashlib
import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.labels import LABELS
from magpie.persona.settings import Blog, Persona, Tuning
from magpie.persona.tables import AUTOREVIEW_MODEL, SELECTOR_MODEL
from magpie.persona.text_features import Features
from magpie.persona.text_model import TextModel
from magpie.persona.training import (
    Kind,
    accept_cut,
    cuts_of,
    model_at,
    reject_cut,
    row_at,
    train_row,
    training_times,
    version_of,
)

MONDAY = datetime(2026, 11, 16, 3, tzinfo=UTC)
WEEK = timedelta(days=7)
SETTINGS = Persona()
TUNING = Blog(name="demo-blog").tuned()
TUNING_2022 = Blog(name="demo-blog", preset="2022").tuned()
NONE_YET = AUTOREVIEW_MODEL.empty()
KIND, RUDE = ["thanks", "lovely", "cheers", "welcome"], ["ugh", "stupid", "nonsense", "whatever"]


def labels(n_pos: int, n_neg: int, originals: int = 0, seed: int = 1) -> pl.DataFrame:
    chance = random.Random(seed)
    rows = []
    for number in range(n_pos + n_neg):
        rude = number < n_pos
        words = [*chance.choices(RUDE if rude else KIND, k=2), *chance.choices(KIND + RUDE, k=2), f"w{number % 17}"]
        rows.append((" ".join(words), rude, (n_pos + n_neg - number) <= originals, f"ask:{number}"))
    return pl.DataFrame(rows, schema=LABELS, orient="row")


class Shelf:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def store(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.held[sha256] = content
        return sha256

    def load(self, sha256: str) -> TextModel:
        return TextModel.from_bytes(self.held[sha256])


def trained(
    rows: pl.DataFrame,
    *,
    kind: Kind = "autoreview",
    at: datetime = MONDAY,
    settings: Persona = SETTINGS,
    tuning: Tuning = TUNING,
    shelf: Shelf | None = None,
    known: pl.DataFrame = NONE_YET,
    features: Features | None = None,
) -> pl.DataFrame:
    return train_row("demo-blog", kind, rows, at, settings, tuning, (shelf or Shelf()).store, known, features=features)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def row(shelf: Shelf) -> pl.DataFrame:
    return trained(labels(120, 130, originals=40), shelf=shelf)


def test_a_trained_version_tells_how_good_it_is_and_where_its_bytes_are(row: pl.DataFrame, shelf: Shelf) -> None:
    AUTOREVIEW_MODEL.schema.validate(row)
    told = row.row(0, named=True)
    assert (told["status"], told["n_pos"], told["n_neg"], told["effective_from"]) == ("ok", 120, 130, MONDAY)
    assert told["auc_oof"] > 0.8
    evaluation = json.loads(told["evaluation"])
    assert sum(one["n"] for one in evaluation["reliability"]) == 250
    weights = {one["term"]: one["weight"] for one in evaluation["terms"]}
    assert weights["stupid"] > 0 > weights["lovely"]
    model = shelf.load(told["blob_sha256"])
    assert model.version == told["version"]
    rude, kind = model.score(["ugh nonsense", "lovely thanks"])
    assert rude > 0.5 > kind


@pytest.mark.parametrize("kind", ["selector", "autoreview"])
def test_too_few_labels_of_either_kind_make_no_model(kind: Kind) -> None:
    shelf = Shelf()
    found = trained(labels(12, 400), kind=kind, shelf=shelf)
    told = found.row(0, named=True)
    assert (told["status"], told["reason"]) == ("rejected", "too_few_labels")
    assert (told["observed"], told["threshold"]) == ("12 of 50", "50 of either kind")
    assert (told["n_pos"], told["n_neg"], told["blob_sha256"], told["auc_oof"]) == (12, 400, None, None)
    assert shelf.held == {}
    AUTOREVIEW_MODEL.schema.validate(found)
    assert model_at(found, MONDAY + WEEK, shelf.load) is None


def test_no_labels_at_all_make_a_row_that_says_so() -> None:
    told = trained(labels(0, 0)).row(0, named=True)
    assert (told["reason"], told["observed"], told["n_pos"], told["n_neg"]) == ("too_few_labels", "0 of 50", 0, 0)


def test_labels_without_words_make_a_row_that_says_so() -> None:
    signs = labels(60, 60).with_columns(pl.lit("!? 🙂").alias("text"))
    told = trained(signs).row(0, named=True)
    assert (told["status"], told["reason"], told["blob_sha256"]) == ("rejected", "untrainable", None)
    assert "no words" in told["observed"]


def test_a_lower_minimum_trains_what_was_refused_before() -> None:
    few = labels(12, 20)
    refused = trained(few)
    found = trained(few, settings=Persona(min_labels=10), known=refused)
    assert found["status"].to_list() == ["ok"]


def test_a_known_version_keeps_its_row_and_nothing_is_trained(row: pl.DataFrame) -> None:
    shelf = Shelf()
    mixed = labels(120, 130, originals=40).sample(fraction=1, shuffle=True, seed=3)
    again = trained(mixed, at=MONDAY + WEEK, shelf=shelf, known=row)
    assert again.equals(row)
    assert shelf.held == {}


def test_weeks_trained_backwards_leave_a_version_effective_from_its_first(row: pl.DataFrame) -> None:
    shelf = Shelf()
    again = trained(labels(120, 130, originals=40), at=MONDAY - WEEK, shelf=shelf, known=row)
    assert again["effective_from"].to_list() == [MONDAY - WEEK]
    assert again.drop("effective_from").equals(row.drop("effective_from"))
    assert shelf.held == {}


def test_another_blogs_row_of_the_same_version_is_its_own(row: pl.DataFrame) -> None:
    shelf = Shelf()
    theirs = row.with_columns(pl.lit("other-blog").alias("blog"))
    again = trained(labels(120, 130, originals=40), shelf=shelf, known=theirs)
    assert again.equals(row)
    assert len(shelf.held) == 1


def test_a_version_names_rows_and_parameters_and_not_their_order() -> None:
    few = labels(5, 5)
    version = version_of(few, {"a": 1, "b": 2})
    assert version == version_of(few.reverse().select(reversed(few.columns)), {"b": 2, "a": 1})
    others = [
        version_of(few.head(9), {"a": 1, "b": 2}),
        version_of(few, {"a": 1, "b": 3}),
        version_of(few.with_columns(~pl.col("label")), {"a": 1, "b": 2}),
        version_of(few.with_columns(~pl.col("original")), {"a": 1, "b": 2}),
    ]
    assert len({version, *others}) == 5


def test_only_what_shapes_a_version_makes_another() -> None:
    few = labels(3, 3)

    def version(kind: Kind, **given: Any) -> str:
        tuning = TUNING.model_copy(update=given)
        return str(trained(few, kind=kind, tuning=tuning)["version"][0])

    assert version("selector") != version("autoreview")
    assert version("autoreview") != version("autoreview", autoreview_false_accept=0.01)
    assert version("selector") == version("selector", autoreview_false_accept=0.01)
    assert version("autoreview") == version("autoreview", autoreview_accept=0.1)


def test_the_selector_has_no_cuts() -> None:
    found = trained(labels(60, 60), kind="selector")
    SELECTOR_MODEL.schema.validate(found)
    assert found["thresholds"].to_list() == ["{}"]


def test_an_embedder_named_in_the_settings_takes_the_place_of_terms() -> None:
    settings = Persona(features="offline-hash-1024")

    def features(texts: Any) -> Any:
        return [[float(any(word in text for word in RUDE[:2])), len(text) / 50] for text in texts]

    shelf = Shelf()
    told = trained(labels(60, 60), settings=settings, features=features, shelf=shelf).row(0, named=True)
    assert told["status"] == "ok"
    assert json.loads(told["evaluation"])["terms"] == []
    [content] = shelf.held.values()
    assert TextModel.from_bytes(content, features).features_name == "offline-hash-1024"


def test_models_are_trained_on_mondays_at_three() -> None:
    assert training_times(date(2026, 11, 17), datetime(2026, 12, 1, tzinfo=UTC)) == [
        datetime(2026, 11, 23, 3, tzinfo=UTC),
        datetime(2026, 11, 30, 3, tzinfo=UTC),
    ]
    assert training_times(date(2026, 11, 16), MONDAY) == [MONDAY]
    assert training_times(date(2026, 11, 16), MONDAY - timedelta(seconds=1)) == []


@given(first=st.dates(date(2020, 1, 1), date(2030, 1, 1)), hours=st.integers(0, 2000))
def test_training_times_hold_every_monday_of_the_range_once(first: date, hours: int) -> None:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    last = start + timedelta(hours=hours)
    hourly = (start + timedelta(hours=hour) for hour in range(hours + 1))
    assert training_times(first, last) == [at for at in hourly if at.weekday() == 0 and at.hour == 3]


def versions(*told: tuple[str, datetime, str]) -> pl.DataFrame:
    blank = dict.fromkeys(AUTOREVIEW_MODEL.dtypes)
    rows = [
        {**blank, "version": name, "effective_from": at, "status": status, "blob_sha256": f"blob {name}"}
        for name, at, status in told
    ]
    return pl.DataFrame(rows, schema=AUTOREVIEW_MODEL.dtypes, orient="row")


def test_a_moment_knows_the_newest_sound_version_from_before_it() -> None:
    rows = versions(("new", MONDAY + WEEK, "ok"), ("old", MONDAY, "ok"), ("refused", MONDAY + WEEK + WEEK, "rejected"))

    def known(at: datetime) -> str | None:
        found = row_at(rows, at)
        return found and found["version"]

    assert known(MONDAY) is None
    assert known(MONDAY + timedelta(seconds=1)) == "old"
    assert known(MONDAY + WEEK) == "old"
    assert known(MONDAY + 2 * WEEK) == known(MONDAY + 9 * WEEK) == "new"


def test_a_moments_model_is_loaded_by_its_bytes(row: pl.DataFrame, shelf: Shelf) -> None:
    found = model_at(row, MONDAY + WEEK, shelf.load)
    assert found is not None and found.version == row["version"][0]
    assert model_at(row, MONDAY, shelf.load) is None


def test_cuts_keep_to_the_shares_of_errors() -> None:
    turned_down = [number / 100 for number in range(100)]
    # 8.75 % of 100 are 8 whole texts: below .08 lie exactly .00 to .07.
    assert accept_cut(turned_down, 0.0875) == 0.08
    assert reject_cut(turned_down, 0.03) == 0.96
    # What is whole but for rounding is whole.
    assert accept_cut(turned_down, 0.29) == 0.29
    # Of equals none lies below the cut.
    assert accept_cut([0.2] * 50 + [0.5] * 50, 0.0875) == 0.2
    assert (accept_cut([0.5], 1.0), reject_cut([0.5], 1.0)) == (1.0, 0.0)
    assert (accept_cut([0.5], 0.0), reject_cut([0.5], 0.0)) == (0.5, 0.5)


@given(scores=st.lists(st.sampled_from([place / 16 for place in range(1, 16)]), min_size=1), rate=st.floats(0, 0.99))
def test_no_wider_cut_keeps_to_the_shares(scores: list[float], rate: float) -> None:
    low, high, allowed = accept_cut(scores, rate), reject_cut(scores, rate), rate * len(scores) + 1e-6
    assert sum(score < low for score in scores) <= allowed
    assert sum(score > high for score in scores) <= allowed
    assert low == 1 or sum(score < low + 1e-9 for score in scores) > allowed - 1e-5
    assert high == 0 or sum(score > high - 1e-9 for score in scores) > allowed - 1e-5


def sources(cuts: dict[str, dict[str, Any]]) -> dict[str, tuple[float | None, str]]:
    return {name: (cut["value"], cut["source"]) for name, cut in cuts.items()}


PRESET = {
    "accept_below": (0.154, "preset"),
    "accept_below_original": (0.179, "preset"),
    "flag_above": (0.35, "preset"),
    "reject_above": (0.605, "preset"),
}


def test_without_a_model_or_with_few_labels_the_cuts_are_those_of_the_preset() -> None:
    assert sources(cuts_of(None, TUNING, 200)) == PRESET
    few = trained(labels(60, 60)).row(0, named=True)
    assert few["status"] == "ok"
    assert sources(json.loads(few["thresholds"])) == PRESET
    assert sources(cuts_of(few, TUNING, 200)) == PRESET
    refused = trained(labels(12, 400)).row(0, named=True)
    assert sources(cuts_of(refused, TUNING, 200)) == PRESET
    assert sources(cuts_of(None, TUNING_2022, 200))["flag_above"] == (None, "preset")


def estimated(
    accept: float, reject: float, original: float = 0.1, n_all: int = 500, n_original: int = 500
) -> dict[str, Any]:
    estimates = {
        "accept_below": {"trained": accept, "labels": n_all},
        "accept_below_original": {"trained": original, "labels": n_original},
        "reject_above": {"trained": reject, "labels": n_all},
    }
    return {"thresholds": json.dumps(estimates)}


def test_from_enough_labels_on_the_cuts_are_those_of_the_model() -> None:
    found = sources(cuts_of(estimated(0.2, 0.5, n_all=200, n_original=199), TUNING, 200))
    assert found == {
        "accept_below": (0.2, "trained"),
        "accept_below_original": (0.179, "preset"),
        "flag_above": (0.35, "preset"),
        "reject_above": (0.5, "trained"),
    }
    assert sources(cuts_of(estimated(0.2, 0.5, n_all=199), TUNING, 200))["accept_below"] == (0.154, "preset")
    assert sources(cuts_of(estimated(0.2, 0.5), TUNING, 200))["accept_below_original"] == (0.1, "trained")


def test_what_lies_between_two_crossed_cuts_goes_to_a_human() -> None:
    found = sources(cuts_of(estimated(0.9, 0.2, original=0.95), TUNING, 200))
    assert (found["accept_below"][0], found["reject_above"][0]) == (0.2, 0.9)
    assert found["accept_below_original"][0] == 0.9


def test_trained_cuts_keep_to_the_shares_among_scores_that_the_model_did_not_learn_from(row: pl.DataFrame) -> None:
    first = row.row(0, named=True)
    found = cuts_of(first, TUNING, 200)
    assert json.loads(first["thresholds"]) == found
    assert {name for name, cut in found.items() if cut["source"] == "trained"} == {"accept_below", "reject_above"}
    # Forty originals are fewer than it takes, and none of them was turned down.
    assert "trained" not in found["accept_below_original"]
    assert 0 < found["accept_below"]["value"] <= found["reject_above"]["value"] < 1
