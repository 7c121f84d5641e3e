"""Key frames of videos.

Belongs here: taking three frames out of a file, within bounds. Does not belong here: hashing them (`phash.py`).

Decoding happens in a process of its own, which knows no secrets and may use only so much time and memory: FFmpeg's
libraries are in C, and a file made to break them takes down that process and nothing else. PyAV (extra `video`)
brings them; without it videos are turned away.
"""

import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from magpie.media.opening import MAX_ASPECT, OBSERVED_CHARS, Unusable

# Where in a video its key frames are.
SHARES = (0.1, 0.5, 0.9)
# 4K, either way round.
MAX_PIXELS = 3840 * 2160
# From the nearest frame that stands alone to the one that is sought; encoders put one at least every 250 frames.
MAX_DECODED = 1000
MAX_SECONDS = 30
MAX_MEMORY = 2 * 2**30
# Longer than this it is a film.
MAX_DURATION_S = 3600.0
# The reader is named, so that bytes cannot choose one that opens further files or addresses.
_READERS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska"}
_HEADER = struct.Struct(">I")


@dataclass(frozen=True)
class Clip:
    """A video.

    Attributes:
        width, height: in pixels as displayed.
        frames: RGB, those shown at `SHARES` of its duration.
    """

    width: int
    height: int
    duration_s: float
    frames: tuple[Image.Image, ...]


def can_decode() -> bool:
    """Whether the extra `video` is installed."""
    return importlib.util.find_spec("av") is not None


def video_clip(content: bytes, mime: str) -> Clip | Unusable:
    """Return a video's size, duration and key frames, or why there are none; never raises on what is in the bytes.

    Reasons: no_decoder, unreadable, too_many_pixels, absurd_aspect, too_long, too_slow.
    """
    if not can_decode():
        return Unusable("no_decoder", mime, "the extra `video`", mime)
    command = [sys.executable, "-c", "from magpie.media.video_frames import _serve; _serve()", mime]
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=MAX_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return Unusable("too_slow", f"more than {MAX_SECONDS} s", f"{MAX_SECONDS} s", mime)
    if done.returncode != 0:
        return Unusable("unreadable", f"the decoder ended with {done.returncode}", None, mime)
    return _received(io.BytesIO(done.stdout), mime)


def _received(answer: BinaryIO, mime: str) -> Clip | Unusable:
    (length,) = _HEADER.unpack(answer.read(_HEADER.size))
    told = json.loads(answer.read(length))
    if "reason" in told:
        return Unusable(told["reason"], told["observed"], told["threshold"], mime)
    size = told["width"], told["height"]
    frames = tuple(Image.frombytes("RGB", size, answer.read(3 * size[0] * size[1])) for _ in SHARES)
    return Clip(*size, told["duration_s"], frames)


def _serve() -> None:
    """The other process: a video on standard input, a header and pixels on standard output."""
    import resource

    for limit, value in ((resource.RLIMIT_AS, MAX_MEMORY), (resource.RLIMIT_CPU, MAX_SECONDS)):
        resource.setrlimit(limit, (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = _decoded(sys.stdin.buffer.read(), sys.argv[1])
    told: dict[str, Any]
    if isinstance(found, Unusable):
        told, pixels = {"reason": found.reason, "observed": found.observed, "threshold": found.threshold}, b""
    else:
        told = {"width": found.width, "height": found.height, "duration_s": found.duration_s}
        pixels = b"".join(frame.tobytes() for frame in found.frames)
    header = json.dumps(told).encode()
    sys.stdout.buffer.write(_HEADER.pack(len(header)) + header + pixels)


def _decoded(content: bytes, mime: str) -> Clip | Unusable:
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        with av.open(io.BytesIO(content), "r", format=_READERS[mime], metadata_errors="replace") as container:
            return _clip(container)
    except (av.FFmpegError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, EOFError) as error:
        # Messages may go on with what was open.
        told = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unusable("unreadable", " ".join(told.split())[:OBSERVED_CHARS])


def _clip(container: Any) -> Clip | Unusable:
    if not container.streams.video:
        return Unusable("unreadable", "no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        return Unusable("unreadable", "its codec is not known")
    # One thread: how many there are changes which frames a damaged file still yields.
    stream.codec_context.thread_count = 1
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        reason = "too_many_pixels" if width * height else "unreadable"
        return Unusable(reason, f"{width}x{height}", str(MAX_PIXELS))
    if max(width, height) > MAX_ASPECT * min(width, height):
        return Unusable("absurd_aspect", f"{width}x{height}", f"{MAX_ASPECT}:1")
    duration_s = _duration_s(container, stream)
    if not 0 < duration_s <= MAX_DURATION_S:
        reason = "too_long" if duration_s > 0 else "unreadable"
        return Unusable(reason, f"{duration_s:g} s", f"{MAX_DURATION_S:g} s")
    frames = tuple(_frame_at(container, stream, share * duration_s) for share in SHARES)
    if any(frame.size != frames[0].size for frame in frames):
        return Unusable("unreadable", "frames of several sizes")
    return Clip(*frames[0].size, round(duration_s, 3), frames)


def _duration_s(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return float(container.duration / 1_000_000)
    # Recorders of browsers write none: it ends where its last packet does.
    ends = [packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
    return float(max(ends) * stream.time_base) if ends and stream.time_base else 0.0


def _frame_at(container: Any, stream: Any, moment_s: float) -> Image.Image:
    """The frame shown at a moment counted from the first one."""
    start = stream.start_time or 0
    target = start + int(moment_s / stream.time_base)
    container.seek(target, stream=stream, backward=True)
    shown = None
    for number, frame in enumerate(container.decode(stream)):
        if shown is not None and (number >= MAX_DECODED or (frame.pts is not None and frame.pts > target)):
            break
        shown = frame
    if shown is None:
        raise ValueError("no frame can be decoded")
    if not 0 < shown.width * shown.height <= MAX_PIXELS:
        raise ValueError("frames of several sizes")
    picture: Image.Image = shown.to_image()
    turned = shown.rotation % 360
    return picture.rotate(turned, expand=True) if turned in (90, 180, 270) else picture
