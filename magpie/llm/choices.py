"""How a function is asked: model, temperature, bounds and prompt, each from the nearest tier that says something.

Belongs here: the tiers and their order: run, item, scope (campaign, site, channel), function, default. Does not belong
here: reading settings files (`magpie/settings.py`) and prompts' text (`prompts.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from magpie.llm.spec import FunctionSpec

TIERS = ("run", "item", "scope", "function", "default")


@dataclass(frozen=True)
class Choice:
    """What one tier says; None: nothing."""

    model: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    prompt: str | None = None


@dataclass(frozen=True)
class Chosen:
    """What holds, and which tier said so."""

    model: str
    temperature: float | None
    max_output_tokens: int
    source_tiers: Mapping[str, str] = field(default_factory=dict)


def choose(spec: FunctionSpec[Any], tiers: Mapping[str, Choice]) -> Chosen:
    """Resolve each value by itself; `tiers` by name, a missing one says nothing."""
    defaults = Choice(spec.alias, spec.temperature, spec.max_output_tokens)
    held = {**tiers, "default": defaults}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in ("model", "temperature", "max_output_tokens"):
        for tier in TIERS:
            value = getattr(held.get(tier, Choice()), name)
            if value is not None:
                values[name], sources[name] = value, tier
                break
    return Chosen(values["model"], values.get("temperature"), values["max_output_tokens"], sources)
