"""A task: one function over the rows of one frame.

Belongs here: for whom it runs, and what it came to. Does not belong here: running it (`engine.py`), its place in the
books (`history.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from magpie.llm.choices import Choice
from magpie.llm.spec import Pace


@dataclass(frozen=True)
class Scope:
    """For whom a function runs.

    Attributes:
        scopes: of the ledger, beside those that follow from product and asset: `campaign:agency-crm`.
        name: what the scope tier of prompts is called: campaign, site, channel.
        choice: what that tier says; run_choice: what this run overrides; function_choice: the settings' own.
        pace: in place of the function's own.
    """

    product: str
    asset: str | None = None
    scopes: tuple[str, ...] = ()
    name: str = "scope"
    run_id: str | None = None
    choice: Choice = field(default_factory=Choice)
    run_choice: Choice = field(default_factory=Choice)
    function_choice: Choice = field(default_factory=Choice)
    pace: Pace | None = None


@dataclass(frozen=True)
class Summary:
    """What a task came to.

    Attributes:
        spent_nano: booked by this task's calls; saved_nano: what its journal hits did not cost again.
        source_tiers: which tier said what of model, temperature and bounds.
    """

    task_id: str
    by_status: Mapping[str, int]
    by_reason: Mapping[str, int]
    calls: int
    hits: int
    spent_nano: int
    saved_nano: int
    tokens_in: int
    tokens_out: int
    credits: int
    source_tiers: Mapping[str, str]
    message: str


@dataclass(frozen=True)
class TaskEntry:
    """What is known of a task when it begins."""

    task_id: str
    function: str
    scope: Scope
    payload_hash: str
    started: datetime
