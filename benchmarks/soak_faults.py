"""What goes wrong in the soak, one component after the other, and how one sees that work went on.

Belongs here: each fault's beginning, end, and sign of recovery. Does not belong here: processes (`soak_site.py`), the
wire (`soak_proxy.py`, `magpie/llm/fake`), when each has its turn (`soak.py`).
"""

import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, TypeVar

from benchmarks.soak_load import Models
from benchmarks.soak_programs import talks_to
from benchmarks.soak_proxy import Mode
from benchmarks.soak_site import WORKERS, Site
from magpie.llm.fake_provider import FakeProvider
from tests.fake_channels import FakeChannels, Fault
from tests.programs import Program

T = TypeVar("T")

# So long a fault waits for what it can meet, where it needs a moment of its own.
OPPORTUNITY_S = 200
# So long one waits that stays until a question comes.
STAYING_S = 60
# An alert falls due when the rows that waited for money are done.
ALERT_S = 330
DOWN_S = 20
# A provider that starts anew is away so long.
REFUSED_S = 40
# An answer takes so long, and so long where they are slow.
ANSWER_S, SLOW_ANSWER_S = 1.0, 5.0
NOTHING = "nothing"
# In the body of every question for text that costs money.
PAID = "gpt-6"
# A person who asks for a fetch does not wait for what the day's files bring.
AT_ONCE = {"dagster/priority": "10"}
# What tells that work goes on: a step that succeeded, a question answered, a channel read, an alert that arrived.
Sign = Literal["step", "answer", "fetch", "alert"]


