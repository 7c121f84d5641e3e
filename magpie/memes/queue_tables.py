"""The tables of queues in the control database.

Belongs here: their columns. Does not belong here: who writes them when (`queues.py`), the lake's copies
(`meme_candidates`, `recommendation_queues`).
"""

import sqlalchemy as sa

from magpie.utc import UtcDateTime

metadata = sa.MetaData()

# A row is live until it is taken or its time is over.
queue = sa.Table(
    "meme_queue",
    metadata,
    sa.Column("queue_id", sa.String(32), primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False, index=True),
    sa.Column("refill_no", sa.BigInteger, nullable=False),
    sa.Column("pos", sa.BigInteger, nullable=False),
    sa.Column("meme_id", sa.Text, nullable=False),
    sa.Column("engine", sa.String(32), nullable=False),
    sa.Column("queued_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    # When it was handed out, or passed over as seen or gone; what was handed out may still fail to be delivered.
    sa.Column("taken_at", UtcDateTime),
    sa.Column("consumed_at", UtcDateTime),
    sa.Index("meme_queue_user", "user_id", "expires_at"),
    sa.Index("meme_queue_taken", "taken_at"),
)

candidates = sa.Table(
    "meme_refill_candidates",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True, index=True),
    sa.Column("refill_no", sa.BigInteger, primary_key=True),
    sa.Column("engine", sa.String(32), primary_key=True),
    sa.Column("rank", sa.BigInteger, primary_key=True),
    sa.Column("meme_id", sa.Text, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
)

# What a refill was made by, beside its candidates: enough to make it anew.
refills = sa.Table(
    "meme_refills",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("refill_no", sa.BigInteger, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    # Engines that failed, and versions of the lake's tables that were read.
    sa.Column("failed", sa.JSON, nullable=False),
    sa.Column("versions", sa.JSON, nullable=False),
)

leases = sa.Table(
    "meme_refill_leases",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.String(32), nullable=False),
    sa.Column("until", UtcDateTime, nullable=False),
)
