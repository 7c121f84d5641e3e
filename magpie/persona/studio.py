"""The stages of persona that ask models or train them: texts in pictures, the author's work, the two text models.

Belongs here: joining lake, engine and rules for one blog and some days. Does not belong here: the rules themselves,
stages that need no model (`stages.py`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import partial

import polars as pl

from magpie.lake import Lake
from magpie.llm.choices import Choice
from magpie.llm.engine import Engine
from magpie.llm.progress import Report
from magpie.llm.task import Scope, Summary
from magpie.persona import judge, logs, training
from magpie.persona import tables as t
from magpie.persona.author import KICK_DAYS, Author, Past
from magpie.persona.documents import with_answer
from magpie.persona.image_lines import local_lines
from magpie.persona.image_read import IMAGE_READ, QUESTIONS, ImageReader
from magpie.persona.image_texts import Downloads, Shop, image_texts, media_folders
from magpie.persona.judge import PERSONA_JUDGE
from magpie.persona.labels import autoreview_labels, selector_labels
from magpie.persona.ngram import Ngram
from magpie.persona.retention import Kept, by_day
from magpie.persona.routing import Cuts
from magpie.persona.scoring import Models, Scorer
from magpie.persona.sentiment import PERSONA_SENTIMENT, sentiments
from magpie.persona.settings import Blog
from magpie.persona.stages import PRODUCT, Reader
from magpie.persona.subjects import Turn, subjects_of, turns_of
from magpie.persona.text_model import TextModel
from magpie.persona.threads import image_urls_of
from magpie.persona.tombstones import DELETED, blanked
from magpie.persona.write_post import PERSONA_WRITE, writer_rows
from magpie.persona.writing import Text, Writing
from magpie.places import hashed
from magpie.strict import DEFAULT_CHOICE
from magpie.tables import Table

# The offline writer sounds like what the blog wrote lately; more than this makes it slower and no better.
CORPUS_POSTS = 5000
KINDS: dict[str, training.Kind] = {t.SELECTOR_MODEL.name: "selector", t.AUTOREVIEW_MODEL.name: "autoreview"}


@dataclass(frozen=True)
class Studio:
    """Works with models for one blog after the other.

    Attributes:
        run_id: of the orchestrator, for the ledger; report: told how far it is.
        summaries: of the tasks so far.
    """

    reader: Reader
    engine: Engine
    run_id: str | None
    report: Report
    summaries: list[Summary] = field(default_factory=list)

    @property
    def lake(self) -> Lake:
        return self.reader.lake

    def image_texts(self, blog: Blog, posts: pl.DataFrame) -> pl.DataFrame:
        """What is written in the pictures of posts.

        Args:
            posts: `tumblr_posts` of the blog and some days.
        """
        reader = self.reader
        live = blog.mode == "live" and reader.web is not None
        downloads = Downloads(reader.control, reader.blobs, reader.web, time.sleep) if live and reader.web else None
        shop = Shop(media_folders(reader.places, blog.name), downloads, reader.blobs, reader.clock())
        local = local_lines() if reader.settings.persona.local_ocr != "off" else None
        ask = self._ask(IMAGE_READ.name, blog, t.IMAGE_TEXTS)
        by_model = self.asks(IMAGE_READ.name, blog, t.IMAGE_TEXTS, pl.DataFrame(schema=QUESTIONS))
        pictures = ImageReader.of(blog, ask, by_model, local, reader.blobs)
        return image_texts(posts, image_urls_of, self._of_blog(t.IMAGE_TEXTS, blog).collect(), shop, pictures.read)

    def authored(self, blog: Blog, days: Sequence[date], inbox: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Write, score, choose and keep for the admitted inputs of some days; frames by table.

        Args:
            inbox: `persona_inbox` of the blog and these days.
        """
        reader, tuning = self.reader, blog.tuned()
        ids = inbox["post_id"].drop_nulls()
        posts, threads = (reader.of_posts(table, blog, ids) for table in (t.TUMBLR_POSTS, t.THREADS))
        texts = self._of_blog(t.IMAGE_TEXTS, blog).collect()
        subjects = subjects_of(inbox, posts, threads, texts, blog, tuning)
        turns = turns_of(logs.TICKS.read(reader.control, blog=blog.name), subjects)
        gone = self._taken_back(blog, days, inbox)
        made = self._author(blog).days(days, turns, self._past(blog, days, gone)).frames()
        return {
            table.name: pl.concat([made[table.name], gone.get(table.name, table.empty())]).sort(table.sort_by)
            for table in t.AUTHORED
        }

    def trained(self, table: Table, blog: Blog) -> pl.DataFrame:
        """All versions of a model of a blog, with those that are due by now."""
        known = self._of_blog(table, blog).collect()
        settings, kind = self.reader.settings.persona, KINDS[table.name]
        for at in self._training_times(blog):
            made = training.train_row(
                blog.name, kind, self._labels(kind, blog, at), at, settings, blog.tuned(), self.reader.blobs.put, known
            )
            known = pl.concat([known.join(made, on="version", how="anti"), made])
        return known.sort(table.sort_by)

    def _author(self, blog: Blog) -> Author:
        reader, tuning = self.reader, blog.tuned()
        words, persona = reader.words(blog), reader.settings.persona
        ask_write = self._ask(PERSONA_WRITE.name, blog, t.CANDIDATES)
        ask_sentiment = self._ask(PERSONA_SENTIMENT.name, blog, t.CANDIDATE_SCORES)
        scorer = Scorer(
            tuning,
            self._models(blog),
            partial(sentiments, ask=ask_sentiment if persona.sentiment == "model" else None),
            self._judge(blog) if persona.judge else None,
        )
        by_model = self.asks(PERSONA_WRITE.name, blog, t.CANDIDATES, writer_rows("", "", "answer", [], [], ""))
        corpus = None if by_model else self._corpus(blog)
        writing = Writing(blog, tuning, words, ask_write, corpus, persona.min_corpus)
        shaping = [blog.model_dump(mode="json"), words.model_dump(), tuning.model_dump(mode="json"), persona.sentiment]
        return Author(blog, tuning, words, writing, scorer, hashed(shaping)[:16])

    def _taken_back(self, blog: Blog, days: Sequence[date], inbox: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """What is stored of inputs that were taken back since, without words."""
        ids = inbox.filter(pl.col("reason") == DELETED)["input_id"].to_list()
        mine = pl.col("day").is_in(list(days)) & pl.col("input_id").is_in(ids)
        of_input = [table for table in t.AUTHORED if "input_id" in table.dtypes]
        return blanked({table.name: self._of_blog(table, blog).filter(mine).collect() for table in of_input})

    def _past(self, blog: Blog, days: Sequence[date], gone: Mapping[str, pl.DataFrame]) -> Past:
        """What the author knows from days that are not made now, and from inputs of these that were taken back."""
        first, last = min(days), max(days)
        other = ~pl.col("day").is_in(list(days)) & (pl.col("day") < last)
        kicks = self._of_blog(t.MOOD_INPUTS, blog).filter(other & (pl.col("day") >= first - timedelta(days=KICK_DAYS)))
        scores = self._of_blog(t.CANDIDATE_SCORES, blog).filter(other)
        keys = ("day", "input_id", "attempt", "k")
        told = scores.select(*keys, "sentiment_logit").collect()
        logits = pl.concat([told, gone[t.CANDIDATE_SCORES.name].select(told.columns)])
        moved = kicks.select("day", "kick_ts", "kick").collect()
        return Past(
            pl.concat([moved, gone[t.MOOD_INPUTS.name].select(moved.columns)]),
            {(*row[:4],): row[4] for row in logits.iter_rows()},
            self._closed(blog, first, other),
        )

    def _closed(self, blog: Blog, first: date, other: pl.Expr) -> dict[date, dict[str, Kept]]:
        """The sets that days closed with: those of days between, and the last one before the first day.

        A set that was emptied has no rows; what tells it from a day that is not made is that something was decided.
        """
        rows = self._of_blog(t.RETENTION_SET, blog).filter(other).collect()
        decided = self._of_blog(t.DECISIONS, blog).filter(other & (pl.col("kind") == "original"))
        known = {*rows["day"], *decided.select("day").unique().collect()["day"]}
        latest = max((day for day in known if day < first), default=None)
        held = by_day(rows)
        return {day: held.get(day, {}) for day in known if day > first or day == latest}

    def _models(self, blog: Blog) -> Callable[[datetime], Models]:
        tables = {kind: self._of_blog(table, blog).collect() for kind, table in training.TABLES.items()}
        tuning, least = blog.tuned(), self.reader.settings.persona.threshold_labels
        loaded: dict[str, TextModel] = {}

        def load(sha256: str) -> TextModel:
            if sha256 not in loaded:
                loaded[sha256] = TextModel.from_bytes(self.reader.blobs.get(sha256))
            return loaded[sha256]

        def at(moment: datetime) -> Models:
            selector, autoreview = (training.model_at(tables[kind], moment, load) for kind in training.TABLES)
            cuts = training.cuts_of(training.row_at(tables["autoreview"], moment), tuning, least)
            named = ("accept_below", "accept_below_original", "flag_above", "reject_above")
            return Models(selector, autoreview, Cuts(*(cuts[name]["value"] for name in named)))

        return at

    def _corpus(self, blog: Blog) -> Callable[[date], Ngram]:
        """The offline writer as it was before a day: it has read what the blog had published by then."""
        own = (pl.col("role") == "own") & (pl.col("post_state") == "published") & (pl.col("status") == "ok")
        posts = self._of_blog(t.TUMBLR_POSTS, blog).filter(own).select("post_id")
        said = self._of_blog(t.THREADS, blog).join(posts, on="post_id", how="semi")
        rows = said.select("day", "post_id", "final_body", "final_tags").drop_nulls("final_body").collect()
        ordered = rows.sort("day", "post_id")
        trained: dict[int, Ngram] = {}

        def before(day: date) -> Ngram:
            count = int((ordered["day"] < day).sum())
            if count not in trained:
                trained.clear()
                read = ordered.head(count).tail(CORPUS_POSTS)
                trained[count] = Ngram.trained(list(read.select("final_body", "final_tags").iter_rows()))
            return trained[count]

        return before

    def _judge(self, blog: Blog) -> Callable[[Turn, Sequence[Text]], list[float | None]]:
        ask = self._ask(PERSONA_JUDGE.name, blog, t.CANDIDATE_SCORES)

        def judged(turn: Turn, texts: Sequence[Text]) -> list[float | None]:
            subject = turn.subject
            about = f"{subject.blog}|{subject.day}|{subject.input_id}"
            return judge.risks(subject.prompts.autoreview, [(one.body, one.tags) for one in texts], ask, about)

        return judged

    def _training_times(self, blog: Blog) -> list[datetime]:
        """Live: the last one; of an archive all since there is something to react to, so that a replay is the same."""
        now = self.reader.clock()
        others = self._of_blog(t.TUMBLR_POSTS, blog).filter(pl.col("role") != "own").select("day")
        said = self._of_blog(t.TUMBLR_REPLIES, blog).select("day")
        first, last = pl.concat([others, said]).select(a=pl.col("day").min(), b=pl.col("day").max()).collect().row(0)
        if first is None:
            first = last = now.date()
        if blog.mode == "live":
            return training.training_times(now.date() - timedelta(days=7), now)[-1:]
        return training.training_times(first - timedelta(days=7), min(now, _end_of(last)))

    def _labels(self, kind: training.Kind, blog: Blog, at: datetime) -> pl.DataFrame:
        if kind == "selector":
            posts, threads = (self._of_blog(table, blog).collect() for table in (t.TUMBLR_POSTS, t.THREADS))
            return selector_labels(posts, threads, at)
        decisions, outbox = (self._of_blog(table, blog).collect() for table in (t.DECISIONS, t.OUTBOX))
        reviews = logs.REVIEWS.read(self.reader.control, blog=blog.name)
        return autoreview_labels(decisions, outbox, reviews, at, self._prompts(blog, decisions), with_answer)

    def _prompts(self, blog: Blog, decisions: pl.DataFrame) -> dict[str, str]:
        """What the autoreview model reads before the texts of each decided input."""
        mine = pl.col("input_id").is_in(decisions["input_id"].unique().implode())
        inbox = self._of_blog(t.PERSONA_INBOX, blog).filter(mine).collect()
        ids = inbox["post_id"].drop_nulls()
        posts, threads = (self.reader.of_posts(table, blog, ids) for table in (t.TUMBLR_POSTS, t.THREADS))
        texts = self._of_blog(t.IMAGE_TEXTS, blog).collect()
        subjects = subjects_of(inbox, posts, threads, texts, blog, blog.tuned())
        return {name: subject.prompts.autoreview for name, subject in subjects.items()}

    def _ask(self, function: str, blog: Blog, table: Table) -> Callable[[pl.DataFrame], pl.DataFrame]:
        scope = self.scope(function, blog, table)

        def ask(rows: pl.DataFrame) -> pl.DataFrame:
            done = self.engine.run(function, rows, scope, self.report)
            self.summaries.append(done.summary)
            return done.rows

        return ask

    def asks(self, function: str, blog: Blog, table: Table, nothing: pl.DataFrame) -> bool:
        """Whether a model answers a function, and not its rules; `nothing`: no rows, in the columns of a question."""
        return bool(self.engine.asking(function, nothing, self.scope(function, blog, table)).models)

    def scope(self, function: str, blog: Blog, table: Table = t.CANDIDATES) -> Scope:
        """For whom the ledger books it, and how blog and settings want it asked."""
        return Scope(
            PRODUCT,
            table.name,
            (f"blog:{blog.name}",),
            "blog",
            self.run_id,
            blog.functions.get(function, DEFAULT_CHOICE).choice(),
            Choice(),
            self.reader.settings.llm.functions.get(function, DEFAULT_CHOICE).choice(),
        )

    def _of_blog(self, table: Table, blog: Blog) -> pl.LazyFrame:
        return self.lake.read(table).filter(pl.col("blog") == blog.name)


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), clock_time(), UTC)
