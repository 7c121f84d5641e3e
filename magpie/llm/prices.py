"""What a call costs, and the most it can cost.

Belongs here: rates by provider and model, the cost of a usage, the ceiling of a request. Does not belong here: caps
(`ledger.py`), what a model can do (`models.py`), credits (`credits.py`).

Rates come from `prices.yaml` if the model is in it, else from the table of the package genai-prices as installed: it
is never updated over the network, so one installation prices a call the same way every time. A model in neither has no
price and is refused before it is called; nothing is free because its price is unknown.

`prices.yaml` gives USD per million tokens, by `provider/model`::

    openai/gpt-6-luna:
      input: 0.10
      cached: 0.01         # tokens read from a cache; left out: as input
      cache_write: 0.125   # tokens written to one; left out: as input
      output: 0.50
      above:               # a prompt of more than so many tokens is priced at these rates as a whole
        - tokens: 100000
          input: 0.50
          output: 2.50
    runware/some-model:
      image: 0.0038        # USD per image made
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from magpie.errors import UserError
from magpie.llm.money import per_million, to_nano
from magpie.llm.reply import Usage
from magpie.yaml_text import read_yaml

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

# What providers add to a message that is not in the body: role markers (a few tokens) and, where a schema is given,
# instructions of their own (about 350 tokens where published). Half as much again.
TOKENS_PER_MESSAGE = 550
# Models that look at an image in its own size count 1.2 tokens per patch of 32 x 32 pixels. Images above some 60
# million pixels are turned down; 64 million are 75 000 tokens. Every other way of counting comes to less.
TOKENS_PER_IMAGE = 80_000
# The most output tokens for one image made: gpt-image-2 at high quality counts 96 x 96 tokens per 4 million of its
# pixels, 2 million added, and makes at most 8.3 million: 23 719.
TOKENS_PER_IMAGE_MADE = 24_000

# Offline answers are made here, and local servers are the user's own: their provider is the reason they cost nothing.
OWN_PROVIDERS = frozenset({"offline", "local"})
# OpenAI bills no moderation, and OpenRouter no model of this suffix: both state so for every id of that form.
FREE_MODERATION = ("omni-moderation-", "text-moderation-")
FREE_SUFFIX = ":free"

# Units of the table that only tools and sound are billed by, which no request here uses.
UNUSED_UNITS = frozenset({"web_searches_kcount", "storage_searches_kcount"})
USED_UNITS = {
    "input": ("input_mtok", "input_text_mtok", "input_image_mtok"),
    "cached": ("cache_read_mtok", "cache_text_read_mtok", "cache_image_read_mtok"),
    "cache_write": ("cache_write_mtok", "cache_write_5m_mtok"),
    "output": ("output_mtok", "output_text_mtok", "output_image_mtok", "output_reasoning_mtok"),
}
# Billed at their own rate only when they are asked for, and never asked for here.
OPTIONAL_UNITS = frozenset({"cache_write_1h_mtok"})

# Nine decimals: with them every product below is exact in a decimal of 28 digits.
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]


@dataclass(frozen=True)
class Tier:
    """Rates of one size of prompt, in USD per million tokens.

    Attributes:
        above: the tier holds for prompts of more than so many tokens, and then for all tokens of the call.
    """

    above: int
    input: Decimal
    cached: Decimal
    cache_write: Decimal
    output: Decimal


@dataclass(frozen=True)
class Rates:
    """The price of one model.

    Attributes:
        tiers: by growing `above`, the first at 0.
        source: where the rates are from, with its version.
        per_image: USD for each image made, beside its tokens.
        image_tokens: the most output tokens of one image made; 0 for models that make none.
    """

    tiers: tuple[Tier, ...]
    source: str
    per_image: Decimal = Decimal(0)
    image_tokens: int = 0

    @cached_property
    def version(self) -> str:
        """Source and hash: two calls with one version were priced alike."""
        parts = [str(self.per_image), str(self.image_tokens)]
        for tier in self.tiers:
            parts += [str(tier.above), *(str(rate.normalize()) for rate in _four(tier))]
        return f"{self.source} {hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"

    def cost(self, usage: Usage) -> int:
        """Return what a usage comes to in nano-USD, rounded up once.

        Reasoning tokens are output tokens already; what is neither read from a cache nor written to one is plain input.
        """
        tier = [tier for tier in self.tiers if usage.input_tokens > tier.above or tier.above == 0][-1]
        plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        counts = (plain, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens)
        # No provider's mistake in counting may earn money.
        priced = (per_million(max(count, 0), rate) for count, rate in zip(counts, _four(tier), strict=True))
        return to_nano(sum(priced, Decimal(0)) + max(usage.images, 0) * self.per_image)

    def ceiling(self, wire_bytes: int, messages: int, images: int, max_output_tokens: int, images_made: int = 1) -> int:
        """Return the most a request can cost in nano-USD.

        Args:
            wire_bytes: of the body without image data; text never has more tokens than bytes.
            messages: in the conversation.
            images: sent along.
            max_output_tokens: bound of the answer; 0 where the API takes none.
            images_made: asked for, of a model that makes images.
        """
        prompt = wire_bytes + messages * TOKENS_PER_MESSAGE + images * TOKENS_PER_IMAGE
        reachable = [tier for tier in self.tiers if tier.above < prompt or tier.above == 0]
        dearest_input = max(max(tier.input, tier.cached, tier.cache_write) for tier in reachable)
        dearest_output = max(tier.output for tier in reachable)
        answer = max_output_tokens or images_made * self.image_tokens
        tokens = per_million(prompt, dearest_input) + per_million(answer, dearest_output)
        return to_nano(tokens + images_made * self.per_image)


FREE = (Tier(0, Decimal(0), Decimal(0), Decimal(0), Decimal(0)),)


class _TierRow(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(ge=1)
    input: Usd
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd


class _ModelRow(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Usd | None = None
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd | None = None
    image: Usd | None = None
    above: tuple[_TierRow, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> "_ModelRow":
        if self.image is None and (self.input is None or self.output is None):
            raise ValueError("needs input and output (USD per million tokens; 0 if free), or image (USD per image)")
        if (self.input is None) != (self.output is None):
            raise ValueError("needs both input and output, or neither")
        starts = [tier.tokens for tier in self.above]
        if starts != sorted(set(starts)):
            raise ValueError("the tiers under above must have growing numbers of tokens")
        return self

    def tiers(self) -> tuple[Tier, ...]:
        base = _tier(0, self.input or Decimal(0), self.cached, self.cache_write, self.output or Decimal(0))
        higher = (_tier(row.tokens, row.input, row.cached, row.cache_write, row.output) for row in self.above)
        return (base, *higher)


class _PricesFile(RootModel[dict[Annotated[str, Field(pattern=r"^[a-z]+/\S+$")], _ModelRow]]):
    pass


@dataclass(frozen=True)
class Prices:
    """Rates by provider and model.

    Args:
        overrides_path: `prices.yaml`; None, or a file that is not there: no overrides.

    Raises:
        UserError: the file is no valid price list.
    """

    overrides_path: Path | None = None
    _overrides: Mapping[str, _ModelRow] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_overrides", _read(self.overrides_path))

    def rates(self, provider: str, model_id: str, at: date) -> Rates | None:
        """Return what a model costs on a UTC day; None: nobody knows, so it must not be called."""
        makes = TOKENS_PER_IMAGE_MADE if "image" in model_id else 0
        row = self._overrides.get(f"{provider}/{model_id}")
        if row is not None:
            return Rates(row.tiers(), "prices.yaml", row.image or Decimal(0), makes if row.input else 0)
        if _free(provider, model_id):
            return Rates(FREE, f"{provider}, free")
        price = _table_price(provider, model_id, at)
        tiers = _tiers_of(price, needs_output="embedding" not in model_id) if price is not None else None
        return Rates(tiers, f"genai-prices {version('genai-prices')}", image_tokens=makes) if tiers else None


def _free(provider: str, model_id: str) -> bool:
    if provider == "openrouter":
        return model_id.endswith(FREE_SUFFIX)
    return provider in OWN_PROVIDERS or (provider == "openai" and model_id.startswith(FREE_MODERATION))


def _table_price(provider: str, model_id: str, at: date) -> "ModelPrice | None":
    # Imported here: the table costs a fifth of a second, and offline runs need none.
    from genai_prices.data import providers

    owner = next((known for known in providers if known.id == provider), None)
    model = owner.find_model(model_id) if owner else None
    # At noon: no provider called here has prices by the hour.
    return model.get_prices(datetime.combine(at, time(12), UTC)) if model else None


def _tiers_of(price: "ModelPrice", needs_output: bool) -> tuple[Tier, ...] | None:
    """Return a table's rates; None if it lacks one that a call can be billed by.

    Of text and image tokens the dearer rate counts for both, since a usage does not tell them apart.
    """
    rates = {key: value for key, value in vars(price).items() if value is not None}
    used = {key for keys in USED_UNITS.values() for key in keys}
    foreign = {key for key in rates if key not in used | UNUSED_UNITS | OPTIONAL_UNITS and "audio" not in key}
    groups = {name: [rates[key] for key in keys if key in rates] for name, keys in USED_UNITS.items()}
    if foreign or not groups["input"] or (needs_output and not groups["output"]):
        return None
    stepped = [value for values in groups.values() for value in values if hasattr(value, "tiers")]
    starts = {0} | {tier.start for value in stepped for tier in value.tiers}
    return tuple(
        _tier(start, **{name: _dearest(values, start) for name, values in groups.items()}) for start in sorted(starts)
    )


def _dearest(values: Iterable[Any], start: int) -> Decimal | None:
    found = []
    for value in values:
        reached = [tier.price for tier in getattr(value, "tiers", ()) if tier.start <= start]
        found.append(reached[-1] if reached else getattr(value, "base", value))
    return max(found, default=None)


def _tier(
    above: int,
    input: Decimal | None,
    cached: Decimal | None,
    cache_write: Decimal | None,
    output: Decimal | None,
) -> Tier:
    plain = input or Decimal(0)
    return Tier(
        above,
        plain,
        plain if cached is None else cached,
        plain if cache_write is None else cache_write,
        output or Decimal(0),
    )


def _four(tier: Tier) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return tier.input, tier.cached, tier.cache_write, tier.output


def _read(path: Path | None) -> Mapping[str, _ModelRow]:
    if path is None or not path.exists():
        return {}
    try:
        return _PricesFile.model_validate(read_yaml(path.read_text("utf-8")) or {}).root
    except OSError as error:
        raise UserError(f"cannot read the price list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the price list {path} is not UTF-8; save it as UTF-8") from None
    except ValidationError as error:  # is a ValueError, so before it
        raise UserError(_one_line(path.name, error)) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path.name} is not valid YAML: {where}{getattr(error, 'problem', None) or error}") from None


def _one_line(name: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    if "[key]" in first["loc"]:
        return f"{name}: {first['loc'][0]} is no model; write it as provider/model, for example openai/gpt-6-luna"
    where = "".join(f"[{part}]" if isinstance(part, int) else f": {part}" for part in first["loc"])
    return f"{name}{where}: {first['msg'].removeprefix('Value error, ')}"
