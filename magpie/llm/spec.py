"""Function specs: what is asked of a model, as data.

Belongs here: the shape of a spec, and the registry that names resolve through. Does not belong here: any product's
function (beside its rules, listed in `magpie/functions.py`) and running one (`run.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from magpie.llm.breaker import TRIP, Trip
from magpie.llm.refusal import INVALID_TRIES
from magpie.llm.request import Image

Row = Mapping[str, Any]
Output = TypeVar("Output", bound=BaseModel)

Trust = Literal["trusted", "untrusted"]


# More seldom helps, and each costs as much as the first question.
MAX_REASKS = 2


class InvalidAnswer(Exception):
    """An answer that fits the schema and breaks a rule; the message is shown to the model when it is asked again."""


@dataclass(frozen=True)
class Pace:
    """How patiently a function is asked; what is None has no bound of its own.

    Attributes:
        request_s: time-out of one request; None: the gateway's.
        row_s, batch_s: for all calls about one row, and of one run.
        reserve_s: with less than this left of either, no further call is begun.
        stop_after: so many rows in a row that failed stop the run; the others wait (`batch_stopped`).
        workers: rows in conversation at the same time; None: the engine's.
        reasks: how often a model is asked again about an answer that does not hold.
        tries: turns without an answer that holds, after which the row has failed.
        hand_on: a model that fails on a row, or whose answer does not hold, rests, and the row goes to the next
            candidate at once; without it, passing faults are tried again within the call.
        probe_key: the provider is asked about the key first; one that is refused costs no call.
    """

    request_s: float | None = None
    row_s: float | None = None
    batch_s: float | None = None
    reserve_s: float = 0
    stop_after: int | None = None
    workers: int | None = None
    reasks: int = MAX_REASKS
    tries: int = INVALID_TRIES
    hand_on: bool = False
    probe_key: bool = False


# As functions have it that say nothing else.
PACE = Pace()


@dataclass(frozen=True)
class FunctionSpec(Generic[Output]):
    """One function.

    Attributes:
        name: as the ledger, prompts and settings know it.
        version: raised when rule or schema change in a way that old answers do not satisfy.
        template: the default prompt, with placeholders `{identifier}`.
        output: the answer's shape; strict: an extra field is ignored, a missing one is an error.
        alias: of the model, resolved by the registry of models.
        inputs: the placeholders of the template; untrusted ones are delimited when rendered.
        variables: the value of each input for one row.
        check: holds an answer that fits the schema against its row; returns it, corrected where the rule says
            correct, or raises InvalidAnswer. The last argument says whether this is the last try: then a rule may
            keep a flaw with a flag instead.
        from_text: reads an answer without JSON that fits, where a plain text may be one; None: it is none either.
        offline: the answer without a model: deterministic, free, honest about being no more than rules.
        images: what a vision model sees of one row.
        max_items: the most rows one run takes; None: no bound but the caps.
        credits: the operation it is billed as (`credits.py`).
        aliases: other names at the entry point.
        pace: how patiently it is asked, unless the scope of a run says otherwise.
        trip: when failed runs stop it.
        reasoning_off: models are to answer without thinking first, where they let one say so.
    """

    name: str
    version: int
    display_name: str
    description: str
    template: str
    output: type[Output]
    alias: str
    inputs: Mapping[str, Trust]
    variables: Callable[[Row], Mapping[str, str]]
    check: Callable[[Output, Row, bool], Output]
    offline: Callable[[Row], Output]
    system: str = ""
    from_text: Callable[[str], Output | None] | None = None
    images: Callable[[Row], tuple[Image, ...]] | None = None
    max_output_tokens: int = 4000
    temperature: float | None = 0.7
    max_items: int | None = None
    credits: str = "other"
    aliases: tuple[str, ...] = field(default=())
    pace: Pace = PACE
    trip: Trip = TRIP
    reasoning_off: bool = False


class Registry:
    """Function specs by name and alias.

    Raises:
        ValueError: on construction, a name or alias stands for two functions.
    """

    def __init__(self, specs: Iterable[FunctionSpec[Any]]) -> None:
        self._by_name: dict[str, FunctionSpec[Any]] = {}
        for spec in specs:
            for name in (spec.name, *spec.aliases):
                if name in self._by_name:
                    raise ValueError(f"{name} names two functions: {self._by_name[name].name} and {spec.name}")
                self._by_name[name] = spec

    def __getitem__(self, name: str) -> FunctionSpec[Any]:
        try:
            return self._by_name[name]
        except KeyError:
            raise ValueError(f"no function {name!r}; there are {', '.join(sorted(self.names()))}") from None

    def names(self) -> list[str]:
        """Names, without aliases."""
        return sorted({spec.name for spec in self._by_name.values()})
