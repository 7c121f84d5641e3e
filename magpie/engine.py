"""An engine under the settings.

Belongs here: which settings become which limits, providers and models. Does not belong here: what those do.

Building one opens no database and imports no SDK; both happen on the first call.
"""

import time
from collections.abc import Callable, Iterable, Mapping

from magpie.content.image_prompts import TEMPLATE_OF
from magpie.control import Control
from magpie.environment import Environment
from magpie.errors import UserError
from magpie.functions import FUNCTIONS
from magpie.llm.embedding import GatewayEmbedder
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.gateway import Clock, Gateway, GatewaySettings, Observer, Sleep
from magpie.llm.journal import bodies_of
from magpie.llm.models import FREE_ALIAS, Models
from magpie.llm.money import to_nano
from magpie.llm.prices import Prices
from magpie.llm.providers.base import Provider
from magpie.llm.providers.lookup import KNOWN, build
from magpie.llm.purpose import ALL, FREE_TIER, Limit, Limits, Purpose, share
from magpie.llm.store import Store
from magpie.settings import CONFIG_FILE, Settings
from magpie.text.embedder import AnyEmbedder
from magpie.text.embedders import HOSTED_EMBEDDERS, embedder_named
from magpie.utc import utc_now

SECONDS_PER_MINUTE = 60
# What follows a product's name in the setting of its cap.
CAP_OF_PRODUCT = "_daily_cap_usd"


def engine_of(
    settings: Settings,
    control: Control,
    *,
    env: Mapping[str, str] | None = None,
    clock: Clock = utc_now,
    sleep: Sleep = time.sleep,
    observe: Observer = lambda step, call_id: None,
    retry_failed: bool = False,
) -> Engine:
    """Return the engine that these settings describe.

    Args:
        env: where keys are; default the process's environment.
        retry_failed: ask again about rows that failed for want of a valid answer.

    Raises:
        UserError: a model, alias, price or address in the settings is wrong.
    """
    store = Store(control)
    gateway = Gateway(
        store,
        bodies_of(store, settings.home),
        providers_of(settings, Environment() if env is None else env),
        Prices(settings.prices_file if settings.prices_file.exists() else None),
        limits_of(settings),
        GatewaySettings(settings.llm.timeout_seconds, allow_double_payment=settings.llm.allow_double_payment),
        clock=clock,
        sleep=sleep,
        observe=observe,
    )
    models = models_of(settings)
    _check_choices(settings, models)
    how = EngineSettings(settings.llm.provider, settings.llm.workers, retry_failed)
    return Engine(FUNCTIONS, models, gateway, how)


def _check_choices(settings: Settings, models: Models) -> None:
    """Refuse functions and models in the settings that do not exist, before anything is asked."""
    tiers = {"llm": settings.llm.functions} | {f"campaigns.{c.id}": c.functions for c in settings.campaigns}
    tiers |= {f"channels.{channel.channel_id}": channel.functions for channel in settings.channels}
    # An image is made of a template, which is no question; it is named among them all the same.
    tiers |= {
        f"sites.{site.id}": {name: choice for name, choice in site.functions.items() if name != TEMPLATE_OF}
        for site in settings.sites
    }
    tiers |= {f"blogs.{blog.name}": blog.functions for blog in settings.blogs}
    for version in settings.videos.analysis_versions:
        if version.model is not None:
            models.candidates(version.model)
    for tier, functions in tiers.items():
        for name, choice in functions.items():
            if name not in FUNCTIONS.names():
                known = ", ".join(FUNCTIONS.names())
                raise UserError(f"{CONFIG_FILE}: {tier}.functions.{name} is no function; there are {known}")
            if choice.model is not None:
                models.candidates(choice.model)
                if FUNCTIONS[name].alias == FREE_ALIAS:
                    models.check_free(f"{CONFIG_FILE}: {tier}.functions.{name}", choice.model)


def models_of(settings: Settings) -> Models:
    """The registry of models with the settings' own rows and aliases."""
    return Models.load({"models": settings.llm.models, "aliases": settings.llm.aliases})


def providers_of(settings: Settings, env: Mapping[str, str]) -> dict[str, Provider]:
    """Every provider, with a key or without."""
    urls, paid = settings.llm.base_urls, settings.llm.allow_paid_openrouter
    return {
        name: build(name, base_url=urls.get(name), env=env, paid_openrouter=paid)  # type: ignore[call-overload]
        for name in KNOWN
    }


def limits_of(settings: Settings) -> Limits:
    """Caps, quotas and gaps by scope of the ledger."""
    caps, llm = settings.caps, settings.llm
    bounds: dict[str, list[Limit]] = {ALL: [Limit("D", to_nano(caps.global_daily_cap_usd))]}

    def add(scope: str, limits: Iterable[Limit]) -> None:
        bounds.setdefault(scope, []).extend(limits)

    for name in type(caps).model_fields:
        product, cap, _ = name.partition(CAP_OF_PRODUCT)
        if cap and product != "global":
            add(f"product:{product}", [Limit("D", to_nano(getattr(caps, name)))])
    for campaign in settings.campaigns:
        add(f"campaign:{campaign.id}", [Limit("D", to_nano(campaign.llm_daily_cap_usd))])
    for scope, usd in caps.daily_usd.items():
        add(scope, [Limit("D", to_nano(usd))])
    for scope, usd in caps.monthly_usd.items():
        add(scope, [Limit("M", to_nano(usd))])
    if caps.run_usd is not None:
        add(ALL, [Limit("R", to_nano(caps.run_usd))])
    add(FREE_TIER, [Limit("D", calls=llm.openrouter_free_daily)])
    for product, calls in llm.quota_shares.items():
        add(share(FREE_TIER, product), [Limit("D", calls=calls)])
    gap = SECONDS_PER_MINUTE / llm.openrouter_free_per_minute
    gaps = {FREE_TIER: gap, "product:videos": settings.videos.llm_min_interval_s}
    gaps["product:memes"] = settings.memes.describe_spacing_s
    return Limits({scope: tuple(found) for scope, found in bounds.items()}, {k: s for k, s in gaps.items() if s > 0})


def embedder_of(name: str, engine: Callable[[], Engine], purpose: Purpose) -> AnyEmbedder:
    """An embedder by name; one of a provider's asks through the gateway, for that purpose."""
    if name in HOSTED_EMBEDDERS:
        made = engine()
        return GatewayEmbedder(made.gateway, made.models.candidates(HOSTED_EMBEDDERS[name])[0], purpose)
    return embedder_named(name)
