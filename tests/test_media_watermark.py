"""Watermark: size by width, the calmest corner, black on bright and white on dark."""

import io

import numpy as np
import pytest
from pictures import scene
from PIL import Image

from magpie.errors import UserError
from magpie.media.watermark import check_text, font_px, marked, placed, undrawable

TEXT = "@magpie"


@pytest.mark.parametrize(("width", "px"), [(640, 16), (1080, 27), (1280, 32), (39, 0), (40, 1), (79, 1), (80, 2)])
def test_the_font_is_a_fortieth_of_the_width_rounded_down(width: int, px: int) -> None:
    assert font_px(width) == px


def corners(**grey: int) -> Image.Image:
    """640x480 with a grey value per quarter."""
    pixels = np.zeros((480, 640), np.uint8)
    pixels[:240, :320], pixels[:240, 320:] = grey["TL"], grey["TR"]
    pixels[240:, :320], pixels[240:, 320:] = grey["BL"], grey["BR"]
    return Image.fromarray(pixels).convert("RGB")


@pytest.mark.parametrize(
    ("grey", "corner", "black"),
    [
        ({"TL": 127, "TR": 100, "BL": 30, "BR": 200}, "BL", False),
        ({"TL": 127, "TR": 100, "BL": 60, "BR": 230}, "BR", True),
        ({"TL": 50, "TR": 205, "BL": 50, "BR": 205}, "TL", False),
        ({"TL": 100, "TR": 205, "BL": 50, "BR": 205}, "TR", True),
        ({"TL": 110, "TR": 110, "BL": 178, "BR": 110}, "BL", False),
        ({"TL": 110, "TR": 110, "BL": 179, "BR": 110}, "BL", True),
    ],
)
def test_the_corner_nearest_to_black_or_white_wins_and_the_first_among_equals(
    grey: dict[str, int], corner: str, black: bool
) -> None:
    mark = placed(corners(**grey), TEXT)
    assert mark is not None
    assert (mark.corner, mark.black, mark.font_px) == (corner, black, 16)


def test_the_text_keeps_five_pixels_from_the_edges_and_nothing_else_changes() -> None:
    dark = corners(TL=40, TR=40, BL=40, BR=10)
    mark = placed(dark, TEXT)
    assert mark is not None
    assert (mark.box[2], mark.box[3]) == (635, 475)
    content = marked(dark, TEXT)
    assert content is not None
    changed = np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - np.asarray(dark)).max(axis=2) > 12
    rows, columns = np.nonzero(changed)
    left, top, right, bottom = mark.box
    # JPEG spreads an edge over its block of 16 pixels.
    assert left - 16 <= columns.min() and columns.max() < right + 5
    assert top - 16 <= rows.min() and rows.max() < bottom + 5


@pytest.mark.parametrize(("ground", "sign"), [(20, 1), (235, -1)])
def test_it_is_as_faint_as_its_opacity(ground: int, sign: int) -> None:
    content = marked(Image.new("RGB", (1280, 960), (ground,) * 3), TEXT)
    assert content is not None
    grey = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
    strongest = (sign * (grey - ground)).max()
    # 35 % of the way to white or black, give or take what JPEG adds.
    assert strongest == pytest.approx(0.35 * 235, abs=10)


def test_equal_pictures_are_marked_with_equal_bytes() -> None:
    assert marked(scene(), TEXT) == marked(scene(), TEXT)
    assert marked(scene(), TEXT) != marked(scene(), "@other")


@pytest.mark.parametrize("size", [(30, 30), (640, 20)])
def test_a_picture_too_small_for_the_text_is_left_alone(size: tuple[int, int]) -> None:
    assert marked(Image.new("RGB", size), "a long line of text that needs room") is None


def test_nothing_is_drawn_for_no_text() -> None:
    assert marked(scene(), "") is None
    assert marked(scene(), "  ") is None


def test_letters_that_the_font_lacks_are_named_before_anything_is_drawn() -> None:
    check_text("")
    check_text("Memes & more © @magpie_42")
    assert undrawable("привет, you") == "веипрт"
    with pytest.raises(UserError, match=r"watermark_text.*cannot draw 'веипрт'"):
        check_text("привет, you")
    with pytest.raises(UserError, match="one line"):
        check_text("two\nlines")
