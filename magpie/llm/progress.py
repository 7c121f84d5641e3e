"""How far a task is: phases, percentages, steps.

Belongs here: what a task tells while it runs and leaves in the task log. Does not belong here: showing it (the
orchestrator's log, the command line).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

Phase = Literal["INIT", "PREP", "AI_CALL", "PARSE", "SAVE", "DONE"]

# Per phase the share of the bar: what takes long gets most of it.
SPANS: dict[Phase, tuple[int, int]] = {
    "INIT": (0, 10),
    "PREP": (10, 25),
    "AI_CALL": (25, 70),
    "PARSE": (70, 85),
    "SAVE": (85, 98),
    "DONE": (98, 100),
}
# A task over thousands of rows keeps the first steps that went wrong; the ledger has them all.
STEPS_KEPT = 100


def percentage(phase: Phase, done: int, total: int) -> int:
    """Whole percent of a task: where its phase begins, plus the share of its items that are done."""
    low, high = SPANS[phase]
    return low + (high - low) * min(done, total) // total if total > 0 else high


@dataclass(frozen=True)
class Step:
    """One thing that was done: kinds beside the phases are retry, rate_limit, timeout, malformed_json."""

    number: int
    name: str
    status: str
    message: str
    duration_ms: int | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "stepNumber": self.number,
            "stepName": self.name,
            "status": self.status,
            "message": self.message,
            "duration_ms": self.duration_ms,
            "error": self.error,
        }


@dataclass(frozen=True)
class TaskState:
    """What a task tells."""

    phase: Phase
    percentage: int
    message: str
    current: int
    total: int
    current_item: str | None = None
    cost_nano: int = 0
    request_steps: tuple[Step, ...] = ()
    response_steps: tuple[Step, ...] = ()


Report = Callable[[TaskState], None]


@dataclass
class Tracker:
    """Keeps a task's state and tells every change; a percentage never goes back."""

    report: Report
    clock: Callable[[], datetime]
    state: TaskState = field(default_factory=lambda: TaskState("INIT", 0, "", 0, 0))
    _since: datetime | None = None

    def at(self, phase: Phase, done: int, total: int, message: str, *, item: str | None = None, cost: int = 0) -> None:
        """Say where the task is."""
        percent = max(self.state.percentage, percentage(phase, done, total))
        if phase != self.state.phase:
            self._close_phase()
        self.state = replace(
            self.state,
            phase=phase,
            percentage=percent,
            message=message,
            current=done,
            total=total,
            current_item=item,
            cost_nano=cost,
        )
        self.report(self.state)

    def trouble(self, name: str, message: str, error: str | None = None) -> None:
        """Note a step of the answering side that went wrong."""
        steps = self.state.response_steps
        if len(steps) < STEPS_KEPT:
            step = Step(len(steps) + 1, name, "error", message, error=error)
            self.state = replace(self.state, response_steps=(*steps, step))

    def _close_phase(self) -> None:
        now = self.clock()
        taken = int((now - self._since).total_seconds() * 1000) if self._since else None
        steps = self.state.request_steps
        step = Step(len(steps) + 1, self.state.phase, "success", self.state.message, taken)
        self.state = replace(self.state, request_steps=(*steps, step))
        self._since = now
