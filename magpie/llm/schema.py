"""The books of the gateway in the control database: one schema for SQLite and Postgres.

Belongs here: tables and their columns. Does not belong here: what moves money between them (`ledger.py`), pacing
(`pacing.py`), protection (`breaker.py`).

Money is whole nano-USD, times are UTC. A call goes reserved -> sent -> settled | voided | unknown, and from unknown to
settled or lost; each change is an UPDATE that names the state it expects, so doing it twice changes nothing.
"""

import sqlalchemy as sa

from magpie.utc import UtcDateTime

metadata = sa.MetaData()

# sha256 in hex.
HASH = sa.String(64)
MONEY = sa.BigInteger
MOMENT = UtcDateTime

spend_window = sa.Table(
    "spend_window",
    metadata,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("window", sa.String(80), primary_key=True),
    sa.Column("spent", MONEY, nullable=False),
    sa.Column("reserved", MONEY, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
)

llm_call = sa.Table(
    "llm_call",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(4), nullable=False),  # call | hit
    sa.Column("request_key", HASH, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("reask", sa.Integer, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    # accepted | invalid | exhausted; null while nobody has judged the answer.
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
    metadata,
    sa.Column("call_id", sa.String(32), primary_key=True),
    # One HTTP request for embeddings answers many texts; each is an entry of its own.
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("request_key", HASH, nullable=False),
    # unjudged | accepted | invalid (asked again) | closed (asked again in vain) | purged (the source was deleted)
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

# Where a received body waits to be settled on Postgres, so that any worker can do it; on SQLite it is a file.
llm_body = sa.Table(
    "llm_body",
    metadata,
    sa.Column("call_id", sa.String(32), primary_key=True),
    sa.Column("head", sa.JSON, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

llm_inflight = sa.Table(
    "llm_inflight",
    metadata,
    sa.Column("request_key", HASH, primary_key=True),
    sa.Column("call_id", sa.String(32), nullable=False, index=True),
    sa.Column("item", sa.Integer, nullable=False),
)

throttle = sa.Table(
    "throttle",
    metadata,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("next_at", MOMENT, nullable=False),
)

cooldown = sa.Table(
    "cooldown",
    metadata,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("until", MOMENT, nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
)

failure_event = sa.Table(
    "failure_event",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("scope", sa.String(200), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("at", MOMENT, nullable=False),
    sa.Column("error_class", sa.String(40), nullable=False),
    sa.Index("failure_event_scope", "scope", "at"),
)

breaker = sa.Table(
    "breaker",
    metadata,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("opened_at", MOMENT, nullable=False),
    # Null: it stays open until an operator closes it.
    sa.Column("until", MOMENT),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    # The one call let through to see whether it may close.
    sa.Column("probe", sa.String(32)),
)

# Models that their provider has stopped to list.
hidden_model = sa.Table(
    "hidden_model",
    metadata,
    sa.Column("provider", sa.String(40), primary_key=True),
    sa.Column("model_id", sa.String(200), primary_key=True),
    sa.Column("since", MOMENT, nullable=False),
)

task_log = sa.Table(
    "task_log",
    metadata,
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
