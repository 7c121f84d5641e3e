"""The marts as Dagster assets, made by one dbt build.

Belongs here: how dbt's models become assets, and the op that runs dbt. Does not belong here: the SQL (`models/`) and
the handling of the warehouse file (`build.py`).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from importlib.metadata import version
from io import StringIO
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtCliRuntimeError, DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from packaging.version import Version

from dbt_project.build import MartPreview, previews, warehouse_build
from dbt_project.prepare import prepare
from dbt_project.project import PROJECT_DIR, Workspace, dbt_executable
from magpie.settings import Settings

GROUP = "marts"
# One builder at a time; the lock file says the same to builders outside this Dagster instance.
POOL = "warehouse_builder"
# Marts are made daily: an hour over a day is late, half a day more than that means that one was missed.
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=25))


class MartsTranslator(DagsterDbtTranslator):
    """Sources are the assets of the other code location that write those tables; models are assets of this one."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        return dg.AssetKey([dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return GROUP if dbt_resource_props["resource_type"] == "model" else None

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        is_mart = self.get_resource_props(manifest, unique_id)["resource_type"] == "model"
        return spec.replace_attributes(freshness_policy=FRESH) if is_mart else spec


class OfflineDbt(DbtCliResource):
    """dbt on the command line, without the two things that dagster-dbt does before each call.

    It asks `dbt --version`, which asks a package index for news, and it loads an adapter of its own into this process
    to count rows, which takes longer than counting them.
    """

    @property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None


def marts_assets(settings: Settings) -> dg.AssetsDefinition:
    """Return the one multi-asset of all marts.

    Raises:
        UserError: the manifest is missing or out of date.
    """
    workspace = Workspace.of(settings)

    @dbt_assets(
        name="marts",
        manifest=workspace.require_manifest(),
        dagster_dbt_translator=MartsTranslator(),
        pool=POOL,
    )
    def marts(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Publish the lake's views, run `dbt build` beside the warehouse, replace it if every test passes."""
        events: list[Any] = []
        try:
            with warehouse_build(settings, keep_marts=context.is_subset) as build:
                with _environment(workspace.environment()):
                    invocation = dbt.cli(["build"], context=context, target_path=workspace.target, raise_on_error=False)
                events = list(invocation.stream())
                if error := invocation.get_error():
                    raise error
                names = {event.output_name: _mart(context, event) for event in events if isinstance(event, dg.Output)}
                shown = previews(build, names.values())
        except DagsterDbtCliRuntimeError as error:
            yield from (event for event in events if not isinstance(event, dg.Output))
            raise dg.Failure(f"the warehouse stays as it was: {error}", allow_retries=False) from error
        for event in events:
            yield _with_preview(event, shown[names[event.output_name]]) if isinstance(event, dg.Output) else event

    return marts


def dbt_resource() -> DbtCliResource:
    return OfflineDbt(project_dir=str(PROJECT_DIR), profiles_dir=str(PROJECT_DIR), dbt_executable=str(dbt_executable()))


def build_marts(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Materialise all marts in this process, quietly; the manifest is made first if need be.

    Raises:
        UserError: dbt cannot parse the project, or the warehouse cannot be replaced.
        dagster.Failure: a model or a test fails; the old warehouse stays.
    """
    prepare(settings)
    with redirect_stdout(StringIO()):  # dagster-dbt prints every line of dbt, which dbt.log holds as well
        return dg.materialize(
            [marts_assets(settings)],
            instance=instance,
            resources={"dbt": dbt_resource()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def _mart(context: dg.AssetExecutionContext, output: dg.Output[Any]) -> str:
    return context.asset_key_for_output(output.output_name).path[-1]


def _with_preview(output: dg.Output[Any], preview: MartPreview) -> dg.Output[Any]:
    return output.with_metadata(
        {
            **output.metadata,
            "dagster/row_count": preview.rows,
            "preview": dg.MetadataValue.md(preview.markdown),
        }
    )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the time it takes dagster-dbt to start dbt, which is how it passes them on."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
