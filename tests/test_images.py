"""Images through the gateway: bought once, bounded by the caps, one by one; and images drawn offline."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from magpie.errors import UserError
from magpie.llm.engine import Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.image_sizes import Size, SizeRule, choose, parsed, written
from magpie.llm.images import Images, Made, OfflineImages, Order, image_maker, image_models
from magpie.llm.models import Model, Models
from magpie.llm.purpose import Limit, Limits, Purpose
from magpie.llm.refusal import Refused
from magpie.llm.spec import Registry
from magpie.media.drawing import drawn
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock, assert_books_balance

PURPOSE = Purpose("content", "make_image", "article_images", scopes=("site:a",))
ORDER = Order("a quiet desk with a ledger on it", (1024, 1024), row_ref="x#featured-0", partition="a|2026-11-20")
OLD_SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
LEGACY = ((1024, 1024), (1792, 1024), (1024, 1792))
RULE = SizeRule(16, 16, 3840, 3, 655_360, 8_294_400)
TODAY = date(2026, 11, 21)


@pytest.fixture
def at(url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=5) as made:
        yield made
        assert_books_balance(made.store)


def images(at: Desk, *models: Model, **options: bool) -> Images:
    return Images(at.gateway, models or at.models.candidates("image"), PURPOSE, **options)  # type: ignore[arg-type]


def made(outcome: Made | Refused) -> Made:
    assert isinstance(outcome, Made), outcome
    return outcome


def refused(outcome: Made | Refused) -> Refused:
    assert isinstance(outcome, Refused)
    return outcome


# Sizes


@pytest.mark.parametrize(
    ("sizes", "wanted", "chosen"),
    [
        (LEGACY, (1536, 1024), (1792, 1024)),
        (LEGACY, (1024, 1536), (1024, 1792)),
        (OLD_SIZES, (1200, 630), (1536, 1024)),
        (OLD_SIZES, (800, 600), (1536, 1024)),
        (OLD_SIZES, (1024, 1536), (1024, 1536)),
        (RULE, (1536, 1024), (1536, 1024)),
        (RULE, (1200, 630), (1280, 672)),
        ((), (1024, 1024), None),
    ],
)
def test_the_size_is_the_wanted_one_or_the_nearest_in_shape_then_in_area(
    sizes: tuple[Size, ...], wanted: Size, chosen: Size | None
) -> None:
    assert choose(wanted, sizes) == chosen


def test_of_sizes_equally_far_the_smaller_tuple_is_taken() -> None:
    assert choose((1000, 1000), ((2000, 1000), (1000, 2000))) == (1000, 2000)


SIDES = st.integers(1, 4096)


@given(st.tuples(SIDES, SIDES), st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6), st.randoms())
def test_a_choice_is_offered_and_does_not_depend_on_the_order_of_what_is(
    wanted: Size, offered: list[Size], random: object
) -> None:
    chosen = choose(wanted, tuple(offered))
    assert chosen in offered
    assert choose(wanted, tuple(reversed(offered))) == chosen
    assert parsed(written(chosen)) == chosen


def test_every_size_that_a_rule_leads_to_keeps_it() -> None:
    rule = SizeRule(64, 512, 2048, least_pixels=3_686_400)
    chosen = choose((1536, 1024), rule)
    assert chosen is not None
    assert rule.holds(chosen)
    assert chosen[0] * chosen[1] >= 3_686_400


def test_the_registry_says_which_sizes_and_prompts_a_model_takes() -> None:
    models = Models.load()
    assert models.get("openai", "dall-e-2").sizes == ((256, 256), (512, 512), (1024, 1024))
    assert models.get("openai", "dall-e-2").most_prompt_chars == 1000
    assert models.get("openai", "dall-e-3").sizes == LEGACY
    assert models.get("openai", "dall-e-3").most_prompt_chars == 4000
    own = {"provider": "runware", "model_id": "own:1@1", "kind": "image", "sizes": ["512x512"]}
    assert Models.load({"models": [own]}).get("runware", "own:1@1").sizes == ((512, 512),)
    for wrong in (["512"], {"multiple": 64, "least_side": 600, "most_side": 630}):
        with pytest.raises(UserError, match="size"):
            Models.load({"models": [{**own, "sizes": wrong}]})


# Calls


def test_an_image_comes_in_the_size_and_format_that_were_asked_for(at: Desk) -> None:
    image = made(images(at).make(replace(ORDER, size=(1200, 630), seed=7, negative="people")))
    picture = Image.open(io.BytesIO(image.content))
    assert (picture.format, picture.size) == ("WEBP", (1280, 672))
    assert (image.mime, image.size_asked, image.provider) == ("image/webp", (1280, 672), "openai")
    assert image.seed is None, "the model takes none"
    assert image.dropped_params == ("negative_prompt", "seed")
    (sent,) = at.fake.requests
    assert sent.body["size"] == "1280x672"
    assert sent.body["output_format"] == "webp"
    (call,) = at.calls()
    assert (call.images, call.row_ref, call.verdict) == (1, "x#featured-0", "accepted")
    assert 0 < call.cost_nano < call.est_nano
    assert call.dropped_params == "negative_prompt,seed"


def test_the_same_image_is_never_bought_twice_and_charged_once(at: Desk) -> None:
    first = made(images(at).make(ORDER))
    again = made(images(at).make(replace(ORDER, row_ref="x#desktop-0")))
    assert again.content == first.content
    assert (again.hit, again.cost_nano, again.credits) == (True, 0, 0)
    assert again.saved_nano == first.cost_nano
    assert at.fake.attempts == 1
    assert images(at).bill(ORDER).credits == first.credits >= 5
    assert images(at).bill(replace(ORDER, row_ref="x#desktop-0")).cost_nano == 0


def test_an_image_refused_by_policy_costs_nothing_and_is_rejected(at: Desk) -> None:
    no = refused(images(at).make(replace(ORDER, prompt="please refuse-me")))
    assert (no.reason, no.status) == ("refused", "rejected")
    (call,) = at.calls()
    assert (call.state, call.cost_nano, call.credits) == ("voided", 0, 0)


def test_what_the_model_does_not_take_is_refused_before_anything_is_spent(at: Desk) -> None:
    model = at.models.candidates("image")[0]
    sizeless = refused(images(at, replace(model, sizes=())).make(ORDER))
    assert sizeless.reason == "invalid_request"
    assert "sizes" in sizeless.detail
    long = refused(images(at, replace(model, most_prompt_chars=1000)).make(replace(ORDER, prompt="x" * 1001)))
    assert (long.reason, long.observed, long.threshold) == ("invalid_request", "1001", "1000")
    assert refused(images(at).make(replace(ORDER, prompt="x"))).threshold == "2"
    assert at.fake.attempts == 0
    assert at.calls() == []


def test_a_model_without_a_price_is_not_asked(at: Desk) -> None:
    unknown = replace(at.models.candidates("image")[0], model_id="no-such-painter")
    assert refused(images(at, unknown).make(ORDER)).reason == "unpriced_model"
    assert at.fake.attempts == 0


def test_over_the_cap_an_image_waits_and_the_bought_ones_stay(at: Desk) -> None:
    first = made(images(at).make(ORDER))
    estimate = at.calls()[0].est_nano
    at.gateway.limits = Limits({"product:content": (Limit("D", first.cost_nano + estimate - 1),)})
    second = refused(images(at).make(replace(ORDER, prompt=f"{ORDER.prompt}, seen from above", row_ref="y#featured-0")))
    assert (second.reason, second.status) == ("cap_exhausted", "pending")
    assert made(images(at).make(ORDER)).hit


def test_bytes_that_are_no_picture_are_paid_and_asked_for_again_at_most_three_times(at: Desk) -> None:
    at.fake.responder = None
    original = at.gateway.providers["openai"]

    class Spoiling:
        """Sends what the fake sent, with other bytes in it."""

        def __getattr__(self, name: str) -> object:
            return getattr(original, name)

        def read(self, endpoint: str, exchange: object) -> object:
            return replace(original.read(endpoint, exchange), blobs=(b"<html>not a picture</html>",))  # type: ignore[arg-type]

    at.gateway.providers["openai"] = Spoiling()  # type: ignore[index]
    for attempt in (1, 2, 3):
        assert refused(images(at).make(ORDER)).reason == "invalid_output"
        assert images(at).bill(ORDER).invalid == attempt
    refused(images(at).make(ORDER))
    assert at.fake.attempts == 3, "the fourth time nobody is asked"
    refused(images(at, retry_failed=True).make(ORDER))
    assert at.fake.attempts == 4


def test_an_image_whose_process_died_after_it_came_is_found_and_not_bought_again(at: Desk) -> None:
    class Killed(BaseException):
        pass

    def die(step: str, call_id: str) -> None:
        if step == "journalled":
            raise Killed

    at.gateway._observe = die
    with pytest.raises(Killed):
        images(at).make(ORDER)
    at.gateway._observe = lambda step, call_id: None
    assert at.gateway.sweep().settled == 1
    image = made(images(at).make(ORDER))
    assert image.hit
    assert image.credits >= 5, "charged by who found it, as nobody had been"
    assert at.fake.attempts == 1


def test_where_an_account_cannot_serve_the_next_model_is_asked(at: Desk) -> None:
    model = at.models.candidates("image")[0]
    other = replace(model, model_id="gpt-image-1.5")
    at.fake.misbehave("429", model=model.model_id, times=None)
    assert made(images(at, model, other).make(ORDER)).model == "gpt-image-1.5"
    assert made(images(at, model, other).make(ORDER)).hit


# Who makes them


def engine(at: Desk, provider: str = "auto") -> Engine:
    return Engine(Registry(()), at.models, at.gateway, EngineSettings(provider))


def test_images_are_drawn_here_when_nobody_is_to_be_asked(at: Desk) -> None:
    assert isinstance(image_maker(engine(at), "offline", PURPOSE), OfflineImages)
    assert isinstance(image_maker(engine(at, "offline"), "openai", PURPOSE), OfflineImages)
    image = made(image_maker(engine(at), "offline", PURPOSE).make(replace(ORDER, size=(800, 600), form="png")))
    assert (image.mime, image.width, image.height, image.provider) == ("image/png", 800, 600, "offline")
    assert (image.cost_nano, image.credits) == (0, 0)
    assert at.calls() == []


def test_a_provider_that_is_named_is_asked_and_without_a_key_the_image_waits(at: Desk) -> None:
    made(image_maker(engine(at), "openai", PURPOSE).make(ORDER))
    assert at.calls()[0].model_alias == "image"
    no = refused(image_maker(engine(at), "runware", PURPOSE).make(ORDER))
    assert (no.reason, no.status) == ("provider_auth", "pending")
    assert [model.name for model in image_models(at.models, "runware", TODAY)] == ["runware/runware:101@1"]
    with pytest.raises(UserError, match="no model of anthropic makes images"):
        image_models(at.models, "anthropic", TODAY)


# Drawings


@pytest.mark.parametrize("form", ["webp", "png", "jpeg"])
def test_equal_prompts_are_drawn_alike_byte_for_byte_and_others_differently(form: str) -> None:
    first = drawn("a desk", (320, 200), form, "On desks")  # type: ignore[arg-type]
    assert drawn("a desk", (320, 200), form, "On desks") == first  # type: ignore[arg-type]
    assert drawn("a chair", (320, 200), form, "On desks") != first  # type: ignore[arg-type]
    picture = Image.open(io.BytesIO(first))
    assert (picture.format, picture.size) == (form.upper(), (320, 200))


@given(st.text(max_size=60), st.text(max_size=200), st.integers(64, 200), st.integers(64, 200))
def test_any_prompt_and_any_title_can_be_drawn(prompt: str, title: str, width: int, height: int) -> None:
    assert Image.open(io.BytesIO(drawn(prompt, (width, height), "png", title))).size == (width, height)
