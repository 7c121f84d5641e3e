"""meme_descriptions: who may be described, whose turn it is, and what the answers make of each meme.

Belongs here: reasons not to describe, the rows that are asked about, joining answers and texts to rows. Does not belong
here: what an answer must hold (`describe.py`), whose turn comes next (`describe_queue.py`), getting answers and
reading pictures (`describer.py`).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from magpie.llm.engine import OFFLINE
from magpie.memes.describe_queue import OPEN_STATES, PARTITION, eligible_state
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_DESCRIPTIONS

AWAITING_TURN, UNREADABLE, FAILED = "awaiting_turn", "unreadable_image", "describe_failed"
# What the engine says of answers that did not hold.
BAD_ANSWERS = frozenset({"invalid_output", "internal_error", "refused"})
MODEL_FAILED = "llm_error:"

QUESTIONS = pl.Schema(
    {
        "row_ref": pl.String(),
        "partition": pl.String(),
        "meme_id": pl.String(),
        "type": pl.String(),
        "width": pl.Int64(),
        "height": pl.Int64(),
        "path": pl.String(),
        "local_text": pl.String(),
    }
)
_FATE = ("status", "reason", "observed", "threshold", "not_before")
_KEY = ("meme_id", "platform", "day", "sha256")
_NOTHING: Mapping[str, Any] = {"attempts": 0, "failures": 0, "cost_usd": Decimal(0)}


@dataclass(frozen=True)
class DescribeRules:
    """How often a meme may fail, and which pictures are read on this machine."""

    max_failures: int
    local_ocr: str

    @classmethod
    def of(cls, settings: Memes) -> "DescribeRules":
        return cls(settings.describe_max_failures, settings.local_ocr)


@dataclass(frozen=True)
class Known:
    """What is known of the memes of some partitions, each as of now.

    Attributes:
        stored: their rows of `meme_descriptions` as made before.
        queue: unexpired entries of `describe_queue`.
        status, duplicates: rows of `meme_status` and `meme_duplicates`; a meme may be missing in both.
        retries: of `describe_queue.retries`.
    """

    stored: pl.DataFrame
    queue: pl.DataFrame
    status: pl.DataFrame
    duplicates: pl.DataFrame
    retries: pl.DataFrame


def candidates(memes: pl.DataFrame, media: pl.DataFrame, known: Known) -> pl.DataFrame:
    """Return one row per ok meme: what is asked about it, its turn, and why it may not be described, if so.

    Beside `QUESTIONS` (without `local_text`): platform, day, language, sha256, `readable` (an image whose bytes are
    there), the five columns of its fate, status null where it may be described, `rank` in the queue, null where it is
    not its turn.
    """
    first = media.filter(pl.col("ord") == 0).select(
        "meme_id",
        *("sha256", "width", "height"),
        *(pl.col(name).alias(f"media_{name}") for name in ("status", "reason", "observed")),
    )
    ranks = known.queue.group_by("meme_id").agg(pl.col("rank").min())
    states = known.status.select("meme_id", "state")
    held = pl.col("media_status") == "ok"
    waits = pl.col("media_status").is_null() | (pl.col("media_status") == "pending")
    open_one = eligible_state(pl.col("ad_flag"), pl.col("state"))
    ad = pl.col("ad_flag") & (pl.col("state").is_null() | pl.col("state").is_in(["created", "ad"]))
    reason = (
        pl.when(pl.col("type") != "image")
        .then(pl.lit("not_image"))
        .when(waits)
        .then(pl.lit("media_pending"))
        .when(~held)
        .then(pl.lit("no_media"))
        .when(ad)
        .then(pl.lit("ad"))
        .when(~open_one)
        .then("state")
    )
    # A snoozed source may wake up; other states end by a decision, which makes the row anew as well.
    status = pl.when(reason.is_in(["media_pending", "snoozed"])).then(pl.lit("pending")).otherwise(pl.lit("rejected"))
    observed = (
        pl.when(reason == "not_image")
        .then("type")
        .when(~held.fill_null(False))
        .then(pl.coalesce("media_reason", pl.lit("no row")))
        .when(ad)
        .then("ad_reason")
        .otherwise("state")
    )
    threshold = (
        pl.when(reason == "not_image")
        .then(pl.lit("image"))
        .when(reason.is_in(["media_pending", "no_media"]))
        .then(pl.lit("ok"))
        .when(reason != "ad")
        .then(pl.lit(", ".join(OPEN_STATES)))
    )
    turn = pl.coalesce(pl.col("turns"), pl.lit(0)) + 1
    return (
        memes.filter(pl.col("status") == "ok")
        .drop("status", "reason", "observed", "threshold", "not_before")
        .join(first, on="meme_id", how="left")
        .join(states, on="meme_id", how="left")
        .join(ranks, on="meme_id", how="left")
        .join(known.retries, on="meme_id", how="left")
        .with_columns(
            pl.concat_str("meme_id", turn.cast(pl.String), separator="#").alias("row_ref"),
            PARTITION.alias("partition"),
            ((pl.col("type") == "image") & held).fill_null(False).alias("readable"),
            reason.alias("reason"),
            pl.when(reason.is_not_null()).then(status).alias("status"),
            pl.when(reason.is_not_null()).then(observed).alias("observed"),
            pl.when(reason.is_not_null()).then(threshold).alias("threshold"),
        )
        .sort("rank", "meme_id", nulls_last=True)
    )


def question_rows(rows: pl.DataFrame, path: Callable[[str], str], texts: Mapping[str, str | None]) -> pl.DataFrame:
    """Return what the engine is asked (`QUESTIONS`), in the order of the rows.

    Args:
        rows: readable ones of `candidates`.
        path: of a picture, by its sha256.
        texts: what was read on this machine, by sha256; a picture that was not is missing, or None.
    """
    paths = [path(sha256) for sha256 in rows["sha256"]]
    read = [texts.get(sha256) for sha256 in rows["sha256"]]
    told = rows.with_columns(pl.Series("path", paths, dtype=pl.String), pl.Series("local_text", read, dtype=pl.String))
    return told.select(QUESTIONS.names()).cast(QUESTIONS)


def of_these_pictures(stored: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The stored rows of memes whose picture is still the one that was read then."""
    return stored.join(rows.select("meme_id", "sha256"), on=["meme_id", "sha256"], how="semi", nulls_equal=True)


