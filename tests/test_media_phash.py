"""Perceptual hashes: near copies stay near, exactly as defined, the same bits on every run and every thread."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import animation, encoded, noise, scene
from PIL import Image, ImageDraw

from magpie.media.opening import Unusable, opened
from magpie.media.phash import Facts, facts, facts_of, grey_std, hamming, hex16, phash64

PDQ = Path(__file__).parents[2] / "shared" / "data" / "memes" / "pdq"
SCENE = scene()


def decoded(content: bytes) -> Image.Image:
    found = opened(content)
    assert not isinstance(found, Unusable)
    assert found.picture is not None
    return found.picture


def distance(picture: Image.Image) -> int:
    return hamming(phash64(SCENE), phash64(picture))


def by_definition(picture: Image.Image) -> tuple[np.ndarray, float]:
    """The 64 coefficients in floating point, and their median."""
    pixels = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    k, n = np.arange(32)[:, None], np.arange(32)[None, :]
    dct = np.cos(math.pi * (2 * n + 1) * k / 64)
    low = (dct @ pixels @ dct.T)[:8, :8].ravel()
    return low, float(np.median(low))


def test_a_picture_stays_itself_through_heavy_jpeg_and_scaling() -> None:
    assert distance(decoded(encoded(SCENE, "JPEG", quality=30))) == 0
    assert distance(SCENE.resize((320, 240))) == 0
    assert distance(SCENE.resize((160, 120))) == 0


def test_what_is_drawn_over_it_cut_off_or_mirrored_moves_the_hash_by_so_much() -> None:
    covered = SCENE.copy()
    ImageDraw.Draw(covered).rectangle((500, 460, 630, 475), fill=(255, 255, 255))
    assert distance(covered) == pytest.approx(4, abs=2)
    assert distance(SCENE.crop((32, 24, 608, 456))) == pytest.approx(12, abs=2)
    assert distance(SCENE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == pytest.approx(32, abs=2)


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(8, 200), height=st.integers(8, 200))
def test_bits_are_those_of_the_definition_wherever_floating_point_can_tell(seed: int, width: int, height: int) -> None:
    picture = noise(seed, width, height)
    low, median = by_definition(picture)
    bits = [bool(phash64(picture) >> (63 - place) & 1) for place in range(64)]
    for bit, value in zip(bits, low, strict=True):
        # Closer than that the cosines in steps of 2**-20 may differ; about one bit in a hundred thousand.
        if abs(value - median) > 0.5:
            assert bit == (value > median)


@given(seed=st.integers(0, 2**32 - 1))
def test_half_of_the_bits_are_set_and_a_hash_is_sixteen_digits(seed: int) -> None:
    value = phash64(noise(seed))
    assert value.bit_count() <= 32
    assert int(hex16(value), 16) == value
    assert len(hex16(value)) == 16
    assert hamming(value, value) == 0
    assert hamming(value, ~value & (2**64 - 1)) == 64


def test_coefficients_that_vanish_on_paper_vanish_here_and_noise_decides_nothing() -> None:
    # Alike on both sides of both axes: all odd frequencies are zero, and so is the median.
    quarter = np.asarray(noise(3, 16, 16).convert("L"))
    half = np.hstack([quarter, quarter[:, ::-1]])
    symmetric = Image.fromarray(np.vstack([half, half[::-1]]))
    odd = [row * 8 + column for row in range(8) for column in range(8) if row % 2 or column % 2]
    assert all(not phash64(symmetric) >> (63 - place) & 1 for place in odd)
    assert phash64(Image.new("L", (50, 50), 90)) == 1 << 63


def test_spread_of_grey_is_that_of_all_pixels() -> None:
    picture = noise(5, 31, 17).convert("L")
    assert grey_std(picture) == pytest.approx(float(np.asarray(picture, float).std()), abs=1e-9)
    assert grey_std(Image.new("RGB", (9, 9), (7, 7, 7))) == 0


def test_a_flat_picture_has_no_hash_and_one_that_is_just_not_flat_has_one() -> None:
    def stripes(amplitude: int) -> bytes:
        pixels = np.where(np.arange(64) % 32 < 16, 100 - amplitude, 100 + amplitude).astype(np.uint8)
        return encoded(Image.fromarray(np.tile(pixels, (64, 1))))

    flat, just = facts_of(stripes(4)), facts_of(stripes(5))
    assert isinstance(flat, Facts)
    assert isinstance(just, Facts)
    assert (flat.grey_std, flat.phash64) == (4, None)
    assert just.grey_std == 5
    assert just.phash64 is not None


def test_an_animation_is_hashed_at_ten_fifty_and_ninety_per_cent_of_its_time() -> None:
    pictures = [noise(seed) for seed in range(4)]
    # 1000 ms in all: at 100 ms the first is shown, at 500 ms the third, at 900 ms the last.
    content = animation(pictures, "WEBP", [200, 200, 200, 400])
    found = facts_of(content)
    assert isinstance(found, Facts)
    assert (found.kind, found.duration_s) == ("animation", 1.0)
    expected = [phash64(pictures[place]) for place in (0, 2, 3)]
    keys = [int(key, 16) for key in found.keyframe_phashes]
    assert [hamming(*pair) <= 4 for pair in zip(keys, expected, strict=True)] == [True] * 3
    assert found.phash64 == found.keyframe_phashes[0]


def test_flat_frames_are_no_key_frames() -> None:
    black = Image.new("RGB", (64, 48))
    found = facts_of(animation([black, noise(1), black], "GIF", [200, 600, 200]))
    assert isinstance(found, Facts)
    assert (len(found.keyframe_phashes), found.phash64) == (1, None)


def test_facts_of_many_come_in_order_and_are_those_of_each() -> None:
    contents = [encoded(noise(seed), "JPEG") for seed in range(12)] + [b"", b"words", encoded(noise(1))[:60]]
    together = list(facts(iter(contents), thumbnail_px=32))
    assert together == [facts_of(content, 32) for content in contents]
    assert [found.reason for found in together if isinstance(found, Unusable)] == [
        "empty_file",
        "unsupported_type",
        "unreadable",
    ]


def test_facts_of_many_take_contents_only_as_they_go() -> None:
    taken = []

    def contents() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield b"words"

    stream = facts(contents())
    next(stream)
    assert len(taken) < 10
    stream.close()


@pytest.mark.skipif(not PDQ.is_dir(), reason="the shared real images are not here")
def test_real_images_are_hashed_and_gentle_edits_of_one_stay_near_it() -> None:
    paths = [path for path in sorted(PDQ.rglob("*")) if path.suffix in (".jpg", ".png")]
    found = dict(zip(paths, facts(path.read_bytes() for path in paths), strict=True))
    assert all(isinstance(made, Facts) for made in found.values())
    edits = {
        path.name: int(made.phash64 or "", 16)
        for path, made in found.items()
        if isinstance(made, Facts) and path.parent.name == "bridge-mods"
    }
    original = edits.pop("aaa-orig.jpg")
    assert max(hamming(original, value) for value in edits.values()) <= 4
    turned = {
        path.name: int(made.phash64 or "", 16)
        for path, made in found.items()
        if isinstance(made, Facts) and path.parent.name == "dih" and "original" not in path.name
    }
    assert min(hamming(original, value) for value in turned.values()) >= 20