class Hook:
    """The alerts' webhook: HTTPS on loopback, by a certificate of its own; it remembers when what arrived."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = folder / "hook.pem", folder / "hook.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        self.heard: list[tuple[float, str]] = []
        self.refused = 0
        self.away = False
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                hook.refused += hook.away
                if not hook.away:
                    hook.heard.append((time.time(), str(self.headers["Idempotency-Key"])))
                self.send_response(503 if hook.away else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Scene:
    """Everything that a fault may touch."""

    site: Site
    provider: FakeProvider
    models: Models
    channels: FakeChannels
    hook: Hook

    def asked(self, kinds: Collection[str]) -> int:
        """How many requests to models met these kinds of fault."""
        return sum(seen.outcome in kinds for seen in self.provider.requests)

    def in_flight(self) -> int:
        return int(self.provider.counters.summary()["in_flight"])


@dataclass(frozen=True)
class Trouble:
    """One fault.

    Attributes:
        name: for the table.
        make: brings it about, waits for what it is to meet, returns a word on what it met.
        mend: ends it.
        sign: by what recovery is told.
        kinds: of the provider's faults that it consists of; what they met is counted in the end.
        share: of the time, compared with the others: to meet a question takes longer.
    """

    name: str
    make: Callable[[Scene], str]
    mend: Callable[[Scene], None]
    sign: Sign = "step"
    kinds: tuple[str, ...] = ()
    share: float = 1


@dataclass
class Happened:
    """A fault as it was: moments by the clock, and what it met."""

    trouble: Trouble
    begun: float
    mended: float = 0.0
    said: str = ""

    def met(self, scene: Scene) -> str:
        """What it met, as far as is known by now."""
        kinds = self.trouble.kinds
        return _counted(scene.asked(kinds), "requests") if kinds else self.said


def troubles() -> list[Trouble]:
    """All of them, in their order: those of models when the first work has come so far as to ask them."""
    return [
        Trouble("bucket: connection refused", _bucket("refused", DOWN_S), _open("bucket")),
        Trouble("daemon killed", _killed(lambda site: [site.daemon]), _started(lambda site: [site.daemon])),
        Trouble("bucket: 503 to everything", _bucket("unavailable", DOWN_S), _open("bucket")),
        Trouble("broker killed", _killed(lambda site: [site.broker]), _started(lambda site: [site.broker])),
        Trouble("bucket: a second more for each request", _bucket("slow", 45), _open("bucket")),
        Trouble("Postgres killed", _kill_postgres, lambda scene: scene.site.postgres.start()),
        Trouble("both workers killed", _killed(_workers), _started(_workers)),
        Trouble(
            "code server and its runs killed", _killed(lambda site: [site.code]), _started(lambda site: [site.code])
        ),
        Trouble("webhook of alerts: 503", _hook_away, _hook_back, "alert", share=3),
        Trouble("platform (VK): 503, then 429", _platform_away, _platform_back, "fetch", share=2),
        _model("429, retry after 20 s", *["429"] * 6, retry_after="20"),
        _model("cut in the middle of an answer", *["cut_mid_body"] * 2),
        Trouble("a worker killed in a call to a model", _kill_asking_worker, _revive, share=3),
        _model("500", *["500"] * 9),
        _model(
            "garbage for JSON, wrong shape, HTML",
            *("malformed_json", "schema_violation", "html_200", "schema_violation", "truncated"),
            # Of what a free model says of a meme, each key that can be read counts: half an answer is another answer.
            match=PAID,
        ),
        _model("does not answer at all", *["timeout_before"] * 2),
        Trouble("model: 5 s for each answer", _slow_model, _quick_model, "answer", share=3),
        Trouble("model: connection refused", _refuse_questions, _open("models"), "answer", share=3),
    ]


def _model(name: str, *kinds: str, **settings: Any) -> Trouble:
    """A fault of so many answers."""

    def make(scene: Scene) -> str:
        def left() -> int:
            return sum(one.kind in kinds for one in scene.provider.faults.waiting())

        for kind in kinds:
            scene.provider.misbehave(kind, **settings)
        _wait(lambda: not left(), STAYING_S)
        return f"{left()} of {len(kinds)} have yet to meet a question"

    return Trouble(f"model: {name}", make, lambda scene: None, "answer", tuple(set(kinds)), share=1.5)


def _slow_model(scene: Scene) -> str:
    since, scene.provider.latency_s = scene.provider.answered_total, SLOW_ANSWER_S
    _wait(lambda: scene.provider.answered_total >= since + 3, OPPORTUNITY_S)
    return _counted(scene.provider.answered_total - since, "answers")


def _quick_model(scene: Scene) -> None:
    scene.provider.latency_s = ANSWER_S


def _refuse_questions(scene: Scene) -> str:
    """Slam the door while questions are on their way: those are cut, and their next attempts find it shut."""
    under_way = _wait(scene.in_flight, OPPORTUNITY_S)
    scene.site.models.turn("refused")
    time.sleep(REFUSED_S)
    return _counted(under_way, "calls under way")


def _bucket(mode: Mode, seconds: float) -> Callable[[Scene], str]:
    def make(scene: Scene) -> str:
        before = _busy(scene)
        scene.site.bucket.turn(mode)
        time.sleep(seconds)
        return before

    return make


def _open(name: Literal["bucket", "models"]) -> Callable[[Scene], None]:
    return lambda scene: getattr(scene.site, name).turn("open")


def _kill_postgres(scene: Scene) -> str:
    before = _busy(scene)
    scene.site.postgres.kill()
    time.sleep(DOWN_S)
    return before


def _workers(site: Site) -> list[Program]:
    return list(site.workers.values())


def _killed(chosen: Callable[[Site], list[Program]]) -> Callable[[Scene], str]:
    def make(scene: Scene) -> str:
        before = _busy(scene)
        for program in chosen(scene.site):
            program.kill()
        time.sleep(DOWN_S)
        return before

    return make


def _started(chosen: Callable[[Site], list[Program]]) -> Callable[[Scene], None]:
    def mend(scene: Scene) -> None:
        for program in chosen(scene.site):
            program.start()

    return mend


def _kill_asking_worker(scene: Scene) -> str:
    """Kill the worker that has a question under way; answers take seconds, so that there is one."""
    since, scene.provider.latency_s = scene.provider.attempts, SLOW_ANSWER_S
    port = scene.site.models.port

    def asking() -> list[Program]:
        # A connection is kept after an answer; a question under way is what the provider says there is, and one that
        # came before answers took so long may be answered by the time its worker is found.
        if scene.provider.attempts == since or not scene.in_flight():
            return []
        return [one for one in _workers(scene.site) if talks_to(one, port)]

    found = _wait(asking, OPPORTUNITY_S)
    scene.provider.latency_s = ANSWER_S
    victim = found[0] if found else scene.site.workers[WORKERS[0]]
    under_way = scene.in_flight() if found else 0
    victim.kill()
    time.sleep(DOWN_S)
    return _counted(under_way, "calls under way")


def _revive(scene: Scene) -> None:
    for program in _workers(scene.site):
        if program.process is None or program.process.poll() is not None:
            program.start()


def _platform_away(scene: Scene) -> str:
    scene.channels.faults = [
        Fault("/method/wall.get", status=503, times=3),
        Fault("/method/wall.get", status=429, headers={"Retry-After": "30"}, times=3),
    ]
    before = len(scene.channels.asked("/method"))
    scene.site.launch("fetch_vk", AT_ONCE)
    _wait(lambda: len(scene.channels.asked("/method")) >= before + 3, OPPORTUNITY_S)
    return _counted(len(scene.channels.asked("/method")) - before, "requests")


def _platform_back(scene: Scene) -> None:
    scene.channels.faults = []
    scene.site.launch("fetch_vk", AT_ONCE)


def _hook_away(scene: Scene) -> str:
    scene.hook.away = True
    _wait(lambda: scene.hook.refused > 0, ALERT_S)
    return _counted(scene.hook.refused, "alerts refused")


def _hook_back(scene: Scene) -> None:
    scene.hook.away = False


def _busy(scene: Scene) -> str:
    """Wait until there is work to disturb."""
    return _counted(len(_wait(scene.site.active, OPPORTUNITY_S)), "runs under way or queued")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number else NOTHING


def _wait(look: Callable[[], T], seconds: float) -> T:
    """Look until there is something, but no longer, and return it; what never met a fault is told in the table."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
