"""One product as its tests work with it: definitions, a clock moved by hand, the daemon, the books.

Belongs here: what the worlds of all products share. Does not belong here: what a product lands and makes (its own
`..._world.py`), tests.
"""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Generic, Self, TypeVar

import dagster as dg
import polars as pl
import sqlalchemy as sa

from definitions import build_definitions
from magpie.llm.money import to_usd
from magpie.llm.schema import llm_call
from magpie.llm.store import Store
from magpie.settings import Settings
from magpie.tables import Table
from resources.llm import Llm
from tests.dagster_world import Daemon, World, rows
from tests.gateway_world import KEYS
from tests.ledger_world import FakeClock

D = TypeVar("D", bound=Daemon)


class ProductWorld(Generic[D]):
    """A home with one product's location over rules or the fake provider.

    Args:
        env: keys of providers; None: `keys`, or none where rules answer.
        checks: whether a run holds its rows against the asset checks.
        more: of the engine.

    Attributes:
        product: its name.
        keys: of providers.
        daemon_of: what evaluates its sensors.
    """

    product: ClassVar[str]
    keys: ClassVar[Mapping[str, str]] = KEYS
    daemon_of: ClassVar[type[Any]] = Daemon

    def __init__(
        self,
        settings: Settings,
        clock: FakeClock,
        instance: dg.DagsterInstance,
        env: Mapping[str, str] | None = None,
        *,
        checks: bool = False,
        **more: Any,
    ) -> None:
        self.settings, self.clock, self.instance = settings, clock, instance
        unbound = World(settings, dg.Definitions(), instance)
        self.lake, self.control = unbound.lake, unbound.control
        self.store = Store(self.control)
        if env is None:
            env = {} if settings.llm.provider == "offline" else self.keys
        self.llm = Llm(settings, self.control, clock=clock, sleep=clock.sleep, env=env, **more)
        self.sync()
        defs = build_definitions(settings, [self.product], checks=checks, llm=self.llm, **self.resources())
        self.world = World(settings, defs, instance)
        self.daemon: D = self.daemon_of(self.world)

    def sync(self) -> None:
        """Add the partitions that settings name."""

    def resources(self) -> dict[str, Any]:
        """What it works with instead of its own, by the name of the resource."""
        return {}

    def again(self, settings: Settings | None = None, **more: Any) -> Self:
        """A new process over the same home, perhaps under other settings."""
        after = type(self)(settings or self.settings, self.clock, self.instance, **more)
        after.daemon.cursors, after.daemon.used = self.daemon.cursors, self.daemon.used
        return after

    def rows(self, table: Table) -> pl.DataFrame:
        return rows(self.lake, table)

    def fates(self, table: Table) -> dict[tuple[str, str | None], int]:
        """How many rows there are of each status and reason."""
        return dict(Counter(self.rows(table).select("status", "reason").rows()))

    def booked_usd(self) -> Decimal:
        query = sa.select(sa.func.coalesce(sa.func.sum(llm_call.c.cost_nano), 0))
        return to_usd(int(self.store.read(lambda c: c.execute(query).scalar_one())))

    def estimates(self) -> list[int]:
        """Nano-USD that were reserved for each call."""
        return list(self.store.read(lambda c: c.execute(sa.select(llm_call.c.est_nano)).scalars()))
