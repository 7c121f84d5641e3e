"""selector_model and autoreview_model: which version is made when, how good it is, and the cuts that follow from it.

Belongs here: one row for each version, the moments of training, which version a moment knows, the cuts. Does not belong
here: labels (`labels.py`), the model itself (`text_model.py`), what a cut decides (`routing.py`).
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import polars as pl

from magpie.persona.labels import LABELS
from magpie.persona.settings import Persona, Tuning
from magpie.persona.tables import AUTOREVIEW_MODEL, SELECTOR_MODEL
from magpie.persona.text_features import Features, Untrainable
from magpie.persona.text_model import Params, TextModel, Trained, train
from magpie.tables import UTC as UTC_MOMENT
from magpie.tables import Table

Kind = Literal["selector", "autoreview"]
TABLES: dict[Kind, Table] = {"selector": SELECTOR_MODEL, "autoreview": AUTOREVIEW_MODEL}
# Mondays before the first readers of the day come.
TRAINING_WEEKDAY = 0
TRAINING_TIME = time(3, tzinfo=UTC)
WEEK = timedelta(days=7)
# Shares of counts come out whole where they are whole but for rounding.
SLACK = 1e-9


@dataclass(frozen=True)
class TrainingRules:
    """From how many labels on a model is trained, and how wrong its cuts may be.

    Attributes:
        min_labels: of either kind.
        false_accept: share of turned-down texts that may lie below the lower cut.
        false_reject: share of texts let through that may lie above the upper cut.
    """

    params: Params
    min_labels: int
    false_accept: float
    false_reject: float

    @classmethod
    def of(cls, settings: Persona, tuning: Tuning) -> "TrainingRules":
        return cls(
            params=Params(features=settings.features),
            min_labels=settings.min_labels,
            false_accept=tuning.autoreview_false_accept,
            false_reject=tuning.autoreview_false_reject,
        )

    def shaping(self, kind: Kind) -> dict[str, Any]:
        """All that a row of this kind depends on beside its labels."""
        rates = {"false_accept": self.false_accept, "false_reject": self.false_reject} if kind == "autoreview" else {}
        return {"kind": kind, "min_labels": self.min_labels, **asdict(self.params), **rates}


def training_times(first: date, last: datetime) -> list[datetime]:
    """Mondays 03:00 UTC from the day `first` on, up to `last`, which counts too."""
    monday = first + timedelta(days=(TRAINING_WEEKDAY - first.weekday()) % 7)
    moment = datetime.combine(monday, TRAINING_TIME)
    times = []
    while moment <= last:
        times.append(moment)
        moment += WEEK
    return times


def version_of(rows: pl.DataFrame, params: Mapping[str, Any]) -> str:
    """The sha256 of labels (`LABELS`) and parameters; in any order the same."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for row in rows.select(list(LABELS)).sort(list(LABELS)).iter_rows():
        # A line of JSON each, so that no two lists of rows run into one.
        digest.update(b"\n" + json.dumps(row, ensure_ascii=False).encode())
    return digest.hexdigest()


def train_row(
    blog: str,
    kind: Kind,
    labels: pl.DataFrame,
    at: datetime,
    settings: Persona,
    tuning: Tuning,
    store: Callable[[bytes], str],
    known: pl.DataFrame,
    features: Features | None = None,
) -> pl.DataFrame:
    """Train a model on what is labelled now; return its row, in the columns of the kind's table.

    Labels and settings that made a version before make it again: its row is kept, and nothing is trained. It is
    effective from the earliest training that made it, in whatever order weeks are trained.

    Args:
        labels: `LABELS` as known at `at`, which the model is effective from.
        store: keeps the model's bytes and returns their sha256.
        known: rows of the table.
        features: the embedder that the settings name; None: terms.
    """
    table, rules = TABLES[kind], TrainingRules.of(settings, tuning)
    version = version_of(labels, rules.shaping(kind))
    before = known.filter((pl.col("blog") == blog) & (pl.col("version") == version))
    if before.height:
        return table.shaped(before.with_columns(pl.min_horizontal("effective_from", pl.lit(at, UTC_MOMENT))))
    n_pos = int(labels["label"].sum())
    learnt, fate = _learnt(labels, rules, version, features)
    estimates = _estimates(labels, learnt.oof, rules) if learnt and kind == "autoreview" else {}
    thresholds = _cuts(estimates, tuning, settings.threshold_labels) if kind == "autoreview" else {}
    evaluation = {"reliability": learnt.reliability, "terms": learnt.terms} if learnt else {}
    row = {
        "blog": blog,
        "version": version,
        "effective_from": at,
        "n_pos": n_pos,
        "n_neg": labels.height - n_pos,
        "auc_oof": learnt.auc_oof if learnt else None,
        "thresholds": json.dumps(thresholds, sort_keys=True),
        "evaluation": json.dumps(evaluation, sort_keys=True, ensure_ascii=False),
        "blob_sha256": store(learnt.model.to_bytes()) if learnt else None,
        **fate,
    }
    return pl.DataFrame([row], schema=table.dtypes, orient="row")


