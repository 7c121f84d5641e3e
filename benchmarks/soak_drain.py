"""Bringing the soak to its end: waiting until it is quiet, and doing what a person would do, with a note of each.

Belongs here: when it is quiet, what waits for a time to come, what needs a person. Does not belong here: what must hold
then (`soak_checks.py`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.partitions import RANGE_END, RANGE_START
from benchmarks.soak_checks import failed
from benchmarks.soak_site import Site
from definitions import build_definitions
from magpie.control import Control, Pending
from magpie.settings import Settings
from resources.llm import Llm
from sensors.targets import TARGETS
from tests.dagster_world import Daemon, World

# A round of every sensor, the planner of descriptions at the longest, and time for what it asks for to be queued.
QUIET_S = 150
SENSORS = ("daily_cost_cap", "quota", "backlog")
UNKNOWN = "unknown_outcome"


@dataclass
class Drain:
    """What was done to bring it to an end."""

    site: Site
    settings: Settings
    say: Callable[[str], None]
    by_hand: list[str] = field(default_factory=list)
    simulated: list[str] = field(default_factory=list)
    quiet_after_s: float = 0.0

    def until_done(self, seconds: float) -> bool:
        """Wait, relaunch, and let the clock of waiting rows run ahead until nothing is left to do."""
        begun, again = time.monotonic(), set[str]()
        while time.monotonic() < begun + seconds:
            if not self._quiet(begun + seconds):
                break
            if self._relaunch(again) or self._wake():
                continue
            self.quiet_after_s = time.monotonic() - begun - QUIET_S
            return True
        self.say("the time for finishing is over")
        return False

    def _quiet(self, deadline: float) -> bool:
        """Wait until no run has been under way for a round of the sensors."""
        since, said = time.monotonic(), 0.0
        while time.monotonic() < deadline:
            if active := self.site.active():
                since = time.monotonic()
            if since - said > 30 and active:
                said = since
                self.say(f"{len(active)} runs under way or queued")
            if time.monotonic() - since >= QUIET_S:
                return True
            time.sleep(1)
        return False

    def _relaunch(self, again: set[str]) -> int:
        """Re-execute failed runs once each, as somebody does who looks at the list of runs."""
        found = [run for run in failed(self.site.instance) if run.run_id not in again]
        for run in found:
            again.add(run.run_id)
            word = f"re-executed {run.job_name} {run.tags.get(RANGE_START, '')}".strip()
            self.by_hand.append(word)
            self.say(word)
            self.site.again(run)
        return len(found)

    def _wake(self) -> int:
        """Ask for what waits for a time to come, as the sensors will then; steps keep the real clock."""
        control = Control(self.settings.control_database)
        waits = [item for item in control.pending() if item.not_before and item.reason != UNKNOWN]
        waits = [item for item in waits if item.table in TARGETS]
        if not waits:
            return 0
        later = max(datetime.now(UTC), *(item.not_before for item in waits if item.not_before)) + timedelta(minutes=1)
        made = Llm(self.settings, control, clock=lambda: later)
        defs = build_definitions(self.settings, llm=made)
        daemon = Daemon(World(self.settings, defs, self.site.instance))
        asked = [(name, request) for name in SENSORS for request in daemon.tick(name)[0]]
        for job, assets, span, number in _ranges([request for _, request in asked]):
            self.site.launch(job, span, list(assets))
            word = f"{job} {span[RANGE_START]}..{span[RANGE_END]}: {number} partitions, as of {later:%Y-%m-%d %H:%M}"
            self.simulated.append(word)
            self.say(f"woken: {word}")
        return len(asked)

    def decide_unknown(self) -> list[Pending]:
        """Launch what holds rows of an unknown outcome; the caller has allowed to pay twice."""
        control = Control(self.settings.control_database)
        found = [item for item in control.pending() if item.reason == UNKNOWN]
        requests = [
            dg.RunRequest(
                job_name=TARGETS[item.table].job,
                partition_key=TARGETS[item.table].partition_key(item.partition),
                asset_selection=[dg.AssetKey(name) for name in TARGETS[item.table].assets],
            )
            for item in found
        ]
        for job, assets, span, number in _ranges(requests):
            self.site.launch(job, span, list(assets))
            word = f"allowed to pay twice: {job} {span[RANGE_START]}..{span[RANGE_END]}, {number} partitions"
            self.by_hand.append(word)
            self.say(word)
        return found


def _ranges(requests: list[dg.RunRequest]) -> list[tuple[str, tuple[str, ...], dict[str, str], int]]:
    """Requests of one job, its assets and one campaign, channel, platform or site as one range each."""
    groups: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for request in requests:
        key = str(request.partition_key)
        lead = " ".join(part for part in key.split("|") if not part[:4].isdigit())
        assets = tuple(asset.path[-1] for asset in request.asset_selection or ())
        groups.setdefault((str(request.job_name), assets, lead), []).append(key)
    return [
        (job, assets, {RANGE_START: min(keys), RANGE_END: max(keys)}, len(set(keys)))
        for (job, assets, _), keys in groups.items()
    ]
