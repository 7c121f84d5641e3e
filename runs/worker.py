"""A worker that executes steps of runs: `celery -A runs.worker worker`.

Belongs here: the program, and which steps it does not begin. Does not belong here: what runs and workers agree on
(`resources/workers.py`). Unlike `dagster-celery worker` it writes no file with the broker's password.
"""

from typing import Any

import dagster as dg
from celery import Task
from celery.exceptions import Ignore
from dagster import _check as check
from dagster._grpc.types import ExecuteStepArgs
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task
from dagster_shared.serdes import unpack_value

from magpie.environment import Environment
from resources.workers import executor_from

# A step that takes its whole machine down would go from worker to worker for ever.
MOST_STARTS = 3


class Step(Task):
    """One step; handed out anew if its worker disappeared."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Leave a step alone whose run is over: nobody waits for it, and the run after it makes its own.

        Raises:
            Ignore: its run is over.
            RuntimeError: its workers disappeared too often; the run then fails with these words.
        """
        asked = unpack_value(kwargs["execute_step_args_packed"], as_type=ExecuteStepArgs)
        (key,) = asked.step_keys_to_execute or ()
        with dg.DagsterInstance.from_ref(check.not_none(asked.instance_ref)) as instance:
            run = instance.get_run_by_id(asked.run_id)
            if run is None or run.is_finished:
                raise Ignore(f"run {asked.run_id} is over")
            logged = instance.all_logs(asked.run_id, of_type=dg.DagsterEventType.STEP_START)
        starts = sum(event.step_key == key for event in logged)
        if starts >= MOST_STARTS:
            raise RuntimeError(f"{key} was begun {starts} times and each time its worker disappeared; give it memory")


app = make_app(executor_from(Environment()).app_args())
execute_plan = create_task(app, base=Step)
