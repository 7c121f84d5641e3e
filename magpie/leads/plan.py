"""What a run of leads would ask of models over some days, from the tables that are stored.

Belongs here: which rows and texts the paid assets of leads would ask about, per campaign and day. Does not belong
here: what of them is journalled and what it costs (`magpie/llm/plan.py`), making the tables.

The order is that of `magpie run leads`: one campaign after another, each with keywords, post vectors, extractions, and
of those the best candidates of the whole range first.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.leads import extraction, ranking
from magpie.leads import tables as t
from magpie.leads.campaign_posts import LOOKBACK_DAYS
from magpie.leads.corpus import window_start
from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.leads.keywords import matches
from magpie.leads.stages import PRODUCT, CampaignRules, Reader
from magpie.llm.engine import Engine
from magpie.llm.plan import Call, Line, Outlook, Plan, Planner, Tally
from magpie.llm.purpose import Purpose
from magpie.settings import Settings
from magpie.tables import Partitions, Table
from magpie.text.embedder import Embedded, Wait
from magpie.text.embedders import HOSTED_EMBEDDERS

NOTHING_DELETED = pl.DataFrame(schema={"fullname": pl.String, "kind": pl.String})


def plan(
    settings: Settings,
    lake: Lake,
    engine: Engine,
    first: date | None = None,
    last: date | None = None,
    campaigns: Sequence[str] = (),
) -> Plan:
    """Plan the paid assets of leads; nothing is called and nothing written.

    Args:
        first, last: days, both included; None: as far as days are stored.
        campaigns: ids; none: all active ones.

    Raises:
        UserError: an unknown campaign, days out of order, or none given and none stored.
        LedgerUnavailable: the journal cannot be read.
    """
    asked = campaigns or [campaign.id for campaign in settings.active_campaigns()]
    rules = [CampaignRules.of(settings, name) for name in dict.fromkeys(asked)]
    days = _days(lake, first, last)
    ahead = _Ahead(settings, lake, engine, days)
    for one in rules:
        ahead.campaign(one)
    return Plan(
        PRODUCT,
        days[0],
        days[-1],
        tuple(ahead.lines),
        tuple(ahead.calls),
        ahead.asked,
        ahead.details,
        tuple(ahead.notes),
    )


def _days(lake: Lake, first: date | None, last: date | None) -> list[date]:
    if first is None or last is None:
        stored = lake.read(t.CORPUS_STATS).select(pl.min("day").alias("first"), pl.max("day").alias("last")).collect()
        first, last = first or stored["first"][0], last or stored["last"][0]
    if first is None or last is None:
        raise UserError("no day is stored yet; run `magpie run leads` first, or give --from and --to")
    if first > last:
        raise UserError(f"--from {first} --to {last} must be in order")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


class _Texts:
    """An embedder that takes down what it is asked for, and lets it wait."""

    model = provider = "planned"
    dims = 1

    def __init__(self) -> None:
        self.taken: list[str] = []

    def embed_or_wait(self, texts: Sequence[str], row_refs: Sequence[str] | None = None) -> Embedded:
        self.taken += texts
        waits = dict.fromkeys(range(len(texts)), Wait("planned", None))
        return Embedded(np.zeros((len(texts), self.dims), dtype=np.float32), waits)


class _Ahead:
    """Goes through campaigns and collects what each of their paid assets would ask."""

    def __init__(self, settings: Settings, lake: Lake, engine: Engine, days: Sequence[date]) -> None:
        self._settings, self._lake, self._days = settings, lake, days
        self._planner = Planner(engine)
        self._reader = Reader(lake, settings, engine, NOTHING_DELETED, None, lambda state: None)
        self._landed = set(lake.read(t.CORPUS_STATS, Partitions.days(days)).select("day").collect()["day"])
        self.lines: list[Line] = []
        self.calls: list[Call] = []
        self.asked: dict[str, str] = {}
        self.details: dict[str, str] = {}
        self.notes: list[str] = []

    def campaign(self, rules: CampaignRules) -> None:
        matched, ranked = self._stored(t.CAMPAIGN_POSTS, rules), self._stored(t.RANKED_POSTS, rules)
        passed = matched.filter(pl.col("status") == "ok")
        made = self._made(rules, matched)
        scored = (made - set(passed["day"])) | set(ranked["day"])
        self._note_state(rules, matched, ranked)
        self._add(t.CAMPAIGN_KEYWORDS, rules, None, self._keywords(rules))
        self._add(t.POST_EMBEDDINGS, rules, made, self._embeddings(rules, matched))
        self._add(t.LEAD_EXTRACTIONS, rules, scored, self._extractions(rules, matched, ranked))

    def _stored(self, table: Table, rules: CampaignRules) -> pl.DataFrame:
        return self._lake.read(table, Partitions({rules.campaign.id: frozenset(self._days)})).collect()

    def _made(self, rules: CampaignRules, matched: pl.DataFrame) -> set[date]:
        """Days whose matches are stored, or that are landed and hold none: those leave no row behind."""
        stored = set(matched["day"])
        silent = self._landed - stored
        posts = self._lake.read(t.REDDIT_POSTS, Partitions.days(silent)).drop("text")
        return stored | (silent - set(matches(rules.keywords, posts)["day"]) if silent else set())

    def _note_state(self, rules: CampaignRules, matched: pl.DataFrame, ranked: pl.DataFrame) -> None:
        name = rules.campaign.id
        waiting = ranked.filter(pl.col("status") == "pending").height
        if waiting:
            self.notes.append(f"{name}: {waiting:,} posts are not scored yet, they wait for their vectors")
        stale = pl.concat(
            [rows.filter(pl.col("config_hash") != rules.config_hash)["day"] for rows in (matched, ranked)]
        )
        if stale.len():
            self.notes.append(
                f"{name}: {stale.n_unique():,} days were made under other settings than magpie.yaml holds now; "
                "a run makes them anew and may ask about other posts"
            )

    def _keywords(self, rules: CampaignRules) -> Outlook:
        texts = _Texts()
        ranking.campaign_keywords(rules.campaign.id, rules.keywords, texts)
        return self._texts(rules, t.CAMPAIGN_KEYWORDS, [(rules.campaign.id, text) for text in texts.taken])

    def _embeddings(self, rules: CampaignRules, matched: pl.DataFrame) -> Outlook:
        texts = _Texts()
        days = matched["day"].unique().to_list()
        posts = self._lake.read(t.REDDIT_POSTS, Partitions.days(days))
        rows = ranking.post_embeddings(matched, posts, texts)
        pairs = zip(rows["day"], texts.taken, strict=True)
        return self._texts(rules, t.POST_EMBEDDINGS, [(f"{rules.campaign.id}|{day}", text) for day, text in pairs])

    def _texts(self, rules: CampaignRules, table: Table, texts: Sequence[tuple[str, str]]) -> Outlook:
        hosted = HOSTED_EMBEDDERS.get(rules.embed_model)
        if hosted is None:
            counts = pl.Series([partition for partition, _ in texts], dtype=pl.String).value_counts(name="n")
            return Outlook(rules.embed_model, {name: Tally(n, free=n) for name, n in counts.iter_rows()})
        model = self._planner.engine.models.candidates(hosted)[0]
        purpose = Purpose(PRODUCT, "embed", table.name, scopes=(f"campaign:{rules.campaign.id}",))
        return self._planner.texts(model, texts, purpose)

    def _extractions(self, rules: CampaignRules, matched: pl.DataFrame, ranked: pl.DataFrame) -> Outlook:
        days = ranked["day"].unique().to_list() or [self._days[0]]
        posts = self._lake.read_days(t.REDDIT_POSTS, window_start(days, LOOKBACK_DAYS), max(days))
        inputs = extraction.extraction_inputs(ranked, posts, matched, rules.campaign)
        return self._planner.rows(EXTRACT_LEAD.name, inputs, self._reader.scope(rules.campaign))

    def _add(self, table: Table, rules: CampaignRules, made: set[date] | None, found: Outlook) -> None:
        """Take an asset's outlook as lines; `made`: the days that it could be made of, None where it has no days."""
        days: Iterable[date | None] = [None] if made is None else self._days
        for day in days:
            line = Line(table.name, rules.campaign.id, day, None)
            tally = found.tallies.get(line.partition, Tally())
            there = made is None or day in made
            self.lines.append(Line(line.asset, line.subject, day, tally if there else None))
        self.calls += found.calls
        self.asked[table.name] = found.asked
        self._explain(found.details)

    def _explain(self, details: Mapping[str, str]) -> None:
        for reason, detail in details.items():
            self.details.setdefault(reason, detail)
