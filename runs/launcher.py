"""Dagster's own run launcher, which can also say whether the process of a run is still there.

Belongs here: that one answer. Does not belong here: launching and ending runs, which stays Dagster's own, and what is
done about a dead run (`run_monitoring` and `run_retries` in deploy/dagster.yaml).

Dagster 1.13 starts runs as processes of the code server and notices when one of them dies, but nobody notices when the
code server goes with all of them, as a container does: such runs count as started for ever and keep their places in the
queue. Its monitoring asks launchers that can tell; this one asks the code server that started the run.
"""

import time

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value
from dagster._serdes.config_class import ConfigurableClassData

# A code server is back within a minute or two; what is away for longer has taken its processes along.
UNREACHABLE_S = 600


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs by code servers, and knows those that their server has lost."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._away_since: dict[str, float] = {}

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
