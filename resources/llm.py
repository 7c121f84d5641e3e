"""The door to models, as assets are handed it.

Belongs here: one engine per process, made on first use, for the settings and the run. Does not belong here: what an
engine does (`magpie/llm`), which settings it reads (`magpie/engine.py`).
"""

import threading
from typing import Any

from magpie.control import Control
from magpie.engine import engine_of
from magpie.llm.engine import Engine
from magpie.llm.gateway import Clock
from magpie.llm.progress import Report
from magpie.settings import Settings
from magpie.utc import utc_now


class Llm:
    """Holds the engine; constructing one opens nothing.

    Args:
        watch: told how far every task is, beside the orchestrator's log.
        clock: UTC now; sensors go by it too.
        options: of `engine_of`, for tests: env, sleep, observe.
    """

    def __init__(
        self,
        settings: Settings,
        control: Control,
        *,
        watch: Report = lambda state: None,
        clock: Clock = utc_now,
        **options: Any,
    ) -> None:
        self.watch, self.clock = watch, clock
        self._settings, self._control, self._options = settings, control, options
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The process's engine. What dead processes left in the books is swept up before its first use."""
        with self._lock:
            if self._engine is None:
                self._engine = engine_of(self._settings, self._control, clock=self.clock, **self._options)
                self._engine.sweep()
            return self._engine
