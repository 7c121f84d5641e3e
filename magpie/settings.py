"""magpie.yaml and the environment, validated.

Belongs here: the shape of the settings, their defaults, and the one line that says what is wrong with a value.
Does not belong here: what a setting does (the rules of each product).
"""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from magpie import environment
from magpie.content.settings import Content, Site
from magpie.errors import UserError
from magpie.leads.calibration import GateSettings
from magpie.leads.settings import Campaign, Leads, Reddit
from magpie.memes.settings import Memes, MemeSource
from magpie.persona.settings import Blog, Persona
from magpie.strict import FunctionChoice, Strict, Usd
from magpie.videos.settings import Channel, Videos
from magpie.yaml_text import read_yaml

CONFIG_FILE = "magpie.yaml"
# What money is counted for beside everything (`all`).
SCOPE_KINDS = ("product:", "campaign:", "channel:", "site:", "blog:", "provider:", "model:", "asset:", "tier:")
DEFAULT_HOME = ".magpie"
AlertKind = Literal["cap_reached", "breaker_open", "freshness_missed", "stuck"]
ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)
Item = TypeVar("Item", Campaign, Channel, MemeSource, Site, Blog)


class Caps(Strict):
    """Hard caps in USD per UTC day; a campaign has its own beside them."""

    global_daily_cap_usd: Usd = Decimal("15.00")
    leads_daily_cap_usd: Usd = Decimal("5.00")
    videos_daily_cap_usd: Usd = Decimal("5.00")
    # Only free models describe memes; the cap holds should one of them ever ask for money.
    memes_daily_cap_usd: Usd = Decimal("1.00")
    content_daily_cap_usd: Usd = Decimal("5.00")
    persona_daily_cap_usd: Usd = Decimal("3.00")
    # Per UTC day, UTC month and run, by scope of the ledger: `provider:openai`, `asset:lead_extractions`, `all`.
    daily_usd: dict[str, Usd] = {}
    monthly_usd: dict[str, Usd] = {}
    run_usd: Usd | None = None

    @field_validator("daily_usd", "monthly_usd")
    @classmethod
    def _scopes(cls, value: dict[str, Usd]) -> dict[str, Usd]:
        # A cap on a misspelt scope would hold nothing back.
        for scope in value:
            if scope != "all" and not scope.startswith(SCOPE_KINDS):
                raise ValueError(f"{scope!r} is no scope; write all or one of {', '.join(SCOPE_KINDS)} with a name")
        return value


class LLM(Strict):
    """Which models answer, and how they are called; keys come from the environment alone."""

    provider: Literal["auto", "offline", "openai", "anthropic", "openrouter", "local"] = "auto"
    workers: int = Field(default=8, ge=1, le=64)
    timeout_seconds: float = Field(default=120, ge=1, le=3600)
    base_urls: dict[Literal["openai", "anthropic", "openrouter", "runware", "local"], str] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    models: tuple[dict[str, Any], ...] = ()
    functions: dict[str, FunctionChoice] = {}
    # Ask again where a call was cut off after it was sent, and may be paid a second time.
    allow_double_payment: bool = False
    allow_paid_openrouter: bool = False
    # OpenRouter allows 1000 free calls a day to accounts that ever bought 10 credits, else 50 (then set 45).
    openrouter_free_daily: int = Field(default=900, ge=0, le=100_000)
    openrouter_free_per_minute: int = Field(default=20, ge=1, le=1000)
    quota_shares: dict[str, int] = {"memes": 800, "persona": 100}

    @field_validator("base_urls")
    @classmethod
    def _addresses(cls, value: dict[str, str]) -> dict[str, str]:
        for provider, url in value.items():
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{provider}: {url!r} is no address; write it as https://host/v1")
        return {provider: url.rstrip("/") for provider, url in value.items()}


class Alerts(Strict):
    """Who is told what needs a person. The address may be a secret: MAGPIE_ALERT_WEBHOOK wins, and is its place."""

    webhook: str | None = Field(default=None, min_length=1, max_length=2000, repr=False)
    on: tuple[AlertKind, ...] = ALERT_KINDS
    # After so many days rows that failed or wait count as stuck.
    stuck_days: int = Field(default=3, ge=1, le=365)


class Maintenance(Strict):
    """How long what is only of passing use is kept."""

    # Dagster's runs and their logs; a week at least, so that a backfill is over before its runs go.
    keep_runs_days: int = Field(default=90, ge=7, le=3650)


