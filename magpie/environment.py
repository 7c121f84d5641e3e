"""The environment as this project reads it: a secret may stand in a file that a variable names.

Belongs here: which variables hold secrets, and `NAME_FILE` for `NAME`. Does not belong here: what a secret is good for
(the modules that ask for it), settings that are none (`settings.py`).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from magpie.errors import UserError

# Everything that opens a door. Of these alone the value may stand in a file; what is not here is shown freely.
SECRETS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENROUTER_API_KEY",
    "RUNWARE_API_KEY",
    "MAGPIE_LOCAL_API_KEY",
    "REDDIT_CLIENT_ID",
    "REDDIT_CLIENT_SECRET",
    "REDDIT_PASSWORD",
    "TUMBLR_CONSUMER_KEY",
    "TUMBLR_CONSUMER_SECRET",
    "TUMBLR_OAUTH_TOKEN",
    "TUMBLR_OAUTH_SECRET",
    "VK_TOKEN",
    "HIKERAPI_KEY",
    "WORDPRESS_APP_PASSWORD",
    "MAGPIE_CONTROL_URL",
    "MAGPIE_CELERY_BROKER",
    "MAGPIE_CELERY_BACKEND",
    "MAGPIE_ALERT_WEBHOOK",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
IN_FILE = "_FILE"
# A key is some hundred characters, an address with a password not many more; a longer file is the wrong one.
MOST_BYTES = 16 * 1024


class Environment(Mapping[str, str]):
    """A view of some variables in which `NAME_FILE` stands for `NAME`, for each of `SECRETS`.

    Making one reads nothing. A file is read whenever its secret is asked for, and nothing of it is kept.

    Args:
        variables: default those of this process.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def __repr__(self) -> str:
        return "Environment()"

    def __getitem__(self, name: str) -> str:
        """The value of a variable.

        Raises:
            KeyError: it is not set.
            UserError: it is set twice, or its file holds no secret.
        """
        if not self._in_file(name):
            return self._variables[name]
        if self._variables.get(name):
            raise UserError(f"{name} and {name}{IN_FILE} are both set; unset one of them")
        return _held(name, Path(self._variables[name + IN_FILE]))

    def __iter__(self) -> Iterator[str]:
        yield from self._variables
        yield from (name for name in SECRETS if name not in self._variables and self._in_file(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._variables or (isinstance(name, str) and self._in_file(name))

    def _in_file(self, name: str) -> bool:
        return name in SECRETS and bool(self._variables.get(name + IN_FILE))


def _held(name: str, path: Path) -> str:
    """What a file holds, without the line end that editors add. No error quotes it."""
    try:
        with path.open("rb") as file:
            held = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read the file that {name}{IN_FILE} names: {error.strerror}; correct it") from None
    try:
        value = held.decode("utf-8").strip()
    except UnicodeDecodeError:
        value = ""
    if not value or len(held) > MOST_BYTES or any(char in value for char in "\r\n\0"):
        raise UserError(f"the file that {name}{IN_FILE} names holds no secret; write the value on one line, in UTF-8")
    return value
