"""Pictures drawn here, for those who have no model that makes them.

Belongs here: a pleasant abstract picture of any size, and its bytes. Does not belong here: what it stands for (the
products), pictures that models make (`magpie/llm/images.py`).

Shapes and colours follow from the sha256 of the prompt, so equal prompts, sizes and formats give equal bytes.
"""

import colorsys
import hashlib
import io
import random
import textwrap
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

Format = Literal["webp", "png", "jpeg"]
MIMES: dict[Format, str] = {"webp": "image/webp", "png": "image/png", "jpeg": "image/jpeg"}

CIRCLES = 7
# Of the shorter side.
LEAST_RADIUS, MOST_RADIUS = 0.08, 0.45
MARGIN = TEXT_HEIGHT = 0.06
LINE_CHARS, MOST_LINES = 34, 3
# The letters that Pillow's own font is sure to have: Latin with its accents.
LAST_LETTER = "\u017f"
WEBP_QUALITY, JPEG_QUALITY = 82, 88
# A tenth of the time of Pillow's own choice, for files that are hardly larger.
WEBP_METHOD = 2


def drawn(prompt: str, size: tuple[int, int], form: Format, title: str = "") -> bytes:
    """Return a picture of exactly this size.

    Args:
        prompt: shapes and colours follow from it.
        size: width and height in pixels.
        title: short text on the picture; what the font cannot show is left out as a whole.
    """
    # A generator of its own, seeded with a hash of every build of Python alike, and no secret.
    chance = random.Random(int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "replace")).digest(), "big"))
    hue = chance.random()
    picture = _gradient(size, hue, chance).convert("RGBA")
    for _ in range(CIRCLES):
        picture = Image.alpha_composite(picture, _circle(size, hue, chance))
    finished = picture.convert("RGB")
    _write(finished, title)
    return _encoded(finished, form)


def _gradient(size: tuple[int, int], hue: float, chance: random.Random) -> Image.Image:
    shades = Image.linear_gradient("L").rotate(90 * chance.randrange(4)).resize(size)
    return ImageOps.colorize(shades, black=_colour(hue, 0.5, 0.45), white=_colour(hue + 0.12, 0.35, 0.95))


def _circle(size: tuple[int, int], hue: float, chance: random.Random) -> Image.Image:
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    radius = min(size) * chance.uniform(LEAST_RADIUS, MOST_RADIUS)
    across, down = (side * chance.random() for side in size)
    colour = (*_colour(hue + chance.uniform(-0.1, 0.25), 0.45, 0.98), chance.randrange(40, 110))
    box = (across - radius, down - radius, across + radius, down + radius)
    ImageDraw.Draw(layer).ellipse(box, fill=colour)
    return layer


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write(picture: Image.Image, title: str) -> None:
    line = " ".join(title.split())
    if not line or not line.isprintable() or max(line) > LAST_LETTER:
        return
    lines = textwrap.wrap(line, LINE_CHARS, max_lines=MOST_LINES, placeholder="…")
    short = min(picture.size)
    font = ImageFont.load_default(max(8, round(short * TEXT_HEIGHT)))
    at = (round(short * MARGIN), round(picture.height - short * (MARGIN + TEXT_HEIGHT * 1.3 * len(lines))))
    pen = ImageDraw.Draw(picture)
    pen.multiline_text(at, "\n".join(lines), "white", font, stroke_width=1, stroke_fill="#333344")


def _encoded(picture: Image.Image, form: Format) -> bytes:
    out = io.BytesIO()
    if form == "webp":
        picture.save(out, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    elif form == "png":
        picture.save(out, "PNG")
    else:
        picture.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
