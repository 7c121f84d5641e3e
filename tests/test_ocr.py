"""Text in pictures, read on this machine: what is legible is read, and what is not is never said to be no text."""

import io
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from magpie.errors import UserError
from magpie.media import ocr
from magpie.media.ocr import RapidReader, Reader, _text, local_reader

Place = tuple[int, int]
FONTS = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"), Path("/usr/share/fonts/dejavu/DejaVuSans.ttf")


@pytest.fixture(scope="module")
def reader() -> Reader:
    found = local_reader()
    if found is None:
        pytest.skip("the extra `ocr` is not installed")
    return found


def drawn(lines: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont | None = None) -> bytes:
    image = Image.new("RGB", (640, 70 * len(lines) + 40), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((20, 20 + 70 * number), line, font=font or ImageFont.load_default(36), fill="black")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_latin_words_and_digits_come_back_in_reading_order(reader: Reader) -> None:
    assert reader.read(drawn(["WHEN THE BUILD PASSES", "on friday 17:30"])) == "WHEN THE BUILD PASSES\non friday 17:30"


def test_a_picture_without_text_is_read_and_holds_none(reader: Reader) -> None:
    assert reader.read(drawn([""])) == ""


def test_words_in_cyrillic_are_not_read_and_not_said_to_be_missing(reader: Reader) -> None:
    font = next((path for path in FONTS if path.exists()), None)
    if font is None:
        pytest.skip("no font with Cyrillic letters is installed")
    assert reader.read(drawn(["когда наконец пятница"], ImageFont.truetype(str(font), 40))) is None


def test_languages_in_letters_that_the_models_do_not_know_are_not_tried(reader: Reader) -> None:
    assert [reader.reads(code) for code in ("en", "pt-br", "uz", "de")] == [True] * 4
    assert [reader.reads(code) for code in ("ru", "uk", "ar", "fa", "hi", "am")] == [False] * 6


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken", b"<svg/>"])
def test_bytes_that_are_no_picture_are_not_read(reader: Reader, content: bytes) -> None:
    assert reader.read(content) is None


def test_reading_says_nothing_and_reaches_for_no_network(
    reader: Reader, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert isinstance(reader, RapidReader)
    RapidReader(reader._models).read(drawn([""]))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("RapidOCR").level == logging.CRITICAL


def test_a_missing_model_is_one_line_that_says_which_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks PP-OCRv6_det_small\.onnx.*reinstall the extra `ocr`"):
        RapidReader(tmp_path)


def test_without_the_extra_there_is_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda name: None)
    local_reader.cache_clear()
    try:
        assert local_reader() is None
    finally:
        local_reader.cache_clear()


def box(left: float, top: float, width: float = 100, height: float = 20) -> list[list[float]]:
    right, bottom = left + width, top + height
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def test_parts_of_one_line_are_joined_from_left_to_right_and_lines_from_top_to_bottom() -> None:
    boxes = np.array([box(300, 52), box(10, 50), box(10, 10), box(200, 95)])
    assert _text(boxes, ["hits", "monday", "when", "hard"], [1, 1, 1, 1]) == "when\nmonday hits\nhard"


def test_a_picture_most_of_whose_text_was_not_understood_is_not_read() -> None:
    boxes = np.array([box(0, 0, 300), box(0, 50, 100)])
    assert _text(boxes, ["garbled", "fine"], [0.6, 0.99]) is None
    assert _text(boxes, ["fine", "garbled"], [0.99, 0.6]) == "fine"
    assert _text(boxes, ["  ", "fine"], [0.99, 0.99]) is None
    assert _text(boxes, [], []) is None


PLACES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12, unique=True)


@given(PLACES.flatmap(lambda places: st.tuples(st.just(places), st.permutations(places))))
def test_the_order_in_which_parts_are_found_does_not_matter(twice: tuple[list[Place], list[Place]]) -> None:
    first, second = (
        _text(
            np.array([box(left, top) for left, top in places]),
            [f"w{left}x{top}" for left, top in places],
            [1.0] * len(places),
        )
        for places in twice
    )
    assert first == second
