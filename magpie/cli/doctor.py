"""`magpie doctor`: is everything there, and does anything wait.

Belongs here: printing what `magpie/health.py` finds. Does not belong here: finding it.
"""

from datetime import UTC, datetime

import typer

from magpie.cli import options
from magpie.cli.output import out, plain, table
from magpie.environment import Environment
from magpie.health import examine
from magpie.settings import load_settings

MARKS = {"ok": "[green]ok[/green]", "note": "[dim]-[/dim]", "warn": "[yellow]look[/yellow]", "bad": "[red]bad[/red]"}


def doctor(config: options.Config = None) -> None:
    """Show versions, paths, keys (present or not), archives, clock, disk and what waits."""
    findings = examine(load_settings(config), Environment(), datetime.now(UTC))
    rows = [(MARKS[finding.level], finding.subject, plain(finding.text)) for finding in findings]
    out.print(table(None, ("", "what", "found"), rows))
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(1)
