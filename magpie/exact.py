"""Arithmetic whose last bit does not depend on the other rows of a frame.

Belongs here: operations that Polars evaluates differently by the shape of its input. Does not belong here: formulas.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl


def quotient(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Divide, rounded once, null for null.

    Polars 2.1 multiplies by the reciprocal where the denominator is one value, which a column of one row is too, and
    truly divides otherwise, so the same row would come out in two ways. Replace by `/` once it divides in all cases.
    """

    def divide(sides: Sequence[pl.Series]) -> pl.Series:
        above, below = (side.cast(pl.Float64).to_numpy() for side in sides)
        with np.errstate(divide="ignore", invalid="ignore"):
            return pl.Series(sides[0].name, above / below, dtype=pl.Float64).fill_nan(None)

    return pl.map_batches([numerator, denominator], divide, return_dtype=pl.Float64)


def divided_by(column: pl.Expr, constant: float) -> pl.Expr:
    """Divide by a constant; see `quotient`."""
    return quotient(column, pl.lit(constant))
