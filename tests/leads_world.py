"""A small world of posts, campaigns and a lake, in which the stages of leads run without an orchestrator."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from magpie.control import Control
from magpie.lake import Commit, Lake, conform, partition_filter
from magpie.leads import corpus, extraction, ranking, stages
from magpie.leads import tables as t
from magpie.leads.extract_lead import CheckedLead, offline
from magpie.leads.posts import reddit_posts
from magpie.leads.rejections import rejections
from magpie.settings import Settings
from magpie.sources.reddit_lines import LANDED
from magpie.tables import Partitions, Table
from magpie.text.embedders import embedder_named

DAY = date(2026, 3, 20)
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
LANDED_ROWS = pl.Schema({**LANDED, "source_file": pl.String()})
DAILY = (t.REDDIT_POSTS, t.CORPUS_TERMS, t.CORPUS_STATS, t.SUBREDDIT_STATS)
PER_CAMPAIGN = (t.CAMPAIGN_POSTS, t.POST_EMBEDDINGS, t.RANKED_POSTS, t.REJECTIONS)
MADE = (*DAILY, t.CAMPAIGN_KEYWORDS, *PER_CAMPAIGN)
# Thresholds under which everything that matches is a candidate.
OPEN_GATES = {"min_fused": 0.0, "cosine_threshold": -1.0, "min_keyword_hits": 0, "min_engagement_score": -1000}


def a_post(fullname: str, title: str | None = None, text: str = "", **more: Any) -> dict[str, Any]:
    """A landed line that passes every gate; `at` is its creation, `age` the seconds to its snapshot (None: unknown)."""
    created = more.pop("at", NOON)
    age = more.pop("age", 36 * 3600)
    comment = fullname.startswith("t1_")
    row = {
        "line_no": 1,
        "day": created.date(),
        "fullname": fullname,
        "kind": "comment" if comment else "submission",
        "created_utc": created,
        "subreddit": "smallbusiness",
        "permalink": f"/r/smallbusiness/comments/{fullname[3:]}/slug/",
        "url": None,
        "title": None if comment else (title if title is not None else "Looking for a CRM"),
        "text": text,
        "author": "somebody",
        "author_karma": None,
        "sub_subscribers": None if comment else 50_000,
        "sub_hot_posts": None,
        "score": 5,
        "upvote_ratio": None if comment else 0.9,
        "num_comments": None if comment else 3,
        "over_18": None if comment else False,
        "link_fullname": None,
        "parent_fullname": None,
        "retrieved_at": None if age is None else created + timedelta(seconds=age),
        "content_state": "ok",
        "matched_queries": [],
        "source": "archive",
        "source_file": "posts.ndjson",
    }
    unknown = more.keys() - row.keys()
    assert not unknown, unknown
    return {**row, **more}


def landed(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of `a_post` as the landing gives them."""
    return pl.DataFrame([dict(row) for row in rows], schema=LANDED_ROWS)


def a_campaign(campaign_id: str = "crm", keywords: Sequence[Any] = ("crm",), **more: Any) -> dict[str, Any]:
    return {
        "id": campaign_id,
        "name": campaign_id,
        "product_description": "A CRM for small agencies",
        "keywords": list(keywords),
        **more,
    }


def some_settings(*campaigns: dict[str, Any], **more: Any) -> Settings:
    return Settings.model_validate(
        {"start_day": date(2026, 1, 1), "campaigns": list(campaigns) or [a_campaign()], **more}
    )


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def lead(row: Mapping[str, Any], **more: Any) -> CheckedLead:
    """A model's answer about any post, that the check has passed."""
    told = {
        "is_lead": True,
        "intent_score": 75,
        "lead_type": "comparing",
        "pain_point": "spreadsheets",
        "desired_solution": None,
        "budget": None,
        "urgency": "soon",
        "competitors": ("HubSpot",),
        "contact_info": {"email": "a@example.org", "handle": None, "url": None},
        "sentiment": "mixed",
        "evidence_quote": str(row["text"])[:300],
        "reason": "They compare tools.",
        "suggested_reply": None,
        "confidence": 0.8,
        "evidence_grounded": True,
        "contact_dropped": False,
    }
    return CheckedLead.model_validate({**told, **more})


