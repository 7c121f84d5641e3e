"""Which models there are: aliases, capabilities, ends of life.

Belongs here: reading the registry (`models.yaml`) and answering what a name stands for. Does not belong here: prices
(`prices.py`), who serves a model (`providers/`).

`llm.models` and `llm.aliases` of the settings add to the registry: a row for a model that is there changes the fields
it names, and an alias replaces the one of its name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from magpie.errors import UserError
from magpie.llm.image_sizes import Size, SizeRule, Sizes, parsed
from magpie.yaml_text import read_yaml

Kind = Literal["text", "embedding", "moderation", "image"]
Quality = Literal["basic", "quality", "premium"]

# A server of the user's own has the models that the user put there; no registry can know them.
LOCAL = "local"
# The suffix by which OpenRouter marks what it serves for nothing.
FREE = ":free"
# The one alias that must never cost money: a negative balance would block its free models too.
FREE_ALIAS = "vision-free"
FREE_RULE = f"model ids of {FREE_ALIAS} must end in {FREE}, or be local"
# What the aliases whose callers need more than text must stand for.
ALIAS_KINDS: Mapping[str, Kind] = {"embed": "embedding", "moderate": "moderation", "image": "image"}


@dataclass(frozen=True)
class Model:
    """One row of the registry.

    Attributes:
        model_id: as the provider knows it.
        json: takes a JSON schema for its answer.
        max_output_tokens: the most it may be asked for; None: not known.
        end_of_life: last day it is served, if announced.
        successor: model_id of the same provider that a retired name resolves to.
        dims: vector length of an embedding model.
        tokens_per_credit: of credits v2 (`credits.py`); None: that of the operation.
        quality: of an image model, for credits v2.
        sizes: that an image model makes; empty: none is known, so none can be asked for.
        most_prompt_chars: of an image model's prompt; None: not known.
    """

    provider: str
    model_id: str
    kind: Kind
    json: bool = False
    vision: bool = False
    temperature: bool = True
    negative_prompt: bool = False
    max_output_tokens: int | None = None
    end_of_life: date | None = None
    successor: str | None = None
    dims: int | None = None
    tokens_per_credit: int | None = None
    quality: Quality = "basic"
    sizes: Sizes = ()
    most_prompt_chars: int | None = None

    @property
    def name(self) -> str:
        """As aliases and settings write it: `openai/gpt-6-luna`."""
        return f"{self.provider}/{self.model_id}"

    @property
    def free(self) -> bool:
        return is_free(self.provider, self.model_id)


def is_free(provider: str, model_id: str) -> bool:
    """Whether a model never costs money, by its very name."""
    return provider == LOCAL or (provider == "openrouter" and model_id.endswith(FREE))


@dataclass(frozen=True)
class Ending:
    """A model in use whose end is near, or past.

    Attributes:
        used_as: the alias or model as it was asked about.
        days_left: until the last day, negative when that is over.
    """

    used_as: str
    model: Model
    days_left: int


class _SizeRule(BaseModel):
    """A rule of sizes, as a file writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Bounds that keep the number of sizes, which are gone through one by one, in the ten thousands.
    multiple: int = Field(ge=8, le=1024)
    least_side: int = Field(ge=1, le=4096)
    most_side: int = Field(ge=1, le=4096)
    most_ratio: int | None = Field(default=None, ge=1)
    least_pixels: int = Field(default=1, ge=1)
    most_pixels: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _allows_some(self) -> "_SizeRule":
        if next(self.rule().all(), None) is None:
            raise ValueError("no size keeps this rule")
        return self

    def rule(self) -> SizeRule:
        return SizeRule(**self.model_dump())


