"""Opening: the bytes decide what a picture is; whatever they are, there is an answer and never an error."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import animation, encoded, noise, scene
from PIL import Image, features

from magpie.media.opening import MAX_PIXELS, Opened, Unusable, UnusableMedia, frames, opened, sniffed

PDQ = Path(__file__).parents[2] / "shared" / "data" / "memes" / "pdq"
SMALL = noise(1)
ENCODED = {
    "image/jpeg": encoded(SMALL, "JPEG"),
    "image/png": encoded(SMALL, "PNG"),
    "image/webp": encoded(SMALL, "WEBP"),
    "image/gif": encoded(SMALL, "GIF"),
    "image/bmp": encoded(SMALL, "BMP"),
}
MOVING = animation([noise(1), noise(2), noise(3)])


def picture_of(content: bytes) -> Image.Image:
    found = opened(content)
    assert isinstance(found, Opened), found
    assert found.picture is not None
    assert found.picture.mode == "RGB"
    return found.picture


def why(content: bytes, claimed: str | None = None) -> Unusable:
    found = opened(content, claimed)
    assert isinstance(found, Unusable)
    return found


@pytest.mark.parametrize("mime", list(ENCODED))
def test_each_format_is_told_by_its_bytes(mime: str) -> None:
    found = opened(ENCODED[mime])
    assert isinstance(found, Opened)
    assert (found.mime, found.kind, found.width, found.height) == (mime, "image", 64, 48)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_opened_where_pillow_can() -> None:
    found = opened(encoded(SMALL, "AVIF"))
    assert isinstance(found, Opened)
    assert (found.mime, found.kind, found.width) == ("image/avif", "image", 64)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_more_than_one_frame_makes_an_animation(format: str) -> None:
    content = animation([noise(1), noise(2), noise(3)], format, [100, 200, 300])
    found = opened(content)
    assert isinstance(found, Opened)
    assert found.kind == "animation"
    assert [shown for _, shown in frames(content)] == [100, 200, 300]


def test_a_frame_that_asks_for_no_time_is_shown_as_browsers_show_it() -> None:
    assert [shown for _, shown in frames(animation([noise(1), noise(2)], "GIF", [0, 500]))] == [100, 500]


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (b"\x00\x00\x00\x20ftypisom" + bytes(40), "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  " + bytes(40), "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x93\x42\x82\x88webm" + bytes(40), "video/webm"),
    ],
)
def test_a_video_is_known_by_its_signature_and_decoded_elsewhere(content: bytes, mime: str) -> None:
    assert opened(content) == Opened(mime, "video")


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn --><SVG width='1'/>", "image/svg+xml"),
        (b"\n <!DOCTYPE html><html></html>", "text/html"),
        (b"<?xml version='1.0'?><feed/>", "text/xml"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04rest", "application/zip"),
        (b"MZ\x90\x00", "application/vnd.microsoft.portable-executable"),
        (b"\x7fELF\x02", "application/x-elf"),
        (b"II*\x00\x08\x00", "image/tiff"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(8), "image/heif"),
        (b"just words", "application/octet-stream"),
    ],
)
def test_what_is_no_picture_is_refused_and_called_mislabelled_if_it_was_passed_off_as_one(
    content: bytes, mime: str
) -> None:
    assert why(content) == Unusable("unsupported_type", mime, None, mime)
    assert why(content, "notes.txt").reason == "unsupported_type"
    for claimed in ("https://cdn.example/a.JPG?sig=1", "image/png", "clip.mp4", "video/webm", "funny.gif"):
        assert why(content, claimed) == Unusable("mislabelled", mime, claimed, mime)


def test_a_picture_under_another_pictures_name_is_fine_and_one_under_a_videos_is_not() -> None:
    for claimed in ("a.jpg", "a.webp", "image/bmp", "a.gif", "page.html", "", None):
        assert isinstance(opened(ENCODED["image/png"], claimed), Opened)
    assert why(ENCODED["image/png"], "a.mp4").reason == "mislabelled"
    assert isinstance(opened(MOVING, "a.mp4"), Opened)
    assert why(b"\x00\x00\x00\x20ftypisom" + bytes(40), "photo.jpg").reason == "mislabelled"
    assert isinstance(opened(b"\x00\x00\x00\x20ftypisom" + bytes(40), "fun.gif"), Opened)


def test_no_bytes_are_an_empty_file() -> None:
    assert why(b"").reason == "empty_file"


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises a size and whose data holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(7100, 7100), (40_000, 40_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_would_unpack_to_too_much_is_refused_by_its_header(size: tuple[int, int]) -> None:
    found = why(png_of(*size))
    assert (found.reason, found.threshold) == ("too_many_pixels", str(MAX_PIXELS))


def test_a_strip_is_refused_from_a_side_of_more_than_twenty_to_one() -> None:
    assert isinstance(opened(encoded(Image.new("RGB", (400, 20)))), Opened)
    assert why(encoded(Image.new("RGB", (401, 20)))) == Unusable("absurd_aspect", "401x20", "20:1", "image/png")


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"])
def test_half_a_file_is_unreadable_in_the_same_words_every_time(mime: str) -> None:
    half = ENCODED[mime][: len(ENCODED[mime]) // 2]
    assert why(half).reason == "unreadable"
    assert why(half) == why(half)
    start = why(ENCODED[mime][:16])
    assert (start.reason, "0x" in str(start.observed)) == ("unreadable", False)


def test_a_picture_is_turned_as_exif_says_and_its_size_is_as_displayed() -> None:
    picture = Image.new("RGB", (40, 20), (255, 255, 255))
    picture.paste((200, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = picture_of(encoded(picture, "JPEG", exif=exif, quality=95))
    assert shown.size == (20, 40)
    assert np.asarray(shown)[5, 10, 1] < 60
    assert np.asarray(shown)[35, 10, 1] > 200


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_a_turn_that_does_not_exist_is_passed_over(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert picture_of(encoded(SMALL, "JPEG", exif=exif)).size == SMALL.size


def test_metadata_that_cannot_be_read_does_not_cost_the_picture() -> None:
    content = encoded(SMALL, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert picture_of(content).size == SMALL.size


def test_alpha_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    for content in (
        encoded(clear),
        encoded(clear, "WEBP", lossless=True),
        encoded(clear.convert("LA")),
        encoded(clear.convert("P"), transparency=0),
    ):
        assert picture_of(content).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    deep = Image.fromarray(np.full((10, 10), 0x8000, np.uint16))
    assert picture_of(encoded(deep)).getpixel((5, 5)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB"])
def test_every_colour_model_becomes_the_colours_it_means(mode: str) -> None:
    white = Image.new("RGB", (10, 10), (255, 255, 255)).convert(mode)
    content = encoded(white, "JPEG" if mode == "CMYK" else "PNG")
    assert min(picture_of(content).getpixel((5, 5))) > 250  # type: ignore[type-var, arg-type]


def test_an_animation_of_too_many_frames_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magpie.media.opening.MAX_FRAMES", 2)
    with pytest.raises(UnusableMedia) as raised:
        list(frames(MOVING))
    assert raised.value.why.reason == "too_many_frames"


def test_a_frame_that_grows_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magpie.media.opening.MAX_FRAME_PIXELS", 64 * 48 + 1)
    with pytest.raises(UnusableMedia) as raised:
        list(frames(MOVING))
    assert raised.value.why.reason == "too_many_frames"


@given(content=st.binary(max_size=400), mime=st.sampled_from([*ENCODED, ""]), claimed=st.none() | st.text(max_size=20))
def test_whatever_follows_a_signature_there_is_an_answer(content: bytes, mime: str, claimed: str | None) -> None:
    start = ENCODED[mime][:12] if mime else b""
    assert isinstance(opened(start + content, claimed), Opened | Unusable)


@given(data=st.data())
def test_bytes_that_were_cut_or_changed_never_raise(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([*ENCODED.values(), MOVING])))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=12)
    ):
        content[place] = value
    changed = bytes(content[: data.draw(st.integers(0, len(content)))])
    found = opened(changed)
    assert isinstance(found, Opened | Unusable)
    if isinstance(found, Opened) and found.kind == "animation":
        try:
            list(frames(changed))
        except UnusableMedia as unusable:
            assert unusable.why.reason in ("unreadable", "too_many_pixels", "too_many_frames", "absurd_aspect")


@pytest.mark.skipif(not PDQ.is_dir(), reason="the shared real images are not here")
def test_real_images_open() -> None:
    for path in (path for path in sorted(PDQ.rglob("*")) if path.suffix in (".jpg", ".png")):
        assert isinstance(opened(path.read_bytes(), path.name), Opened), path.name


def test_a_scene_survives_every_format_alike() -> None:
    for format in ("PNG", "WEBP", "BMP"):
        options = {"lossless": True} if format == "WEBP" else {}
        assert picture_of(encoded(scene(), format, **options)).tobytes() == scene().tobytes()


def test_sniffing_reads_no_further_than_the_beginning() -> None:
    assert sniffed(b" " * 2000 + b"<svg/>") == "application/octet-stream"
