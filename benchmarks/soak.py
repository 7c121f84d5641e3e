"""Half an hour of a busy day on a whole deployment while every component fails in turn; exits 1 if anything is lost.

Belongs here: the story of one run, its account. Does not belong here: processes (`soak_site.py`), what arrives
(`soak_load.py`), faults (`soak_faults.py`), its end (`soak_drain.py`), what must hold then (`soak_checks.py`).

    python -m benchmarks.soak [--minutes 30] [--finish 30] [--only postgres] [--folder DIR]

One day's work comes in as files and pages; sensors, queue, daemon, workers, Postgres, broker and bucket are real
processes, models and platforms are servers on loopback. docs/reliability.md tells what came of it.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster_postgres.utils import DagsterPostgresException

from benchmarks import soak_checks as checks
from benchmarks.machine import describe
from benchmarks.soak_drain import Drain
from benchmarks.soak_faults import ANSWER_S, AT_ONCE, NOTHING, Happened, Hook, Scene, Trouble, troubles
from benchmarks.soak_load import (
    CAMPAIGN,
    CONTENT_LISTS,
    LARGE_CAP,
    SMALL_CAP,
    Arrived,
    Load,
    Models,
    described,
    posted,
)
from benchmarks.soak_outside import CHANNELS
from benchmarks.soak_proxy import Door
from benchmarks.soak_site import S3_KEYS, Site, opened, said_at
from magpie.control import Control
from magpie.llm.fake_provider import FakeProvider
from magpie.settings import load_settings
from tests.fake_channels import TOKEN, FakeChannels
from tests.gateway_world import KEYS

# An arrival every so often: some twenty in half an hour, which two cores keep up with when nothing is broken.
ARRIVAL_S = 90
# What is arriving before anything breaks, and how long nothing breaks at the end.
FIRST_FAULT_S, LAST_FAULT_S = 180, 30
# One with nothing to look at here: no blog, no price of the day, nobody who asks for a queue.
LEFT_OFF = {"new_inputs", "inputs_after_posts", "queue_refill"}
PRODUCTS = ("reddit", "memes", "videos", "content", "reddit", "memes")
# Of live posts: those there from the beginning, and those that come while the platform is away.
EARLY_POSTS, LATE_POSTS = range(1, 7), range(7, 11)


@dataclass
class Story:
    """What happened, as it is told in the end."""

    begun: float = field(default_factory=time.monotonic)
    clock: float = field(default_factory=time.time)
    arrivals: list[Arrived] = field(default_factory=list)
    faults: list[Happened] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        print(f"{said_at(self.begun)}  {text}", flush=True)


class Stream(threading.Thread):
    """Lets files arrive one after the other until it is told to stop."""

    def __init__(self, load: Load, story: Story, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._load, self._story, self._pause = load, story, pause_s
        self._over = threading.Event()
        self._numbers: Counter[str] = Counter()

    def run(self) -> None:
        turn = 0
        while not self._over.is_set():
            product = PRODUCTS[turn % len(PRODUCTS)]
            number, turn = self._numbers[product], turn + 1
            if product == "content" and number == CONTENT_LISTS:
                continue
            self._numbers[product] += 1
            self._story.arrivals.append(getattr(self._load, product)(number))
            # The morning brings something of each product at once.
            self._over.wait(self._pause if turn >= len(set(PRODUCTS)) else 1)

    def stop(self) -> None:
        self._over.set()
        self.join()


class Watch(threading.Thread):
    """Samples the run queue and the machine's load."""

    def __init__(self, site: Site, story: Story) -> None:
        super().__init__(daemon=True)
        self._site, self._story, self._over = site, story, threading.Event()

    def run(self) -> None:
        while not self._over.wait(10):
            self._story.load.append(os.getloadavg()[0])
            # While Postgres is away nothing can be said of the queue.
            with suppress(sa.exc.DBAPIError, DagsterPostgresException):
                self._story.queue.append(len(self._site.active()))

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def deployment(folder: Path, pg_folder: Path) -> Iterator[tuple[Scene, Load]]:
    """Servers on loopback and the whole site; magpie.yaml has the small cap."""
    with ExitStack() as stack:
        models, load = Models(), Load(folder)
        provider = stack.enter_context(FakeProvider(responder=models, latency_s=ANSWER_S))
        channels = stack.enter_context(FakeChannels())
        hook = Hook(folder)
        stack.callback(hook.close)
        more = {
            **S3_KEYS,
            **{name: KEYS[name] for name in ("OPENAI_API_KEY", "OPENROUTER_API_KEY")},
            "VK_TOKEN": TOKEN,
            CHANNELS: channels.url,
            "MAGPIE_ALERT_WEBHOOK": hook.url,
            "SSL_CERT_FILE": str(hook.certificate),
        }
        os.environ.update(more)
        door = stack.enter_context(Door(int(provider.url.rpartition(":")[2])))
        load.settings_file(door.url, SMALL_CAP)
        site = stack.enter_context(opened(folder, pg_folder, more, door))
        yield Scene(site, provider, models, channels, hook), load


