"""Pictures in materialisations, as SVG in a markdown image: the UI shows it without a plotting library.

Belongs here: drawing from numbers. Does not belong here: the numbers, and the names of metadata keys (`metadata.py`).

The UI's sanitiser lets images with a data URI through. An SVG shown as an image runs no script and loads nothing; its
text is escaped all the same.
"""

import base64
import html
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal

import dagster as dg

from magpie.llm.money import shown, to_nano

WIDTH, HEIGHT = 720, 260
# Edges of the curve's own part of the picture; around it stand figures and names.
LEFT, RIGHT, TOP, BOTTOM = 70, 700, 40, 225
HOURS = 24
# The share of a cap that is announced.
WARN_SHARE = Decimal("0.8")
# Above the highest line there is some room, so that it is not taken for a frame.
HEADROOM = Decimal("1.1")
# Steps of an axis that people read easily, per power of ten; so many lines at most.
STEPS, LINES = (Decimal(1), Decimal(2), Decimal(5)), 5
# Blue and orange are told apart by the colour-blind too; the ground is white under a dark UI as well.
SPENT, CAP, QUIET, INK, GROUND = "#2b6cb0", "#c05621", "#8a8f98", "#1a202c", "#ffffff"


def burn_down(points: Sequence[tuple[float, Decimal]], cap: Decimal | None, day: date) -> dg.MarkdownMetadataValue:
    """Draw how a day's money added up against its cap.

    Args:
        points: hours since midnight UTC, USD spent until then; growing in both.
        cap: USD; None: none is known.
    """
    spent = points[-1][1] if points else Decimal(0)
    title = f"{day} UTC: {_usd(spent)} spent{'' if cap is None else f' of {_usd(cap)}'}"
    return dg.MetadataValue.md(image("".join(_burn_down(points, cap, title)), title))


def image(svg: str, alt: str) -> str:
    """Return an SVG as a markdown image; `alt` is read where pictures are not shown."""
    told = "".join(" " if sign in "[]\\!`\n" else sign for sign in alt)
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _burn_down(points: Sequence[tuple[float, Decimal]], cap: Decimal | None, title: str) -> Iterator[str]:
    top = max([cap or Decimal(0), *(usd for _, usd in points)]) * HEADROOM or Decimal(1)

    def y(usd: Decimal) -> float:
        return round(BOTTOM - float(usd / top) * (BOTTOM - TOP), 1)

    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{GROUND}"/>'
    yield _text(LEFT, 22, title, INK, size=14)
    for usd in _levels(top):
        yield _level(y(usd), QUIET, "1 4") + _text(LEFT - 8, y(usd) + 4, _usd(usd), QUIET, anchor="end")
    for hour in range(0, HOURS + 1, 6):
        yield _text(_x(hour), BOTTOM + 18, f"{hour:02}:00", QUIET, anchor="middle")
    if cap is not None:
        yield _level(y(cap), CAP, "8 4") + _text(RIGHT, y(cap) - 5, "cap", CAP, anchor="end")
        yield _level(y(cap * WARN_SHARE), CAP, "2 6")
    yield f'<path d="{_steps(points, y)}" fill="none" stroke="{SPENT}" stroke-width="2.5"/></svg>'


def _x(hours: float) -> float:
    return round(LEFT + hours / HOURS * (RIGHT - LEFT), 1)


def _steps(points: Sequence[tuple[float, Decimal]], y: Callable[[Decimal], float]) -> str:
    """Level until money is spent, then up: between two calls nothing is."""
    return " ".join([f"M{_x(0)} {y(Decimal(0))}", *(f"H{_x(hours)} V{y(usd)}" for hours, usd in points)])


def _levels(top: Decimal) -> list[Decimal]:
    """Round amounts from nothing up to `top`."""
    tens = Decimal(10) ** (top.adjusted() - 1)
    step = next(step for power in (tens, tens * 10) for part in STEPS if top / (step := part * power) < LINES)
    return [step * n for n in range(int(top / step) + 1)]


def _level(y: float, colour: str, dashes: str) -> str:
    return f'<path d="M{LEFT} {y}H{RIGHT}" stroke="{colour}" stroke-dasharray="{dashes}"/>'


def _text(x: float, y: float, text: str, colour: str, *, size: int = 11, anchor: str = "start") -> str:
    font = f'font-family="sans-serif" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x}" y="{y}" {font}>{html.escape(text)}</text>'


def _usd(usd: Decimal) -> str:
    return shown(to_nano(usd))
