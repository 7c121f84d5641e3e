"""The picture of a mood over the last day or two, as PNG.

Belongs here: drawing it. Does not belong here: the mood (`mood.py`), where the picture goes.

A light band shows the sentiment that suits the mood, grey steps the base of each date, the blue line the mood itself;
triangles on the line point up or down where an input kicked it. Equal moods give equal bytes.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from PIL import Image, ImageDraw, ImageFont

from magpie.persona.mood import GRID, KICKS, MoodRules, mood_course
from magpie.persona.mood_range import Preset

WIDTH, HEIGHT = 800, 320
# Edges of the curve's own part of the picture; around it stand figures.
LEFT, RIGHT, TOP, BOTTOM = 50, 780, 40, 285
# Drawn at twice the size and shrunk, which smooths the edges.
SCALE = 2
FONT_PX, LINE_PX, BASE_PX, KICK_PX = 13, 3, 2, 6
# Told apart by the colour-blind too; the ground is white on a dark page as well.
GROUND, INK, SCALES, BAND, BASE, LINE = "#ffffff", "#444455", "#e4e4ea", "#dbe7f7", "#9a9aa6", "#2266bb"
UP, DOWN = "#1b8a5a", "#cc5522"
# The few that are drawn with, each with its shades at the edges.
COLOURS = 64
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
HOUR = timedelta(hours=1)
MOST_HOURS = 48
# Hours from one label to the next, in a picture of a day and in a longer one.
APART, APART_LONG, DAY_HOURS = 4, 8, 24


def mood_graph(kicks: pl.DataFrame, until: datetime, rules: MoodRules, preset: Preset, hours: int = 24) -> bytes:
    """Draw the mood of the last hours before a moment; its clock is that of the blog.

    Args:
        kicks: columns of `mood.KICKS`, of these hours and of the window before them; those from `until` on are not
            known yet.
        hours: 1 to 48.

    Raises:
        ValueError: `hours` is out of its range.
    """
    if not 1 <= hours <= MOST_HOURS:
        raise ValueError(f"{hours} hours; 1 to {MOST_HOURS} can be drawn")
    known = kicks.select(KICKS.names()).cast(KICKS).filter(pl.col("kick_ts") < until)
    since = until - hours * HOUR
    moments = [since + number * GRID for number in range(hours * HOUR // GRID + 1)]
    course = mood_course(known, moments, rules, preset)
    # Sorted as the moments of the course are; a kick that is no number has no direction.
    shown = known.filter((pl.col("kick_ts") >= since) & pl.col("kick").is_finite()).sort(KICKS.names())
    struck = mood_course(known, shown["kick_ts"], rules, preset).select("ts", "value").hstack(shown.select("kick"))
    canvas = _Canvas(since, until)
    canvas.band(course)
    canvas.scales(rules, APART if hours <= DAY_HOURS else APART_LONG)
    canvas.base(course)
    canvas.line([(canvas.x(ts), _y(value)) for ts, value in course.select("ts", "value").iter_rows()], LINE, LINE_PX)
    canvas.kicks(struck)
    name, value = course.select("base_name", "value").row(-1)
    told = f"{rules.blog}, {until.astimezone(rules.zone):%Y-%m-%d %H:%M %Z}: mood {value:.2f}, base {name}"
    canvas.write((SCALE * LEFT, SCALE * TOP / 4), told)
    return canvas.png()


def _y(share: float) -> float:
    return SCALE * (BOTTOM - share * (BOTTOM - TOP))


@dataclass
class _Canvas:
    """The picture while it is drawn, between two moments."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        self._picture = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), GROUND)
        self._pen = ImageDraw.Draw(self._picture)
        self._font = ImageFont.load_default(FONT_PX * SCALE)

    def x(self, moment: datetime) -> float:
        share: float = (moment - self.since) / (self.until - self.since)
        return SCALE * (LEFT + share * (RIGHT - LEFT))

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: int) -> None:
        self._pen.line(points, colour, width * SCALE, joint="curve")

    def write(self, at: tuple[float, float], text: str, anchor: str = "la") -> None:
        self._pen.text(at, text, INK, self._font, anchor=anchor)

    def band(self, course: pl.DataFrame) -> None:
        """Where there is no bound, the band reaches to the edge."""
        sides = course.select("ts", pl.col("lo").fill_null(0.0), pl.col("hi").fill_null(1.0)).rows()
        above = [(self.x(ts), _y(hi)) for ts, _, hi in sides]
        self._pen.polygon(above + [(self.x(ts), _y(lo)) for ts, lo, _ in reversed(sides)], fill=BAND)

    def scales(self, rules: MoodRules, apart: int) -> None:
        for share in SHARES:
            self.line([(SCALE * LEFT, _y(share)), (SCALE * RIGHT, _y(share))], SCALES, 1)
            self.write((SCALE * (LEFT - KICK_PX), _y(share)), f"{share:.2f}", "rm")
        for moment in self._quarters():
            local = moment.astimezone(rules.zone)
            if local.minute == 0 and local.hour % apart == 0:
                self.line([(self.x(moment), _y(0)), (self.x(moment), _y(1))], SCALES, 1)
                told = f"{local:%H:%M}" if local.hour else f"{local:%Y-%m-%d}"
                inside = SCALE * WIDTH - self._font.getlength(told) / 2
                self.write((min(self.x(moment), inside), SCALE * (BOTTOM + KICK_PX)), told, "ma")

    def _quarters(self) -> Iterator[datetime]:
        # The clocks of some places differ from UTC by quarters of an hour.
        moment = self.since.replace(minute=0, second=0, microsecond=0) + HOUR
        while moment <= self.until:
            yield moment
            moment += HOUR / 4

    def base(self, course: pl.DataFrame) -> None:
        """Level through each date, and a step where it ends."""
        points: list[tuple[float, float]] = []
        for ts, value in course.select("ts", "base_value").iter_rows():
            points += [(self.x(ts), points[-1][1])] if points else []
            points.append((self.x(ts), _y(value)))
        self.line(points, BASE, BASE_PX)

    def kicks(self, struck: pl.DataFrame) -> None:
        half = SCALE * KICK_PX
        for ts, value, size in struck.iter_rows():
            x, y, tip = self.x(ts), _y(value), -half if size > 0 else half
            self._pen.polygon([(x - half, y), (x + half, y), (x, y + 2 * tip)], fill=UP if size > 0 else DOWN)

    def png(self) -> bytes:
        small = self._picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX).quantize(COLOURS)
        out = io.BytesIO()
        small.save(out, "PNG", optimize=True)
        return out.getvalue()
