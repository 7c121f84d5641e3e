"""Set-up: make the manifest from which the code location learns the marts.

Belongs here: `python -m dbt_project.prepare`. Does not belong here: building the marts (`assets.py`).
"""

import os
import shutil
import subprocess
import sys

from dbt_project.project import PROJECT_DIR, Workspace, dbt_executable, fingerprint
from magpie.errors import UserError
from magpie.settings import Settings, load_settings


def prepare(settings: Settings) -> bool:
    """Parse the project into its manifest, unless the manifest is up to date; return whether it was made.

    Raises:
        UserError: dbt cannot parse the project; the message carries dbt's own.
    """
    workspace = Workspace.of(settings)
    if workspace.is_prepared():
        return False
    with workspace.locked():
        made_from = fingerprint()
        parsed = subprocess.run(
            [str(dbt_executable()), "--quiet", "--no-use-colors", "parse"],
            cwd=PROJECT_DIR,
            env={**os.environ, **workspace.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        if parsed.returncode != 0:
            raise UserError(f"dbt cannot parse {PROJECT_DIR.name}: {parsed.stdout.strip() or parsed.stderr.strip()}")
        fresh = workspace.manifest.with_suffix(".new")
        shutil.copyfile(workspace.target / "manifest.json", fresh)
        fresh.replace(workspace.manifest)
        workspace.stamp.write_text(made_from, "ascii")
    return True


def main() -> int:
    try:
        settings = load_settings()
        made = prepare(settings)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{Workspace.of(settings).manifest}: {'made' if made else 'up to date'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