Answer = Callable[[Mapping[str, Any]], CheckedLead | Mapping[str, Any]]


def results(inputs: pl.DataFrame, answer: Answer = offline) -> pl.DataFrame:
    """The engine's rows for these inputs."""
    nothing = dict.fromkeys(extraction.RESULTS)
    rows = []
    for row in inputs.iter_rows(named=True):
        said = answer(row)
        base = {**nothing, "row_ref": row["row_ref"], "status": "ok", "provider": "offline", "cost_usd": Decimal(0)}
        base |= {"model": "offline", "attempts": 0, "tokens_in": 0, "tokens_out": 0, "credits": 0}
        rows.append({**base, **({"value": said.model_dump_json()} if isinstance(said, CheckedLead) else said)})
    return pl.DataFrame(rows, schema=extraction.RESULTS)


class MemoryLake(Lake):
    """A lake that keeps its tables in memory under the same checks, for properties that need many worlds."""

    def __init__(self) -> None:
        super().__init__("memory")
        object.__setattr__(self, "frames", {})

    frames: dict[str, pl.DataFrame]

    def write(
        self,
        table: Table,
        frame: pl.DataFrame,
        partitions: Partitions,
        commit_metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        checked = conform(table, frame)
        old = self.frames.get(table.name, table.empty())
        if table.partition_columns:
            inside = partition_filter(table, partitions)
            assert checked.filter(~inside).is_empty()
            checked = pl.concat([old.filter(~inside), checked])
        self.frames[table.name] = checked
        return Commit(table.name, 0, frame.height, partitions.count)

    def read(self, table: Table, partitions: Partitions | None = None) -> pl.LazyFrame:
        rows = self.frames.get(table.name, table.empty()).lazy()
        if partitions is None or not table.partition_columns:
            return rows
        return rows.filter(partition_filter(table, partitions))


@dataclass
class World:
    """Landed posts, settings, and the tables made from them.

    `make` does what the assets do: for a table and a set of its partitions, one call of the rule and one commit.
    """

    settings: Settings
    landed: pl.DataFrame
    lake: Lake
    control: Control | None = None
    runs: list[tuple[str, Partitions]] = field(default_factory=list)

    @property
    def deleted(self) -> pl.DataFrame:
        if self.control is not None:
            return self.control.deleted()
        return pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})

    def make(self, table: Table, partitions: Partitions) -> pl.DataFrame:
        rows = self._rows(table, partitions)
        self.lake.write(table, rows, partitions)
        self.runs.append((table.name, partitions))
        return rows

    def make_all(self, days: Sequence[date], upstream: Sequence[date] | None = None) -> "World":
        """Make every table: reddit_posts and corpus_terms of `upstream` (default: `days`), the others of `days`."""
        for table in DAILY:
            wide = table in (t.REDDIT_POSTS, t.CORPUS_TERMS)
            self.make(table, Partitions.days(upstream if wide and upstream is not None else days))
        names = [campaign.id for campaign in self.settings.campaigns]
        self.make(t.CAMPAIGN_KEYWORDS, Partitions.leading(names))
        for table in PER_CAMPAIGN:
            self.make(table, Partitions({name: frozenset(days) for name in names}))
        return self

    def extract(self, days: Sequence[date], answer: Answer = offline, campaign_id: str | None = None) -> "World":
        """Make lead_extractions and leads of a campaign's days from `answer` of each candidate, and rejections anew.

        `answer` returns a checked answer, or what else the engine's row says.
        """
        campaign = self.settings.campaigns[0] if campaign_id is None else self.settings.campaign(campaign_id)
        partitions = Partitions({campaign.id: frozenset(days)})
        matched, ranked, stored = (
            self.lake.read(table, partitions).collect()
            for table in (t.CAMPAIGN_POSTS, t.RANKED_POSTS, t.LEAD_EXTRACTIONS)
        )
        posts = self.lake.read(t.REDDIT_POSTS)
        inputs = extraction.extraction_inputs(ranked, posts, matched, campaign)
        least, deleted = self.settings.leads.min_intent_score, self.deleted
        read = extraction.lead_extractions(ranked, inputs, results(inputs, answer), least, deleted, stored)
        self.lake.write(t.LEAD_EXTRACTIONS, read, partitions)
        self.lake.write(t.LEADS, extraction.leads(read, ranked, matched, posts), partitions)
        self.make(t.REJECTIONS, partitions)
        return self

    def rows(self, table: Table) -> pl.DataFrame:
        return self.lake.read(table).sort(table.sort_by).collect()

    def row(self, table: Table, fullname: str) -> dict[str, Any]:
        return self.rows(table).row(by_predicate=pl.col("fullname") == fullname, named=True)

    def tables(self) -> dict[str, pl.DataFrame]:
        return {table.name: self.rows(table) for table in MADE}

    def _rows(self, table: Table, partitions: Partitions) -> pl.DataFrame:
        days, window, lake = partitions.all_days(), self.settings.leads.bm25_corpus_days, self.lake
        if table is t.REDDIT_POSTS:
            return reddit_posts(self.landed.lazy().filter(pl.col("day").is_in(days)), self.deleted)
        if table is t.CORPUS_TERMS:
            return corpus.corpus_terms(lake.read(t.REDDIT_POSTS, partitions), days)
        if table in (t.CORPUS_STATS, t.SUBREDDIT_STATS):
            trailing = {day - timedelta(days=n) for day in days for n in range(window)}
            posts = lake.read(t.REDDIT_POSTS, Partitions.days(trailing))
            rule = corpus.corpus_stats if table is t.CORPUS_STATS else corpus.subreddit_stats
            return rule(posts, days, window)
        if table is t.POST_EMBEDDINGS:
            matched = lake.read(t.CAMPAIGN_POSTS, partitions).collect()
            posts = lake.read(t.REDDIT_POSTS, Partitions.days(days))
            return ranking.post_embeddings(matched, posts, embedder_named(self.settings.leads.embed_model))
        if table is t.REJECTIONS:
            stages_of = (t.CAMPAIGN_POSTS, t.RANKED_POSTS, t.LEAD_EXTRACTIONS)
            return rejections(*(lake.read(stage, partitions) for stage in stages_of))
        return self._per_campaign(table, partitions)

    def _per_campaign(self, table: Table, partitions: Partitions) -> pl.DataFrame:
        days, lake = partitions.all_days(), self.lake
        make: Callable[[stages.CampaignRules, list[date]], pl.DataFrame]
        if table is t.CAMPAIGN_KEYWORDS:

            def make(rules: stages.CampaignRules, _: list[date]) -> pl.DataFrame:
                return ranking.campaign_keywords(rules.campaign.id, rules.keywords, embedder_named(rules.embed_model))
        elif table is t.CAMPAIGN_POSTS:
            subreddits = lake.read(t.SUBREDDIT_STATS, Partitions.days(days))

            def make(rules: stages.CampaignRules, wanted: list[date]) -> pl.DataFrame:
                return stages.campaign_posts(lake, rules, wanted, subreddits, self.deleted)
        else:
            matched = lake.read(t.CAMPAIGN_POSTS, partitions).collect()
            vectors = lake.read(t.POST_EMBEDDINGS, partitions)
            words = lake.read(t.CAMPAIGN_KEYWORDS, Partitions.leading(partitions.leads())).collect()

            def make(rules: stages.CampaignRules, wanted: list[date]) -> pl.DataFrame:
                return stages.ranked_posts(lake, rules, wanted, matched, vectors, words)

        return pl.concat(
            make(stages.CampaignRules.of(self.settings, str(name)), sorted(of_campaign or ()))
            for name, of_campaign in sorted(partitions.groups.items(), key=str)
        )


