"""Dagster's own code server, which goes on looking after its runs when their storage was away.

Belongs here: that one change, and the program. Does not belong here: what a code location holds (`definitions.py`).

A code server of Dagster 1.13 looks every second which of its runs' processes died, in a thread that ends at the first
look that finds the storage away. From then on a run whose process dies counts as started for ever. Here such a look is
told in the log and made again a second later. Remove this when Dagster does so itself.

`python -m runs.code_server` takes the options of `dagster api grpc`.
"""

import logging
import sys
from collections.abc import Callable

import sqlalchemy as sa
from dagster._cli import cli
from dagster._grpc.server import DagsterApiServer

log = logging.getLogger(__name__)


def patient(look: Callable[[DagsterApiServer], None]) -> Callable[[DagsterApiServer], None]:
    """The same look, of which the next one is made although the storage was away."""

    def again(server: DagsterApiServer) -> None:
        try:
            look(server)
        except sa.exc.DBAPIError as error:
            # Of the statement and its values nothing is told.
            log.warning("runs are looked after again in a moment: %s", type(error.orig).__name__)

    return again


def main() -> None:
    """Serve until told to end."""
    look = patient(DagsterApiServer._check_for_orphaned_runs)
    DagsterApiServer._check_for_orphaned_runs = look  # type: ignore[assignment, method-assign]
    cli(["api", "grpc", *sys.argv[1:]], auto_envvar_prefix="DAGSTER_CLI")


if __name__ == "__main__":
    main()
