"""Dagster's own run launcher for code servers that are started anew: it knows when they, and runs with them, are gone.

Belongs here: what a code server that goes means for its runs. Does not belong here: launching and ending runs, which
stays Dagster's own, and what is done about a dead run (`run_monitoring` and `run_retries` in deploy/dagster.yaml).

Dagster 1.13 starts runs as processes of the code server and notices when one of them dies, but nobody notices when the
code server goes with all of them, as a container does: such runs count as started for ever and keep their places in the
queue. Its monitoring asks launchers that can tell; this one asks the code server that started the run. And a run that
is handed to a code server which is about to end fails, where it could wait in the queue as if the server were away.
"""

import time

from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher, LaunchRunContext
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value
from dagster._serdes.config_class import ConfigurableClassData

# A code server is back within a minute or two; what is away for longer has taken its processes along.
UNREACHABLE_S = 600
# What a code server answers that was told to end; Dagster has no class of error for it.
ENDING = "after telling it to shut down"


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs by code servers, and knows those that their server has lost."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._away_since: dict[str, float] = {}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand a run to its code server.

        Raises:
            DagsterUserCodeUnreachableError: the server is away or about to be; the queue tries again.
        """
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if ENDING not in str(error):
                raise
            raise DagsterUserCodeUnreachableError("the code server is being shut down") from error

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the code server that started a run still has its process."""
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            # It ended meanwhile.
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            told = deserialize_value(client.get_current_runs(), GetCurrentRunsResult)
        except DagsterUserCodeUnreachableError:
            return self._unreachable(run.run_id)
        self._away_since.pop(run.run_id, None)
        if run.run_id in told.current_runs:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was started anew and does not know it")

    def _unreachable(self, run_id: str) -> CheckRunHealthResult:
        now = time.monotonic()
        since = self._away_since.setdefault(run_id, now)
        if now - since < UNREACHABLE_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its code server has been away for {now - since:.0f} s")
