"""What a row of a table keeps of the question behind it.

Belongs here: the facts of the engine's row, in the columns that all asked tables share. Does not belong here: asking
(`magpie/llm`), what an answer means (the modules of each stage).
"""

from collections.abc import Mapping
from typing import Any

from magpie.llm.credits import DEFAULT_VERSION

FATE = ("status", "reason", "observed", "threshold", "not_before")
_TOLD = ("provider", "model", "prompt_source", "prompt_version", "rendered_hash", "input_hash")
_COUNTED = ("cost_usd", "credits", "attempts")
OK: Mapping[str, Any] = {**dict.fromkeys(FATE), "status": "ok"}


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Who answered, in which words it was asked and what that took; each row of one question says the same."""
    told = {name: result[name] for name in (*_TOLD, *_COUNTED)}
    return {**told, "credits_version": DEFAULT_VERSION if result["provider"] else None}


def fate_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What became of the question."""
    return {name: result[name] for name in FATE}


def rejected(reason: str, observed: object, threshold: object) -> dict[str, Any]:
    """The fate of a row that is turned down for good."""
    return {**OK, "status": "rejected", "reason": reason, "observed": str(observed), "threshold": str(threshold)}