class _Row(BaseModel):
    """The fields of Model, as a file writes them; only those that are written count."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    provider: Literal["openai", "anthropic", "openrouter", "local", "runware"]
    model_id: str = Field(min_length=1, max_length=200)
    kind: Kind = "text"
    json_: bool = Field(default=False, alias="json")
    vision: bool = False
    temperature: bool = True
    negative_prompt: bool = False
    max_output_tokens: int | None = Field(default=None, ge=1)
    end_of_life: date | None = None
    successor: str | None = None
    dims: int | None = Field(default=None, ge=1)
    tokens_per_credit: int | None = Field(default=None, ge=1)
    quality: Quality = "basic"
    sizes: tuple[str, ...] | _SizeRule = ()
    most_prompt_chars: int | None = Field(default=None, ge=1)

    @field_validator("sizes")
    @classmethod
    def _readable(cls, value: tuple[str, ...] | _SizeRule) -> tuple[str, ...] | _SizeRule:
        for text in value if isinstance(value, tuple) else ():
            parsed(text)
        return value

    def fields(self) -> dict[str, Any]:
        fields = self.model_dump(exclude_unset=True, by_alias=True)
        if "sizes" in fields:
            fields["sizes"] = self.sizes.rule() if isinstance(self.sizes, _SizeRule) else _listed(self.sizes)
        return fields


class _Overrides(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[_Row, ...] = ()
    aliases: dict[str, tuple[str, ...]] = {}


class _File(_Overrides):
    as_of: date


class Models:
    """The registry.

    Args:
        rows: every model, each once.
        aliases: alias -> names of models (`provider/model`), the preferred one first.
        as_of: a model whose last day is before this one is retired, whatever day it is.

    Raises:
        UserError: an alias or a successor leads nowhere, or to a model of the wrong kind.
    """

    def __init__(self, rows: Iterable[Model], aliases: Mapping[str, tuple[str, ...]], as_of: date) -> None:
        self._rows = {(row.provider, row.model_id): row for row in rows}
        self._aliases = dict(aliases)
        self._as_of = as_of
        for row in self._rows.values():
            self._check_successor(row)
        for alias, names in self._aliases.items():
            self._check_alias(alias, names)

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> "Models":
        """Read the registry and add the settings' `models` (rows) and `aliases`.

        Raises:
            UserError: an override does not have the form of the registry, or contradicts it.
        """
        own = _File.model_validate(read_yaml((files("magpie.llm") / "models.yaml").read_text("utf-8")))
        try:
            given = _Overrides.model_validate(dict(overrides or {}))
        except ValidationError as error:
            raise UserError(_shown(error)) from None
        fields: dict[tuple[str, str], dict[str, Any]] = {}
        for row in (*own.models, *given.models):
            fields.setdefault((row.provider, row.model_id), {"kind": "text"}).update(row.fields())
        return cls((Model(**row) for row in fields.values()), {**own.aliases, **given.aliases}, own.as_of)

    @property
    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """What each alias stands for, the preferred model first."""
        return self._aliases

    @property
    def rows(self) -> tuple[Model, ...]:
        """Every model of the registry, retired ones too."""
        return tuple(self._rows.values())

    def get(self, provider: str, model_id: str, kind: Kind = "text") -> Model:
        """Return one row; of a local server any model is taken for one of the `kind` that is needed.

        Raises:
            UserError: the registry has no such model.
        """
        row = self._rows.get((provider, model_id))
        if row is None and provider == LOCAL and model_id:
            return Model(LOCAL, model_id, kind)
        if row is None:
            raise UserError(f"no model {provider}/{model_id}; {self._hint(provider)}")
        return row

    def candidates(self, alias_or_model: str, today: date | None = None) -> tuple[Model, ...]:
        """Return the models a name stands for, the preferred one first; retired ones give way to their successors.

        Args:
            alias_or_model: an alias (`fast`) or one model (`openai/gpt-6-luna`).
            today: a model whose last day is over is retired; without it, the day the registry was written counts.

        Raises:
            UserError: the name is unknown, or everything it stands for is retired and has no successor.
        """
        names = self._aliases.get(alias_or_model, (alias_or_model,))
        kind = ALIAS_KINDS.get(alias_or_model, "text")
        rows = [self._parse(name, kind) for name in names]
        served = [self._served(row, today) for row in rows]
        found = tuple(dict.fromkeys(row for row in served if row is not None))
        if not found:
            ended = ", ".join(f"{row.name} ({row.end_of_life})" for row in rows)
            raise UserError(f"{alias_or_model} is no longer served: {ended}; choose another model under llm.aliases")
        return found

    def check_free(self, where: str, alias_or_model: str) -> None:
        """Refuse a name that stands for a model which may cost money; `where` begins the line that says so.

        Raises:
            UserError: it does, or the name is unknown.
        """
        for name in self._aliases.get(alias_or_model, (alias_or_model,)):
            self._check_free(where, self._parse(name))

    def ending(self, in_use: Iterable[str], today: date, within_days: int = 60) -> list[Ending]:
        """Return the models in use that end within `within_days`, or have ended, the most urgent first.

        Args:
            in_use: aliases and models; what the registry does not know is passed over, nothing is announced for it.
        """
        found = {}
        for used_as in in_use:
            for name in self._aliases.get(used_as, (used_as,)):
                row = self._rows.get(_split(name))
                if row and row.end_of_life and (row.end_of_life - today).days <= within_days:
                    found[used_as, row.name] = Ending(used_as, row, (row.end_of_life - today).days)
        return sorted(found.values(), key=lambda end: (end.days_left, end.used_as, end.model.name))

    def _served(self, row: Model, today: date | None) -> Model | None:
        day = max(today or date.min, self._as_of)
        while row.end_of_life and row.end_of_life < day:
            if row.successor is None:
                return None
            row = self._rows[row.provider, row.successor]
        return row

    def _parse(self, name: str, kind: Kind = "text") -> Model:
        provider, model_id = _split(name)
        if not model_id:
            known = ", ".join(sorted(self._aliases))
            raise UserError(f"no model alias {name!r}; there are {known}, or name a model as provider/model")
        return self.get(provider, model_id, kind)

    def _hint(self, provider: str) -> str:
        known = sorted(row.model_id for row in self.rows if row.provider == provider and self._served(row, None) is row)
        if known:
            return f"known of {provider}: {', '.join(known)}; others can be added under llm.models in magpie.yaml"
        providers = sorted({owner for owner, _ in self._rows} | {LOCAL})
        return f"providers with known models: {', '.join(providers)}; others can be added under llm.models"

    def _check_successor(self, row: Model) -> None:
        seen, at = [row.model_id], row
        while at.successor is not None:
            after = self._rows.get((at.provider, at.successor))
            if after is None or after.kind != row.kind:
                raise UserError(f"llm.models: the successor {at.successor} of {at.name} is no {row.kind} model here")
            if after.model_id in seen:
                raise UserError(f"llm.models: the successors of {row.name} lead back to {after.model_id}")
            seen.append(after.model_id)
            at = after

    def _check_alias(self, alias: str, names: tuple[str, ...]) -> None:
        where = f"llm.aliases.{alias}"
        if not names or "/" in alias:
            raise UserError(f"{where}: an alias has no slash in it and stands for one model or more")
        wanted = ALIAS_KINDS.get(alias)
        for name in names:
            try:
                row = self._parse(name, wanted or "text")
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            if wanted and row.kind != wanted:
                raise UserError(f"{where}: {name} is a {row.kind} model; {alias} needs one of kind {wanted}")
            if alias == FREE_ALIAS:
                self._check_free(where, row)

    def _check_free(self, where: str, row: Model) -> None:
        """Refuse a model that may cost money, or whose successor may, and one that cannot see."""
        at: Model | None = row
        while at is not None:
            if not at.free:
                raise UserError(f"{where}: {FREE_RULE}; {at.name} is neither")
            if not at.vision:
                raise UserError(f"{where}: {at.name} must have vision: true under llm.models")
            at = self._rows[at.provider, at.successor] if at.successor else None


def _listed(texts: Iterable[str]) -> tuple[Size, ...]:
    return tuple(parsed(text) for text in texts)


def _split(name: str) -> tuple[str, str]:
    provider, _, model_id = name.partition("/")
    return provider, model_id


def _shown(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in ("llm", *first["loc"]))
    return f"magpie.yaml: {where}: {first['msg']}"
