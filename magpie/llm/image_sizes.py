"""Sizes that image models make, and the one to ask for in place of a size they do not.

Belongs here: sizes as a list or as a rule, and choosing among them. Does not belong here: which model has which
(`models.yaml`), which size a picture is wanted in (the products).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

# Width and height in pixels.
Size = tuple[int, int]


@dataclass(frozen=True)
class SizeRule:
    """Every size within these bounds, ends included.

    Attributes:
        multiple: both sides are multiples of it.
        most_ratio: the longer side is at most so many times the shorter one; None: no bound.
        most_pixels: None: no bound beside that of the sides.
    """

    multiple: int
    least_side: int
    most_side: int
    most_ratio: int | None = None
    least_pixels: int = 1
    most_pixels: int | None = None

    def holds(self, size: Size) -> bool:
        """Whether a size keeps the rule."""
        shorter, longer = sorted(size)
        return (
            self.least_side <= shorter
            and longer <= self.most_side
            and shorter % self.multiple == 0
            and longer % self.multiple == 0
            and (self.most_ratio is None or longer <= self.most_ratio * shorter)
            and self.least_pixels <= shorter * longer
            and (self.most_pixels is None or shorter * longer <= self.most_pixels)
        )

    def all(self) -> Iterator[Size]:
        """Every size that keeps it, smaller tuples first."""
        first = -(-self.least_side // self.multiple) * self.multiple
        sides = range(first, self.most_side + 1, self.multiple)
        return (size for width in sides for height in sides if self.holds(size := (width, height)))


Sizes = tuple[Size, ...] | SizeRule


@lru_cache(maxsize=256)
def choose(requested: Size, sizes: Sizes) -> Size | None:
    """Return the size to ask for: the requested one, else the nearest in shape, then in area, then the smaller tuple.

    How far two shapes are apart is |ln(quotient of their width : height)|, which orders as the quotient itself does
    when the larger number is divided by the smaller one.

    Returns:
        None if there is no size at all.

    Raises:
        ValueError: the requested size is none.
    """
    if min(requested) < 1:
        raise ValueError(f"{requested[0]}x{requested[1]} is no size")
    offered = list(sizes.all()) if isinstance(sizes, SizeRule) else list(sizes)
    if requested in offered:
        return requested
    width, height = requested

    def distance(size: Size) -> tuple[float, int, Size]:
        # A quotient of whole numbers is rounded once, so equal shapes are equally far.
        across, along = size[0] * height, size[1] * width
        return max(across, along) / min(across, along), abs(size[0] * size[1] - width * height), size

    return min(offered, key=distance, default=None)


def written(size: Size) -> str:
    """`1536x1024`."""
    return f"{size[0]}x{size[1]}"


def parsed(text: str) -> Size:
    """Read `1536x1024`.

    Raises:
        ValueError: it is no size.
    """
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"{text!r} is no size; write it as 1536x1024")
    return int(width), int(height)
