"""The first form of the control database's tables, as the first versions made them. They are never brought up to date.

Belongs here: old declarations and a little data in them. Does not belong here: tests.
"""

from datetime import UTC, datetime

import sqlalchemy as sa

from magpie.utc import UtcDateTime

metadata = sa.MetaData()
books = sa.MetaData()
logs = sa.MetaData()

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
KEY = "a" * 64
ANSWER = b'{"a": "the answer"}'

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("fullname", sa.String(16), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("fullname", "kind"),
)

pending = sa.Table(
    "pending_partitions",
    metadata,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("partition_key", sa.String(200), primary_key=True),
    sa.Column("reason", sa.String(64), primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("not_before", sa.DateTime(timezone=True)),
)

meme_events = sa.Table(
    "meme_events",
    logs,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("meme_id", sa.Text),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("engine", sa.Text),
    sa.Column("queue_id", sa.Text),
    sa.Column("sharer_id", sa.Text),
    sa.Column("channel", sa.Text),
    sa.Index("meme_events_at", "at"),
)

HASH = sa.String(64)
MONEY = sa.BigInteger
MOMENT = UtcDateTime

spend_window = sa.Table(
    "spend_window",
    books,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("window", sa.String(80), primary_key=True),
    sa.Column("spent", MONEY, nullable=False),
    sa.Column("reserved", MONEY, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
)

llm_call = sa.Table(
    "llm_call",
    books,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(4), nullable=False),  # call | hit
    sa.Column("request_key", HASH, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("reask", sa.Integer, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("verdict", sa.String(10)),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("provider", sa.String(40), nullable=False),
    sa.Column("endpoint", sa.String(40), nullable=False),
    sa.Column("model_alias", sa.String(200)),
    sa.Column("model_asked", sa.String(200), nullable=False),
    sa.Column("model_served", sa.String(200)),
    sa.Column("function", sa.String(80), nullable=False),
    sa.Column("prompt_version", HASH),
    sa.Column("product", sa.String(40), nullable=False),
    sa.Column("asset", sa.String(80)),
    sa.Column("partition", sa.String(200)),
    sa.Column("row_ref", sa.String(200)),
    sa.Column("input_hash", HASH),
    sa.Column("run_id", sa.String(64)),
    sa.Column("est_nano", MONEY, nullable=False),
    sa.Column("cost_nano", MONEY, nullable=False),
    sa.Column("saved_nano", MONEY, nullable=False),
    sa.Column("over_estimate", sa.Boolean, nullable=False),
    sa.Column("price_version", sa.String(120), nullable=False),
    sa.Column("tokens_in", sa.BigInteger),
    sa.Column("tokens_cached", sa.BigInteger),
    sa.Column("tokens_cache_write", sa.BigInteger),
    sa.Column("tokens_out", sa.BigInteger),
    sa.Column("tokens_reasoning", sa.BigInteger),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("created_at", MOMENT, nullable=False),
    sa.Column("sent_at", MOMENT),
    sa.Column("lease_until", MOMENT),
    sa.Column("settled_at", MOMENT),
    sa.Column("http_status", sa.Integer),
    sa.Column("provider_request_id", sa.String(120)),
    sa.Column("finish_reason", sa.String(12)),
    sa.Column("error_class", sa.String(40)),
    sa.Column("error", sa.String(500)),
    sa.Column("parse_strategy", sa.String(16)),
    sa.Column("dropped_params", sa.String(200)),
    sa.Column("credits", sa.Integer, nullable=False),
    sa.Column("credits_version", sa.String(8)),
    sa.Index("llm_call_key", "request_key"),
    sa.Index("llm_call_open", "state", "lease_until"),
    sa.Index("llm_call_day", "day"),
    sa.Index("llm_call_row", "row_ref", "function"),
)

llm_response = sa.Table(
    "llm_response",
    books,
    sa.Column("call_id", sa.String(32), primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("request_key", HASH, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("endpoint", sa.String(40), nullable=False),
    sa.Column("head", sa.JSON, nullable=False),
    sa.Column("body", sa.LargeBinary),
    sa.Column("cost_nano", MONEY, nullable=False),
    sa.Column("row_ref", sa.String(200)),
    sa.Column("created_at", MOMENT, nullable=False),
    sa.Index("llm_response_key", "request_key"),
    sa.Index("llm_response_row", "row_ref"),
)

llm_body = sa.Table(
    "llm_body",
    books,
    sa.Column("call_id", sa.String(32), primary_key=True),
    sa.Column("head", sa.JSON, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

llm_inflight = sa.Table(
    "llm_inflight",
    books,
    sa.Column("request_key", HASH, primary_key=True),
    sa.Column("call_id", sa.String(32), nullable=False, index=True),
    sa.Column("item", sa.Integer, nullable=False),
)

throttle = sa.Table(
    "throttle",
    books,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("next_at", MOMENT, nullable=False),
)

cooldown = sa.Table(
    "cooldown",
    books,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("until", MOMENT, nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
)

failure_event = sa.Table(
    "failure_event",
    books,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("scope", sa.String(200), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("at", MOMENT, nullable=False),
    sa.Column("error_class", sa.String(40), nullable=False),
    sa.Index("failure_event_scope", "scope", "at"),
)

breaker = sa.Table(
    "breaker",
    books,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("opened_at", MOMENT, nullable=False),
    sa.Column("until", MOMENT),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("probe", sa.String(32)),
)

task_log = sa.Table(
    "task_log",
    books,
    sa.Column("task_id", sa.String(32), primary_key=True),
    sa.Column("day", sa.String(10), nullable=False, index=True),
    sa.Column("function", sa.String(80), nullable=False),
    sa.Column("product", sa.String(40), nullable=False),
    sa.Column("asset", sa.String(80)),
    sa.Column("run_id", sa.String(64)),
    sa.Column("phase", sa.String(8), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("cost_nano", MONEY, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("credits", sa.BigInteger, nullable=False),
    sa.Column("request_steps", sa.JSON, nullable=False),
    sa.Column("response_steps", sa.JSON, nullable=False),
    sa.Column("error", sa.String(500)),
    sa.Column("payload_hash", HASH, nullable=False),
    sa.Column("summary", sa.JSON, nullable=False),
    sa.Column("started_at", MOMENT, nullable=False),
    sa.Column("finished_at", MOMENT),
)


def fill(connection: sa.Connection) -> None:
    """Make the tables and put data in all kinds of them."""
    for tables in (metadata, books, logs):
        tables.create_all(connection)
    connection.execute(
        deletions.insert(),
        [{"fullname": f"t3_{n}", "kind": kind, "detected_at": NOON} for n in range(3) for kind in ("post", "author")],
    )
    waiting = {"table_name": "lead_extractions", "partition_key": "a|2026-11-19", "reason": "cap_reached"}
    connection.execute(pending.insert().values(**waiting, rows=4, not_before=NOON))
    connection.execute(
        meme_events.insert().values(event_id="e1", kind="like", user_id="ann", meme_id="m1", at=NOON, channel="web")
    )
    connection.execute(
        spend_window.insert(),
        [{"scope": "all", "window": "D2026-11-20", "spent": 700, "reserved": 0, "calls": 1}],
    )
    connection.execute(
        llm_call.insert().values(
            id="c" * 32,
            kind="call",
            request_key=KEY,
            attempt=1,
            reask=0,
            state="settled",
            verdict="accepted",
            day="2026-11-20",
            scopes=[["all"], ["D2026-11-20"], []],
            provider="openai",
            endpoint="chat/completions",
            model_asked="small",
            function="extract_lead",
            product="leads",
            row_ref="t3_0",
            est_nano=900,
            cost_nano=700,
            saved_nano=0,
            over_estimate=False,
            price_version="t1",
            images=0,
            created_at=NOON,
            settled_at=NOON,
            credits=0,
        )
    )
    connection.execute(
        llm_response.insert().values(
            call_id="c" * 32,
            item=0,
            request_key=KEY,
            state="accepted",
            endpoint="chat/completions",
            head={"status": 200, "headers": {}},
            body=ANSWER,
            cost_nano=700,
            row_ref="t3_0",
            created_at=NOON,
        )
    )
