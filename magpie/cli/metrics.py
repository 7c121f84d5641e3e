"""`magpie metrics`: figures for Prometheus.

Belongs here: the address served, and printing once. Does not belong here: which figures there are
(`magpie/metrics.py`).
"""

import signal
import sys
import threading
import time
from typing import Annotated

import typer

from magpie.cli import options
from magpie.cli.output import err, plain
from magpie.control import Control
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.running import find_runner
from magpie.settings import load_settings
from magpie.utc import utc_now

# Where OpenTelemetry's exporter for Prometheus listens by default.
PORT = 9464


def metrics(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0: any that is free.")] = PORT,
    host: Annotated[str, typer.Option(help="Address to serve on; other than loopback only behind a proxy.")] = (
        "127.0.0.1"
    ),
    once: Annotated[bool, typer.Option("--once", help="Print the figures and end.")] = False,
    config: options.Config = None,
) -> None:
    """Serve calls, costs, caps, waiting rows, lag, breakers and failed runs in Prometheus' text format."""
    # A tenth of a second, which no other command should wait for.
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from magpie.metrics import Figures

    settings = load_settings(config)
    control, runner = Control(settings.control_database), find_runner()
    lake = Lake(settings.lake_root, settings.storage_options())
    registry = CollectorRegistry()
    registry.register(
        Figures(settings, control, lake, lambda since: runner.failed_runs(settings, since), utc_now, time.monotonic)
    )
    if once:
        sys.stdout.write(generate_latest(registry).decode())
        return
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise UserError(f"cannot serve on {host}:{port}: {error.strerror}; choose another with --port") from None
    # Set by hand, because a shell starts what runs in the background with Ctrl-C ignored; containers send SIGTERM.
    ended = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: ended.set())
    err.print(plain(f"http://{host}:{server.server_port}/metrics; end it with Ctrl-C"))
    ended.wait()
    server.shutdown()
    server.server_close()
    control.close()