def disturb(scene: Scene, story: Story, chosen: list[Trouble], until: float, load: Load) -> None:
    """Let faults happen one after the other, each with its share of the time; raise the cap on the way."""
    for number, trouble in enumerate(chosen):
        began = time.monotonic()
        shares = sum(one.share for one in chosen[number:])
        gap = (until - LAST_FAULT_S - began) * trouble.share / shares
        story.say(f"FAULT {trouble.name}")
        happened = Happened(trouble, time.time())
        story.faults.append(happened)
        if trouble.sign == "fetch":
            story.arrivals.append(posted(scene.channels, LATE_POSTS))
        if trouble.sign == "alert":
            # That nothing waits for money any more is news for the webhook, which is away already.
            scene.hook.away = True
            raise_cap(scene, story, load)
        happened.said = trouble.make(scene)
        trouble.mend(scene)
        happened.mended = time.time()
        story.say(f"over: {happened.said}")
        time.sleep(max(0.0, began + gap - time.monotonic()))
    if "cap" not in story.figures:
        raise_cap(scene, story, load)
    time.sleep(max(0.0, until - time.monotonic()))


def raise_cap(scene: Scene, story: Story, load: Load) -> None:
    """Hold what was spent against the small cap, then raise it as a user does."""
    control = Control(load_settings().control_database)
    spent = checks.spent_by_scope(control).get(f"campaign:{CAMPAIGN}", 0)
    story.wrong += checks.over_cap(control, checks.cap_of(SMALL_CAP))
    held = [item for item in control.pending() if item.reason in ("cap_exhausted", "cap_busy")]
    story.figures["cap"] = {
        "spent_usd_of_small_cap": spent / 1e9,
        "small_cap_usd": float(SMALL_CAP),
        "rows_waiting_for_money": sum(item.rows for item in held),
        "partitions_waiting_for_money": len(held),
    }
    story.say(f"cap raised from {SMALL_CAP} to {LARGE_CAP}: {story.figures['cap']}")
    load.settings_file(scene.site.models.url, LARGE_CAP)
    scene.site.reload()


def recovered(scene: Scene, story: Story) -> list[dict[str, Any]]:
    """Seconds from the end of each fault until work went on."""
    steps = [at for at, _, _ in scene.site.events("STEP_SUCCESS")]
    runs = scene.site.events("PIPELINE_FAILURE")
    moments = {
        "step": steps,
        "answer": scene.models.answered_at,
        "fetch": [at for at, run, step in scene.site.events("STEP_SUCCESS") if step == "ask_vk"],
        "alert": [at for at, _ in scene.hook.heard],
    }
    ends = [fault.begun for fault in story.faults[1:]] + [time.time()]
    told = []
    for fault, end in zip(story.faults, ends, strict=True):
        after = next((at - fault.mended for at in moments[fault.trouble.sign] if at > fault.mended), None)
        step = next((at - fault.mended for at in steps if at > fault.mended), None)
        told.append(
            {
                "fault": fault.trouble.name,
                "at": f"{int(fault.begun - story.clock) // 60:02}:{int(fault.begun - story.clock) % 60:02}",
                "lasted_s": round(fault.mended - fault.begun),
                "met": fault.met(scene),
                "sign": fault.trouble.sign,
                "went_on_after_s": None if after is None else round(after, 1),
                "next_step_after_s": None if step is None else round(step, 1),
                "runs_failed_until_next_fault": sum(fault.begun <= at < end for at, _, _ in runs),
            }
        )
    return told


