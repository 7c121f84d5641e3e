"""`magpie dev ...`: tools for rehearsing what can go wrong.

Belongs here: arguments and printing. Does not belong here: the fake provider itself (`magpie/llm/fake_provider.py`).
"""

import signal
import threading
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from magpie.cli.output import out, plain
from magpie.errors import UserError

HELP = "Rehearse failures: a model provider on this machine that misbehaves as told."
app = typer.Typer(no_args_is_help=True, help=HELP)

SERVED = ("openai", "anthropic", "openrouter", "runware", "local")
EXAMPLE_FAULT = '{"kind": "429", "retry_after": "300"}'
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY")


@app.callback(help=HELP)
def dev() -> None:
    """Make a group of it: a lone command would lose its name."""


@app.command("fake-provider")
def fake_provider(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    latency: Annotated[float, typer.Option(help="Seconds before each answer.", min=0)] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[,name=value]...",
            help="What goes wrong, in order; may be repeated. Names: times (a number or always), after, endpoint, "
            "model, match, retry_after (1, 300, date, ms:1500, daily, none), delay_s. `--list-faults` names the kinds.",
        ),
    ] = None,
    models: Annotated[list[str] | None, typer.Option("--model", help="A known model; without any, all are.")] = None,
    price: Annotated[
        str, typer.Option(metavar="IN/OUT", help="USD per million tokens, to count what would be billed.")
    ] = "0/0",
    free_limit: Annotated[int, typer.Option(help="Free calls a day at OpenRouter's address.", min=0)] = 1000,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="Name the kinds of fault and stop.")] = False,
) -> None:
    """Serve OpenAI's, Anthropic's, OpenRouter's and a local model's API on loopback until Ctrl-C.

    Nothing is paid. Faults come in the order given, each for as many requests as it says; more can be sent later to
    POST /_fake/faults, and GET /_fake/counters tells what arrived.
    """
    from magpie.llm.fake.misbehaviour import KINDS
    from magpie.llm.fake_provider import FakeFault, FakeProvider, per_million

    if list_faults:
        out.print("\n".join(KINDS))
        return
    faults = [FakeFault.parse(text) for text in fault or ()]
    try:
        fake = FakeProvider(
            port=port,
            latency_s=latency,
            models=models or None,
            price=per_million(*_price(price)),
            free_limit=free_limit,
        )
    except OSError as error:
        raise UserError(f"port {port} on 127.0.0.1 is not to be had: {error.strerror}; choose another") from None
    for one in faults:
        fake.faults.add(one)
    stopped = _ending()
    with fake:
        # Not wrapped: the lines are there to be copied.
        told = _how_to_use(fake.url, {name: fake.base_url(name) for name in SERVED}, len(faults))
        out.print(told, soft_wrap=True)
        stopped.wait()
        summary = fake.counters.summary()
    out.print(
        f"\n{summary['attempts']} requests, {summary['answered']} answered, "
        f"{summary['answered_more_than_once']} of them more than once"
    )


def _ending() -> threading.Event:
    """Set by Ctrl-C, or by being ended as a service is; from now on, so that no moment is without its account."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _how_to_use(url: str, base_urls: dict[str, str], faults: int) -> str:
    settings = "\n".join(f"    {name}: {base}" for name, base in base_urls.items())
    keys = " ".join(f"{name}=fake" for name in KEYS)
    return (
        f"Fake provider at {plain(url)}, with {faults} faults waiting; Ctrl-C stops it.\n\n"
        f"In magpie.yaml:\n\nllm:\n  base_urls:\n{plain(settings)}\n\n"
        f"In the environment:\n\nexport {keys}\n\n"
        f"What arrived:   curl {plain(url)}/_fake/counters\n"
        f"Another fault:  curl {plain(url)}/_fake/faults -d '{plain(EXAMPLE_FAULT)}'"
    )


def _price(text: str) -> tuple[Decimal, Decimal]:
    first, slash, second = text.partition("/")
    try:
        told, given = Decimal(first), Decimal(second)
    except InvalidOperation:
        slash = ""
    if not slash or not (told.is_finite() and given.is_finite()) or min(told, given) < 0:
        raise UserError(f"--price {text!r}: write USD per million tokens of input and output, as in 0.15/0.60")
    return told, given
