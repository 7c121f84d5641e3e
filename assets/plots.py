"""Pictures in materialisations, as SVG, JPEG or PNG in a markdown image: the UI shows it without a plotting library.

Belongs here: drawing from numbers, embedding. Does not belong here: the numbers, making pictures small
(`magpie/media/thumbnails.py`), and the names of metadata keys (`metadata.py`).

The UI's sanitiser lets images with a data URI through. An SVG shown as an image runs no script and loads nothing; its
text is escaped all the same.
"""

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal

import dagster as dg

from magpie.llm.money import shown, to_nano
from magpie.media.thumbnails import data_uri

# Markdown of less than this is shown in place; what is longer hides behind a link. So drawings are terse.
SHOWN_IN_PLACE = 1000
WIDTH, HEIGHT = 640, 180
# Edges of the curve's own part of the picture; around it stand figures.
LEFT, RIGHT, TOP, BOTTOM = 60, 620, 30, 160
HOURS = 24
# The share of a cap that is announced.
WARN_SHARE = Decimal("0.8")
# Blue and orange are told apart by the colour-blind too; the ground is white under a dark UI as well.
SPENT, CAP, INK, GROUND = "#26b", "#c52", "#445", "#fff"
# Of the square in which scores stand against what became of them, and of its dots: area goes with number.
SQUARE, SQUARE_EDGE, DOT_PX = 260, 40, 10


def burn_down(points: Sequence[tuple[int, Decimal]], cap: Decimal | None, day: date) -> dg.MarkdownMetadataValue:
    """Draw how a day's money added up against its cap.

    Args:
        points: hours since midnight UTC, USD spent until then; growing in both, at most one per hour.
        cap: USD; None: none is known.
    """
    spent = points[-1][1] if points else Decimal(0)
    title = f"{day}: {_usd(spent)}{'' if cap is None else f' of {_usd(cap)}'}"
    return dg.MetadataValue.md(image("".join(_burn_down(points, cap, title)), title))


def reliability(bins: Sequence[Mapping[str, float]], title: str) -> dg.MarkdownMetadataValue:
    """Draw the share of labels against the mean score of each bin; of a model that can be believed both are the same.

    Args:
        bins: `n` rows with a score in the bin, `mean_p` of them, and the `share` that is of the labelled kind.
    """
    return dg.MetadataValue.md(image("".join(_reliability(bins, title)), title))


def image(svg: str, alt: str) -> str:
    """Return an SVG as a markdown image; `alt` is read where pictures are not shown."""
    return _embedded(f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}", alt)


def photo(jpeg: bytes, alt: str) -> str:
    """Return a JPEG as a markdown image, which may stand in the cell of a table too."""
    return _embedded(data_uri(jpeg), alt)


def png(content: bytes, alt: str) -> str:
    """Return a PNG as a markdown image."""
    return _embedded(f"data:image/png;base64,{base64.b64encode(content).decode()}", alt)


def _embedded(uri: str, alt: str) -> str:
    # Nothing that ends the image, or the cell it stands in.
    told = "".join(" " if sign in "[]\\!`|<>\n\r" else sign for sign in alt)
    return f"![{told}]({uri})"


def _burn_down(points: Sequence[tuple[int, Decimal]], cap: Decimal | None, title: str) -> Iterator[str]:
    top = max([cap or Decimal(0), *(usd for _, usd in points)]) or Decimal(1)

    def y(usd: Decimal) -> int:
        return BOTTOM - round(usd / top * (BOTTOM - TOP))

    look = f'font-family="sans-serif" font-size="11" fill="{INK}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" {look}>'
    yield _path(f"M0 0H{WIDTH}V{HEIGHT}H0", f'fill="{GROUND}"')
    yield _text(LEFT, TOP - 12, title)
    if cap is not None:
        lines = "".join(f"M{LEFT} {y(usd)}H{RIGHT}" for usd in (cap, cap * WARN_SHARE))
        yield _path(lines, f'stroke="{CAP}" stroke-dasharray="6"') + _text(4, y(cap) + 4, _usd(cap))
    # Level until money is spent, then up: between two calls nothing is.
    steps = "".join(f"H{_x(hour)}V{y(usd)}" for hour, usd in points)
    yield _path(f"M{LEFT} {BOTTOM}{steps}", f'stroke="{SPENT}" stroke-width="2" fill="none"')
    for hour in (0, HOURS // 2, HOURS):
        yield _text(_x(hour) - 14, BOTTOM + 15, f"{hour:02}:00")
    yield "</svg>"


def _reliability(bins: Sequence[Mapping[str, float]], title: str) -> Iterator[str]:
    low, high, most = SQUARE_EDGE, SQUARE - SQUARE_EDGE, max((one["n"] for one in bins), default=1)
    look = f'font-family="sans-serif" font-size="11" fill="{INK}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH // 2}" height="{SQUARE}" {look}>'
    yield _path(f"M0 0H{WIDTH // 2}V{SQUARE}H0", f'fill="{GROUND}"') + _text(8, 16, title)
    yield _path(f"M{low} {low}V{high}H{high}", f'stroke="{INK}" fill="none"')
    yield _path(f"M{low} {high}L{high} {low}", f'stroke="{CAP}" stroke-dasharray="6"')
    for share in (0, 0.5, 1):
        place = round(share * (high - low))
        yield _text(low - 24, high - place + 4, f"{share:g}") + _text(low + place - 4, high + 15, f"{share:g}")
    for one in bins:
        x, y = low + one["mean_p"] * (high - low), high - one["share"] * (high - low)
        radius = max(2.0, DOT_PX * (one["n"] / most) ** 0.5)
        yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.1f}" fill="{SPENT}"/>'
    yield "</svg>"


def _x(hours: int) -> int:
    return LEFT + round(hours / HOURS * (RIGHT - LEFT))


def _path(course: str, look: str) -> str:
    return f'<path {look} d="{course}"/>'


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}">{html.escape(text)}</text>'


def _usd(usd: Decimal) -> str:
    return shown(to_nano(usd))
