"""The entries of one post in delivery_log, written so that no two processes send it at once.

Belongs here: ids and moments of entries, and whether a try has an end. Does not belong here: what is sent
(`delivery.py`), what entries make of a row (`outbox_states.py`).

The id of an entry is made of the post, the number of the try and the phase. An id is appended once, whoever comes
first; so one process alone begins a try, and a try has one beginning.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from magpie.control import Control
from magpie.persona.logs import DELIVERIES, REVIEWS

ENDS = ("done", "absent", "error")
# A process that slept between the entry and the request must not send any more: others may have looked meanwhile.
STALE = timedelta(minutes=1)


class Trail:
    """What the log says of one post, and what is added to it."""

    def __init__(
        self, control: Control, blog: str, key: str, clock: Callable[[], datetime], reports: pl.DataFrame
    ) -> None:
        self._control, self._blog, self._key, self._clock = control, blog, key, clock
        self._reports = reports.filter(pl.col("outbox_id") == key).sort("at", "delivery_id")
        self._reviews = REVIEWS.read(control, outbox_id=key)
        self._tries = self._reports.filter(pl.col("phase") == "sending").height

    @classmethod
    def of(
        cls,
        control: Control,
        blog: str,
        key: str,
        clock: Callable[[], datetime],
        reports: pl.DataFrame | None = None,
    ) -> "Trail":
        """The trail of the post with this outbox_id.

        Args:
            reports: `delivery_log` of several posts, if it has been read.
        """
        found = DELIVERIES.read(control, outbox_id=key) if reports is None else reports
        return cls(control, blog, key, clock, found)

    @property
    def unresolved(self) -> bool:
        """Whether a try was begun of which nobody knows how it ended."""
        there = set(self._reports["delivery_id"])
        return self._tries > 0 and not any(self._id(phase) in there for phase in ENDS)

    @property
    def since(self) -> datetime:
        """When the newest try began."""
        moments: list[datetime] = self._reports.filter(pl.col("phase") == "sending")["at"].to_list()
        return moments[-1]

    def begin(self, body_sha256: str | None) -> bool:
        """Begin a try to send this body; false: another process has, or a person has decided otherwise meanwhile."""
        self._tries += 1
        began = self._clock()
        if not self._write(self._id("sending"), "sending", body_sha256=body_sha256):
            return False
        heard = REVIEWS.read(self._control, outbox_id=self._key)
        if heard.height == self._reviews.height and self._clock() - began < STALE:
            return True
        self.end("absent")
        return False

    def end(self, phase: str, **more: Any) -> None:
        """Say how the try ended."""
        self._write(self._id(phase), phase, **more)

    def unsent(self, **more: Any) -> None:
        """Say that the post could not even be tried."""
        self._write(f"{self._key}-{self._reports.height}-unsent", "error", **more)

    def _id(self, phase: str) -> str:
        return f"{self._key}-{self._tries}-{phase}"

    def _write(self, delivery_id: str, phase: str, **more: Any) -> bool:
        entry = {
            "delivery_id": delivery_id,
            "blog": self._blog,
            "outbox_id": self._key,
            "phase": phase,
            "at": self._moment(),
            **more,
        }
        added = DELIVERIES.append(self._control, [entry]) == 1
        self._reports = DELIVERIES.read(self._control, outbox_id=self._key).sort("at", "delivery_id")
        return added

    def _moment(self) -> datetime:
        """Now, but behind all that was said of the post before, whoever's clock is late."""
        before = [at for log in (self._reports, self._reviews) if isinstance(at := log["at"].max(), datetime)]
        return max([self._clock(), *(at + timedelta(microseconds=1) for at in before)])
