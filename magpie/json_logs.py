"""Log lines as JSON, for machines that collect them: `MAGPIE_LOG=json`.

Belongs here: how a record of the project's loggers becomes a line on standard error. Does not belong here: what is
logged, the orchestrator's own lines (its commands take `--log-format json`), progress for people (`cli/run.py`).
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from magpie.errors import UserError

VARIABLE = "MAGPIE_LOG"
JSON, TEXT = "json", "text"
# All loggers of the domain are below it.
LOGGER = "magpie"


def no_run() -> str | None:
    """Outside the orchestrator nothing is known of runs."""
    return None


def configure(env: Mapping[str, str], run_id: Callable[[], str | None] = no_run) -> bool:
    """Log in the form that `MAGPIE_LOG` asks for; without it, and for `text`, logging is left as it is.

    Called again it replaces what it did before, so that a process may tell later how runs are known.

    Args:
        run_id: the orchestrator's name for what this thread is making; None outside a run.

    Returns:
        whether lines are JSON now.

    Raises:
        UserError: the variable names no form.
    """
    form = env.get(VARIABLE, "").strip().lower() or TEXT
    if form not in (JSON, TEXT):
        raise UserError(f"{VARIABLE} {form!r} is no form of logs; write {JSON}, or {TEXT}, or unset it")
    logger = logging.getLogger(LOGGER)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Stderr)]:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    if form == TEXT:
        return False
    handler = _Stderr()
    handler.setFormatter(JsonLines(run_id))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Or a handler of the orchestrator's would write each line once more, in its own form.
    logger.propagate = False
    return True


class JsonLines(logging.Formatter):
    """One JSON object per record, on one line, in ASCII.

    Keys: time (UTC, ISO 8601, milliseconds), level, logger, message, run_id (null outside a run), and where something
    was raised, error: its traceback.
    """

    def __init__(self, run_id: Callable[[], str | None] = no_run) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        told = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "run_id": self._run_id(),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at that moment: within a step the orchestrator puts another in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr
