"""The command line, run as a person runs it or in this process.

Belongs here: starting it, and what every failure looks like. Does not belong here: tests.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from magpie.cli import main
from magpie.cli.output import err, out

Result = subprocess.CompletedProcess[str]
Here = Callable[..., Result]
REPO = Path(__file__).parent.parent
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
WIDTH = 160


def _environment(home: Path, config: Path | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    return {**kept, "MAGPIE_HOME": str(home), "MAGPIE_CONFIG": str(config or REPO / "magpie.yaml")}


def magpie(home: Path, *arguments: str, config: Path | None = None, **environment: str) -> Result:
    """Run the command in a process of its own, with no key and no home but this one."""
    env = {**_environment(home, config), "COLUMNS": str(WIDTH), **environment}
    command = [sys.executable, "-c", "from magpie.cli import main; main()", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """As `magpie`, in this process: what is told does not depend on the process, and starting one takes a while."""

    def command(home: Path, *arguments: str, config: Path | None = None, **environment: str) -> Result:
        env = {**_environment(home, config), **environment}
        with pytest.MonkeyPatch.context() as patch:
            # A run names its Dagster home to its process; set before, the name is gone afterwards.
            patch.setenv("DAGSTER_HOME", "")
            for name in [name for name in os.environ if not name.startswith("PYTEST_") and name not in env]:
                patch.delenv(name)
            for name, value in env.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["magpie", *arguments])
            for console in (out, err):
                patch.setattr(console, "width", WIDTH)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        printed = capsys.readouterr()
        return Result(arguments, int(ended.value.code or 0), printed.out, printed.err)

    return command


def one_line(result: Result, code: int = 2) -> str:
    """What it said on failing: one line on standard error, no traceback, nothing on standard output."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr
