"""The tables of spending in the lake: copies of the ledger's calls and of the task log, and the caps of each day.

Belongs here: their columns, keys and partitions. Does not belong here: the ledger itself (`schema.py`), and copying it
(`export.py`).

SQL and dbt cannot reach the control database, so what they need of it is copied here by day. `day` is the UTC day for
which a call was reserved, the one that its money counts for.
"""

import dataframely as dy

from magpie.tables import Table, moment, one_of, usd

DAY = {"day": "day"}
STATES = ("reserved", "sent", "settled", "voided", "unknown", "lost")
VERDICTS = ("accepted", "invalid", "exhausted")


def _steps(description: str) -> dy.List:
    step = dy.Struct(
        {
            "stepNumber": dy.Int64(nullable=True),
            "stepName": dy.String(nullable=True),
            "status": dy.String(nullable=True),
            "message": dy.String(nullable=True),
            "duration_ms": dy.Int64(nullable=True),
            "error": dy.String(nullable=True),
        },
        nullable=True,
    )
    return dy.List(step, description=description)


class LlmCalls(dy.Schema):
    day = dy.Date(description="UTC day the money counts for")
    call_id = dy.String(primary_key=True)
    kind = dy.String(regex=one_of("call", "hit"), description="hit: answered from the journal, at no cost")
    state = dy.String(
        regex=one_of(*STATES),
        description="settled: paid; voided: given back; unknown and lost: cut off after sending, charged at est_usd",
    )
    verdict = dy.String(
        nullable=True,
        regex=one_of(*VERDICTS),
        description="what was thought of the answer; exhausted: the last of a chain of re-asks; null: not judged",
    )
    request_key = dy.String(description="sha256 of what was asked; equal requests are paid once")
    attempt_no = dy.Int64(description="try of this call, 1 is the first")
    reask_no = dy.Int64(description="how often the row was asked again about an invalid answer before, 0 at first")
    function = dy.String()
    prompt_version = dy.String(nullable=True, description="sha256 of the prompt's template")
    product = dy.String()
    asset = dy.String(nullable=True)
    partition = dy.String(nullable=True, description="of the asset, as the orchestrator writes it")
    row_ref = dy.String(nullable=True, description="the row asked for, as its table knows it")
    input_hash = dy.String(nullable=True, description="of what the row's answer depends on")
    run_id = dy.String(nullable=True)
    scope_names = dy.List(dy.String(nullable=True), description="what the call counts for: all, product:leads, ...")
    provider = dy.String()
    model_alias = dy.String(nullable=True)
    model_asked = dy.String()
    model_served = dy.String(nullable=True, description="as the provider's answer names it")
    est_usd = usd("the most it could cost; so much was reserved")
    cost_usd = usd("what it is charged at; 0 while open, and for hits")
    saved_usd = usd("of a hit: what the answer cost when it was bought")
    over_estimate = dy.Bool(description="whether it cost more than est_usd")
    tokens_in = dy.Int64(nullable=True, description="cached ones included; null where no usage was told")
    tokens_cached = dy.Int64(nullable=True, description="of tokens_in, read from the provider's cache")
    tokens_out = dy.Int64(nullable=True, description="reasoning included")
    images = dy.Int64(description="images made")
    latency_ms = dy.Int64(nullable=True, description="from sending to settling; null where either is missing")
    http_status = dy.Int64(nullable=True)
    provider_request_id = dy.String(nullable=True)
    finish_reason = dy.String(nullable=True)
    error_class = dy.String(nullable=True, description="why it brought nothing, in the words of the rows' reasons")
    parse_strategy = dy.String(nullable=True, description="how the answer was found in its text")
    dropped_params = dy.String(nullable=True, description="parameters the model lacks, separated by commas")
    credits = dy.Int64()
    credits_version = dy.String(nullable=True)
    price_version = dy.String(description="where the price is from, with a hash of the rates; journal for hits")
    created_at = moment()
    settled_at = moment(nullable=True, description="null while it is open or unknown")


class TaskLog(dy.Schema):
    day = dy.Date(description="UTC day on which it finished")
    task_id = dy.String(primary_key=True)
    function = dy.String()
    product = dy.String()
    asset = dy.String(nullable=True)
    run_id = dy.String(nullable=True)
    phase = dy.String(description="how far it came; DONE is the end")
    # Not `status`: of a table's row that says ok, rejected, pending or failed, and who stores it goes by that.
    status = dy.String(regex=one_of("SUCCESS", "FAILURE"), description="FAILURE: no row of it got an answer")
    cost_usd = usd("of the calls of this task")
    tokens = dy.Int64(description="in and out")
    credits = dy.Int64()
    request_steps = _steps("the phases, with how long each took")
    response_steps = _steps("what went wrong on the answering side, the first hundred")
    error = dy.String(nullable=True)
    payload_hash = dy.String(description="sha256 of the rows asked for")
    summary = dy.String(description="JSON: rows by_status and by_reason")
    started_at = moment()
    finished_at = moment(nullable=True)


class SpendCaps(dy.Schema):
    day = dy.Date(primary_key=True)
    scope = dy.String(primary_key=True)
    per = dy.String(
        primary_key=True, regex=one_of("D", "M", "R"), description="the window: D a UTC day, M a UTC month, R a run"
    )
    cap_usd = usd("null: no bound on money", nullable=True)
    cap_calls = dy.Int64(nullable=True, description="null: no bound on the number of calls")


LLM_CALLS = Table(
    "llm_calls",
    LlmCalls,
    "Every call to a model, and every answer given from the journal instead: a copy of the ledger. Offline rules are "
    "no calls.",
    DAY,
    ("day", "created_at", "call_id"),
)
TASK_LOG = Table(
    "task_log",
    TaskLog,
    "Every run of a function over rows: phases, steps and cost: a copy of the control database's table.",
    DAY,
    ("day", "started_at", "task_id"),
)
SPEND_CAPS = Table(
    "spend_caps",
    SpendCaps,
    "The caps that held on each day, as they were when the day was last exported before its end or first after it.",
    DAY,
    ("day", "scope", "per"),
)

TABLES = (LLM_CALLS, TASK_LOG, SPEND_CAPS)
