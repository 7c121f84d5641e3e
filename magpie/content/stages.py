"""The stages of content as functions of the lake: what each reads, and the one rule it applies.

Belongs here: joining settings, lake, files, decisions and models for one site and some days, for the orchestrator and
for tests. Does not belong here: the rules themselves (their own modules), scheduling, writing.

Days are made one after the other, the oldest first: topics and ideas of a batch know those of the batches before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.article_edits import edited
from magpie.content.article_images import ImageRules, article_images
from magpie.content.articles import ArticleRules, articles
from magpie.content.articles import question_rows as article_questions
from magpie.content.cluster_keywords import CLUSTER_KEYWORDS
from magpie.content.clusters import ClusterRules, cluster_questions, keyword_clusters
from magpie.content.generate_article import GENERATE_ARTICLE
from magpie.content.generate_ideas import GENERATE_IDEAS
from magpie.content.ideas import IdeaRules, content_ideas
from magpie.content.ideas import question_rows as idea_questions
from magpie.content.image_prompts import IMAGE_PROMPTS_FUNCTION, ImagePromptRules, image_prompts
from magpie.content.image_prompts import question_rows as prompt_questions
from magpie.content.image_slots import slots
from magpie.content.keywords import SEEN_AS, Places, keywords, rows_of
from magpie.content.keywords import keyword_files as files_of
from magpie.content.settings import Site
from magpie.control import Control
from magpie.fetches import Fetches
from magpie.lake import Lake
from magpie.llm.choices import Choice
from magpie.llm.engine import Engine
from magpie.llm.images import image_maker
from magpie.llm.moderation import moderator
from magpie.llm.progress import Report
from magpie.llm.purpose import Purpose
from magpie.llm.task import Scope, Summary
from magpie.settings import Settings
from magpie.sources.keyword_files import read_keyword_file
from magpie.strict import DEFAULT_CHOICE
from magpie.tables import Partitions, Table
from magpie.text.embedder import AnyEmbedder, Embedded, embedded

# As scopes of the ledger and shares of quotas name it.
PRODUCT = "content"
# As the books name the making of an image, which is no function of the engine.
IMAGE = "generate_image"


@dataclass(frozen=True)
class Desk:
    """What needs no model: files and keywords."""

    settings: Settings
    lake: Lake
    control: Control
    clock: Callable[[], datetime]

    @property
    def places(self) -> Places:
        return Places.of(self.settings.root, self.settings.home, self.settings.content, self.settings.sites)

    def keyword_files(self) -> pl.DataFrame:
        """Look through folders and lists; what has not changed since the last time is not read again."""
        stored, now = self.lake.read(t.KEYWORD_FILES).collect(), self.clock()
        seen = Fetches(self.control).seen
        return files_of(self.places, stored, read_keyword_file, lambda names: seen(SEEN_AS, names, now))

    def keywords(self, site: Site, days: Sequence[date]) -> pl.DataFrame:
        """The keywords of a site's batches."""
        files, places = self.lake.read(t.KEYWORD_FILES).collect(), self.places
        earlier = self.lake.read(t.KEYWORDS).filter(pl.col("site_id") == site.id).collect()
        return keywords(files, site, days, earlier, lambda name: rows_of(places, name, read_keyword_file))