def judge(scene: Scene, story: Story, folder: Path, drain: Drain) -> None:
    """Hold everything against what must be; first as it is, then after a person has decided on what is uncertain."""
    settings = load_settings()
    control = Control(settings.control_database)
    story.wrong += checks.overpaid(control, scene.provider)
    states = checks.call_states(control)
    story.figures["paid_calls"] = dict(states)
    asked_before = len([seen for seen in scene.provider.requests if seen.billed])
    Load(folder).settings_file(scene.site.models.url, LARGE_CAP, allow_double_payment=True)
    scene.site.reload()
    story.figures["rows_of_unknown_outcome"] = sum(item.rows for item in drain.decide_unknown())
    story.wrong += [] if drain.until_done(1200) else ["not finished: work was left when its time was over"]
    again = len([seen for seen in scene.provider.requests if seen.billed]) - asked_before
    story.figures["answers_after_that_decision"] = again
    story.say("one process makes the same, undisturbed")
    with FakeProvider(responder=Models()) as other:
        urls = {name: other.base_url(name) for name in ("openai", "openrouter")}
        single = checks.alone(settings, folder / "single", urls)
    story.wrong += [
        *checks.lost(settings, story.arrivals),
        *checks.unequal(settings, single),
        *checks.overpaid(control, scene.provider, states["unknown"] + states["lost"]),
        *checks.unbalanced(control),
        *checks.over_cap(control, checks.cap_of(LARGE_CAP)),
        *checks.waiting(control, Control(single.control_database)),
        *checks.unfinished(scene.site),
        *checks.orphans(settings),
        *[f"not tried: {fault.trouble.name} met nothing" for fault in story.faults if fault.met(scene) == NOTHING],
    ]


def account(scene: Scene, story: Story, drain: Drain) -> None:
    """Figures of the run."""
    runs = scene.site.instance.get_runs()
    story.figures |= {
        "machine": describe(["dagster", "celery", "polars", "deltalake"]),
        "load_average": [round(min(story.load), 1), round(max(story.load), 1)] if story.load else [],
        "arrived": json.loads(described(story.arrivals)),
        "files": len(story.arrivals),
        "runs": dict(Counter(run.status.value for run in runs)),
        "runs_by_job": dict(Counter(run.job_name for run in runs)),
        "most_runs_at_once": max(story.queue, default=0),
        "steps": len(scene.site.events("STEP_SUCCESS")),
        "materialisations": len(scene.site.events("ASSET_MATERIALIZATION")),
        "model_requests": scene.provider.attempts,
        "model_answers": scene.provider.answered_total,
        "alerts": len(scene.hook.heard),
        "alerts_told_twice": len(scene.hook.heard) - len({key for _, key in scene.hook.heard}),
        "by_hand": drain.by_hand,
        "simulated": drain.simulated,
        "faults": recovered(scene, story),
        "wrong": story.wrong,
    }


def soak(folder: Path, pg_folder: Path, minutes: float, finish: float, chosen: list[Trouble]) -> Story:
    """One run; what is wrong is in its story."""
    story = Story()
    story.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}: bringing the deployment up")
    with deployment(folder, pg_folder) as (scene, load):
        story.begun, story.clock = time.monotonic(), time.time()
        story.say("it is up; work begins to arrive")
        stream, watch = Stream(load, story, ARRIVAL_S), Watch(scene.site, story)
        story.arrivals.append(posted(scene.channels, EARLY_POSTS))
        scene.site.switch_on(LEFT_OFF)
        stream.start()
        watch.start()
        scene.site.launch("fetch_vk", AT_ONCE)
        until = time.monotonic() + minutes * 60
        time.sleep(min(FIRST_FAULT_S, minutes * 8))
        disturb(scene, story, chosen, until, load)
        stream.stop()
        story.say(f"nothing arrives any more: {described(story.arrivals)}")
        drain = Drain(scene.site, load_settings(), story.say)
        try:
            if not drain.until_done(finish * 60):
                story.wrong.append("not finished: work was left when its time was over")
            story.figures["finished_after_s"] = round(drain.quiet_after_s)
            judge(scene, story, folder, drain)
        except Exception:  # noqa: BLE001 - it is shown, and the soak exits 1
            # What half an hour has shown is told all the same.
            traceback.print_exc()
            story.wrong.append("the soak itself broke off, see its errors")
        watch.stop()
        account(scene, story, drain)
    return story


def main() -> int:
    """Run it, print its account."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30, help="of arrivals and faults (30)")
    parser.add_argument("--finish", type=float, default=30, help="minutes to come to an end afterwards (30)")
    parser.add_argument("--only", default="", help="faults whose name holds one of these words, comma-separated")
    parser.add_argument("--folder", type=Path, help="where everything is written, kept afterwards; default: a new one")
    told = parser.parse_args()
    words = [word for word in told.only.split(",") if word]
    chosen = [trouble for trouble in troubles() if not words or any(word in trouble.name for word in words)]
    folder = told.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    # Run by root, Postgres has a user of its own, which has to reach its folder.
    story = soak(folder, Path(tempfile.mkdtemp(prefix="soak-pg-")), told.minutes, told.finish, chosen)
    (folder / "account.json").write_text(json.dumps(story.figures, indent=1), "utf-8")
    print(json.dumps(story.figures, indent=1))
    for line in story.wrong:
        print(f"WRONG {line}")
    print("FAILED" if story.wrong else "nothing lost, nothing paid twice, all work finished", f"({folder})")
    return 1 if story.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
