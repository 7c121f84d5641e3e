"""YAML as the project reads it: safe, and by the parser in C where PyYAML was built with it, ten times as fast.

Belongs here: which parser. Does not belong here: what a file may hold (the models of each).
"""

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> Any:
    """Return the one document of a text as plain values; None for an empty one.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=_LOADER)