@dataclass(frozen=True)
class Writer:
    """What models, or rules in their place, make of keywords for one site after the other.

    Attributes:
        embedder: of an asset by name.
        run_id: of the orchestrator, for the ledger; report: told how far it is.
        summaries: of the tasks so far.
    """

    settings: Settings
    lake: Lake
    control: Control
    engine: Engine
    embedder: Callable[[Purpose], AnyEmbedder]
    run_id: str | None
    report: Report
    summaries: list[Summary] = field(default_factory=list)

    def keyword_clusters(self, site: Site, days: Sequence[date], found: pl.DataFrame) -> pl.DataFrame:
        """Group keywords into topics.

        Args:
            found: `keywords` of the site and these days.
        """
        rules, embedder = ClusterRules.of(self.settings.content), self._embedder(site, t.KEYWORD_CLUSTERS)

        def embed(texts: Sequence[str]) -> Embedded:
            return embedded(embedder, texts)

        def make(day: date, earlier: pl.DataFrame) -> pl.DataFrame:
            asked = cluster_questions(_on(found, day), earlier, site, rules, embed)
            answers = self._answers(CLUSTER_KEYWORDS.name, asked.rows, site, t.KEYWORD_CLUSTERS)
            return keyword_clusters(asked, answers, earlier, site, rules)

        return self._day_by_day(site, days, t.KEYWORD_CLUSTERS, make)

    def content_ideas(
        self, site: Site, days: Sequence[date], clusters: pl.DataFrame, found: pl.DataFrame
    ) -> pl.DataFrame:
        """Think of what could be written about each topic.

        Args:
            clusters, found: `keyword_clusters` and `keywords` of the site and these days.
        """
        rules, embedder = IdeaRules.of(self.settings.content, site), self._embedder(site, t.CONTENT_IDEAS)
        states = reviews.fold(reviews.REVIEWS.read(self.control))
        of_clusters, of_ideas = reviews.decided(states, "cluster"), reviews.decided(states, "idea")

        def make(day: date, earlier: pl.DataFrame) -> pl.DataFrame:
            asked = idea_questions(_on(clusters, day), _on(found, day), earlier, site, rules, of_clusters)
            answers = self._answers(GENERATE_IDEAS.name, asked, site, t.CONTENT_IDEAS)
            return content_ideas(asked, answers, earlier, site, embedder, rules, of_ideas)

        return self._day_by_day(site, days, t.CONTENT_IDEAS, make)

    def articles(
        self, site: Site, days: Sequence[date], ideas: pl.DataFrame, clusters: pl.DataFrame, found: pl.DataFrame
    ) -> pl.DataFrame:
        """Write the ideas, and apply what people changed since.

        Args:
            ideas, clusters, found: `content_ideas`, `keyword_clusters` and `keywords` of the site and these days.
        """
        rules, embedder = ArticleRules.of(self.settings.content), self._embedder(site, t.ARTICLES)
        moderate = self._moderator(site, t.ARTICLES)
        edits = reviews.edits(reviews.REVIEWS.read(self.control))

        def make(day: date, earlier: pl.DataFrame) -> pl.DataFrame:
            ideas_today = _on(ideas, day)
            asked = article_questions(ideas_today, _on(clusters, day), _on(found, day), site, embedder, rules)
            answers = self._answers(GENERATE_ARTICLE.name, asked.asked, site, t.ARTICLES)
            written = articles(ideas_today, asked, answers, earlier, site, embedder, moderate, rules)
            return edited(written, edits, ideas_today, site, rules)

        return self._day_by_day(site, days, t.ARTICLES, make)

    def image_prompts(self, site: Site, written: pl.DataFrame) -> pl.DataFrame:
        """Say what each image of the ok articles is to show.

        Args:
            written: `articles` of the site.
        """
        rules, wanted = ImagePromptRules.of(site), slots(self.settings.content)
        asked = prompt_questions(written, wanted, site, rules)
        answers = self._answers(IMAGE_PROMPTS_FUNCTION.name, asked, site, t.IMAGE_PROMPTS)
        return image_prompts(asked, answers, wanted, self._moderator(site, t.IMAGE_PROMPTS), rules)

    def article_images(self, site: Site, prompts: pl.DataFrame) -> pl.DataFrame:
        """Make the images.

        Args:
            prompts: `image_prompts` of the site.
        """
        purpose = self._purpose(IMAGE, site, t.ARTICLE_IMAGES)
        retry = self.engine.settings.retry_failed
        maker = image_maker(self.engine, self.settings.content.image_provider, purpose, retry_failed=retry)
        rules = ImageRules.of(self.settings.content, self.engine.settings.workers)
        return article_images(prompts, maker, rules, self.settings.home, self.engine.gateway.clock())

    def _day_by_day(
        self, site: Site, days: Sequence[date], table: Table, make: Callable[[date, pl.DataFrame], pl.DataFrame]
    ) -> pl.DataFrame:
        """Make one day after the other; each is told what the lake holds of the site before it, and these days."""
        asked = sorted(set(days))
        stored = self.lake.read(table).filter((pl.col("site_id") == site.id) & ~pl.col("day").is_in(asked)).collect()
        made = [table.empty()]
        for day in asked:
            known = pl.concat([stored, *made])
            made.append(make(day, known.filter(pl.col("day") < day)))
        return pl.concat(made)

    def _answers(self, function: str, rows: pl.DataFrame, site: Site, table: Table) -> pl.DataFrame:
        done = self.engine.run(function, rows, self.scope(function, site, table), self.report)
        self.summaries.append(done.summary)
        return done.rows

    def scope(self, function: str, site: Site, table: Table) -> Scope:
        """For whom the ledger books it, and how site and settings want it asked."""
        return Scope(
            PRODUCT,
            table.name,
            (f"site:{site.id}",),
            "site",
            self.run_id,
            site.functions.get(function, DEFAULT_CHOICE).choice(),
            Choice(),
            self.settings.llm.functions.get(function, DEFAULT_CHOICE).choice(),
        )

    def _purpose(self, function: str, site: Site, table: Table) -> Purpose:
        return Purpose(PRODUCT, function, table.name, run_id=self.run_id, scopes=(f"site:{site.id}",))

    def _embedder(self, site: Site, table: Table) -> AnyEmbedder:
        return self.embedder(self._purpose("embed", site, table))

    def _moderator(self, site: Site, table: Table):  # type: ignore[no-untyped-def]
        mode = self.settings.content.moderation_fail_mode
        return moderator(self.engine, self._purpose("moderate", site, table), mode).moderate


def _on(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    return frame.filter(pl.col("day") == day)


def batch_days(lake: Lake, site_id: str, first: date, last: date) -> list[date]:
    """The days on which a site has keywords, within bounds."""
    files = lake.read(t.KEYWORD_FILES).filter((pl.col("status") == "ok") & (pl.col("site_id") == site_id))
    days = files.filter(pl.col("day").is_between(first, last)).select("day").unique().sort("day")
    return days.collect()["day"].to_list()


def of_site(lake: Lake, table: Table, site: Site, days: Sequence[date]) -> pl.DataFrame:
    """A table's rows of one site and some days."""
    return lake.read(table, Partitions({site.id: frozenset(days)})).collect()