class Settings(Strict):
    """Everything in magpie.yaml, and where things are kept."""

    start_day: date
    reddit: Reddit = Reddit()
    leads: Leads = Leads()
    caps: Caps = Caps()
    llm: LLM = LLM()
    alerts: Alerts = Alerts()
    campaigns: tuple[Campaign, ...] = ()
    videos: Videos = Videos()
    channels: tuple[Channel, ...] = ()
    memes: Memes = Memes()
    meme_sources: tuple[MemeSource, ...] = ()
    content: Content = Content()
    sites: tuple[Site, ...] = ()
    persona: Persona = Persona()
    blogs: tuple[Blog, ...] = ()
    maintenance: Maintenance = Maintenance()
    home: Path = Path(DEFAULT_HOME)
    root: Path = Path()
    config_file: Path = Path(CONFIG_FILE)
    lake_url: str | None = None
    control_url: str | None = Field(default=None, repr=False)
    # Who executes the steps of a run: its own process, or workers behind a broker.
    execution: Literal["in_process", "celery"] = "in_process"

    @field_validator("campaigns")
    @classmethod
    def _ids_once(cls, value: tuple[Campaign, ...]) -> tuple[Campaign, ...]:
        _refuse_twice("campaign id", [campaign.id for campaign in value])
        return value

    @field_validator("channels")
    @classmethod
    def _channels_once(cls, value: tuple[Channel, ...]) -> tuple[Channel, ...]:
        _refuse_twice("channel", [channel.channel_id for channel in value])
        return value

    @field_validator("meme_sources")
    @classmethod
    def _meme_sources_once(cls, value: tuple[MemeSource, ...]) -> tuple[MemeSource, ...]:
        _refuse_twice("source", [source.id for source in value])
        return value

    @field_validator("sites")
    @classmethod
    def _sites_once(cls, value: tuple[Site, ...]) -> tuple[Site, ...]:
        _refuse_twice("site id", [site.id for site in value])
        return value

    @field_validator("blogs")
    @classmethod
    def _blogs_once(cls, value: tuple[Blog, ...]) -> tuple[Blog, ...]:
        _refuse_twice("blog", [blog.name for blog in value])
        return value

    @model_validator(mode="after")
    def _gates_hold(self) -> "Settings":
        # Held against any calibration: what is wrong here is wrong whatever the model.
        GateSettings.resolve("reference", self.leads.gates, "leads.gates.")
        for campaign in self.campaigns:
            self.gates_of(campaign.id)
        return self

    def campaign(self, campaign_id: str) -> Campaign:
        """Return one campaign.

        Raises:
            UserError: there is none of that id.
        """
        return _named("campaign", campaign_id, {campaign.id: campaign for campaign in self.campaigns})

    def channel(self, channel_id: str) -> Channel:
        """Return one channel.

        Raises:
            UserError: there is none of that id.
        """
        return _named("channel", channel_id, {channel.channel_id: channel for channel in self.channels})

    def site(self, site_id: str) -> Site:
        """Return one site.

        Raises:
            UserError: there is none of that id.
        """
        return _named("site", site_id, {site.id: site for site in self.sites})

    def blog(self, name: str) -> Blog:
        """Return one blog.

        Raises:
            UserError: there is none of that name.
        """
        return _named("blog", name, {blog.name: blog for blog in self.blogs})

    def active_campaigns(self) -> Iterator[Campaign]:
        return (campaign for campaign in self.campaigns if campaign.status == "active")

    def gates_of(self, campaign_id: str, overrides: Mapping[str, Any] | None = None) -> GateSettings:
        """Return one campaign's thresholds: the model's calibration, `leads.gates`, its own, then `overrides`.

        `missing_policy` is merged gate by gate.
        """
        given = _merged(self.leads.gates, self.campaign(campaign_id).gates, overrides or {})
        profile = "reference" if self.leads.profile == "reference" else self.leads.embed_model
        return GateSettings.resolve(profile, given, "--set " if overrides else f"campaigns.{campaign_id}.gates.")

    @property
    def lake_root(self) -> str:
        if self.lake_url is None:
            return str(self.home / "lake")
        return self.lake_url if "://" in self.lake_url else str(self.root / self.lake_url)

    @property
    def control_database(self) -> str:
        return self.control_url or f"sqlite:///{self.home / 'control.sqlite'}"

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def videos_start_day(self) -> date:
        """First partition of videos and of what is made from them."""
        return self.videos.start_day or self.start_day

    @property
    def memes_start_day(self) -> date:
        """First partition of memes and of what is made from them."""
        return self.memes.start_day or self.start_day

    @property
    def content_start_day(self) -> date:
        """First partition of content."""
        return self.content.start_day or self.start_day

    @property
    def persona_start_day(self) -> date:
        """First partition of persona."""
        return self.persona.start_day or self.start_day

    @property
    def live_blogs(self) -> Path:
        """Where pages fetched from Tumblr are kept, by blog and kind."""
        return self.home / "raw" / "tumblr" / "live"

    @property
    def live_memes(self) -> Path:
        """Where payloads fetched from channels, and uploads, are kept, by platform and source."""
        return self.home / "raw" / "memes" / "live"

    @property
    def blobs(self) -> Path:
        """Where bytes are kept by their sha256."""
        return self.home / "blobs"

    @property
    def live_videos(self) -> Path:
        """Where files fetched from YouTube are kept, by channel."""
        return self.home / "raw" / "youtube" / "live"

    @property
    def landing(self) -> Path:
        return self.home / "raw" / "reddit" / "landing"

    @property
    def live_archive(self) -> Path:
        return self.home / "raw" / "reddit" / "live"

    @property
    def prices_file(self) -> Path:
        return self.root / "prices.yaml"

    @property
    def exports(self) -> Path:
        return self.home / "exports"

    def storage_options(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Keys for an object store, from the usual AWS_* variables; none for a local lake."""
        if self.lake_url is None or "://" not in self.lake_url:
            return {}
        found = environment.Environment() if env is None else env
        # A file that holds a key is no setting of the store's; what the store's own client reads from files is.
        files = {name + environment.IN_FILE for name in environment.SECRETS}
        return {name: value for name, value in found.items() if name.startswith("AWS_") and name not in files}


class Environment(BaseSettings):
    """Where things are; it wins over the settings file. Addresses with a password in them are read as secrets are."""

    model_config = SettingsConfigDict(env_prefix="MAGPIE_", env_ignore_empty=True, extra="ignore")

    home: Path | None = None
    config: Path | None = None
    lake_url: str | None = None
    execution: str | None = None


def _named(kind: str, name: str, there: Mapping[str, Item]) -> Item:
    if name in there:
        return there[name]
    raise UserError(f"no {kind} {name!r} in {CONFIG_FILE}; {kind}s there: {', '.join(there) or 'none'}")


def _refuse_twice(kind: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{kind} {twice[0]} is used twice")


def load_settings(config: Path | None = None) -> Settings:
    """Read the settings file (`--config`, else MAGPIE_CONFIG, else ./magpie.yaml) and the environment.

    Raises:
        UserError: one line per wrong setting, each with the key, the value and what is allowed.
    """
    told = Environment()
    path = (config or told.config or Path(CONFIG_FILE)).absolute()
    raw = _read_yaml(path)
    root = path.parent
    home = told.home or raw.get("home", DEFAULT_HOME)
    placed = {"root": root, "config_file": path, "home": root / home if isinstance(home, str | Path) else home}
    misplaced = sorted(raw.keys() & placed.keys() - {"home"})
    if misplaced:
        raise UserError(f"{path.name}: {misplaced[0]} is not a setting; it follows from where the file is")
    given = {**raw, **placed}
    if told.lake_url:
        given["lake_url"] = told.lake_url
    if told.execution:
        given["execution"] = told.execution
    control_url = environment.Environment().get("MAGPIE_CONTROL_URL")
    if control_url:
        given["control_url"] = control_url
    try:
        return Settings.model_validate(given)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from None
    except ValidationError as error:
        lines = [_one_line(path.name, raw, problem) for problem in _innermost(error.errors())]
        raise UserError("; ".join(lines)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise UserError(
            f"cannot read the settings file {path}: {error.strerror}; name another with --config or MAGPIE_CONFIG"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"the settings file {path} is not UTF-8; save it as UTF-8") from None
    try:
        raw = read_yaml(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise UserError(f"{path.name} is not valid YAML: {_yaml_problem(error)}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path.name} must hold keys such as start_day and campaigns, but holds {type(raw).__name__}")
    return raw


def _yaml_problem(error: Exception) -> str:
    """What is wrong and in which line, without quoting the line, which may hold an address with a password."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers of gate settings win; `missing_policy` is merged gate by gate."""
    merged = {name: value for layer in layers for name, value in layer.items()}
    policies = [layer["missing_policy"] for layer in layers if "missing_policy" in layer]
    if policies and all(isinstance(policy, dict) for policy in policies):
        merged["missing_policy"] = {reason: policy[reason] for policy in policies for reason in policy}
    return merged


def _innermost(problems: list[Any]) -> list[Any]:
    """Leave out what only follows from a problem further in: a list that is empty because its items are wrong."""
    places = [problem["loc"] for problem in problems]
    return [p for p in problems if not any(len(o) > len(p["loc"]) and o[: len(p["loc"])] == p["loc"] for o in places)]


def _one_line(name: str, raw: Mapping[str, Any], problem: Any) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    allowed = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name}: {key} is not a setting; remove it or correct its spelling"
    if problem["type"] == "missing":
        return f"{name}: {key} is missing"
    shown = repr(problem["input"])
    if isinstance(problem["input"], dict | list | tuple) or not key or len(shown) > 80:
        return f"{name}: {key + ': ' if key else ''}{allowed}"
    return f"{name}: {key} = {shown}: {allowed}"
