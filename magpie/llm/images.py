"""Images through the gateway: each one a call of its own, and an image that was bought is never bought again.

Belongs here: choosing model and size, what of an answer counts as an image, its credits, and images drawn offline.
Does not belong here: which images there are to be and where they are kept (the products), calls (`gateway.py`),
wording (`providers/`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol

import sqlalchemy as sa

from magpie.errors import UserError
from magpie.llm import history, journal
from magpie.llm.credits import DEFAULT_VERSION, IMAGE, Version, credits_of
from magpie.llm.engine import OFFLINE, Engine
from magpie.llm.gateway import Answered, Gateway
from magpie.llm.image_sizes import Size, choose, written
from magpie.llm.journal import Verdict
from magpie.llm.models import Model, Models
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import INVALID_S, INVALID_TRIES, TRY_NEXT, Refused, after
from magpie.llm.request import Ask, Request, canonical
from magpie.llm.store import LedgerUnavailable
from magpie.media.drawing import MIMES, Format, drawn
from magpie.media.opening import Unusable, opened

ALIAS = "image"
# Of the model that draws here, as rows name it.
DRAWING = "offline-drawing"
LEAST_PROMPT_CHARS = 2
FILE_ENDINGS = {"image/webp": "webp", "image/png": "png", "image/jpeg": "jpg"}


@dataclass(frozen=True)
class Order:
    """One image that is wanted.

    Attributes:
        size: in pixels; a model that does not make it is asked for the nearest it makes.
        negative: what is not to be seen, for models that take it.
        seed: for models that take one.
        title: drawn on offline images, and sent to nobody.
        row_ref, partition: the row it is for, as its table knows it.
        prompt_version: of the template the prompt came from.
    """

    prompt: str
    size: Size
    negative: str = ""
    form: Format = "webp"
    seed: int | None = None
    title: str = ""
    row_ref: str | None = None
    partition: str | None = None
    prompt_version: str | None = None

    @property
    def input_hash(self) -> str:
        """Of what the image depends on, whichever model makes it."""
        facts = [self.prompt, list(self.size), self.negative, self.form, self.seed]
        return hashlib.sha256(canonical(facts)).hexdigest()


@dataclass(frozen=True)
class Made:
    """An image.

    Attributes:
        width, height: of the picture that came.
        size_asked: what was asked of the model, which is not always what was wanted.
        seed: None if the model takes none.
        cost_nano: of this call; 0 for one from the journal, whose price is in `saved_nano`.
        credits: charged for it; 0 where nothing was bought.
    """

    content: bytes
    mime: str
    width: int
    height: int
    size_asked: Size
    seed: int | None
    provider: str
    model: str
    call_id: str | None = None
    hit: bool = False
    cost_nano: int = 0
    saved_nano: int = 0
    credits: int = 0
    credits_version: str | None = None
    dropped_params: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def ending(self) -> str:
        """Of its file's name."""
        return FILE_ENDINGS[self.mime]


class ImageMaker(Protocol):
    """Who makes images; several threads may ask at once."""

    def make(self, order: Order) -> Made | Refused:
        """Make one image; never raises for what a provider, the network or the books do."""

    def bill(self, order: Order) -> history.Past:
        """What the books have of all calls for an order's row so far.

        Raises:
            LedgerUnavailable: they are away.
        """


class OfflineImages:
    """Draws instead of asking a model; free."""

    def make(self, order: Order) -> Made | Refused:
        content = drawn(order.prompt, order.size, order.form, order.title)
        return Made(content, MIMES[order.form], *order.size, order.size, order.seed, OFFLINE, DRAWING)

    def bill(self, order: Order) -> history.Past:
        return history.NOTHING


@dataclass(frozen=True)
class _Wording:
    """An order as one model gets it."""

    model: Model
    size: Size
    request: Request


