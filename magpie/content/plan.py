"""What a run of content would ask of models over some days, from the tables that are stored.

Belongs here: which questions each stage would ask about the batches of a site. Does not belong here: what of them is
journalled and what it costs (`magpie/llm/plan.py`), making the tables.

The order is that of `magpie run content`: one site after another, each from topics to images. A stage is planned from
what is stored of the one before it; what that is going to be nobody knows before.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from magpie.content import changes, reviews
from magpie.content import tables as t
from magpie.content.article_images import ImageRules, order_for
from magpie.content.articles import ArticleRules, awaiting, to_write
from magpie.content.articles import question_rows as article_questions
from magpie.content.cluster_keywords import CLUSTER_KEYWORDS
from magpie.content.clusters import ClusterRules, cluster_questions
from magpie.content.generate_article import GENERATE_ARTICLE
from magpie.content.generate_ideas import GENERATE_IDEAS
from magpie.content.ideas import IdeaRules
from magpie.content.ideas import question_rows as idea_questions
from magpie.content.image_prompts import IMAGE_PROMPTS_FUNCTION, ImagePromptRules
from magpie.content.image_prompts import question_rows as prompt_questions
from magpie.content.image_slots import slots
from magpie.content.settings import Site
from magpie.content.stages import IMAGE, PRODUCT, Writer, of_site
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.embedding import ask_for, unit
from magpie.llm.engine import OFFLINE, Engine
from magpie.llm.images import image_models
from magpie.llm.models import Model
from magpie.llm.plan import Call, Line, Outlook, Plan, Planner, Tally
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import Refused
from magpie.settings import Settings
from magpie.tables import Table
from magpie.text.embedder import AnyEmbedder, Embedded, Wait, embedded
from magpie.text.embedders import HOSTED_EMBEDDERS, embedder_named

# Vectors are a part of making topics that is paid by itself.
VECTORS = "vectors"


def plan(
    settings: Settings,
    lake: Lake,
    control: Control,
    engine: Engine,
    first: date | None = None,
    last: date | None = None,
    sites: Sequence[str] = (),
) -> Plan:
    """Plan what writing for sites asks; nothing is called and nothing written.

    Args:
        first, last: batch days, both included; None: as far as batches are known.
        sites: ids; none: all active ones.

    Raises:
        UserError: an unknown site, days out of order, none given and none known, or a folder that is not there.
        LedgerUnavailable: the journal cannot be read.
    """
    if first is not None and last is not None and first > last:
        raise UserError(f"--from {first} --to {last} must be in order")
    asked = sites or [site.id for site in settings.sites if site.active]
    chosen = [settings.site(name) for name in dict.fromkeys(asked)]
    days = {site.id: _batches(lake, site, first, last) for site in chosen}
    every = [day for found in days.values() for day in found]
    if not every and (first is None or last is None):
        raise UserError("no batch of keywords is known yet; run `magpie run content` first, or give --from and --to")
    ahead = _Ahead(settings, lake, control, engine)
    for site in chosen:
        ahead.site(site, days[site.id])
    stale = len(changes.stale_files(settings, lake))
    if changes.unheard(lake, control):
        ahead.notes.append("people decided since the last run; what follows from that is not in this plan")
    if stale:
        ahead.notes.append(f"{stale:,} keyword files or lists are new or changed since the last run, and not planned")
    return Plan(
        PRODUCT,
        first or min(every, default=last or date.min),
        last or max(every, default=first or date.max),
        tuple(ahead.lines),
        tuple(ahead.calls),
        {label: "; ".join(answers) for label, answers in ahead.asked.items()},
        ahead.details,
        tuple(ahead.notes),
        {site.id: site.name for site in chosen},
    )


def _batches(lake: Lake, site: Site, first: date | None, last: date | None) -> list[date]:
    mine = (pl.col("status") == "ok") & (pl.col("site_id") == site.id)
    inside = pl.col("day").is_between(first or date.min, last or date.max)
    files = lake.read(t.KEYWORD_FILES).filter(mine & inside)
    return files.select("day").unique().sort("day").collect()["day"].to_list()


def _without(days: set[date], rows: pl.DataFrame) -> set[date]:
    return days - set(rows["day"])


def _joined(one: Outlook, other: Outlook) -> Outlook:
    tallies = {**one.tallies, **other.tallies}
    return Outlook(other.asked, tallies, (*one.calls, *other.calls), {**one.details, **other.details})


class _Journalled:
    """An embedder that gives the vectors that are in the journal, and lets the other texts wait."""

    def __init__(self, planner: Planner, model: Model) -> None:
        self._planner, self._row = planner, model
        self.model, self.provider, self.dims = model.model_id, model.provider, model.dims or 0

    def embed_or_wait(self, texts: Sequence[str], row_refs: Sequence[str] | None = None) -> Embedded:
        vectors = np.zeros((len(texts), self.dims), dtype=np.float32)
        waiting: dict[int, Wait] = {}
        keys: dict[int, str] = {}
        requests = []
        for number, text in enumerate(texts):
            asked = self._planner.gateway.request(ask_for(self._row, (text,)), self._row) if text.strip() else None
            if isinstance(asked, Refused):
                waiting[number] = Wait(asked.reason, None)
            elif asked is not None:
                keys[number] = asked.key
                requests.append(asked)
        entries = self._planner.journalled(requests)
        for number, key in keys.items():
            if key in entries:
                vectors[number] = unit(entries[key].exchange.body)
            else:
                waiting[number] = Wait("planned", None)
        return Embedded(vectors, waiting)


class _Ahead:
    """Goes through sites and collects what each stage would ask."""

    def __init__(self, settings: Settings, lake: Lake, control: Control, engine: Engine) -> None:
        self._settings, self._lake, self._engine = settings, lake, engine
        self._planner = Planner(engine)
        self._writer = Writer(settings, lake, control, engine, lambda purpose: self._embedder, None, lambda state: None)
        hosted = HOSTED_EMBEDDERS.get(settings.content.embed_model)
        self._hosted = engine.models.candidates(hosted)[0] if hosted else None
        self._embedder: AnyEmbedder = (
            _Journalled(self._planner, self._hosted) if self._hosted else embedder_named(settings.content.embed_model)
        )
        self._states = reviews.fold(reviews.REVIEWS.read(control))
        self.lines: list[Line] = []
        self.calls: list[Call] = []
        self.asked: dict[str, dict[str, None]] = {}
        self.details: dict[str, str] = {}
        self.notes: list[str] = []

    def site(self, site: Site, days: Sequence[date]) -> None:
        """Plan the batches of one site, stage by stage."""
        stages = (t.KEYWORDS, t.KEYWORD_CLUSTERS, t.CONTENT_IDEAS, t.ARTICLES, t.IMAGE_PROMPTS)
        words, topics, ideas, written, prompts = (of_site(self._lake, table, site, days) for table in stages)
        before = len(self.calls)
        made = set(words["day"])
        self._topics(site, days, made, words)
        made &= set(topics["day"])
        self._ideas(site, days, made, topics, words)
        # A batch in which nothing is to be written, or nothing was, leaves no row for the next stage.
        made &= set(ideas["day"]) | _without(made, topics.filter(pl.col("status") == "ok"))
        self._articles(site, days, made, ideas, topics, words)
        made &= set(written["day"]) | _without(made, pl.concat([to_write(ideas), awaiting(ideas)]))
        self._prompts(site, days, made, written)
        made &= set(prompts["day"]) | _without(made, written.filter(pl.col("status") == "ok"))
        self._images(site, days, made, prompts)
        waits = awaiting(ideas).height
        if waits:
            self.notes.append(f"{site.name}: {waits:,} ideas wait for a yes, and their articles are not in this plan")
        if len(self.calls) > before and not topics.is_empty():
            self.notes.append(
                f"{site.name}: what follows from new answers is planned as the tables stand, and may be different then"
            )

    def _topics(self, site: Site, days: Sequence[date], made: set[date], words: pl.DataFrame) -> None:
        rules = ClusterRules.of(self._settings.content)
        stored = self._lake.read(t.KEYWORD_CLUSTERS).filter(pl.col("site_id") == site.id).collect()
        texts: list[tuple[str, str]] = []
        rows = []
        for day in sorted(made):

            def embed(some: Sequence[str], day: date = day) -> Embedded:
                texts.extend((f"{site.id}|{day}", text) for text in some)
                return embedded(self._embedder, some)

            today = words.filter(pl.col("day") == day)
            asked = cluster_questions(today, stored.filter(pl.col("day") < day), site, rules, embed)
            rows.append(asked.rows)
            if any(sector.waiting for sector in asked.sectors):
                self.notes.append(f"{site.name} {day}: topics are asked about once keywords have their vectors")
        if self._hosted:
            scopes = self._writer.scope(CLUSTER_KEYWORDS.name, site, t.KEYWORD_CLUSTERS).scopes
            purpose = Purpose(PRODUCT, "embed", t.KEYWORD_CLUSTERS.name, scopes=scopes)
            self._add(t.KEYWORD_CLUSTERS, site, days, made, self._planner.texts(self._hosted, texts, purpose), VECTORS)
        self._rows(CLUSTER_KEYWORDS.name, t.KEYWORD_CLUSTERS, site, days, made, rows)

    def _ideas(
        self, site: Site, days: Sequence[date], made: set[date], topics: pl.DataFrame, words: pl.DataFrame
    ) -> None:
        rules, decided = IdeaRules.of(self._settings.content, site), reviews.decided(self._states, "cluster")
        stored = self._lake.read(t.CONTENT_IDEAS).filter(pl.col("site_id") == site.id).collect()
        rows = []
        for day in sorted(made):
            today, known = (frame.filter(pl.col("day") == day) for frame in (topics, words))
            rows.append(idea_questions(today, known, stored.filter(pl.col("day") < day), site, rules, decided))
        self._rows(GENERATE_IDEAS.name, t.CONTENT_IDEAS, site, days, made, rows)

    def _articles(
        self,
        site: Site,
        days: Sequence[date],
        made: set[date],
        ideas: pl.DataFrame,
        topics: pl.DataFrame,
        words: pl.DataFrame,
    ) -> None:
        rules = ArticleRules.of(self._settings.content)
        asked = article_questions(ideas, topics, words, site, self._embedder, rules)
        if asked.waits:
            count = len(asked.waits)
            self.notes.append(f"{site.name}: {count:,} articles are asked for once their titles have vectors")
        self._rows(GENERATE_ARTICLE.name, t.ARTICLES, site, days, made, [asked.asked])

    def _prompts(self, site: Site, days: Sequence[date], made: set[date], written: pl.DataFrame) -> None:
        rows = prompt_questions(written, slots(self._settings.content), site, ImagePromptRules.of(site))
        self._rows(IMAGE_PROMPTS_FUNCTION.name, t.IMAGE_PROMPTS, site, days, made, [rows])

    def _images(self, site: Site, days: Sequence[date], made: set[date], prompts: pl.DataFrame) -> None:
        content, engine = self._settings.content, self._engine
        form = ImageRules.of(content, 1).form
        # Only what was looked at goes to a provider.
        fit = prompts.filter((pl.col("status") == "ok") & ~pl.col("moderation_flagged"))
        orders = [order_for(row, form) for row in fit.iter_rows(named=True)]
        if OFFLINE in (content.image_provider, engine.settings.provider):
            counts = pl.Series([order.partition for order in orders], dtype=pl.String).value_counts(name="n")
            found = Outlook(OFFLINE, {name: Tally(n, free=n) for name, n in counts.iter_rows()})
        else:
            models = image_models(engine.models, content.image_provider, engine.gateway.clock().date())
            scopes = self._writer.scope(IMAGE, site, t.ARTICLE_IMAGES).scopes
            purpose = Purpose(PRODUCT, IMAGE, t.ARTICLE_IMAGES.name, scopes=scopes)
            found = self._planner.images(models, orders, purpose, retry_failed=engine.settings.retry_failed)
        self._add(t.ARTICLE_IMAGES, site, days, made, found)

    def _rows(
        self,
        function: str,
        table: Table,
        site: Site,
        days: Sequence[date],
        made: set[date],
        rows: Sequence[pl.DataFrame],
    ) -> None:
        """Plan the questions of a stage; those of one day at a time, because their ids are those of a batch."""
        found = Outlook(OFFLINE, {})
        for some in rows:
            for part in some.partition_by("partition", maintain_order=True):
                found = _joined(found, self._planner.rows(function, part, self._writer.scope(function, site, table)))
        self._add(table, site, days, made, found)

    def _add(
        self, table: Table, site: Site, days: Sequence[date], made: set[date], found: Outlook, part: str = ""
    ) -> None:
        """Take what one stage asks, a line per day."""
        label = f"{table.name} {part}" if part else ""
        for day in days:
            tally = found.tallies.get(f"{site.id}|{day}", Tally()) if day in made else None
            line = Line(table.name, site.id, day, tally, label)
            self.lines.append(line)
            if found.tallies:
                self.asked.setdefault(line.label, {})[found.asked] = None
        self.calls += [replace(call, part=label) for call in found.calls]
        for reason, detail in found.details.items():
            self.details.setdefault(reason, detail)
