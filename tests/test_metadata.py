"""What a materialisation shows: columns, counts by fate, and text of strangers that stays text."""

import re
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster_world import FIRST, Made, archive, made, settings_over, submission, world

from assets import leads_metadata as shown
from assets import metadata as md
from assets.partitions import day_range, lead_range
from definitions import build_definitions
from magpie.catalog import TABLES
from magpie.leads import tables as t
from magpie.text.markdown import CELL_CHARS, escaped

__all__ = ["made"]

HOSTILE = (
    '<script>alert(1)</script> | [click](javascript:x) ![i](http://x/i.png) `code` *bold* \\| <img src=x onerror="y">'
)


def markdown(events: list[dg.DagsterEvent]) -> list[str]:
    """Every markdown text that a run shows, of assets and of checks."""
    found = []
    for event in events:
        entries: Mapping[str, dg.MetadataValue] = {}
        if event.is_step_materialization:
            entries = event.step_materialization_data.materialization.metadata
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            entries = event.asset_check_evaluation_data.metadata
        found += [str(value.value) for value in entries.values() if isinstance(value, dg.MarkdownMetadataValue)]
    return found


def columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def assert_plain(text: str) -> None:
    """No tag, link or image is left in the text, and each row of the table has as many cells as its head."""
    assert "<" not in text
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", text)
    assert not re.search(r"(?<!\\)`", text)
    lines = text.splitlines()
    assert {columns(line) for line in lines} == {columns(lines[0])}


def test_text_of_strangers_is_shown_as_text() -> None:
    text = str(md.markdown_table([{"title": HOSTILE, "n": 1}, {"title": "two\nlines\r\n| three", "n": 2}]).value)
    assert_plain(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert len(text.splitlines()) == 4


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert escaped("<" * 1000) == "&lt;" * (CELL_CHARS - 1) + "…"
    assert escaped(None) == ""
    assert escaped("a_b \\") == "a\\_b \\\\"


def test_a_hostile_post_is_harmless_in_everything_its_runs_show(tmp_path: Path) -> None:
    link = f"/r/smallbusiness/comments/one/{HOSTILE}/"
    hostile = submission("one", FIRST, title=f"CRM {HOSTILE}", permalink=link, author=HOSTILE)
    name = "dump | `x` [y](z) *.ndjson"
    archive(tmp_path / "in" / name, hostile, submission("two", FIRST, subreddit=HOSTILE[:20]))
    with world(settings_over(tmp_path / "in", tmp_path / "home")) as fresh:
        events = list(fresh.run("reddit_landing").all_events)
        events += fresh.run("reddit_days", tags=day_range(FIRST, FIRST)).all_events
        fresh.run("campaign_words", partition_key="agency-crm")
        events += fresh.run("campaign_days", tags=lead_range("agency-crm", FIRST, FIRST)).all_events
    texts = markdown(events)
    assert any("dump \\|" in text for text in texts)
    for text in texts:
        if text != "*nothing*":
            assert_plain(text)


def test_every_asset_shows_its_columns_with_types_and_nullability(made: Made) -> None:
    assets = {asset.key.path[-1]: asset for asset in build_definitions(made.settings).resolve_all_asset_specs()}
    assert set(assets) == set(TABLES)
    for table in TABLES.values():
        schema = assets[table.name].metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        told = {column.name: (column.type, column.constraints.nullable) for column in schema.columns}
        assert list(told) == list(table.dtypes)
        assert told == {column["name"]: (told[column["name"]][0], column["nullable"]) for column in table.describe()}, (
            table.name
        )
        assert assets[table.name].description == table.description
    types = {column.name: column.type for column in assets["reddit_posts"].metadata["dagster/column_schema"].columns}
    assert types["created_utc"] == "timestamp (UTC)"
    assert types["day"] == "date"


def test_rows_are_counted_by_status_and_by_reason(made: Made) -> None:
    stored = made.lake.read(t.CAMPAIGN_POSTS).collect()
    counts = md.row_counts(stored)
    by_status = counts[md.BY_STATUS].value
    assert counts[md.ROWS].value == stored.height == sum(by_status.values())
    assert by_status["rejected"] == stored["reason"].drop_nulls().len()
    reason, most = stored["reason"].drop_nulls().value_counts(sort=True).row(0)
    assert any(line.startswith(f"| {escaped(reason)} | {most} |") for line in counts[md.BY_REASON].value.splitlines())
    assert md.PENDING_UNTIL not in counts


def test_the_funnel_accounts_for_every_rejection(made: Made) -> None:
    stored = made.lake.read(t.CAMPAIGN_POSTS).collect()
    lines = [line.strip("| ").split(" | ") for line in str(shown.funnel(stored).value).splitlines()]
    head, body = lines[0], lines[2:]
    rejected = {row[head.index("gate")]: int(row[head.index("rejected")]) for row in body}
    decided = dict(stored.filter(pl.col("status") == "rejected")["gate"].drop_nulls().value_counts().iter_rows())
    assert {gate: n for gate, n in rejected.items() if n} == decided


@pytest.mark.parametrize("table", [t.CAMPAIGN_POSTS, t.RANKED_POSTS, t.REDDIT_POSTS], ids=lambda table: table.name)
def test_an_empty_partition_shows_zero_rows_and_breaks_nothing(table: t.Table) -> None:
    empty = table.empty()
    assert md.row_counts(empty)[md.ROWS].value == 0
    if table is not t.REDDIT_POSTS:
        assert shown.funnel(empty).value == "*nothing*"
    assert shown.ranked_metadata(t.RANKED_POSTS.empty())[md.TOP_POSTS].value == "*nothing*"
    assert shown.posts_metadata(t.REDDIT_POSTS.empty())["content_states"].value == "*nothing*"
