"""Asking about the pictures of some partitions: the one entry to `meme_descriptions`.

Belongs here: joining settings, engine, blobs and the reader of text; which questions are put at all. Does not belong
here: the rules (`descriptions.py`), what an answer must hold (`describe.py`), whose turn comes next
(`describe_queue.py`).

A question costs one of few free calls, so only memes in an unexpired entry of the queue are asked about anew. All
others that were answered before are put to the engine again, which serves them from the journal for nothing: a meme
counts as answered if the journal holds an answer to the very question that would be asked now, and that answer holds.
Where the question has changed since (another prompt, another encoder of pictures), what is stored stays as it is: the
picture has not changed. So does what a model said while no model can be asked.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from magpie.blobs import Blobs, NoBlob
from magpie.llm import history
from magpie.llm.conversation import Prepared
from magpie.llm.engine import RESULT_SCHEMA, ROWS_PER_BLOCK, Asking, Engine
from magpie.llm.progress import Report
from magpie.llm.purpose import Purpose
from magpie.llm.spec import Pace
from magpie.llm.store import LedgerUnavailable
from magpie.llm.task import Scope, Summary
from magpie.media.ocr import Reader
from magpie.media.opening import UnusableMedia
from magpie.memes.describe import MEME_DESCRIBE, PICTURES_KEPT
from magpie.memes.descriptions import (
    QUESTIONS,
    DescribeRules,
    Known,
    admitted,
    by_model,
    candidates,
    due,
    meme_descriptions,
    of_these_pictures,
    question_rows,
    texts_known,
    texts_wanted,
)
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_DESCRIPTIONS
from magpie.settings import Settings
from magpie.strict import DEFAULT_CHOICE

log = logging.getLogger(__name__)

# As scopes of the ledger and shares of quotas name it.
PRODUCT = "memes"
# Picks among prepared questions.
Choose = Callable[[Asking, Sequence[Prepared]], list[Prepared]]


def pace_of(settings: Memes) -> Pace:
    """How patiently free models are asked: one meme after another, from model to model, within bounds of time."""
    return replace(
        MEME_DESCRIBE.pace,
        request_s=settings.describe_request_s,
        row_s=settings.describe_meme_s,
        batch_s=settings.describe_batch_s,
        stop_after=settings.describe_stop_after,
        tries=settings.describe_max_failures,
    )


@dataclass(frozen=True)
class Describer:
    """Describes memes with free vision models, or by rule where none can be asked.

    Attributes:
        reader: of text in pictures; None: the extra `ocr` is not installed.
        run_id: of the orchestrator, for the ledger.
        report: told how far it is.
    """

    settings: Settings
    engine: Engine
    blobs: Blobs
    reader: Reader | None
    run_id: str | None
    report: Report

    def meme_descriptions(
        self, memes: pl.DataFrame, media: pl.DataFrame, known: Known
    ) -> tuple[pl.DataFrame, tuple[Summary, ...]]:
        """Describe the memes of some partitions whose turn it is, and say what became of each.

        Args:
            memes, media: rows of those partitions.

        Raises:
            UserError: a model in the settings does not exist, or the local reader lacks a file.
        """
        now = self.engine.gateway.clock()
        rules = DescribeRules.of(self.settings.memes)
        rows = candidates(memes, media, known)
        known = replace(known, stored=of_these_pictures(known.stored, rows))
        texts = texts_known(rows, known.stored)
        wanted = texts_wanted(rows, known, rules)
        asking = self.engine.asking(MEME_DESCRIBE.name, pl.DataFrame(schema=QUESTIONS), self.scope())
        if asking.models:
            asked = due(rows, known.stored, now)
            answered = self._answered_before(rows, asked, known.stored)
            questions, broken = self._free_or_due(asking, asked, answered, texts)
        else:
            self._read(wanted, texts)
            questions, broken = self._showable(asking, question_rows(admitted(rows, known.stored), self._path, texts))
        results = pl.DataFrame(schema=RESULT_SCHEMA)
        summaries: tuple[Summary, ...] = ()
        if questions.height:
            done = self.engine.run(MEME_DESCRIBE.name, questions, self.scope(), self.report)
            results, summaries = done.rows, (done.summary,)
        if asking.models:
            seen = questions.filter(results["status"] == "ok")
            self._read(wanted.join(seen, on="meme_id", how="anti"), texts)
        return meme_descriptions(rows, questions, results, texts, known.stored, broken, rules, now), summaries

    @property
    def by_rule(self) -> bool:
        """Whether no model can be asked: for want of a key, or because the settings say so."""
        return not self.engine.asking(MEME_DESCRIBE.name, pl.DataFrame(schema=QUESTIONS), self.scope()).models

    def scope(self) -> Scope:
        """For whom the ledger books it, and how the settings want it asked."""
        own = self.settings.llm.functions.get(MEME_DESCRIBE.name, DEFAULT_CHOICE).choice()
        pace = pace_of(self.settings.memes)
        return Scope(PRODUCT, MEME_DESCRIPTIONS.name, run_id=self.run_id, function_choice=own, pace=pace)

    def _path(self, sha256: str) -> str:
        return str(self.blobs.path(sha256))

    def _read(self, rows: pl.DataFrame, texts: dict[str, str | None]) -> None:
        """Read pictures on this machine whose language it knows, each once, and add what they say."""
        if self.reader is None:
            return
        for sha256, language in rows.select("sha256", "language").sort("sha256", "language").iter_rows():
            if sha256 not in texts and self.reader.reads(language):
                try:
                    texts[sha256] = self.reader.read(self.blobs.get(sha256))
                except NoBlob as error:
                    log.warning("a picture was not read for its text: %s", error)

    def _answered_before(self, rows: pl.DataFrame, asked: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
        """Rows, other than those asked about now, that a model has seen as far as table and books know."""
        others = rows.filter("readable").join(asked, on="meme_id", how="anti")
        told = stored.filter(by_model()).select("meme_id")
        about = [
            Purpose(PRODUCT, MEME_DESCRIBE.name, MEME_DESCRIPTIONS.name, row_ref=row_ref)
            for row_ref in others["row_ref"]
        ]
        called: set[str | None] = set()
        try:
            for start in range(0, len(about), ROWS_PER_BLOCK):
                block = about[start : start + ROWS_PER_BLOCK]
                past = self.engine.gateway.store.read(partial(history.past, purposes=block))
                called |= {key[0] for key, known in past.items() if known.settled_at is not None}
        except LedgerUnavailable as error:
            log.warning("only rows that are stored are taken for answered: %s", error)
        here = pl.Series(sorted(ref for ref in called if ref is not None), dtype=pl.String)
        return others.filter(
            pl.col("row_ref").is_in(here.implode()) | pl.col("meme_id").is_in(told["meme_id"].implode())
        )

    def _free_or_due(
        self, asking: Asking, asked: pl.DataFrame, answered: pl.DataFrame, texts: Mapping[str, str | None]
    ) -> tuple[pl.DataFrame, dict[str, str]]:
        """The questions that are asked now: those whose turn it is, then those that need no call."""
        new, broken = self._showable(asking, question_rows(asked, self._path, texts))
        old, gone = self._showable(asking, question_rows(answered, self._path, texts), self._need_no_call)
        return pl.concat([new, old]), broken | gone

    def _showable(
        self, asking: Asking, questions: pl.DataFrame, chosen: Choose | None = None
    ) -> tuple[pl.DataFrame, dict[str, str]]:
        """The questions whose picture can be shown, and why others cannot, by meme.

        Args:
            chosen: picks among the showable ones of a block.
        """
        kept: list[str] = []
        broken: dict[str, str] = {}
        for block in questions.iter_slices(PICTURES_KEPT):
            ready: list[Prepared] = []
            for row in block.iter_rows(named=True):
                try:
                    ready.append(asking.prepare(row))
                except OSError as error:
                    broken[row["meme_id"]] = error.strerror or type(error).__name__
                except UnusableMedia as error:
                    broken[row["meme_id"]] = error.why.reason
            kept += [item.row["meme_id"] for item in (chosen(asking, ready) if chosen else ready)]
        return questions.filter(pl.col("meme_id").is_in(pl.Series(kept, dtype=pl.String).implode())), broken

    def _need_no_call(self, asking: Asking, ready: Sequence[Prepared]) -> list[Prepared]:
        """Those to which the journal has an answer that holds."""
        gateway = self.engine.gateway
        talks = [asking.conversation(item, {}, gateway) for item in ready]
        try:
            entries = gateway.find([request for talk in talks for request in talk.requests()])
        except LedgerUnavailable as error:
            log.warning("what was answered stays as it is stored: %s", error)
            return []
        for talk in talks:
            found = talk.best(entries)
            answer = gateway.recall(*found) if found else None
            if found and answer:
                talk.begin_with(found[0], answer)
        return [talk.item for talk in talks if (end := talk.settled()) is not None and end.refused is None]
