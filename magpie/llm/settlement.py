"""What a finished call came to: its cost and the answers it leaves in the journal.

Belongs here: turning a reply or a fault into a settlement, for the call's own process and for a sweep alike. Does not
belong here: booking it (`ledger.py`).
"""

from collections.abc import Sequence
from typing import Any

from magpie.llm import journal
from magpie.llm.ledger import Settlement, Stored
from magpie.llm.prices import Rates
from magpie.llm.reply import Exchange, Fault, Reply, Usage


def settlement_of(
    reply: Reply, exchange: Exchange, endpoint: str, keys: Sequence[str], rates: Rates | None, est_nano: int
) -> Settlement:
    """What an answered call came to: what the provider says, else its usage at our rates, else the estimate.

    Args:
        keys: of the journal, in the order of what was asked: one, or one per embedded text.
    """
    if reply.cost_nano is not None:
        cost = reply.cost_nano
    else:
        cost = est_nano if reply.usage is None or rates is None else rates.cost(reply.usage)
    return Settlement(
        cost,
        reply.usage or Usage(),
        reply.usage is not None,
        reply.model or None,
        reply.finish_reason,
        reply.provider_request_id,
        exchange.status,
        answers=_answers(reply, exchange, endpoint, keys, cost),
    )


def fault_settlement(fault: Fault, usage: Usage, rates: Rates | None, error_class: str) -> Settlement:
    """What a call came to whose error says what it used."""
    return Settlement(
        rates.cost(usage) if rates else 0,
        usage,
        http_status=fault.status,
        provider_request_id=fault.provider_request_id,
        error_class=error_class,
        error=fault.message,
    )


def fault_of(exchange: Exchange) -> Fault:
    """The fault of an exchange that brought no body to read."""
    kind: Any = exchange.failure or "bad_body"
    return Fault(kind, exchange.error or "the connection broke", exchange.status)


def _answers(reply: Reply, exchange: Exchange, endpoint: str, keys: Sequence[str], cost: int) -> tuple[Stored, ...]:
    if endpoint == "embeddings":
        if len(reply.vectors) != len(keys):
            return ()  # paid, and of no use: whose vector is whose cannot be told
        share, rest = divmod(cost, len(keys))
        head: dict[str, Any] = {"status": exchange.status, "headers": {}}
        return tuple(
            Stored(n, key, head, vector, share + (rest if n == 0 else 0))
            for n, (key, vector) in enumerate(zip(keys, reply.vectors, strict=True))
        )
    more, body = journal.packed(exchange.body)
    return (Stored(0, keys[0], journal.head_of(exchange) | more, body, cost),)