def a_world(
    posts: Iterable[Mapping[str, Any]],
    settings: Settings | None = None,
    *,
    home: Path | None = None,
    control: Control | None = None,
) -> World:
    """A world in memory, or with a lake on disk below `home`."""
    lake = MemoryLake() if home is None else Lake(str(home / "lake"))
    return World(settings or some_settings(), landed(posts), lake, control)


def one_day(posts: Iterable[Mapping[str, Any]], settings: Settings | None = None) -> World:
    """Everything made for `DAY`, from posts of the 30 days before it."""
    return a_world(posts, settings).make_all([DAY], days_between(DAY - timedelta(days=32), DAY))


# Texts that meet: keywords in every way of matching, copies on both sides of 40 characters, letters that fold.
TEXTS = (
    "we need a crm for our small agency, any ideas what to use?",
    "we need a crm for our small agency, any ideas what to use?",
    "We need a CRM for our small agency, any ideas what to use?",
    "crm",
    "invoices for CRM and invoicing by hand take all of my evenings",
    "marketing by email is what I do, an email list of marketing people",
    "email marketing for a studio of two, budget is small",
    "ＣＲＭ für Straße, naïve İstanbul ﬁnance — 日本語の crm?",
    "=cmd('crm') https://example.org/crm it's the agencys",
    "hiring a crm person",
    "",
    "nothing to see here",
)
SUBREDDITS = ("smallbusiness", "SmallBusiness", "freelance", "tiny")
# Most of them are no whole fraction of a day, so that a division in another way would show in the last bit.
SNAPSHOTS = (None, 13, 3600, 100_003, 129_601, 200_017, 47_336_401)


