"""What must hold when the soak is over: nothing lost, nothing paid twice, nothing waiting, nothing left lying about.

Belongs here: the checks, each a line that says what is wrong. Does not belong here: bringing the work to its end
(`soak_drain.py`).
"""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from assets.partitions import RANGE_END, RANGE_START
from benchmarks.soak_load import CAMPAIGN, Arrived
from benchmarks.soak_outside import overrides
from benchmarks.soak_site import BUCKET, Site
from definitions import PRODUCTS, build_definitions
from magpie.catalog import TABLES
from magpie.content import tables as content
from magpie.control import Control
from magpie.lake import Lake
from magpie.leads import tables as leads
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.money import to_nano
from magpie.llm.purpose import FREE_TIER
from magpie.llm.schema import llm_call, spend_window
from magpie.llm.store import Store
from magpie.memes import tables as memes
from magpie.memes.stages import Curator
from magpie.settings import Settings
from magpie.tables import Table
from magpie.videos import tables as videos
from resources.llm import Llm
from runs import courses
from sensors.memes import DESCRIBING
from tests.dagster_world import World, rows, run_plainly, settled
from tests.ledger_world import assert_books_balance

# Logs say when something was done, so they are of each installation its own; so is what looks back at them.
LOGS = {"meme_fetches", "describe_queue", "source_events", "meme_sources", "lead_feedback", "content_reviews", "users"}
COMPARED = [
    table for table in (*leads.TABLES, *videos.TABLES, *memes.TABLES, *content.TABLES) if table.name not in LOGS
]
# When, and how often and of whom it took asking, is what faults do change.
ASKING: tuple[str, ...] = (
    "attempts",
    "cost_usd",
    "tokens_in",
    "tokens_out",
    "prompt_tokens",
    "completion_tokens",
    "credits",
)
ASKING += ("processed_at", "described_at", "model_served", "failures", "request_key", "fetched_at")
# A file is read again when its time changes; rows of the same file do not differ.
FILES = ("modified_at", "modified_ns", "bytes")


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake_root, settings.storage_options())


def lost(settings: Settings, arrivals: Sequence[Arrived]) -> list[str]:
    """What arrived and is in no table."""
    lake, wrong = lake_of(settings), []
    keys = {
        "reddit_posts": pl.col("fullname"),
        "videos": pl.col("video_id"),
        "memes": pl.col("meme_id"),
        "keywords": pl.concat_str("site_id", "keyword_norm", separator="|"),
    }
    for name, key in keys.items():
        there = set(lake.read(TABLES[name]).select(key.alias("key")).collect()["key"])
        wanted = {one for arrived in arrivals for one in arrived.rows.get(name, ())}
        if missing := sorted(wanted - there):
            wrong.append(f"lost: {len(missing)} of {len(wanted)} are not in {name}, such as {missing[0]}")
    return wrong


def alone(settings: Settings, home: Path, base_urls: Mapping[str, str]) -> Settings:
    """What one process makes of the same input, undisturbed; returns its settings."""
    changes = {"home": home, "lake_url": None, "control_url": None, "execution": "in_process"}
    llm = settings.llm.model_copy(update={"base_urls": dict(base_urls), "workers": 4})
    plenty = settings.memes.model_copy(update={"describe_batch": 1000, "describe_spacing_s": 0})
    single = settings.model_copy(update={**changes, "llm": llm, "memes": plenty})
    fetched = settings.home / "raw" / "memes" / "live"
    if fetched.exists():
        shutil.copytree(fetched, single.live_memes)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ENDPOINT_URL")
        patch.setattr(courses, "build_definitions", _location)
        for product in ("leads", "videos", "memes", "content"):
            outcome, _ = run_plainly(single, product=product)
            assert outcome.failures == (), outcome.failures
        _describe_all(single)
    return single


def _location(settings: Settings, products: Collection[str] = tuple(PRODUCTS), **more: Any) -> dg.Definitions:
    return build_definitions(settings, products, **{**overrides(settings), **more})