def texts_known(rows: pl.DataFrame, stored: pl.DataFrame) -> dict[str, str | None]:
    """What was read on this machine before, by sha256, so that no picture is read twice; None: it could not be."""
    mine = stored.filter(pl.col("ocr_engine") == "local").select("meme_id", "ocr_text")
    return dict(
        rows.filter("readable").join(mine, on="meme_id").select("sha256", "ocr_text").sort("sha256").iter_rows()
    )


def texts_wanted(rows: pl.DataFrame, known: Known, rules: DescribeRules) -> pl.DataFrame:
    """The rows whose picture is to be read on this machine, unless a model has read it.

    Ads are compared with nothing, and so need no text.
    """
    if rules.local_ocr == "off":
        return rows.clear()
    wanted = rows.filter(pl.col("readable") & pl.col("reason").ne_missing("ad"))
    wanted = wanted.join(known.stored.filter(by_model()), on="meme_id", how="anti")
    if rules.local_ocr == "all":
        return wanted
    unsure = known.duplicates.filter(pl.col("verdict") == "uncertain").select("meme_id")
    return wanted.join(unsure, on="meme_id", how="semi")


def meme_descriptions(
    rows: pl.DataFrame,
    questions: pl.DataFrame,
    results: pl.DataFrame,
    texts: Mapping[str, str | None],
    stored: pl.DataFrame,
    unreadable: Mapping[str, str],
    rules: DescribeRules,
    now: datetime,
) -> pl.DataFrame:
    """Return one row per candidate in the columns of `meme_descriptions`.

    Args:
        rows: of `candidates`.
        questions: what was asked; results: the engine's row for each, in the same order (`RESULT_SCHEMA`).
        texts: as of `question_rows`.
        stored: the rows as made before.
        unreadable: memes whose file holds no picture, and why.
    """
    asked = questions.select("meme_id").hstack(results)
    answers = {row["meme_id"]: row for row in asked.iter_rows(named=True)}
    before = {row["meme_id"]: row for row in stored.iter_rows(named=True)}
    made = []
    for row in rows.iter_rows(named=True):
        old = before.get(row["meme_id"])
        if old and _retried(row, old):
            old = {**old, "status": "pending", "not_before": None, "failures": 0, "attempts": 0}
        found = _described(row, answers.get(row["meme_id"]), old, unreadable, rules, now)
        made.append({**_NOTHING, **found, **_text(row, found, texts), **{name: row[name] for name in _KEY}})
    return MEME_DESCRIPTIONS.shaped(pl.DataFrame(made, schema=MEME_DESCRIPTIONS.dtypes)).sort(MEME_DESCRIPTIONS.sort_by)