def world_posts(first: date, last: date) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Posts and comments from `first` to `last` with all that is awkward in archives."""
    days = days_between(first, last)
    moment = st.builds(
        lambda day, second: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second),
        st.one_of(st.sampled_from(days[-6:]), st.sampled_from(days[-6:]), st.sampled_from(days)),
        st.sampled_from((0, 1, 43_200, 86_399)),
    )
    maybe_number = st.one_of(st.none(), st.sampled_from((-3, 0, 1, 14, 15, 999, 1000, 50_000)))
    one = st.fixed_dictionaries(
        {
            "comment": st.booleans(),
            "at": moment,
            "text": st.sampled_from(TEXTS),
            "title": st.sampled_from(("Looking for a CRM", "hello", "")),
            "age": st.sampled_from(SNAPSHOTS),
            "subreddit": st.sampled_from(SUBREDDITS),
            "sub_subscribers": maybe_number,
            "sub_hot_posts": st.sampled_from((None, 0, 20)),
            "score": maybe_number,
            "author_karma": maybe_number,
            "upvote_ratio": st.sampled_from((None, 0.0, 0.39, 0.4, 1.0)),
            "over_18": st.sampled_from((None, False, False, True)),
            "author": st.sampled_from((None, "somebody", "Promo_Bot")),
            "content_state": st.sampled_from(("ok", "ok", "ok", "removed", "deleted")),
            "matched_queries": st.sampled_from(([], [], [], ["crm"], ["other"])),
            "parent": st.integers(0, 30),
            "again": st.booleans(),
        }
    )
    return st.lists(one, min_size=6, max_size=24).map(_numbered)


def _numbered(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for number, given in enumerate(drawn):
        more = {name: value for name, value in given.items() if name not in ("comment", "parent", "again", "title")}
        if given["comment"]:
            for name in ("upvote_ratio", "over_18", "sub_subscribers", "sub_hot_posts"):
                del more[name]
            rows.append(a_post(f"t1_{number}", link_fullname=f"t3_{given['parent']}", **more))
        else:
            rows.append(a_post(f"t3_{number}", given["title"], **more))
        if given["again"] and given["age"] is not None:
            newer = {**rows[-1], "line_no": 2, "score": 7, "text": rows[-1]["text"] + " edited crm"}
            newer["retrieved_at"] = rows[-1]["retrieved_at"] + timedelta(days=1)
            rows.append(newer)
    return rows
