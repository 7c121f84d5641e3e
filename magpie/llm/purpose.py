"""Who asks, for whom, and against which limits.

Belongs here: what the ledger records beside a request, the names of scopes and windows, and the bounds that apply.
Does not belong here: what is asked (`request.py`) and enforcing a bound (`ledger.py`).

A scope is something that money is counted for (`all`, `product:leads`, `campaign:agency-crm`, `provider:openai`,
`model:openai/gpt-5-mini`, `asset:lead_extractions`, `tier:openrouter-free`); a window is a time it is counted over: a
UTC day (`D2026-11-20`), a month (`M2026-11`) or a run (`R<run id>`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Literal

ALL = "all"
FREE_TIER = "tier:openrouter-free"


@dataclass(frozen=True)
class Purpose:
    """What a call is for.

    Attributes:
        function: name of the function spec, or of the embedding or moderation that stands for one.
        scopes: scopes beside those that follow from the other fields, for example `campaign:agency-crm`.
        row_ref: the row asked for, as its table knows it.
        input_hash: of what the row's answer depends on; invalid answers are counted per function, row and input.
        run_id: of the orchestrator, or one made up per process.
    """

    product: str
    function: str
    asset: str | None = None
    partition: str | None = None
    row_ref: str | None = None
    input_hash: str | None = None
    run_id: str | None = None
    prompt_version: str | None = None
    model_alias: str | None = None
    scopes: tuple[str, ...] = ()

    def all_scopes(self, provider: str, model: str, *, free_tier: bool) -> list[str]:
        """Everything one call counts for, sorted."""
        found = {ALL, f"product:{self.product}", f"provider:{provider}", f"model:{provider}/{model}", *self.scopes}
        if self.asset:
            found.add(f"asset:{self.asset}")
        if free_tier:
            found |= {FREE_TIER, share(FREE_TIER, self.product)}
        return sorted(found)


def share(tier: str, product: str) -> str:
    """The scope of one product's part of a tier that several use."""
    return f"{tier}/{product}"


@dataclass(frozen=True)
class Limit:
    """One bound on a scope.

    Attributes:
        per: D a UTC day, M a UTC month, R a run.
        usd_nano: settled plus reserved money may not exceed it; None: no bound on money.
        calls: so many attempts at most; None: no bound on their number.
    """

    per: Literal["D", "M", "R"]
    usd_nano: int | None = None
    calls: int | None = None


@dataclass(frozen=True)
class Limits:
    """All bounds.

    Attributes:
        by_scope: a scope without an entry has none.
        gaps_s: scope -> seconds between the sendings of two calls that count for it.
    """

    by_scope: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    gaps_s: Mapping[str, float] = field(default_factory=dict)


def windows(moment: datetime, run_id: str | None) -> dict[str, str]:
    """The windows a call at `moment` falls into, by kind."""
    utc = moment.astimezone(UTC)
    found = {"D": f"D{utc:%Y-%m-%d}", "M": f"M{utc:%Y-%m}"}
    if run_id:
        found["R"] = f"R{run_id}"
    return found


def window_end(kind: str, moment: datetime) -> datetime | None:
    """When the window of that kind that holds `moment` is over; None for a run, which no clock ends."""
    utc = moment.astimezone(UTC)
    midnight = datetime.combine(utc.date(), time(), UTC)
    if kind == "D":
        return midnight + timedelta(days=1)
    if kind == "M":
        return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return None
