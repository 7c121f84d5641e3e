"""Who executes the steps of a run: the run's own process, or workers that a broker hands them to.

Belongs here: which executor the settings choose, and what runs and workers have to agree on. Does not belong here: the
program that a worker is (`runs/worker.py`), what a step does.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from magpie.environment import Environment
from magpie.errors import UserError
from magpie.settings import Settings

if TYPE_CHECKING:
    from dagster_celery.executor import CeleryExecutor

BROKER, BACKEND = "MAGPIE_CELERY_BROKER", "MAGPIE_CELERY_BACKEND"
LOST_AFTER = "MAGPIE_CELERY_LOST_AFTER_SECONDS"
# Redis does not notice that a worker is gone. It hands a step to the next one after so long, also when the first still
# works on it: then it is made twice, with the same rows, and what one has paid for the other finds in the journal.
LOST_AFTER_SECONDS = 3600
STEPS_PER_PROCESS = 100
LARGE_KIB = 1 << 20
# Of a broker that keeps messages alone the answers come back over queues.
ANSWERS_BY_MESSAGE = "rpc://"
KEEPS_ANSWERS = ("redis", "rediss", "sentinel")


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """The executor that the settings choose; constructing it opens nothing, and loads Celery only where it is wanted.

    Raises:
        UserError: workers are wanted, and their packages are not installed.
    """
    if settings.execution == "in_process":
        return dg.in_process_executor
    _packages()

    # Not `configured`: what a definition is configured with, addresses with passwords too, may be shown in the UI.
    @dg.executor(name="celery", config_schema={}, requirements=dg.multiple_process_executor_requirements())
    def celery(context: dg.InitExecutorContext) -> "CeleryExecutor":
        return executor_from(Environment())

    return celery


def executor_from(env: Mapping[str, str]) -> "CeleryExecutor":
    """Celery with the broker of the environment, as runs ask it and workers answer it.

    Raises:
        UserError: no broker is named, a value is wrong, or the packages are not installed.
    """
    _packages()
    from dagster._core.execution.retries import RetryMode
    from dagster_celery.executor import CeleryExecutor

    broker = env.get(BROKER)
    if not broker:
        raise UserError(f"execution: celery needs a broker; set {BROKER}, such as redis://host:6379/0")
    scheme = broker.partition(":")[0].partition("+")[0]
    backend = env.get(BACKEND) or (broker if scheme in KEEPS_ANSWERS else ANSWERS_BY_MESSAGE)
    return CeleryExecutor(RetryMode.ENABLED, broker, backend, config_source=_agreed(_seconds(env)))


def _agreed(lost_after: int) -> dict[str, Any]:
    return {
        # A step is taken off the queue when it is done, so one whose worker disappeared is still there for another.
        # One that ends its process by itself, as for want of memory, would do so again: that fails the run instead.
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # Loading takes a process seconds, so it makes many steps; one that has become large is replaced after its step.
        "worker_max_tasks_per_child": STEPS_PER_PROCESS,
        "worker_max_memory_per_child": LARGE_KIB,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "visibility_timeout": lost_after,
            # Look for lost ones every ten seconds instead of every hundred.
            "unacked_restore_throttle": 1,
        },
    }


def _seconds(env: Mapping[str, str]) -> int:
    told = env.get(LOST_AFTER) or str(LOST_AFTER_SECONDS)
    if not told.isdecimal() or int(told) == 0:
        raise UserError(f"{LOST_AFTER} {told!r} must be a whole number of seconds, longer than the longest step")
    return int(told)


def _packages() -> None:
    try:
        import dagster_celery  # noqa: F401
    except ImportError:
        raise UserError("execution: celery needs packages that are not installed; install magpie[celery]") from None