def _learnt(
    labels: pl.DataFrame, rules: TrainingRules, version: str, features: Features | None
) -> tuple[Trained | None, dict[str, Any]]:
    """The model, None where there is none to be had, and the columns that say why."""
    least = min(int((labels["label"] == side).sum()) for side in (True, False))
    if least < rules.min_labels:
        return None, _refused("too_few_labels", f"{least} of {rules.min_labels}", f"{rules.min_labels} of either kind")
    rows = list(labels.select("text", "label").iter_rows())
    try:
        found = train(rows, rules.params, features, version=version, groups=labels["group"].to_list())
    except Untrainable as error:
        return None, _refused("untrainable", str(error), "texts that differ in their words")
    return found, {"status": "ok", "reason": None, "observed": None, "threshold": None, "not_before": None}


def _refused(reason: str, observed: str, threshold: str) -> dict[str, Any]:
    fate = {"status": "rejected", "reason": reason, "observed": observed, "threshold": threshold}
    return {**fate, "not_before": None}


def model_at(rows: pl.DataFrame, at: datetime, load: Callable[[str], TextModel]) -> TextModel | None:
    """The newest model that is effective from before `at`; None: there is none yet.

    Args:
        rows: of one blog, of one kind.
        load: from the sha256 of a model's bytes.
    """
    row = row_at(rows, at)
    return None if row is None else load(row["blob_sha256"])


def row_at(rows: pl.DataFrame, at: datetime) -> dict[str, Any] | None:
    """The row of `model_at`."""
    usable = rows.filter((pl.col("status") == "ok") & (pl.col("effective_from") < at))
    newest = usable.sort("effective_from", "version").tail(1)
    return newest.row(0, named=True) if newest.height else None


def accept_cut(turned_down: Sequence[float], rate: float) -> float:
    """The largest cut with at most this share of the scores below it; 1 where all may be."""
    scores, allowed = sorted(turned_down), math.floor(rate * len(turned_down) + SLACK)
    return scores[allowed] if allowed < len(scores) else 1.0


def reject_cut(let_through: Sequence[float], rate: float) -> float:
    """The smallest cut with at most this share of the scores above it; 0 where all may be."""
    scores, allowed = sorted(let_through, reverse=True), math.floor(rate * len(let_through) + SLACK)
    return scores[allowed] if allowed < len(scores) else 0.0


def _estimates(labels: pl.DataFrame, oof: Sequence[float], rules: TrainingRules) -> dict[str, dict[str, Any]]:
    """The cuts that the scores out of fold ask for, each with the number of labels it rests on."""
    scored = labels.with_columns(pl.Series("p", oof, pl.Float64))
    found: dict[str, dict[str, Any]] = {}
    for name, among in (("accept_below", scored), ("accept_below_original", scored.filter("original"))):
        turned_down = among.filter("label")["p"].to_list()
        if turned_down:
            found[name] = {"trained": accept_cut(turned_down, rules.false_accept), "labels": among.height}
    let_through = scored.filter(~pl.col("label"))["p"].to_list()
    return {**found, "reject_above": {"trained": reject_cut(let_through, rules.false_reject), "labels": scored.height}}


def cuts_of(row: Mapping[str, Any] | None, tuning: Tuning, threshold_labels: int) -> dict[str, dict[str, Any]]:
    """The cuts that hold, as `thresholds` keeps them.

    A cut is that of the model where at least `threshold_labels` labels speak for it, those of originals for that of
    originals, and else that of the preset. Where the lower cut of a model comes out above its upper one, which happens
    when it tells the two kinds well apart, they change places: both shares of errors still hold, and what lies between,
    where labels say little, goes to a human.

    Args:
        row: of `autoreview_model`; None: there is no model.

    Returns:
        `accept_below`, `accept_below_original`, `flag_above`, `reject_above`: `value` (None: no such cut), `source`
        preset or trained, and where a model was trained `trained` and `labels`.
    """
    return _cuts(json.loads(row["thresholds"]) if row else {}, tuning, threshold_labels)


def _cuts(estimates: Mapping[str, Any], tuning: Tuning, threshold_labels: int) -> dict[str, dict[str, Any]]:
    preset = {
        "accept_below": tuning.autoreview_accept,
        "accept_below_original": tuning.autoreview_accept_original,
        "flag_above": tuning.autoreview_flag,
        "reject_above": tuning.autoreview_reject,
    }
    cuts: dict[str, dict[str, Any]] = {}
    for name, value in preset.items():
        estimate = {key: estimates[name][key] for key in ("trained", "labels") if key in estimates.get(name, {})}
        trained = estimate.get("labels", 0) >= threshold_labels
        chosen = estimate["trained"] if trained else value
        cuts[name] = {"value": chosen, "source": "trained" if trained else "preset", **estimate}
    low, high = sorted(cuts[name]["value"] for name in ("accept_below", "reject_above"))
    cuts["accept_below"]["value"], cuts["reject_above"]["value"] = low, high
    cuts["accept_below_original"]["value"] = min(cuts["accept_below_original"]["value"], high)
    return cuts
