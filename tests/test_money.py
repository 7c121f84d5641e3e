"""Nano-USD: exact, rounded up once, and never shown as nothing."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.llm.money import per_million, shown, to_nano, to_usd

nanos = st.integers(-(10**18), 10**18)
rates = st.decimals(0, 1_000_000, places=9)


@settings(deadline=None)
@given(nanos)
def test_nano_dollars_survive_the_way_to_dollars_and_back(nano: int) -> None:
    assert to_nano(to_usd(nano)) == nano


@settings(deadline=None)
@given(st.decimals(0, 10**9, places=12))
def test_a_fraction_of_a_nano_dollar_is_booked_as_a_whole_one(usd: Decimal) -> None:
    assert 0 <= to_nano(usd) - Fraction(usd) * 10**9 < 1


@settings(deadline=None)
@given(st.integers(0, 10**9), rates)
def test_a_price_per_million_tokens_is_exact(count: int, rate: Decimal) -> None:
    assert Fraction(per_million(count, rate)) == Fraction(rate) * count / 10**6


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**7), rates), max_size=4))
def test_parts_are_added_before_they_are_rounded(parts: list[tuple[int, Decimal]]) -> None:
    exact = sum((Fraction(rate) * count / 10**6 for count, rate in parts), Fraction(0))
    booked = to_nano(sum((per_million(count, rate) for count, rate in parts), Decimal(0)))
    assert 0 <= booked - exact * 10**9 < 1


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0"),
        (1, "$0.000000001"),
        (360_000, "$0.00036"),
        (1_500_000_000, "$1.50"),
        (1_234_567_890_000, "$1,234.57"),
        (19_400_000, "$0.0194"),
    ],
)
def test_money_is_shown_as_precisely_as_its_size_asks(nano: int, text: str) -> None:
    assert shown(nano) == text


@settings(deadline=None)
@given(nanos.filter(bool))
def test_no_spend_reads_as_zero(nano: int) -> None:
    assert any(digit in shown(nano) for digit in "123456789")
