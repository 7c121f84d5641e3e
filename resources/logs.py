"""Which run a log line belongs to.

Belongs here: asking Dagster for the run that this thread is in. Does not belong here: how a line looks
(`magpie/json_logs.py`).
"""

import dagster as dg


def run_id() -> str | None:
    """The id of the run whose step this thread executes; None outside one, as in sensors."""
    try:
        return dg.OpExecutionContext.get().run_id
    except dg.DagsterInvariantViolationError:
        return None
