"""Both code locations load and validate, and loading the first one opens nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster_world import REPO, sample_settings
from marts_world import Built, built  # noqa: F401 - a fixture

from dbt_project.prepare import prepare

# Written down from inside the process: what an import opens for writing or connects to, what it starts and loads.
WATCHED_IMPORT = """
import json, sys, threading
opened = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str) and isinstance(args[1], str) and set("wax+") & set(args[1]):
        opened.append(args[0])
    elif event == "subprocess.Popen" and args[0] != "file":  # Dagster's cron parser asks it whether Python has 64 bits
        opened.append(f"{event} {args[1]}")
    elif event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect"):
        opened.append(f"{event} {args}")
    elif event in ("os.mkdir", "os.rename", "os.remove"):
        opened.append(f"{event} {args[0]}")
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import definitions
print(json.dumps({
    "opened": opened,
    "threads": [thread.name for thread in threading.enumerate()],
    "loaded": sorted({name.split(".")[0] for name in sys.modules}),
    "defined": definitions.defs.resolve_job_def("campaign_days").name,
}))
"""
# Each costs every process of every run time that only its own users should pay.
HEAVY = {
    "dbt",
    "dagster_dbt",
    "openai",
    "anthropic",
    "asyncpraw",
    "aiohttp",
    "sklearn",
    "onnxruntime",
    "typer",
}


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAGPIE_", "DAGSTER_"))}
    return {**kept, "MAGPIE_HOME": str(home), "MAGPIE_CONFIG": str(REPO / "magpie.yaml")}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], Path]:
    home = tmp_path_factory.mktemp("import") / "home"
    command = [sys.executable, "-c", WATCHED_IMPORT]
    done = subprocess.run(command, cwd=REPO, env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found, home


def test_importing_the_definitions_opens_and_starts_nothing(imported: tuple[dict[str, list[str]], Path]) -> None:
    found, home = imported
    assert not home.exists()
    assert [name for name in found["opened"] if name != os.devnull] == []
    assert found["threads"] == ["MainThread"]
    assert found["defined"] == "campaign_days"


def test_importing_the_definitions_loads_no_library_that_only_some_runs_need(
    imported: tuple[dict[str, list[str]], Path],
) -> None:
    assert HEAVY & set(imported[0]["loaded"]) == set()


@pytest.mark.slow
def test_dagster_validates_both_code_locations(built: Built, tmp_path: Path) -> None:  # noqa: F811
    # What dbt makes of the project is the same for every home.
    shutil.copytree(built.settings.home / "dbt", tmp_path / "home" / "dbt")
    assert prepare(sample_settings(tmp_path / "home")) is False
    (tmp_path / "dagster").mkdir()
    names = [place["python_module"]["location_name"] for place in _workspace()["load_from"]]
    assert names == ["magpie", "marts"]
    dagster = str(Path(sys.executable).with_name("dagster"))
    done = subprocess.run(
        [dagster, "definitions", "validate", "-w", str(REPO / "workspace.yaml")],
        cwd=tmp_path,
        env={**environment(tmp_path / "home"), "DAGSTER_HOME": str(tmp_path / "dagster")},
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    for name in names:
        assert f"Validation successful for code location {name}." in told


@pytest.mark.slow
def test_a_wrong_setting_fails_validation_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "magpie.yaml").write_text("start_day: someday\n", "utf-8")
    (tmp_path / "dagster").mkdir()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-m", "definitions"],
        cwd=tmp_path,
        env={
            **environment(tmp_path / "home"),
            "MAGPIE_CONFIG": str(tmp_path / "magpie.yaml"),
            "DAGSTER_HOME": str(tmp_path / "dagster"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "magpie.yaml: start_day = 'someday'" in done.stdout + done.stderr


def _workspace() -> dict[str, list[dict[str, dict[str, str]]]]:
    found: dict[str, list[dict[str, dict[str, str]]]] = yaml.safe_load((REPO / "workspace.yaml").read_text("utf-8"))
    return found
