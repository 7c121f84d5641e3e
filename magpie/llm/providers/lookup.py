"""Which provider a name stands for, and what it takes from the environment.

Belongs here: names, base URLs, names of keys. Does not belong here: any API (the modules beside it), which models a
provider serves (`../models.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from magpie.errors import UserError
from magpie.llm.providers.base import Provider

LOCAL_PORT = 11434  # of Ollama, the server most people have


@dataclass(frozen=True)
class _Known:
    base_url: str
    key_name: str


KNOWN: dict[str, _Known] = {
    "openai": _Known("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": _Known("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "openrouter": _Known("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "local": _Known(f"http://127.0.0.1:{LOCAL_PORT}/v1", "MAGPIE_LOCAL_API_KEY"),
    "runware": _Known("https://api.runware.ai/v1", "RUNWARE_API_KEY"),
}
# Those that make images and nothing else, and those that answer with text.
IMAGE_PROVIDERS = ("runware",)
PROVIDERS: tuple[str, ...] = tuple(name for name in KNOWN if name not in IMAGE_PROVIDERS)


def build(name: str, *, base_url: str | None = None, env: Mapping[str, str], paid_openrouter: bool = False) -> Provider:
    """Return a provider; no SDK is imported and no connection is made before its first call.

    Args:
        base_url: None: the official one, or Ollama's on this machine for `local`.
        env: holds keys and proxies; nothing else of it counts.
        paid_openrouter: OpenRouter's paid models may be asked.

    Raises:
        UserError: no provider of this name; the URL, the key or the proxy cannot be one.
    """
    known = KNOWN.get(name)
    if known is None:
        raise UserError(f"no provider {name!r}; there are {', '.join(KNOWN)}")
    from magpie.llm.providers.transport import proxy_for

    url = _checked_url(name, base_url) if base_url else known.base_url
    key, proxy = _key(known.key_name, env), proxy_for(url, env)
    if name == "anthropic":
        from magpie.llm.providers.anthropic_api import AnthropicApi

        return AnthropicApi(name, url, key, proxy=proxy)
    if name == "openrouter":
        from magpie.llm.providers.openrouter import OpenRouter

        return OpenRouter(url, key, paid=paid_openrouter, proxy=proxy)
    if name == "runware":
        from magpie.llm.providers.runware import Runware

        return Runware(url, key, proxy=proxy)
    from magpie.llm.providers.openai_api import OpenAIApi

    if name == "openai":
        return OpenAIApi(name, url, key, bound_name="max_completion_tokens", proxy=proxy)
    return OpenAIApi(name, url, key, needs_key=False, proxy=proxy)


def _key(variable: str, env: Mapping[str, str]) -> str:
    key = env.get(variable, "").strip()
    # A header takes no more than this, and no provider's key holds more.
    if not all("!" <= char <= "~" for char in key):
        raise UserError(f"{variable} holds characters that no key has; copy it anew, without spaces or quotes")
    return key


def _checked_url(name: str, base_url: str) -> str:
    parts = urlsplit(base_url.strip())
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment or " " in parts.geturl():
        raise UserError(f"the base URL of {name} is none; write it as https://host/path, without a key in it")
    return parts.geturl().rstrip("/")
