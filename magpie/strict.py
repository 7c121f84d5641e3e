"""What the settings of all products are made of.

Belongs here: the base model, and types that several sections share. Does not belong here: any section (`settings.py`,
and each product's `settings.py`).
"""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from magpie.llm.choices import Choice

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Usd = Annotated[Decimal, Field(ge=0, le=100_000, decimal_places=4)]


class Strict(BaseModel):
    """A wrong key is an error, not a silently ignored line."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FunctionChoice(Strict):
    """How one function is asked, where it differs from its default; `model` is an alias or provider/model."""

    model: str | None = Field(default=None, min_length=1, max_length=200)
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: int | None = Field(default=None, ge=16, le=128_000)
    prompt: str | None = Field(default=None, max_length=100_000)

    def choice(self) -> Choice:
        """What this tier says, in the engine's terms."""
        return Choice(self.model, self.temperature, self.max_output_tokens, self.prompt)


DEFAULT_CHOICE = FunctionChoice()