def by_model() -> pl.Expr:
    """Whether a stored row holds what a model said."""
    return (pl.col("status") == "ok") & (pl.col("provider") != OFFLINE)


def due(rows: pl.DataFrame, stored: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The rows that are asked about anew: in the queue, fit to be described, and not told to wait for a moment."""
    resting = stored.filter((pl.col("status") == "pending") & (pl.col("not_before") > now))
    return rows.filter(pl.col("rank").is_not_null() & pl.col("status").is_null()).join(
        resting, on="meme_id", how="anti", maintain_order="left"
    )


def admitted(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The rows that are described by rule: all that are fit or were described before, none that a model saw."""
    before = stored.filter(pl.col("description").is_not_null()).select("meme_id", pl.lit(True).alias("before"))
    return (
        rows.join(before, on="meme_id", how="left", maintain_order="left")
        .filter(pl.col("readable") & (pl.col("status").is_null() | pl.col("before")))
        .join(stored.filter(by_model()), on="meme_id", how="anti", maintain_order="left")
    )


def _retried(row: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether somebody wanted it tried again since it failed."""
    since = row["last_at"]
    return (
        old["status"] == "failed" and since is not None and (old["described_at"] is None or since > old["described_at"])
    )


def _described(
    row: Mapping[str, Any],
    result: Mapping[str, Any] | None,
    old: Mapping[str, Any] | None,
    unreadable: Mapping[str, str],
    rules: DescribeRules,
    now: datetime,
) -> dict[str, Any]:
    """The fate of a row and all that an answer says; an answer that is there is never given up for a reason to wait."""
    if not row["readable"]:
        return {name: row[name] for name in _FATE if name in row}
    if result is not None and result["status"] == "ok":
        return _answered(result)
    if old is not None and old["status"] == "ok" and old["provider"] != OFFLINE:
        return dict(old)
    if row["meme_id"] in unreadable:
        return {"status": "rejected", "reason": UNREADABLE, "observed": unreadable[row["meme_id"]]}
    if result is not None:
        return _refused(result, rules)
    counted = {name: old[name] for name in ("attempts", "failures", "described_at")} if old else {}
    if row["reason"] is not None:
        return {**counted, **{name: row[name] for name in _FATE if name in row}}
    rests = old is not None and old["not_before"] is not None and old["not_before"] > now
    if old is not None and (old["status"] == "failed" or rests):
        return {**counted, **{name: old[name] for name in (*_FATE, "request_key", "prompt_version")}}
    return {**counted, "status": "pending", "reason": AWAITING_TURN}


def _answered(result: Mapping[str, Any]) -> dict[str, Any]:
    answer = json.loads(result["value"])
    offline = result["provider"] == OFFLINE
    return {
        **_called(result),
        "status": "ok",
        "description": answer["description"] or None,
        "language": answer["language"],
        "ocr_text": None if offline else answer["ocr_text"],
        "ocr_engine": "none" if offline else "vision",
        "attempts": result["attempts"] + (not offline),
    }


def _refused(result: Mapping[str, Any], rules: DescribeRules) -> dict[str, Any]:
    """What the engine says, in the words of this table: bad answers fail the row when there are too many of them."""
    reason = result["reason"].removeprefix(MODEL_FAILED)
    failed = {**_called(result), **{name: result[name] for name in _FATE}, "reason": reason}
    bad = reason in BAD_ANSWERS
    if bad and (result["status"] == "failed" or result["attempts"] >= rules.max_failures):
        counts = {"observed": f"{result['attempts']} x {reason}", "threshold": str(rules.max_failures)}
        return {**failed, **counts, "status": "failed", "reason": FAILED, "not_before": None}
    return failed


def _called(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "provider": result["provider"],
        "model_served": result["model"] if result["provider"] != OFFLINE else None,
        "described_at": result["settled_at"],
        "attempts": result["attempts"],
        "failures": result["attempts"],
        "request_key": result["input_hash"],
        "prompt_version": result["prompt_version"],
        "cost_usd": result["cost_usd"],
    }


def _text(row: Mapping[str, Any], found: Mapping[str, Any], texts: Mapping[str, str | None]) -> dict[str, Any]:
    """The text of a picture: a model's, else that read on this machine.

    `local` without a text says that it was looked for, and that what was found could not be understood.
    """
    if found.get("ocr_engine") == "vision":
        return {}
    if not row["readable"] or row["sha256"] not in texts:
        return {"ocr_text": None, "ocr_engine": "none"}
    return {"ocr_text": texts[row["sha256"]], "ocr_engine": "local"}
