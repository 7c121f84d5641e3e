"""content_ideas: which topics are asked about, and which of the ideas are written.

Belongs here: the rows that are asked about, uniqueness of titles and topics over a site, approval. Does not belong
here: what an answer must hold (`generate_ideas.py`), getting it (`magpie/llm`), taking decisions (`reviews.py`).

A day is judged by the days before it, so days of one site are made in order.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from magpie.content.asked import OK, facts_of, fate_of, rejected
from magpie.content.keywords import keyword_norm
from magpie.content.reviews import NOTHING_DECIDED, Decided, cluster_ref
from magpie.content.settings import Content, Site
from magpie.content.tables import CONTENT_IDEAS, UNCLUSTERED
from magpie.text.embedder import AnyEmbedder, Wait, embedded
from magpie.text.similarity import Floats, cosine_rows

# The newest of them: enough to keep a model from repeating itself, and a bound on what the question costs.
TITLES_SHOWN = 100
# A cosine is shown with as many places as tell two settings apart.
PLACES = 4

_KEYWORD = pl.Struct({"keyword_norm": pl.String, "volume": pl.Int64, "intent": pl.String})
_TEXTS = ("cluster", "cluster_description", "intent", "site_name", "industry", "audience", "brand_voice", "language")
INPUTS = pl.Schema(
    {
        **dict.fromkeys(("row_ref", "partition", "site_id"), pl.String()),
        "day": pl.Date(),
        **dict.fromkeys(("sector", "cluster_key", *_TEXTS), pl.String()),
        "keywords": pl.List(_KEYWORD),
        "existing_titles": pl.List(pl.String),
        "ideas_min": pl.Int64(),
        "ideas_max": pl.Int64(),
    }
)


@dataclass(frozen=True)
class IdeaRules:
    """How many ideas a topic gets, from which cosine of titles two are one topic, and who says yes."""

    ideas_min: int
    ideas_max: int
    duplicate_floor: float
    approval: str

    @classmethod
    def of(cls, settings: Content, site: Site) -> "IdeaRules":
        return cls(settings.ideas_min, settings.ideas_max, settings.duplicate_floor, site.idea_approval)


def idea_id_of(site_id: str, day: date, sector: str, cluster_key: str, title_norm: str) -> str:
    """First 16 hex digits of the sha256 over the key."""
    told = "\n".join((site_id, str(day), sector, cluster_key, title_norm))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def question_rows(
    clusters: pl.DataFrame,
    keywords: pl.DataFrame,
    earlier: pl.DataFrame,
    site: Site,
    rules: IdeaRules,
    decided: Decided = NOTHING_DECIDED,
) -> pl.DataFrame:
    """Return what is asked about the topics of one site and day, in the columns of INPUTS.

    Args:
        clusters: `keyword_clusters` of that day; the ok ones that nobody disabled are asked about.
        keywords: `keywords` of that day, for volume and intent.
        earlier: `content_ideas` of days before.
        decided: of clusters.
    """
    key = ["site_id", "day", "sector", "cluster_key"]
    asked = (
        clusters.filter((pl.col("status") == "ok") & (pl.col("cluster_key") != UNCLUSTERED))
        .filter(~cluster_ref().is_in(list(decided.disabled)))
        .rename({"name": "cluster", "description": "cluster_description"})
    )
    known = keywords.filter(pl.col("status") == "ok").select(
        *("site_id", "day", "sector", "keyword_norm"),
        pl.coalesce("volume_override", "volume").alias("volume"),
        pl.col("intent").alias("keyword_intent"),
    )
    members = (
        asked.select(*key, pl.col("keywords").list.eval(pl.element().struct.field("keyword_norm")))
        .explode("keywords", empty_as_null=False, keep_nulls=False)
        .rename({"keywords": "keyword_norm"})
        .join(known, on=["site_id", "day", "sector", "keyword_norm"], how="left")
        .sort("volume", "keyword_norm", descending=[True, False], nulls_last=True)
        .group_by(key, maintain_order=True)
        .agg(pl.struct("keyword_norm", "volume", pl.col("keyword_intent").alias("intent")).alias("keywords"))
    )
    titles = _existing_titles(earlier, site)
    return (
        asked.drop("keywords")
        .join(members, on=key)
        .with_columns(
            pl.format("{}/{}", "sector", "cluster_key").alias("row_ref"),
            pl.format("{}|{}", "site_id", "day").alias("partition"),
            pl.lit(titles, pl.List(pl.String)).alias("existing_titles"),
            pl.lit(rules.ideas_min).alias("ideas_min"),
            pl.lit(rules.ideas_max).alias("ideas_max"),
            pl.lit(site.name).alias("site_name"),
            *(pl.lit(getattr(site, name)).alias(name) for name in ("industry", "audience", "brand_voice", "language")),
        )
        .select(list(INPUTS))
        .cast(INPUTS)
        .sort("sector", "cluster_key")
    )


def _existing_titles(earlier: pl.DataFrame, site: Site) -> list[str]:
    ideas = _taken(earlier).sort("day", "idea_id", descending=[True, False])["title"].to_list()
    return list(dict.fromkeys([*(page.title for page in site.existing_pages), *ideas]))[:TITLES_SHOWN]


def _taken(ideas: pl.DataFrame) -> pl.DataFrame:
    """Ideas whose topic is taken: those that are or may yet be written, and those that nobody wants to see again."""
    held = pl.col("status").is_in(["ok", "pending"]) | (pl.col("reason") == "declined").fill_null(False)
    return ideas.filter(held & (pl.col("title_norm") != ""))


def content_ideas(
    questions: pl.DataFrame,
    results: pl.DataFrame,
    earlier: pl.DataFrame,
    site: Site,
    embedder: AnyEmbedder,
    rules: IdeaRules,
    decided: Decided = NOTHING_DECIDED,
) -> pl.DataFrame:
    """Return one row per idea, and one without a title per question that has no answer yet.

    Args:
        questions: of one site and one day, as asked; results: the engine's row for each, in the same order.
        earlier: `content_ideas` of days before.
        embedder: of titles.
        decided: of ideas.

    Raises:
        ValueError: questions of several sites or days.
    """
    if questions.select("site_id", "day").n_unique() > 1:
        raise ValueError("ideas are judged one site and day at a time, the earliest day first")
    told = sorted(
        zip(questions.iter_rows(named=True), results.iter_rows(named=True), strict=True),
        key=lambda pair: (pair[0]["sector"], pair[0]["cluster_key"]),
    )
    proposed = [row for question, result in told for row in _proposed(question, result)]
    titled = [row for row in proposed if row["title_norm"]]
    before = _taken(earlier).sort("day", "idea_id").select("title", "title_norm", "idea_id").rows()
    references = [_Taken(page.title, keyword_norm(page.title), page.url) for page in site.existing_pages]
    references += [_Taken(*row) for row in before]
    texts = [known.title for known in references] + [row["title"] for row in titled]
    found = embedded(embedder, texts, [known.ref for known in references] + [row["idea_id"] for row in titled])
    judge = _Judge(rules, decided, references, found.vectors.astype(np.float64), dict(found.waiting))
    first = len(references)
    for position, row in enumerate(titled, first):
        row |= judge.of(row, position)
    rows = [{name: row.get(name) for name in CONTENT_IDEAS.dtypes} for row in proposed]
    return CONTENT_IDEAS.shaped(pl.DataFrame(rows, schema=CONTENT_IDEAS.dtypes)).sort(CONTENT_IDEAS.sort_by)


def _proposed(question: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ideas of one answer; of equal titles the first."""
    key = {name: question[name] for name in ("site_id", "day", "sector", "cluster_key")}
    common = {**key, **facts_of(result), "approval": "auto"}
    if result["status"] != "ok":
        return [{**common, **_NO_IDEA, **fate_of(result), "idea_id": _id_of(question, "")}]
    made: dict[str, dict[str, Any]] = {}
    for idea in json.loads(result["value"])["ideas"]:
        title_norm = keyword_norm(idea["title"]) or idea["title"]
        row = {
            **common,
            **idea,
            "idea_id": _id_of(question, title_norm),
            "title_norm": title_norm,
            "outline": json.dumps(idea["outline"], ensure_ascii=False, separators=(",", ":")),
            "ideas_max": question["ideas_max"],
        }
        held = made.setdefault(title_norm, row)
        if held is not row and "repeated_in_answer" not in held["flags"]:
            held["flags"] = [*held["flags"], "repeated_in_answer"]
    return list(made.values())