def _describe_all(settings: Settings) -> None:
    """What the planner's sensor asks for, until it asks for nothing."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(settings, _location(settings), instance)
        llm = Llm(settings, world.control)
        curator = world.resources("curator")["curator"]
        assert isinstance(curator, Curator)
        while not curator.described_by_rule(llm.engine):
            planned = curator.plan_descriptions()
            if planned.is_empty():
                return
            for partition in planned["partition"].unique().sort():
                platform, day = partition.split("|")
                key = f"{day}|{platform}"
                world.run("meme_days", tags={RANGE_START: key, RANGE_END: key}, asset_selection=DESCRIBING)


def unequal(several: Settings, single: Settings) -> list[str]:
    """Tables that are not those of one process."""
    wrong = []
    for table in COMPARED:
        here, there = (_comparable(settings, table) for settings in (several, single))
        try:
            assert_frame_equal(here, there)
        except AssertionError as error:
            detail = " ".join(str(error).split())[:300]
            wrong.append(f"unequal: {table.name} has {here.height} rows, one process makes {there.height}: {detail}")
    return wrong


def _comparable(settings: Settings, table: Table) -> pl.DataFrame:
    found = settled(rows(lake_of(settings), table)).drop(*ASKING, *FILES, strict=False)
    home = str(settings.home)
    return found.with_columns(pl.selectors.string().str.replace(home, "", literal=True))


def overpaid(control: Control, provider: FakeProvider, wanted_twice: int = 0) -> list[str]:
    """Answers that were paid more than once, or that the books do not know.

    Args:
        wanted_twice: questions that a person had asked again, knowing that they may have been answered.
    """
    wrong = []
    paid = [seen for seen in provider.requests if seen.billed and not seen.model.endswith(":free")]
    often = Counter((seen.endpoint, seen.sha256) for seen in paid)
    twice = [key for key, times in often.items() if times > 1]
    if len(twice) > wanted_twice:
        wrong.append(f"paid twice: {len(twice)} questions, {wanted_twice} of them as asked for")
    states = call_states(control)
    uncertain = states["unknown"] + states["lost"]
    if not states["settled"] <= len(paid) <= states["settled"] + uncertain:
        wrong.append(f"books: {len(paid)} answers given, {states['settled']} settled and {uncertain} uncertain")
    return wrong


def call_states(control: Control) -> Counter[str]:
    """Calls of models that cost money, by state."""
    free = sa.cast(llm_call.c.scopes, sa.String).contains(FREE_TIER)
    asked = sa.select(llm_call.c.state).where((llm_call.c.kind == "call") & ~free)
    return Counter(Store(control).read(lambda c: c.execute(asked).scalars().all()))


def unbalanced(control: Control) -> list[str]:
    """Sums of the books that do not agree, and calls that never ended."""
    store = Store(control)
    try:
        assert_books_balance(store)
    except AssertionError as error:
        return [f"books: they do not balance: {' '.join(str(error).split())[:300]}"]
    asked = sa.select(llm_call.c.state).where(llm_call.c.state.in_(("reserved", "sent")))
    still: Counter[str] = Counter(store.read(lambda c: c.execute(asked).scalars().all()))
    return [f"books: calls are open: {dict(still)}"] if still else []


def over_cap(control: Control, caps: Mapping[str, Decimal]) -> list[str]:
    """Windows of a day in which more was spent than the cap in force."""
    wrong = []
    for scope, spent in spent_by_scope(control).items():
        if scope in caps and spent > to_nano(caps[scope]):
            wrong.append(f"cap: {scope} has spent {spent} nano-USD of {to_nano(caps[scope])}")
    return wrong


def spent_by_scope(control: Control) -> dict[str, int]:
    """The most that a day's window of each scope holds, reservations included."""
    day = spend_window.c.window.startswith("D")
    both = spend_window.c.spent + spend_window.c.reserved
    asked = sa.select(spend_window.c.scope, sa.func.max(both)).where(day).group_by(spend_window.c.scope)
    found: list[Any] = Store(control).read(lambda c: list(c.execute(asked)))
    return {str(scope): int(most) for scope, most in found}


def cap_of(cap: Decimal) -> dict[str, Decimal]:
    return {f"campaign:{CAMPAIGN}": cap}


def waiting(control: Control, single: Control) -> list[str]:
    """Rows that wait and would not wait in one undisturbed process."""
    here, there = ({(p.table, p.partition, p.reason, p.rows) for p in one.pending()} for one in (control, single))
    return [f"pending: {len(here - there)} partitions, such as {sorted(here - there)[0]}"] if here - there else []


def unfinished(site: Site) -> list[str]:
    """Runs that never ended, and failed ones that nobody made good."""
    wrong = [f"run {run.run_id} of {run.job_name} is still {run.status.value}" for run in site.active()]
    return wrong + [f"run {run.run_id} of {run.job_name} failed and was not made good" for run in failed(site.instance)]


def failed(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The last run of each group of which none succeeded, oldest first."""
    groups: dict[str, list[dg.DagsterRun]] = {}
    for run in instance.get_runs():
        groups.setdefault(run.root_run_id or run.run_id, []).append(run)
    good = dg.DagsterRunStatus.SUCCESS
    # Newest first.
    latest = [group[0] for group in groups.values() if all(run.status != good for run in group)]
    return [run for run in reversed(latest) if run.is_finished]


def orphans(settings: Settings) -> list[str]:
    """Files in the bucket that no table holds and vacuum does not remove; vacuums everything."""
    lake, wrong = lake_of(settings), []
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
    for table in COMPARED:
        lake.vacuum(table, retention=timedelta(0))
        live = {name.partition(f"{BUCKET}/")[2] for name in lake.files(table)}
        there = set(_parquet(client, f"lake/{table.name}/"))
        if left := sorted(there - live):
            wrong.append(f"orphan: {len(left)} files of {table.name}, such as {left[0]}")
        if gone := sorted(live - there):
            wrong.append(f"lost: {len(gone)} files of {table.name} are gone, such as {gone[0]}")
    return wrong


def _parquet(client: Any, prefix: str) -> Iterable[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", ()):
            if item["Key"].endswith(".parquet"):
                yield item["Key"]
