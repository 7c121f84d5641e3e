"""The rules that hold the project's shape, each shown to catch what it forbids."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_world import REPO

PACKAGES = ("magpie", "assets", "resources", "io_managers", "sensors", "schedules", "dbt_project")
# More than this in an asset, and a rule of the domain is in the wrong room.
ASSET_LINES = 25
# Machines this project was written on, and hosts that packages come from; the README's users have others.
FOREIGN = re.compile(
    r"(?<![\w.])/(?:work|root|home/\w+)/|\bpypi\b|files\.pythonhosted|/simple/|\bindex[-_]url\s*=", re.I
)
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".sql", ".lock", ".cfg", ".txt", ".json", ""}


def modules() -> Iterator[Path]:
    yield REPO / "definitions.py"
    for package in PACKAGES:
        yield from sorted((REPO / package).rglob("*.py"))


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout, so there is no list of the project's own files")
    paths = [REPO / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix in TEXT]


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture()
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
        shutil.copytree(REPO / package, tmp_path / package, ignore=ignored)
    shutil.copyfile(REPO / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_every_import_contract_is_kept() -> None:
    found = lint_imports(REPO)
    assert found.returncode == 0, found.stdout
    assert "0 broken" in found.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("magpie/text/planted.py", "import dagster", "The domain knows no orchestrator"),
        ("magpie/leads/planted.py", "from assets import metadata", "The domain knows no orchestrator"),
        (
            "magpie/sources/planted.py",
            "from magpie.leads import tables",
            "Source formats and text rules know no product",
        ),
        ("magpie/leads/planted.py", "import openai", "Only provider modules import a provider SDK"),
    ],
)
def test_a_planted_import_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    (copy / module).write_text(f'"""Planted."""\n\n{line}\n', "utf-8")
    found = lint_imports(copy)
    assert found.returncode != 0
    assert re.search(rf"{re.escape(contract)}\s+BROKEN", found.stdout), found.stdout


def test_only_provider_modules_import_a_provider_sdk() -> None:
    allowed = REPO / "magpie" / "llm" / "providers"
    guilty = [
        str(path.relative_to(REPO))
        for path in modules()
        if {"openai", "anthropic"} & set(imported(path)) and allowed not in path.parents
    ]
    assert not guilty


def imported(path: Path) -> Iterator[str]:
    """The top-level names of all imports in a file, at whatever depth they stand."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_every_module_says_what_belongs_in_it() -> None:
    silent = []
    for path in modules():
        told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        # A package's own file says what the package is for; its modules say the rest.
        wanted = "" if path.name == "__init__.py" or path.name in ("errors.py", "definitions.py") else "elongs here"
        if not told or wanted not in told:
            silent.append(str(path.relative_to(REPO)))
    assert not silent


def test_an_asset_wires_and_does_no_more() -> None:
    long = []
    for path in sorted((REPO / "assets").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and is_asset(node):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > ASSET_LINES:
                    long.append(f"{path.name}: {node.name} has {lines} lines")
    assert not long


def is_asset(function: ast.FunctionDef) -> bool:
    names = {ast.unparse(mark.func if isinstance(mark, ast.Call) else mark) for mark in function.decorator_list}
    return any("asset" in name for name in names)


def test_no_file_names_a_machine_or_a_package_host() -> None:
    found = [
        f"{path.relative_to(REPO)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1)
        if FOREIGN.search(line)
    ]
    assert not found
