"""Thumbnails: small JPEGs, the same bytes every time, nothing of the original's metadata."""

import base64
import io

import pytest
from pictures import animation, encoded, noise, scene
from PIL import Image

from magpie.media.opening import UnusableMedia
from magpie.media.thumbnails import data_uri, for_vision, side_by_side, thumbnail


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=["JPEG"])


@pytest.mark.parametrize(
    ("size", "shown"),
    [((640, 480), (200, 150)), ((480, 640), (150, 200)), ((60, 40), (60, 40)), ((2000, 101), (200, 10))],
)
def test_the_long_side_is_bounded_and_small_pictures_stay_small(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert opened(thumbnail(encoded(scene().resize(size)), 200)).size == shown


def test_a_model_sees_at_most_1280_pixels_and_nothing_but_the_picture() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    content = encoded(scene().resize((2560, 1920)), "JPEG", exif=exif, comment=b"from a phone")
    seen = opened(for_vision(content))
    assert seen.size == (1280, 960)
    assert not seen.getexif()
    assert "comment" not in seen.info


def test_equal_pictures_give_equal_bytes() -> None:
    assert for_vision(encoded(scene())) == for_vision(encoded(scene(), "BMP"))
    assert thumbnail(encoded(scene()), 100) == thumbnail(encoded(scene()), 100)


def test_of_an_animation_the_first_frame_is_shown() -> None:
    content = animation([Image.new("RGB", (64, 48), (255, 255, 255)), noise(2)])
    assert min(opened(thumbnail(content, 48)).getpixel((20, 20))) > 250  # type: ignore[type-var, arg-type]


def test_two_pictures_stand_beside_each_other_in_one_height() -> None:
    both = opened(side_by_side(encoded(scene()), encoded(noise(1, 30, 60)), 120))
    assert both.size == (160 + 8 + 60, 120)


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"\x00\x00\x00\x20ftypisom" + bytes(40)])
def test_what_has_no_picture_says_so(content: bytes) -> None:
    for ask in (for_vision, lambda given: thumbnail(given, 100), lambda given: side_by_side(given, given, 100)):
        with pytest.raises(UnusableMedia):
            ask(content)


def test_a_data_address_holds_the_bytes() -> None:
    small = thumbnail(encoded(noise(1)), 32)
    head, _, body = data_uri(small).partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(body) == small
