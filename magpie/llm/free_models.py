"""Which models their provider has stopped to list: free ones come and go without notice.

Belongs here: asking for the list, and keeping what is not on it. Does not belong here: which models there are to ask
(`models.py`), leaving the hidden ones out (`engine.py`).
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from magpie.llm.gateway import Gateway
from magpie.llm.models import FREE, Models
from magpie.llm.providers.base import ListsModels
from magpie.llm.reply import Fault
from magpie.llm.schema import hidden_model
from magpie.llm.store import LedgerUnavailable, Store

PROVIDER = "openrouter"

_hidden = hidden_model.c


@dataclass(frozen=True)
class Hidden:
    """A model that is not asked, because it was missing from its provider's list since then."""

    provider: str
    model_id: str
    since: datetime

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model_id}"


@dataclass(frozen=True)
class Polled:
    """What a look at the list came to.

    Attributes:
        listed: models on it, of all kinds.
        gone: free models of the registry that are hidden now, as `provider/model`.
        back: those that were hidden before and are not now.
        fault: why there was no list; then nothing was changed.
    """

    listed: int = 0
    gone: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    fault: str | None = None


def refresh_free_models(gateway: Gateway, models: Models) -> Polled:
    """Ask which models OpenRouter serves, hide the free ones of the registry that are gone, show those that are back.

    A list without any free model is taken for a slip of the server. The question is no call: it costs nothing and
    counts for no quota.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    provider = gateway.providers.get(PROVIDER)
    if not isinstance(provider, ListsModels) or not provider.has_key:
        return Polled(fault=f"no key for {PROVIDER}: set it in the environment")
    listed = provider.listed()
    if isinstance(listed, Fault):
        return Polled(fault=listed.message)
    if not any(model_id.endswith(FREE) for model_id in listed):
        return Polled(len(listed), fault=f"{PROVIDER} lists {len(listed)} models and none of them as free")
    ours = {row.model_id for row in models.rows if row.provider == PROVIDER and row.free}
    gone, now = ours - listed, gateway.clock()

    def change(connection: sa.Connection) -> set[str]:
        mine = _hidden.provider == PROVIDER
        before = set(connection.execute(sa.select(_hidden.model_id).where(mine)).scalars())
        connection.execute(hidden_model.delete().where(mine, _hidden.model_id.not_in(sorted(gone))))
        fresh = [{"provider": PROVIDER, "model_id": model_id, "since": now} for model_id in sorted(gone - before)]
        if fresh:
            connection.execute(hidden_model.insert(), fresh)
        return before - gone

    back = gateway.store.write(change)
    return Polled(len(listed), _names(gone), _names(back))


def hidden_models(store: Store) -> list[Hidden]:
    """All models that are hidden, by name; none where there are no books yet.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    if not store.exists:
        return []
    query = sa.select(hidden_model).order_by(_hidden.provider, _hidden.model_id)
    return store.read(lambda c: [Hidden(row.provider, row.model_id, row.since) for row in c.execute(query)])


def hidden_names(store: Store) -> frozenset[str]:
    """The same as `provider/model`; books that are away hide nothing, and say so when a call is to be booked."""
    try:
        return frozenset(model.name for model in hidden_models(store))
    except LedgerUnavailable:
        return frozenset()


def _names(model_ids: set[str]) -> tuple[str, ...]:
    return tuple(f"{PROVIDER}/{model_id}" for model_id in sorted(model_ids))
