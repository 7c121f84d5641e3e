"""Division gives a row the same bits whatever rows stand beside it."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.exact import divided_by, quotient

NUMBER = st.integers(-(10**9), 10**9)


@given(st.lists(st.tuples(NUMBER, NUMBER.filter(bool)), min_size=1, max_size=6))
def test_a_quotient_is_that_of_plain_floats_in_a_frame_of_any_length(pairs: list[tuple[int, int]]) -> None:
    rows = pl.DataFrame(pairs, schema={"above": pl.Float64, "below": pl.Int64}, orient="row")
    divided = quotient(pl.col("above"), pl.col("below"))
    guarded = pl.when(pl.col("below") != 0).then(divided)
    expected = [above / below for above, below in pairs]
    assert rows.select(divided).to_series().to_list() == expected
    assert [rows[n : n + 1].select(guarded).item() for n in range(len(pairs))] == expected


@pytest.mark.parametrize("height", [1, 3])
def test_what_is_missing_stays_missing_and_nothing_over_nothing_is_missing(height: int) -> None:
    rows = pl.DataFrame({"above": [None, 0.0, 7.0][-height:], "below": [2.0, 0.0, 10.0][-height:]})
    assert rows.select(quotient(pl.col("above"), pl.col("below"))).to_series().to_list() == [None, None, 0.7][-height:]
    assert rows.select(divided_by(pl.col("above"), 10)).to_series().to_list() == [None, 0.0, 0.7][-height:]
