"""The command line: `magpie run | ui | plan | sql | spend | breaker | doctor | dev`, and one group per product.

Belongs here: arguments, printing, exit codes. Does not belong here: deciding anything; a command calls one function of
the domain and shows what it returns.
"""

import os
import sys

from magpie import json_logs
from magpie.cli.app import app
from magpie.errors import UserError

__all__ = ["app", "main"]

# Wrong use or settings, as argparse and typer have it; a run that failed ends with 1.
EXIT_USER_ERROR = 2


def main() -> None:
    """Run the command line; what a user can mend is one line and no traceback."""
    try:
        json_logs.configure(os.environ)
        app()
    except UserError as error:
        sys.stderr.write(f"magpie: {error}\n")
        raise SystemExit(EXIT_USER_ERROR) from None
