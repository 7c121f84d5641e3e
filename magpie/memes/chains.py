"""canonical_id: the meme at the root of a chain of copies.

Belongs here: following copies to their root, and breaking what goes in a circle. Does not belong here: what is a copy
(`duplicates.py`), and what the root of a copy is used for.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.tables import UTC

COPIES = pl.Schema({"meme_id": pl.String(), "duplicate_of": pl.String(), "published_at": UTC})
ROOTS = pl.Schema({"meme_id": pl.String(), "canonical_id": pl.String()})


@dataclass(frozen=True)
class Chains:
    """The root of every copy.

    Attributes:
        roots: one row per copy, in the columns of `ROOTS`; what is no row is its own root.
        cycles: chains that went in a circle, each from its earliest member on, which was made the root.
    """

    roots: pl.DataFrame
    cycles: tuple[tuple[str, ...], ...]


def chains(copies: pl.DataFrame) -> Chains:
    """Follow every copy to its root.

    Args:
        copies: in the columns of `COPIES`, each meme once; what is copied need not be a row. A meme that is named as
            a copy of itself is none.
    """
    ordered = copies.select(list(COPIES)).sort("published_at", "meme_id").with_row_index("place")
    others = ordered.select(pl.col("duplicate_of").unique()).join(
        ordered, left_on="duplicate_of", right_on="meme_id", how="anti"
    )
    names = pl.concat([ordered["meme_id"], others["duplicate_of"].sort().rename("meme_id")])
    places = pl.DataFrame({"duplicate_of": names}).with_row_index("root")
    known = ordered.join(places, on="duplicate_of", how="left", maintain_order="left")["root"].to_numpy()
    parents = np.arange(len(names))
    parents[: ordered.height] = known
    circles = _circles(parents)
    for circle in circles:
        parents[circle[0]] = circle[0]
    roots = names.gather(_followed(parents)[: ordered.height]).rename("canonical_id")
    found = pl.DataFrame([ordered["meme_id"], roots], schema=ROOTS).sort("meme_id")
    return Chains(found, tuple(tuple(names[place] for place in circle) for circle in circles))


def _followed(parents: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each place comes to after at least as many steps as there are places: each round doubles the steps."""
    steps = 1
    while steps < len(parents):
        further = parents[parents]
        if np.array_equal(further, parents):
            break
        parents, steps = further, 2 * steps
    return parents


def _circles(parents: npt.NDArray[np.int64]) -> list[list[int]]:
    """The circles of more than one place, in order; places are in order of time, so each begins with its earliest."""
    ends = np.unique(_followed(parents))
    left = set(ends[parents[ends] != ends].tolist())
    found = []
    while left:
        circle = [min(left)]
        while (following := int(parents[circle[-1]])) != circle[0]:
            circle.append(following)
        left.difference_update(circle)
        found.append(circle)
    return found
