"""OpenRouter's free calls of a day, as the provider counts them.

Belongs here: asking for its count, and what is booked of the answer. Does not belong here: counting our own calls
(`ledger.py`), which free models there are (`free_models.py`).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from magpie.llm import ledger, pacing
from magpie.llm.providers.base import CountsCalls, Provider
from magpie.llm.purpose import FREE_TIER, Limits
from magpie.llm.refusal import PAYMENT_S, Refused, after
from magpie.llm.reply import Fault, FreeQuota
from magpie.llm.store import Store

# A provider's own count of free calls is asked for this often: it changes only if others use the key.
COUNT_EVERY = timedelta(minutes=10)
# Of an account that has fewer calls than our bound a tenth is left alone, as our bound leaves a tenth of a full one:
# its count and ours do not turn to a new day at the same moment.
USED_OF_TEN = 9
REFUSES_KEY = (401, 403)

log = logging.getLogger(__name__)


class FreeTier:
    """What providers tell of the free calls of the day.

    Args:
        limits: with our own bound on the tier, if there is one.
        clock: UTC now.
    """

    def __init__(
        self, store: Store, providers: Mapping[str, Provider], limits: Limits, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._providers, self._clock = store, providers, clock
        daily = [limit.calls for limit in limits.by_scope.get(FREE_TIER, ()) if limit.per == "D"]
        self._bound = min((calls for calls in daily if calls is not None), default=None)
        self._lock = threading.Lock()
        self._counted_until = datetime.min.replace(tzinfo=UTC)

    def believe(self, name: str) -> None:
        """Take over a provider's count where it leaves less than ours, if that has not been done lately.

        Raises:
            LedgerUnavailable: it cannot be booked.
        """
        provider, now = self._providers[name], self._clock()
        with self._lock:
            if not isinstance(provider, CountsCalls) or now < self._counted_until:
                return
            self._counted_until = now + COUNT_EVERY
        self._look(name, provider)

    def probe(self, name: str) -> Refused | None:
        """Ask about the key before calls are made with it; None: it is good, or nobody says that it is not.

        Raises:
            LedgerUnavailable: the count that comes with the answer cannot be booked.
        """
        provider = self._providers.get(name)
        if not isinstance(provider, CountsCalls) or not provider.has_key:
            return None
        with self._lock:
            self._counted_until = self._clock() + COUNT_EVERY
        fault = self._look(name, provider)
        if fault is None or fault.status not in REFUSES_KEY:
            return None
        return Refused("provider_auth", f"{name} refused the key ({fault.message}); correct it")

    def _look(self, name: str, provider: CountsCalls) -> Fault | None:
        told, now = provider.quota(), self._clock()
        if isinstance(told, Fault):
            log.warning("%s does not tell how many free calls are used, so our own count holds: %s", name, told.message)
            return told
        used = self._used(told)
        self._store.write(lambda c: ledger.raise_calls(c, FREE_TIER, now, used))
        if told.balance_negative:
            until, why = after(now, PAYMENT_S), f"the balance at {name} is negative, which blocks free models too"
            self._store.write(lambda c: pacing.cool(c, FREE_TIER, until, "payment_required", why))
        return None

    def _used(self, told: FreeQuota) -> int:
        """How many of our own bound count as used, so that no more is left of it than the provider leaves."""
        if self._bound is None:
            return told.used
        allowed = self._bound if told.limit >= self._bound else told.limit * USED_OF_TEN // 10
        left = max(0, min(told.remaining, allowed - told.used))
        return max(told.used, self._bound - left)