def _id_of(question: Mapping[str, Any], title_norm: str) -> str:
    key = question["site_id"], question["day"], question["sector"], question["cluster_key"]
    return idea_id_of(*key, title_norm)


# A question without an answer is a row too, so that what waits is seen and asked again.
_NO_IDEA: Mapping[str, Any] = {
    **dict.fromkeys(("title", "title_norm", "description"), ""),
    "outline": "{}",
    "content_type": "post",
    "content_structure": "general",
    "secondary_keywords": [],
    "covered_keywords": [],
    "estimated_word_count": 0,
    "priority": "medium",
    "flags": [],
}


@dataclass(frozen=True)
class _Taken:
    """A title that exists, and whose: the address of a page or the id of an idea."""

    title: str
    title_norm: str
    ref: str


@dataclass
class _Judge:
    """Judges ideas one after the other; those that stay are held against the next ones."""

    rules: IdeaRules
    decided: Decided
    references: list[_Taken]
    vectors: Floats
    waiting: Mapping[int, Wait]
    kept: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Where in `vectors` the title of each reference stands.
        self.places = list(range(len(self.references)))

    def of(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Fate, approval and the most similar title of the idea whose vector stands at `position`."""
        idea_id = row["idea_id"]
        nearest = self._nearest(position)
        judged = {"approval": self._approval(idea_id), **nearest, **self._fate(row, position, nearest["similarity"])}
        if judged["status"] in ("ok", "pending") or judged["reason"] == "declined":
            self.references.append(_Taken(row["title"], row["title_norm"], idea_id))
            self.places.append(position)
        if judged["status"] in ("ok", "pending"):
            topic = (row["sector"], row["cluster_key"])
            self.kept[topic] = self.kept.get(topic, 0) + 1
        return judged

    def _approval(self, idea_id: str) -> str:
        if idea_id in self.decided.approved:
            return "approved"
        if idea_id in self.decided.declined:
            return "declined"
        return "auto" if self.rules.approval == "auto" else "waiting"

    def _fate(self, row: Mapping[str, Any], position: int, cosine: float | None) -> dict[str, Any]:
        approval = self._approval(row["idea_id"])
        if approval == "declined":
            return rejected("declined", approval, "approved")
        if row["idea_id"] in self.decided.disabled:
            return rejected("disabled", "disabled", "enabled")
        if row["primary_keyword"] is None:
            return rejected("no_keyword", row["unknown_keyword"], row["cluster_key"])
        same = next((known for known in self.references if known.title_norm == row["title_norm"]), None)
        if same is not None:
            return rejected("duplicate_title", row["title_norm"], "unique") | {
                "similar_to": same.ref,
                "similarity": 1.0,
            }
        if approval == "approved":
            return dict(OK)
        floor = self.rules.duplicate_floor
        if cosine is not None and cosine >= floor:
            return rejected("duplicate_topic", round(cosine, PLACES), floor)
        place = self.kept.get((row["sector"], row["cluster_key"]), 0) + 1
        if place > row["ideas_max"]:
            return rejected("too_many_ideas", place, row["ideas_max"])
        waits = [self.waiting[n] for n in (*self.places, position) if n in self.waiting]
        if waits:
            first = min(waits, key=lambda wait: (wait.not_before is None, str(wait.not_before), wait.reason))
            return {**OK, "status": "pending", "reason": first.reason, "not_before": first.not_before}
        if approval == "waiting":
            waits_for = {"reason": "awaiting_approval", "observed": approval, "threshold": "approved"}
            return {**OK, "status": "pending", **waits_for}
        return dict(OK)

    def _nearest(self, position: int) -> dict[str, Any]:
        """The cosine of the most similar title known, and whose it is (the first of equals) if that is a match."""
        if not self.places or position in self.waiting:
            return {"similar_to": None, "similarity": None}
        cosines = cosine_rows(self.vectors[self.places], self.vectors[position])
        best = int(np.argmax(cosines))
        similarity = float(cosines[best])
        match = self.references[best].ref if similarity >= self.rules.duplicate_floor else None
        return {"similar_to": match, "similarity": similarity}
