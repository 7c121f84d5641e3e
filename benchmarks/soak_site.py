"""The deployment that the soak disturbs: every process of the production profile, on loopback, each by its own id.

Belongs here: which there are, in which order they start, and what one asks of Dagster from outside. Does not belong
here: one program (`soak_programs.py`, `tests/programs.py`), when it is killed (`soak_faults.py`), what they work on
(`soak_load.py`).
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import sqlalchemy as sa
import yaml
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from benchmarks import soak_programs as programs
from benchmarks.soak_programs import LOCATION, Postgres
from benchmarks.soak_proxy import Door
from tests.dagster_world import REPO
from tests.programs import Program, binary, broker, broker_url, free_port, listens, running, worker

# A step of the soak takes seconds, a minute where a store or a model is slow; what takes longer lost its worker.
LOST_AFTER_S = 90
BUCKET = "soak"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "key-of-the-soak", "AWS_SECRET_ACCESS_KEY": "secret-of-the-soak"}
WORKERS = ("one", "two")
ACTIVE = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass
class Site:
    """The whole deployment; `opened` makes one."""

    folder: Path
    env: dict[str, str]
    postgres: Postgres
    bucket: Door
    models: Door
    broker: Program
    code: Program
    code_port: int
    daemon: Program
    workers: dict[str, Program]
    instance: dg.DagsterInstance = field(init=False)

    def reload(self) -> None:
        """What a user does after a change of magpie.yaml: restart code location and workers, which end their step."""
        programs = (*self.workers.values(), self.code)
        for program in programs:
            if program.process is not None:
                program.process.terminate()
        for program in programs:
            program.end(60)
        for program in (self.code, *self.workers.values()):
            program.start()

    @contextmanager
    def workspace(self) -> Iterator[Any]:
        """The code location as the daemon sees it."""
        target = GrpcServerTarget(host="127.0.0.1", port=self.code_port, socket=None, location_name=LOCATION)
        with WorkspaceProcessContext(self.instance, target) as context:
            yield context.create_request_context()

    def switch_on(self, left_off: set[str]) -> None:
        """Start all sensors but some, as one does in the UI."""
        with self.workspace() as context:
            (repository,) = context.get_code_location(LOCATION).get_repositories().values()
            for sensor in repository.get_sensors():
                if sensor.name not in left_off:
                    self.instance.start_sensor(sensor)

    def launch(self, job: str, tags: Mapping[str, str], assets: list[str] | None = None) -> str:
        """Ask for a run, as a schedule or a person does; it goes to the real queue."""
        with self.workspace() as context:
            location = context.get_code_location(LOCATION)
            (repository,) = location.get_repositories().values()
            keys = None if assets is None else [dg.AssetKey(name) for name in assets]
            chosen = location.get_job(JobSubsetSelector(LOCATION, repository.name, job, None, asset_selection=keys))
            plan = location.get_execution_plan(chosen, {}, None, None, self.instance)
            run = self.instance.create_run(
                job_name=job,
                run_id=None,
                run_config={},
                resolved_op_selection=chosen.resolved_op_selection,
                step_keys_to_execute=None,
                status=None,
                op_selection=None,
                root_run_id=None,
                parent_run_id=None,
                tags={**(chosen.run_tags or {}), **tags},
                job_snapshot=chosen.job_snapshot,
                execution_plan_snapshot=plan.execution_plan_snapshot,
                parent_job_snapshot=chosen.parent_job_snapshot,
                remote_job_origin=chosen.get_remote_origin(),
                job_code_origin=chosen.get_python_origin(),
                asset_selection=None if keys is None else frozenset(keys),
                asset_check_selection=None,
                asset_graph=repository.asset_graph,
            )
            return str(self.instance.submit_run(run.run_id, context).run_id)

    def again(self, run: dg.DagsterRun) -> str:
        """Re-execute a failed run, as the buttons in the UI do: from the failed step, all of it where none failed."""
        with self.workspace() as context:
            location = context.get_code_location(LOCATION)
            (repository,) = location.get_repositories().values()
            keys = None if run.asset_selection is None else list(run.asset_selection)
            checks = None if run.asset_check_selection is None else list(run.asset_check_selection)
            job = location.get_job(
                JobSubsetSelector(LOCATION, repository.name, run.job_name, run.op_selection, keys, checks)
            )
            remake = partial(
                self.instance.create_reexecuted_run,
                parent_run=run,
                request_context=context,
                code_location=location,
                remote_job=job,
                use_parent_run_tags=True,
            )
            try:
                made = remake(strategy=ReexecutionStrategy.FROM_FAILURE)
            except dg.DagsterInvalidSubsetError:
                # Its process died when the last step was done already.
                made = remake(strategy=ReexecutionStrategy.ALL_STEPS)
            return str(self.instance.submit_run(made.run_id, context).run_id)

    def active(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(statuses=list(ACTIVE))))

    def events(self, kind: str) -> list[tuple[float, str, str | None]]:
        """Moment, run and step of all events of a kind, oldest first."""
        engine = sa.create_engine(self.env["DAGSTER_POSTGRES_URL"])
        asked = sa.text(
            "SELECT extract(epoch FROM timestamp), run_id, step_key FROM event_logs "
            "WHERE dagster_event_type = :kind ORDER BY timestamp"
        )
        with engine.connect() as connection:
            rows: list[Any] = list(connection.execute(asked, {"kind": kind}))
            found = [(float(at), str(run), step) for at, run, step in rows]
        engine.dispose()
        return found


@contextmanager
def opened(folder: Path, pg_folder: Path, more: Mapping[str, str], models: Door) -> Iterator[Site]:
    """Bring everything up, and end all of it afterwards, the last one first.

    Args:
        pg_folder: that the server's own user can reach.
        more: environment of all processes.
        models: before the server that stands for all providers.
    """
    with ExitStack() as stack:
        postgres = Postgres(pg_folder)
        stack.callback(postgres.remove)
        moto_port, code_port, broker_port = free_port(), free_port(), free_port()
        plain = {**os.environ, **more}
        command = [binary("moto_server"), "-H", "127.0.0.1", "-p", str(moto_port)]
        stack.enter_context(running(Program("bucket", command, plain, folder, lambda: listens(moto_port))))
        bucket = stack.enter_context(Door(moto_port))
        home = folder / "dagster"
        home.mkdir()
        env = {
            **plain,
            "PYTHONPATH": str(REPO),
            "AWS_ENDPOINT_URL": bucket.url,
            "AWS_REGION": "us-east-1",
            "DAGSTER_HOME": str(home),
            "DAGSTER_STORAGE_DIR": str(home / "storage"),
            "DAGSTER_POSTGRES_URL": postgres.database("dagster").replace("postgresql:", "postgresql+psycopg2:"),
            "MAGPIE_CONFIG": str(folder / "magpie.yaml"),
            "MAGPIE_HOME": str(folder / "home"),
            "MAGPIE_LAKE_URL": f"s3://{BUCKET}/lake",
            "MAGPIE_CONTROL_URL": postgres.database("control"),
            "MAGPIE_EXECUTION": "celery",
            "MAGPIE_CELERY_BROKER": broker_url(broker_port),
            "MAGPIE_CELERY_LOST_AFTER_SECONDS": str(LOST_AFTER_S),
        }
        keys = {name: env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        boto3.client(
            "s3",
            endpoint_url=bucket.url,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        ).create_bucket(Bucket=BUCKET)
        site = Site(
            folder,
            env,
            postgres,
            bucket,
            models,
            broker(broker_port, folder),
            programs.code(code_port, env, folder),
            code_port,
            programs.daemon(code_port, env, folder, home),
            {name: worker(name, env, folder) for name in WORKERS},
        )
        _instance_file(home)
        # The environment of this process, from which the instance reads the address of its storage.
        os.environ.update(env)
        site.instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        for program in (site.broker, site.code, *site.workers.values(), site.daemon):
            stack.enter_context(running(program))
        yield site


def _instance_file(home: Path) -> None:
    """The production profile's own; it looks at its queue every second, and monitors and retries within the soak."""
    told = yaml.safe_load((REPO / "deploy" / "dagster.yaml").read_text("utf-8"))
    told["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    told["run_coordinator"]["config"]["user_code_failure_retry_delay"] = 10
    told["run_monitoring"] |= {"poll_interval_seconds": 20, "start_timeout_seconds": 120}
    (home / "dagster.yaml").write_text(yaml.safe_dump(told), "utf-8")


def said_at(started: float) -> str:
    """Minutes and seconds since then."""
    seconds = int(time.monotonic() - started)
    return f"{seconds // 60:02}:{seconds % 60:02}"
