"""The append-only logs of persona in the control database.

Belongs here: which there are. Does not belong here: what is appended (the planner, reviewers, delivery, whoever is
told of a deletion).
"""

from magpie.append_log import AppendLog
from magpie.persona import tables as t

TICKS = AppendLog(t.PERSONA_TICKS, "blog", "day")
REVIEWS = AppendLog(t.PERSONA_REVIEWS, "blog", "outbox_id")
DELIVERIES = AppendLog(t.DELIVERY_LOG, "blog", "outbox_id")
DELETIONS = AppendLog(t.PERSONA_DELETIONS, "blog")
CALLS = AppendLog(t.TUMBLR_FETCHES, "at")
BY_NAME = {log.table.name: log for log in (TICKS, REVIEWS, DELIVERIES, DELETIONS, CALLS)}
