"""A faint line of text in the corner of a picture.

Belongs here: size, colour and corner of the text, drawing it. Does not belong here: which pictures are marked.
"""

import io
import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from magpie.errors import UserError

# Of the picture's width, halved: about as wide as a name at five per cent.
WIDTH_SHARE = 0.05
OPACITY = 0.35
MARGIN_PX = 5
OUTLINE_PX = 1
# Mean grey above which the text is black.
BRIGHT = 178
QUALITY = 95
_NO_GLYPH = "\uffff"


@dataclass(frozen=True)
class Mark:
    """Where and how the text is drawn.

    Attributes:
        corner: TL, TR, BL or BR; box: left, top, right, bottom of the text with its outline.
    """

    font_px: int
    corner: str
    box: tuple[int, int, int, int]
    black: bool


def font_px(width: int) -> int:
    """Height of the font for a picture of this width, both in pixels."""
    # In whole numbers, as 0.05 has no exact binary form: floor(0.05 * width / 2).
    return width * round(WIDTH_SHARE * 100) // 200


def undrawable(text: str) -> str:
    """Return the characters that the bundled font has no glyph for, each once; it holds Latin without accents."""
    font = _font(32)
    missing = bytes(font.getmask(_NO_GLYPH))
    return "".join(sorted({c for c in text if not c.isspace() and bytes(font.getmask(c)) == missing}))


def check_text(text: str) -> None:
    """Check that a watermark can be drawn.

    Raises:
        UserError: the bundled font lacks some of its characters, or it has several lines.
    """
    if not text.isprintable():
        raise UserError("memes.watermark_text: it must be one line of printable characters; remove line breaks")
    missing = undrawable(text)
    if missing:
        raise UserError(
            f"memes.watermark_text: the bundled font cannot draw {missing!r}; use unaccented Latin letters, digits and"
            " common signs"
        )


def placed(picture: Image.Image, text: str) -> Mark | None:
    """Return where the text goes: the corner that is nearest to black or white; None where it does not fit.

    The corner with the smallest min(mean, 255 - mean) of the grey values under the text wins, the first of TL, TR, BL,
    BR among equals.
    """
    size = font_px(picture.width)
    if size < 1 or not text.strip():
        return None
    left, top, right, bottom = _bounds(text, size)
    width, height = right - left, bottom - top
    if width + 2 * MARGIN_PX > picture.width or height + 2 * MARGIN_PX > picture.height:
        return None
    far_x, far_y = picture.width - MARGIN_PX - width, picture.height - MARGIN_PX - height
    corners = {"TL": (MARGIN_PX, MARGIN_PX), "TR": (far_x, MARGIN_PX), "BL": (MARGIN_PX, far_y), "BR": (far_x, far_y)}
    boxes = {corner: (x, y, x + width, y + height) for corner, (x, y) in corners.items()}
    means = {corner: _mean_grey(picture.crop(box)) for corner, box in boxes.items()}
    best = min(means, key=lambda corner: min(means[corner], 255 - means[corner]))
    return Mark(size, best, boxes[best], means[best] > BRIGHT)


def marked(picture: Image.Image, text: str) -> bytes | None:
    """Return the RGB picture with the text in a corner as a JPEG; None where the text does not fit."""
    mark = placed(picture, text)
    if mark is None:
        return None
    left, top, *_ = _bounds(text, mark.font_px)
    ink, outline = ((0, 0, 0), (255, 255, 255)) if mark.black else ((255, 255, 255), (0, 0, 0))
    alpha = round(OPACITY * 255)
    overlay = Image.new("RGBA", picture.size, (*ink, 0))
    ImageDraw.Draw(overlay).text(
        (mark.box[0] - left, mark.box[1] - top),
        text,
        font=_font(mark.font_px),
        fill=(*ink, alpha),
        stroke_width=OUTLINE_PX,
        stroke_fill=(*outline, alpha),
    )
    both = Image.alpha_composite(picture.convert("RGBA"), overlay).convert("RGB")
    out = io.BytesIO()
    both.save(out, "JPEG", quality=QUALITY, exif=b"", icc_profile=None, comment=b"")
    return out.getvalue()


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UserError("memes.watermark_text: this Pillow has no FreeType; install it from its wheel")
    return font


def _bounds(text: str, size: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = _font(size).getbbox(text, stroke_width=OUTLINE_PX)
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def _mean_grey(crop: Image.Image) -> float:
    counts = crop.convert("L").histogram()
    return sum(value * count for value, count in enumerate(counts)) / sum(counts)
