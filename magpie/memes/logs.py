"""What people and sources say, as append-only logs in the control database.

Belongs here: the list of logs. Does not belong here: what may be said (the modules that append), the lake's copies
(assets of the same names).
"""

import dataframely as dy

from magpie.append_log import AppendLog
from magpie.memes import tables as t
from magpie.tables import Table, moment, one_of


class Events(dy.Schema):
    """Reactions as an app tells them; files of events and this log become `meme_reactions`."""

    event_id = dy.String(primary_key=True)
    kind = dy.String(regex=one_of(*t.EVENT_KINDS))
    user_id = dy.String()
    meme_id = dy.String(nullable=True)
    at = moment()
    engine = dy.String(nullable=True)
    queue_id = dy.String(nullable=True)
    sharer_id = dy.String(nullable=True)
    channel = dy.String(nullable=True)


EVENTS_TABLE = Table(
    "meme_events", Events, "What was sent to whom, and what people thought of it.", {}, ("at", "event_id")
)

SOURCE_EVENTS = AppendLog(t.SOURCE_EVENTS, "source_id")
FETCHES = AppendLog(t.MEME_FETCHES, "source_id")
MODERATION = AppendLog(t.MEME_MODERATION, "meme_id")
USERS = AppendLog(t.USERS)
DESCRIBE_QUEUE = AppendLog(t.DESCRIBE_QUEUE, "planned_at")
EVENTS = AppendLog(EVENTS_TABLE, "at", "user_id")
