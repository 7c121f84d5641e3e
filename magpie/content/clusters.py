"""keyword_clusters: what is asked about the keywords of a batch, and what the answers make of them.

Belongs here: the questions of a batch, joining answers to one row per topic and one for what is left over, and the
figures of a topic. Does not belong here: what an answer must hold (`cluster_keywords.py`), getting it (`magpie/llm`),
and how groups are drafted (`clustering.py`).

Every ok keyword of a batch is in exactly one row of its sector: in a topic, or in the one of leftovers.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from magpie.content.asked import OK, facts_of, fate_of
from magpie.content.cluster_keywords import CheckedCluster, CheckedClusters
from magpie.content.clustering import agglomerated, average_cosine
from magpie.content.keywords import keyword_norm
from magpie.content.settings import Content, Site
from magpie.content.slugs import SLUG_CHARS, slug_of
from magpie.content.tables import KEYWORD_CLUSTERS, UNCLUSTERED
from magpie.text.embedder import Embedded, Vectors, Wait
from magpie.text.similarity import centroid, cosine_rows

# Names of earlier topics that a question lists; those of most searches come first.
EXISTING_NAMES = 200
OFFLINE = "offline"

_KEYWORD = pl.Struct({"keyword_norm": pl.String, "volume": pl.Int64})
INPUTS = pl.Schema(
    {
        "row_ref": pl.String(),
        "partition": pl.String(),
        "sector": pl.String(),
        "language": pl.String(),
        "min_size": pl.Int64(),
        "max_size": pl.Int64(),
        "existing": pl.List(pl.String),
        "pre_clusters": pl.List(pl.List(_KEYWORD)),
        "leftovers": pl.List(_KEYWORD),
    }
)
# A row of leftovers without a question behind it.
_UNASKED = {"cost_usd": Decimal(0), "credits": 0, "attempts": 0}

Embed = Callable[[Sequence[str]], Embedded]


@dataclass(frozen=True)
class ClusterRules:
    """How keywords are grouped.

    Attributes:
        floor: average cosine down to which draft groups are merged.
        least: keywords of a sector's batch below which nothing is asked.
        min_size, max_size: keywords of a topic; batch: keywords of a question.
    """

    floor: float
    least: int
    min_size: int
    max_size: int
    batch: int

    @classmethod
    def of(cls, content: Content) -> "ClusterRules":
        sizes = (content.min_cluster_size, content.max_cluster_size)
        return cls(content.merge_floor, content.min_keywords, *sizes, content.cluster_batch)


@dataclass(frozen=True)
class SectorBatch:
    """The ok keywords of one site, day and sector, in the order of their normal forms.

    Attributes:
        words: keyword_norm, volume (the effective one) and intent. vectors: one for each, none where nothing is asked.
        waiting: why the vectors are not there yet.
        groups: row_ref -> positions of its keywords in `words`.
    """

    site_id: str
    day: date
    sector: str
    words: pl.DataFrame
    vectors: Vectors
    waiting: Wait | None
    groups: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Questions:
    """What a batch is asked: rows (`INPUTS`) for the engine, and what the answers are joined to."""

    rows: pl.DataFrame
    sectors: tuple[SectorBatch, ...]


def cluster_questions(
    keywords: pl.DataFrame, earlier: pl.DataFrame, site: Site, rules: ClusterRules, embed: Embed
) -> Questions:
    """Return what cluster_keywords is asked about one batch.

    Days are asked one after the other, the oldest first: the topics of each are known to the next.

    Args:
        keywords: `keywords` of one site and day; its ok rows are grouped.
        earlier: `keyword_clusters` of the site; topics of the day itself and of later ones are not looked at.
        embed: vectors of texts.
    """
    ready = keywords.filter(pl.col("status") == "ok").with_columns(
        pl.coalesce("volume_override", "volume").alias("volume")
    )
    rows: list[dict[str, Any]] = []
    sectors: list[SectorBatch] = []
    for (site_id, day, sector), part in sorted(ready.partition_by("site_id", "day", "sector", as_dict=True).items()):
        words = part.select("keyword_norm", "volume", "intent").sort("keyword_norm")
        place = (str(site_id), _day(day), str(sector))
        if words.height < rules.least:
            sectors.append(SectorBatch(*place, words, np.zeros((words.height, 0), np.float32), None, {}))
            continue
        known = embed(words["keyword_norm"].to_list())
        waiting = known.waiting[min(known.waiting)] if known.waiting else None
        asked = () if waiting else tuple(_groups(agglomerated(known.vectors, rules.floor, rules.max_size), rules))
        names = existing_names(earlier, place[2], place[1])
        held = words.select("keyword_norm", "volume").to_dicts()
        groups: dict[str, tuple[int, ...]] = {}
        for number, units in enumerate(asked, 1):
            row_ref = f"{place[2]}#{number}"
            groups[row_ref] = tuple(sorted(at for unit in units for at in unit))
            rows.append(
                {
                    "row_ref": row_ref,
                    "partition": f"{place[0]}|{place[1]}",
                    "sector": place[2],
                    "language": site.language,
                    "min_size": rules.min_size,
                    "max_size": rules.max_size,
                    "existing": names,
                    "pre_clusters": [[held[at] for at in unit] for unit in units if len(unit) >= rules.min_size],
                    "leftovers": [held[at] for unit in units if len(unit) < rules.min_size for at in unit],
                }
            )
        sectors.append(SectorBatch(*place, words, known.vectors, waiting, groups))
    return Questions(pl.DataFrame(rows, schema=INPUTS), tuple(sectors))


def _day(value: object) -> date:
    if not isinstance(value, date):
        raise TypeError(f"day must be a date, not {value!r}")
    return value


def _groups(drafts: Sequence[list[int]], rules: ClusterRules) -> Iterator[list[list[int]]]:
    """Draft groups one after the other, whole, as many as a question takes."""
    held: list[list[int]] = []
    count = 0
    for draft in drafts:
        if held and count + len(draft) > rules.batch:
            yield held
            held, count = [], 0
        held.append(draft)
        count += len(draft)
    if held:
        yield held


def existing_names(earlier: pl.DataFrame, sector: str, day: date) -> list[str]:
    """Names of the topics of earlier batches of a sector, those of most searches first."""
    return (
        _before(earlier, sector, day)
        .sort("volume", "name", descending=[True, False], nulls_last=True)
        .unique("cluster_key", keep="first", maintain_order=True)["name"]
        .head(EXISTING_NAMES)
        .to_list()
    )


def _before(earlier: pl.DataFrame, sector: str, day: date) -> pl.DataFrame:
    return earlier.filter((pl.col("status") == "ok") & (pl.col("sector") == sector) & (pl.col("day") < day))


def cluster_key_of(name: str) -> str:
    """The slug of a case-folded name; one that loses more than accents by it ends with the beginning of its sha256."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    slug = slug_of(folded)
    plain = "".join(char for char in unicodedata.normalize("NFD", folded) if char.isalnum())
    if slug and len(slug) < SLUG_CHARS and plain.isascii():
        return slug
    digest = hashlib.sha256(keyword_norm(folded).encode()).hexdigest()[:8]
    return f"{slug}-{digest}" if slug else f"cluster-{digest}"


