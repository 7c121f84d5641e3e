"""Prices: which there are, what a call costs, and that no call costs more than its ceiling."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.errors import UserError
from magpie.llm.models import Models
from magpie.llm.prices import (
    TOKENS_PER_IMAGE,
    TOKENS_PER_IMAGE_MADE,
    TOKENS_PER_MESSAGE,
    Prices,
    Rates,
    Tier,
)
from magpie.llm.reply import Usage

DAY = date(2026, 11, 21)
USD = 1_000_000_000


def tier(above: int, input: str, output: str, cached: str | None = None, cache_write: str | None = None) -> Tier:
    plain = Decimal(input)
    read = Decimal(cached) if cached else plain
    return Tier(above, plain, read, Decimal(cache_write) if cache_write else plain, Decimal(output))


def flat(input: str, output: str, **more: str) -> Rates:
    return Rates((tier(0, input, output, **more),), "test")


TIERED = Rates((tier(0, ".10", ".50"), tier(100_000, ".50", "2.50")), "test")


@pytest.mark.parametrize(
    ("rates", "usage", "nano"),
    [
        (flat(".15", ".60"), Usage(input_tokens=1200, output_tokens=300), 360_000),
        (flat("2", "8"), Usage(input_tokens=2500, output_tokens=1800), 19_400_000),
        (TIERED, Usage(input_tokens=100_000, output_tokens=2000), 11_000_000),
        (TIERED, Usage(input_tokens=120_000, output_tokens=2000), 65_000_000),
        (TIERED, Usage(input_tokens=100_001, output_tokens=0), 50_000_500),
        (flat(".15", ".60"), Usage(), 0),
    ],
)
def test_a_price_tier_is_chosen_by_the_prompt_and_holds_for_the_whole_call(
    rates: Rates, usage: Usage, nano: int
) -> None:
    assert rates.cost(usage) == nano


def test_the_ceiling_takes_bytes_for_tokens_and_all_the_output_allowed() -> None:
    assert flat(".15", ".60").ceiling(6000, 0, 0, 2000) == 2_100_000


def test_the_ceiling_counts_messages_images_and_the_tier_they_may_reach() -> None:
    prompt = 1000 + 2 * TOKENS_PER_MESSAGE + 2 * TOKENS_PER_IMAGE
    assert prompt > 100_000
    assert TIERED.ceiling(1000, 2, 2, 100) == prompt * 500 + 100 * 2500
    assert TIERED.ceiling(100_000, 0, 0, 0) == 100_000 * 100
    assert TIERED.ceiling(100_001, 0, 0, 0) == 100_001 * 500


def test_cached_and_written_tokens_have_their_own_rates_and_are_part_of_the_input() -> None:
    rates = flat("1", "5", cached=".1", cache_write="1.25")
    usage = Usage(input_tokens=1000, cached_tokens=600, cache_write_tokens=300, output_tokens=10)
    assert rates.cost(usage) == 100 * 1000 + 600 * 100 + 300 * 1250 + 10 * 5000


def test_writing_to_a_cache_is_reserved_where_it_is_dearer_than_reading_plainly() -> None:
    assert flat("1", "5", cache_write="1.25").ceiling(1000, 0, 0, 0) == 1000 * 1250
    assert flat("1", "5", cached="2").ceiling(1000, 0, 0, 0) == 1000 * 2000


def test_reasoning_is_part_of_the_output_and_not_paid_twice() -> None:
    usage = Usage(input_tokens=10, output_tokens=100, reasoning_tokens=90)
    assert flat("1", "5").cost(usage) == 10 * 1000 + 100 * 5000


def test_parts_of_a_nano_dollar_are_rounded_up_once() -> None:
    rates = flat("0.0001", "0.0001")
    assert rates.cost(Usage(input_tokens=1, output_tokens=1)) == 1
    assert rates.cost(Usage(input_tokens=6, output_tokens=5)) == 2


def test_a_provider_that_miscounts_earns_us_nothing() -> None:
    rates = flat("1", "5")
    assert rates.cost(Usage(input_tokens=-5, output_tokens=-7)) == 0
    assert rates.cost(Usage(input_tokens=10, cached_tokens=30, output_tokens=-7)) == 30 * 1000


money = st.decimals(0, 100, places=4)


@st.composite
def some_rates(draw: st.DrawFn) -> Rates:
    starts = [0, *sorted(draw(st.sets(st.integers(1, 400_000), max_size=2)))]
    tiers = tuple(Tier(start, draw(money), draw(money), draw(money), draw(money)) for start in starts)
    return Rates(tiers, "test", draw(money), draw(st.sampled_from([0, TOKENS_PER_IMAGE_MADE])))


@settings(deadline=None)
@given(some_rates(), st.integers(0, 300_000), st.integers(0, 4), st.integers(0, 3), st.integers(0, 50_000), st.data())
def test_no_usage_within_the_bounds_of_a_request_costs_more_than_its_ceiling(
    rates: Rates, wire_bytes: int, messages: int, images: int, most: int, data: st.DataObject
) -> None:
    made = data.draw(st.integers(0, 3))
    bound = wire_bytes + messages * TOKENS_PER_MESSAGE + images * TOKENS_PER_IMAGE
    prompt = data.draw(st.integers(0, bound))
    cached = data.draw(st.integers(0, prompt))
    output = data.draw(st.integers(0, most or made * rates.image_tokens))
    written = data.draw(st.integers(0, prompt - cached))
    usage = Usage(prompt, cached, written, output, data.draw(st.integers(0, output)), data.draw(st.integers(0, made)))
    assert rates.cost(usage) <= rates.ceiling(wire_bytes, messages, images, most, made)


@settings(deadline=None)
@given(some_rates(), st.integers(0, 300_000), st.integers(0, 5000), st.integers(0, 5000))
def test_a_longer_request_never_has_a_lower_ceiling(rates: Rates, wire_bytes: int, more: int, output: int) -> None:
    assert rates.ceiling(wire_bytes + more, 1, 0, output) >= rates.ceiling(wire_bytes, 1, 0, output)
    assert rates.ceiling(wire_bytes, 1, 0, output + more + 1) >= rates.ceiling(wire_bytes, 1, 0, output + 1)


def test_every_model_that_is_served_has_a_price() -> None:
    models, prices = Models.load(), Prices()
    for alias in models.aliases:
        for model in models.candidates(alias):
            assert prices.rates(model.provider, model.model_id, DAY) is not None


@pytest.mark.parametrize(
    ("provider", "model_id"),
    [
        ("openai", "gpt-99"),
        ("acme", "gpt-6-luna"),
        ("runware", "some-model"),
        ("openrouter", "nobody/nothing"),
        ("openai", "tts-1"),  # priced by characters
        ("openai", "whisper-1"),  # priced by the hour
        ("perplexity", "sonar"),  # by the request, beside its tokens
        ("openrouter", "cloudflare/clef"),  # its output has no price
        ("openrouter", "stealth/crouton-alpha"),  # in the table, without any price
        ("openai", "my-moderation"),
    ],
)
def test_what_nobody_has_priced_has_no_price_rather_than_none_to_pay(provider: str, model_id: str) -> None:
    assert Prices().rates(provider, model_id, DAY) is None


@pytest.mark.parametrize(
    ("provider", "model_id"),
    [
        ("local", "whatever"),
        ("offline", "rules"),
        ("openrouter", "nobody/nothing:free"),
        ("openai", "omni-moderation-latest"),
    ],
)
def test_what_its_provider_gives_away_costs_nothing(provider: str, model_id: str) -> None:
    rates = Prices().rates(provider, model_id, DAY)
    assert rates is not None
    assert rates.ceiling(10_000, 3, 2, 5000) == rates.cost(Usage(input_tokens=9, output_tokens=9)) == 0
    assert rates.version.startswith(f"{provider}, free ")


def test_the_table_knows_tiers_caches_and_when_a_price_changed() -> None:
    luna = Prices().rates("openai", "gpt-5.6-luna", DAY)
    assert luna is not None
    assert luna.tiers == (tier(0, ".2", "1.2", ".02", ".25"), tier(272_000, ".4", "1.8", ".04", ".5"))
    before = Prices().rates("openai", "gpt-5.6-luna", date(2026, 7, 29))
    assert before is not None
    assert before.tiers[0] == tier(0, "1", "6", ".1", "1.25")
    assert before.version != luna.version
    assert luna.version.startswith("genai-prices ")


def test_a_price_that_does_not_change_keeps_its_version_from_day_to_day() -> None:
    one, other = (Prices().rates("openai", "gpt-6-luna", date(2026, 11, day)) for day in (20, 21))
    assert one is not None
    assert other is not None
    assert one.version == other.version


def test_a_dated_name_is_priced_as_its_model() -> None:
    prices = Prices()
    assert prices.rates("openai", "gpt-5-mini-2025-08-07", DAY) == prices.rates("openai", "gpt-5-mini", DAY)


def test_an_embedding_is_priced_by_its_input_alone() -> None:
    rates = Prices().rates("openai", "text-embedding-3-small", DAY)
    assert rates is not None
    assert rates.cost(Usage(input_tokens=1_000_000)) == 20_000_000


def test_an_image_is_reserved_at_the_most_tokens_it_can_take_unless_a_bound_is_given() -> None:
    rates = Prices().rates("openai", "gpt-image-2", DAY)
    assert rates is not None
    assert rates.ceiling(0, 0, 0, 0) == TOKENS_PER_IMAGE_MADE * 30_000
    assert rates.ceiling(0, 0, 0, 0, images_made=2) == 2 * TOKENS_PER_IMAGE_MADE * 30_000
    assert rates.ceiling(0, 0, 0, 1000) == 1000 * 30_000
    # The largest square at high quality, the dearest that this model makes.
    assert TOKENS_PER_IMAGE_MADE > 96 * 96 * (2_000_000 + 8_294_400) / 4_000_000


def listed(tmp_path: Path, text: str) -> Prices:
    path = tmp_path / "prices.yaml"
    path.write_text(text, "utf-8")
    return Prices(path)


def test_the_user_s_price_list_wins_over_the_table_and_over_free(tmp_path: Path) -> None:
    prices = listed(
        tmp_path,
        """
        openai/gpt-6-luna:
          input: 0.15
          cached: 0.01
          output: 0.60
          above:
            - {tokens: 100000, input: 0.3, output: 1}
        local/qwen: {input: 1, output: 2}
        runware/flux: {image: 0.0038}
        openai/own-image: {input: 5, output: 30, image: 0.01}
        """,
    )
    luna = prices.rates("openai", "gpt-6-luna", DAY)
    assert luna is not None
    assert luna.tiers == (tier(0, ".15", ".6", ".01"), tier(100_000, ".3", "1"))
    assert luna.version.startswith("prices.yaml ")
    qwen, flux, own = (
        prices.rates(*name, DAY) for name in (("local", "qwen"), ("runware", "flux"), ("openai", "own-image"))
    )
    assert qwen is not None
    assert qwen.cost(Usage(input_tokens=1000)) == 1_000_000
    assert flux is not None
    assert flux.cost(Usage(images=3)) == 11_400_000
    assert flux.ceiling(5000, 1, 0, 0, images_made=3) == 11_400_000
    assert own is not None
    assert own.ceiling(0, 0, 0, 0) == TOKENS_PER_IMAGE_MADE * 30_000 + 10_000_000
    assert prices.rates("openai", "gpt-6.1-sol", DAY) == Prices().rates("openai", "gpt-6.1-sol", DAY)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_or_missing_price_list_changes_nothing(tmp_path: Path, text: str) -> None:
    expected = Prices().rates("openai", "gpt-6-luna", DAY)
    assert listed(tmp_path, text).rates("openai", "gpt-6-luna", DAY) == expected
    assert Prices(tmp_path / "absent.yaml").rates("openai", "gpt-6-luna", DAY) == expected


ENTRY = "openai/x: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpt: {input: 1, output: 2}", "prices.yaml: gpt is no model; write it as provider/model, "),
        (ENTRY + "{input: -1, output: 2}", "prices.yaml: openai/x: input: Input should be greater than"),
        (ENTRY + "{input: .nan, output: 2}", "prices.yaml: openai/x: input: Input should be a finite number"),
        (ENTRY + "{input: 1}", "prices.yaml: openai/x: needs input and output"),
        (ENTRY + "{image: 1, input: 1}", "prices.yaml: openai/x: needs both input and output, or neither"),
        (ENTRY + "{inptu: 1, output: 1}", "prices.yaml: openai/x: inptu: Extra inputs are not permitted"),
        (ENTRY + "{input: cheap, output: 1}", "prices.yaml: openai/x: input: Input should be a valid decimal"),
        (
            ENTRY + "{input: 0.00000000001, output: 1}",
            "prices.yaml: openai/x: input: Decimal input should have no more",
        ),
        (
            ENTRY
            + "{input: 1, output: 1, above: [{tokens: 5, input: 1, output: 1}, {tokens: 5, input: 1, output: 1}]}",
            "prices.yaml: openai/x: the tiers under above must have growing numbers",
        ),
        (
            ENTRY + "{input: 1, output: 1, above: [{tokens: 5}]}",
            "prices.yaml: openai/x: above[0]: input: Field required",
        ),
        ("[1]", "prices.yaml: Input should be a valid dictionary"),
        ("a: [1\nb: 2", "prices.yaml is not valid YAML: line 2: "),
        ("a: 2026-13-01", "prices.yaml is not valid YAML: month must be in 1..12"),
    ],
)
def test_a_wrong_price_list_is_one_line_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        listed(tmp_path, text)
    assert str(caught.value).startswith(message)


def test_a_price_list_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the price list"):
        Prices(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"# \xff")
    with pytest.raises(UserError, match="is not UTF-8"):
        Prices(tmp_path / "latin.yaml")


def test_rates_with_one_version_are_the_same_and_others_have_another() -> None:
    one: dict[str, Any] = {"cached": ".1", "cache_write": "1.25"}
    assert flat("1", "5", **one).version == flat("1.00", "5.0", **one).version
    different = [flat("1", "5"), flat("1", "5.1", **one), Rates(flat("1", "5", **one).tiers, "test", Decimal(1))]
    assert len({rates.version for rates in (flat("1", "5", **one), *different)}) == 4