class Images:
    """Asks models for images.

    Args:
        models: of kind image, the preferred one first; the next is asked where an account cannot serve.
        purpose: recorded with every call, with the row of the order.
        quality: in the models' own words; empty: as they choose.
        retry_failed: ask again about rows that failed for want of an image that can be read.
    """

    def __init__(
        self,
        gateway: Gateway,
        models: Sequence[Model],
        purpose: Purpose,
        *,
        quality: str = "",
        credits_version: Version = DEFAULT_VERSION,
        retry_failed: bool = False,
    ) -> None:
        if not models or any(model.kind != "image" for model in models):
            raise ValueError("images are made by models of kind image, and by one at least")
        self._gateway, self._models, self._purpose = gateway, tuple(models), purpose
        self._quality, self._version, self._retry_failed = quality, credits_version, retry_failed

    def make(self, order: Order) -> Made | Refused:
        try:
            return self._made(order)
        except LedgerUnavailable as error:
            return self._gateway.unavailable(error)

    def bill(self, order: Order) -> history.Past:
        purpose = self._for(order)
        found = self._gateway.store.read(lambda c: history.past(c, [purpose]))
        return found.get(history.key_of(purpose), history.NOTHING)

    def _made(self, order: Order) -> Made | Refused:
        tries = 0 if self._retry_failed else self.bill(order).invalid
        if tries >= INVALID_TRIES:
            return Refused("invalid_output", f"{tries} times no image that can be read")
        worded = [self._worded(order, model) for model in self._models]
        ready = [one for one in worded if isinstance(one, _Wording)]
        # What any of the models has made is as good as what the first would make now.
        entries = self._gateway.find([one.request for one in ready])
        there = next((one for one in ready if one.request.key in entries), None)
        refusals: list[Refused] = []
        for one in [there] if there else worded:
            outcome = self._asked(order, one) if isinstance(one, _Wording) else one
            if isinstance(outcome, Made) or outcome.reason not in TRY_NEXT:
                return outcome
            refusals.append(outcome)
        return refusals[0]

    def _worded(self, order: Order, model: Model) -> _Wording | Refused:
        """What a model is asked, or why it cannot be; nothing is spent on what it would refuse."""
        longest = model.most_prompt_chars
        chars = len(order.prompt)
        if chars < LEAST_PROMPT_CHARS or (longest is not None and chars > longest):
            detail = f"{model.name} takes prompts of {LEAST_PROMPT_CHARS} to {longest or 'any number of'} characters"
            bound = longest if longest is not None and chars > longest else LEAST_PROMPT_CHARS
            return Refused("invalid_request", detail, None, str(chars), str(bound))
        size = choose(order.size, model.sizes)
        if size is None:
            detail = f"{model.name} has no sizes; list them under llm.models in magpie.yaml"
            return Refused("invalid_request", detail, None, written(order.size), "no size")
        ask = Ask("image", order.prompt, size=size, negative=order.negative, image_format=order.form)
        request = self._gateway.request(replace(ask, quality=self._quality, seed=order.seed), model)
        return request if isinstance(request, Refused) else _Wording(model, size, request)

    def _asked(self, order: Order, worded: _Wording) -> Made | Refused:
        answer = self._gateway.ask(worded.request, self._for(order))
        if isinstance(answer, Refused):
            return answer
        made = self._read(order, worded, answer)
        if isinstance(made, Refused):
            self._judge(Verdict(answer.call_id, "closed", error_class="invalid_output"))
        elif answer.state != "accepted":
            # Credits go with the call, so whoever finds an answer that nobody has judged charges them.
            usage = answer.reply.usage
            tokens = usage.input_tokens + usage.output_tokens if usage else 0
            credits = credits_of(IMAGE, tokens, images=1, version=self._version, model=worded.model)
            verdict = Verdict(answer.call_id, "accepted", credits=credits, credits_version=self._version)
            self._judge(verdict)
            made = replace(made, credits=credits, credits_version=self._version)
        return made

    def _read(self, order: Order, worded: _Wording, answer: Answered) -> Made | Refused:
        blobs, model = answer.reply.blobs, worded.model
        found = opened(blobs[0]) if len(blobs) == 1 else None
        later = after(self._gateway.clock(), INVALID_S[0])
        if found is None:
            return Refused("invalid_output", f"{len(blobs)} images instead of one", later, str(len(blobs)), "1")
        if isinstance(found, Unusable) or found.mime not in FILE_ENDINGS or not found.width or not found.height:
            observed = found.reason if isinstance(found, Unusable) else found.mime
            detail = f"{model.name} sent no picture that can be used: {observed}"
            return Refused("invalid_output", detail, later, observed, ", ".join(FILE_ENDINGS))
        dropped = worded.request.dropped_params
        return Made(
            blobs[0],
            found.mime,
            found.width,
            found.height,
            worded.size,
            None if "seed" in dropped else order.seed,
            model.provider,
            answer.reply.model or model.model_id,
            answer.call_id,
            answer.hit,
            answer.cost_nano,
            answer.saved_nano,
            dropped_params=dropped,
        )

    def _judge(self, verdict: Verdict) -> None:
        def change(connection: sa.Connection) -> None:
            journal.judge(connection, [verdict])

        self._gateway.store.write(change)

    def _for(self, order: Order) -> Purpose:
        return replace(
            self._purpose,
            partition=order.partition,
            row_ref=order.row_ref,
            input_hash=order.input_hash,
            prompt_version=order.prompt_version,
        )


def image_maker(
    engine: Engine, provider: str, purpose: Purpose, *, quality: str = "", retry_failed: bool = False
) -> ImageMaker:
    """Who makes images: the models of a provider, or nobody but this program.

    Args:
        provider: `offline`, or whose models are asked; with `llm.provider: offline` nobody's are.

    Raises:
        UserError: no model of this provider makes images.
    """
    if OFFLINE in (provider, engine.settings.provider):
        return OfflineImages()
    models = image_models(engine.models, provider, engine.gateway.clock().date())
    asked = replace(purpose, model_alias=purpose.model_alias or ALIAS)
    return Images(engine.gateway, models, asked, quality=quality, retry_failed=retry_failed)


def image_models(models: Models, provider: str, today: date) -> tuple[Model, ...]:
    """The models of a provider that make images: those that the alias names, else the registry's first.

    Raises:
        UserError: there are none.
    """
    mine = tuple(model for model in models.candidates(ALIAS, today) if model.provider == provider)
    if mine:
        return mine
    known = next((row for row in models.rows if row.provider == provider and row.kind == "image"), None)
    if known is not None:
        return models.candidates(known.name, today)
    raise UserError(f"no model of {provider} makes images; add one under llm.models, or set another image_provider")