def keyword_clusters(
    questions: Questions, results: pl.DataFrame, earlier: pl.DataFrame, site: Site, rules: ClusterRules
) -> pl.DataFrame:
    """Return the topics of a batch and its leftovers, in the columns of `keyword_clusters`.

    Args:
        results: the engine's row for each question.
        earlier: as of `cluster_questions`.
    """
    told = {(row["partition"], row["row_ref"]): row for row in results.iter_rows(named=True)}
    rows: list[dict[str, Any]] = []
    for batch in questions.sectors:
        answers = {ref: told[f"{batch.site_id}|{batch.day}", ref] for ref in batch.groups}
        known = set(_before(earlier, batch.sector, batch.day)["cluster_key"])
        rows += _Topics(batch, answers, known, site, rules).rows()
    return KEYWORD_CLUSTERS.shaped(pl.DataFrame(rows, schema=KEYWORD_CLUSTERS.dtypes)).sort(KEYWORD_CLUSTERS.sort_by)


@dataclass
class _Topic:
    """A topic on its way to a row."""

    name: str
    answer: CheckedCluster
    result: Mapping[str, Any]
    keywords: list[str]
    flags: set[str]


class _Topics:
    """The rows of one sector."""

    def __init__(
        self,
        batch: SectorBatch,
        answers: Mapping[str, Mapping[str, Any]],
        known: set[str],
        site: Site,
        rules: ClusterRules,
    ) -> None:
        self.batch, self.answers, self.known, self.rules = batch, answers, known, rules
        self.words = {row["keyword_norm"]: (at, row) for at, row in enumerate(batch.words.iter_rows(named=True))}
        self.pages = [(keyword_norm(page.keyword), page.url) for page in site.existing_pages if page.keyword]
        self.flags: set[str] = set()

    def rows(self) -> list[dict[str, Any]]:
        topics = self._topics()
        placed = {norm for topic in topics.values() for norm in topic.keywords}
        left = [norm for norm in self.words if norm not in placed]
        made = [self._topic_row(key, topic) for key, topic in topics.items()]
        return [*made, self._leftovers(left)] if left else made

    def _topics(self) -> dict[str, _Topic]:
        """By key; topics of several questions that bear one name are one, unless that would be too large."""
        found: dict[str, _Topic] = {}
        for result in self.answers.values():
            if result["status"] != "ok":
                continue
            answer = CheckedClusters.model_validate_json(result["value"])
            self.flags |= set(answer.flags)
            for cluster in answer.clusters:
                key, name = cluster_key_of(cluster.name), cluster.name
                same = found.get(key)
                if same is not None and len(same.keywords) + len(cluster.keywords) <= self.rules.max_size:
                    same.keywords += cluster.keywords
                    same.flags |= {*cluster.flags, "merged"}
                    continue
                flags, number = set(cluster.flags), 2
                while key in found:
                    name, number = f"{cluster.name} {number}", number + 1
                    key = cluster_key_of(name)
                    flags.add("renamed")
                found[key] = _Topic(name, cluster, result, list(cluster.keywords), flags)
        return found

    def _topic_row(self, key: str, topic: _Topic) -> dict[str, Any]:
        norms = sorted(topic.keywords)
        vectors = self.batch.vectors[[self.words[norm][0] for norm in norms]]
        near = cosine_rows(vectors, centroid(vectors, [1.0] * len(norms)))
        similar = [round(float(value), 6) for value in near]
        return self._common(key, topic.name, norms) | {
            "description": topic.answer.description or None,
            "keywords": [{"keyword_norm": n, "similarity": s} for n, s in zip(norms, similar, strict=True)],
            "dimension": topic.answer.dimension,
            "avg_cosine": average_cosine(vectors),
            "method": OFFLINE if topic.result["provider"] == OFFLINE else "llm",
            "extends_existing": key in self.known,
            "mapped_pages": [url for norm, url in self.pages if norm in topic.keywords],
            "flags": sorted(topic.flags),
            **facts_of(topic.result),
            **OK,
        }

    def _leftovers(self, norms: Sequence[str]) -> dict[str, Any]:
        held = {self.words[norm][0] for norm in norms}
        behind = [self.answers[ref] for ref, positions in self.batch.groups.items() if not held.isdisjoint(positions)]
        return self._common(UNCLUSTERED, "Unclustered", sorted(norms)) | {
            "keywords": [{"keyword_norm": norm, "similarity": None} for norm in sorted(norms)],
            "extends_existing": False,
            "mapped_pages": [],
            "flags": sorted(self.flags),
            **_facts(behind),
            **self._fate(norms),
        }

    def _common(self, key: str, name: str, norms: Sequence[str]) -> dict[str, Any]:
        held = [self.words[norm][1] for norm in norms]
        volumes = [row["volume"] for row in held if row["volume"] is not None]
        by_intent: dict[str, int] = {}
        for row in held:
            if row["intent"] is not None:
                by_intent[row["intent"]] = by_intent.get(row["intent"], 0) + (row["volume"] or 0)
        return {
            "site_id": self.batch.site_id,
            "day": self.batch.day,
            "sector": self.batch.sector,
            "cluster_key": key,
            "name": name,
            "keywords_count": len(norms),
            "volume": sum(volumes) if volumes else None,
            "intent": min(by_intent, key=lambda intent: (-by_intent[intent], intent)) if by_intent else None,
        }

    def _fate(self, norms: Sequence[str]) -> dict[str, Any]:
        """What waits goes before what failed, and both before what merely fits nowhere."""
        count, wait = len(norms), self.batch.waiting
        if len(self.words) < self.rules.least:
            told = {"observed": str(len(self.words)), "threshold": str(self.rules.least)}
            return {**OK, "status": "pending", "reason": "too_few_keywords", **told}
        if wait is not None:
            return {**OK, "status": "pending", "reason": wait.reason, "not_before": wait.not_before}
        for status in ("pending", "failed", "rejected"):
            held = [fate_of(answer) for answer in self.answers.values() if answer["status"] == status]
            if held:
                return min(held, key=lambda fate: (fate["not_before"] is None, str(fate["not_before"])))
        told = {"observed": str(count), "threshold": str(self.rules.min_size)}
        return {**OK, "status": "rejected", "reason": "unclustered", **told}


def _facts(behind: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of several questions behind a row: the first one's words, and what all of them took."""
    if not behind:
        return dict(_UNASKED)
    return facts_of(behind[0]) | {
        "cost_usd": sum((answer["cost_usd"] for answer in behind), Decimal(0)),
        "credits": sum(answer["credits"] for answer in behind),
        "attempts": max(answer["attempts"] for answer in behind),
    }
