"""Key frames of videos: taken within bounds, and no file does more harm than being unreadable."""

import importlib.util
import io
import subprocess
from typing import Any

import numpy as np
import pytest
from pictures import noise, video
from PIL import Image

from magpie.media import video_frames
from magpie.media.opening import Unusable
from magpie.media.phash import Facts, facts_of, hamming, phash64
from magpie.media.video_frames import Clip, video_clip

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="the extra `video` is not installed")
# Five seconds: a picture of its own for each.
SECONDS = [noise(seed, 96, 64) for seed in range(5)]


@pytest.fixture(scope="module")
def clip() -> bytes:
    return video([picture for picture in SECONDS for _ in range(10)])


@needs_av
@pytest.mark.parametrize(
    ("format", "codec", "mime"),
    [("mp4", "mpeg4", "video/mp4"), ("mov", "mpeg4", "video/quicktime"), ("webm", "libvpx", "video/webm")],
)
def test_key_frames_are_those_shown_at_ten_fifty_and_ninety_per_cent(format: str, codec: str, mime: str) -> None:
    found = facts_of(video([picture for picture in SECONDS for _ in range(10)], format, codec), thumbnail_px=48)
    assert isinstance(found, Facts)
    assert (found.mime, found.kind, found.width, found.height) == (mime, "video", 96, 64)
    assert found.duration_s == pytest.approx(5.0, abs=0.11)
    assert found.phash64 is None
    expected = [phash64(SECONDS[place]) for place in (0, 2, 4)]
    keys = [int(key, 16) for key in found.keyframe_phashes]
    assert [hamming(*pair) <= 8 for pair in zip(keys, expected, strict=True)] == [True] * 3
    assert found.thumbnail is not None


@needs_av
def test_a_recording_without_a_duration_ends_with_its_last_packet() -> None:
    import av

    content = video([picture for picture in SECONDS for _ in range(10)], "webm", "libvpx", live="1")
    with av.open(io.BytesIO(content)) as container:
        assert container.duration is None
    found = video_clip(content, "video/webm")
    assert isinstance(found, Clip)
    assert found.duration_s == pytest.approx(5.0, abs=0.11)
    assert hamming(phash64(found.frames[2]), phash64(SECONDS[4])) <= 8


@needs_av
def test_cut_and_changed_videos_are_unreadable_or_still_videos_and_never_an_error(clip: bytes) -> None:
    rng = np.random.default_rng(7)
    for cut in (len(clip) // 2, 40):
        found = video_clip(clip[:cut], "video/mp4")
        assert isinstance(found, Unusable)
        assert (found.reason, found.mime) == ("unreadable", "video/mp4")
    for _ in range(60):
        changed = bytearray(clip)
        for place in rng.integers(8, len(clip), int(rng.integers(1, 40))):
            changed[place] = int(rng.integers(0, 256))
        assert isinstance(video_frames._decoded(bytes(changed), "video/mp4"), Clip | Unusable)


@needs_av
def test_a_video_with_too_many_pixels_or_seconds_is_refused_before_it_is_decoded(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound, reason in (("MAX_PIXELS", 96 * 64 - 1, "too_many_pixels"), ("MAX_DURATION_S", 4.0, "too_long")):
        with monkeypatch.context() as patched:
            patched.setattr(video_frames, name, bound)
            found = video_frames._decoded(clip, "video/mp4")
            assert isinstance(found, Unusable)
            assert found.reason == reason


@needs_av
def test_a_strip_is_refused_as_a_video_too() -> None:
    found = video_frames._decoded(video([Image.new("RGB", (420, 20))] * 3), "video/mp4")
    assert isinstance(found, Unusable)
    assert (found.reason, found.observed) == ("absurd_aspect", "420x20")


@needs_av
def test_a_decoder_that_dies_or_hangs_costs_one_video_and_not_the_run(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(command: list[str], **options: Any) -> Any:
        return subprocess.CompletedProcess(command, -11, b"", b"")

    def hangs(command: list[str], **options: Any) -> Any:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    for run, reason in ((dies, "unreadable"), (hangs, "too_slow")):
        monkeypatch.setattr(video_frames.subprocess, "run", run)
        found = video_clip(clip, "video/mp4")
        assert isinstance(found, Unusable)
        assert found.reason == reason


@needs_av
def test_the_other_process_is_told_no_secrets(clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    given: dict[str, Any] = {}

    def noted(command: list[str], **options: Any) -> Any:
        given.update(options["env"])
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(video_frames.subprocess, "run", noted)
    video_clip(clip, "video/mp4")
    assert set(given) == {"PYTHONPATH"}


def test_without_a_decoder_videos_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_frames.importlib.util, "find_spec", lambda name: None)
    found = facts_of(b"\x00\x00\x00\x20ftypisom" + bytes(40))
    assert found == Unusable("no_decoder", "video/mp4", "the extra `video`", "video/mp4")
