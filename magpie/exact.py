"""Arithmetic whose last bit does not depend on the other rows of a frame.

Belongs here: operations that Polars evaluates differently by the shape of its input. Does not belong here: formulas.
"""

import polars as pl


def divided_by(column: pl.Expr, constant: float) -> pl.Expr:
    """Divide by a constant, rounded once, null for null.

    Polars 2.1 multiplies a column by the constant's reciprocal, but truly divides a column of one row, so the same
    value would come out in two ways. Replace by `/` once it divides in both.
    """

    def divide(values: pl.Series) -> pl.Series:
        return pl.Series(values.name, values.cast(pl.Float64).to_numpy() / constant).fill_nan(None)

    return column.map_batches(divide, return_dtype=pl.Float64)
