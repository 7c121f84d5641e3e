"""Pictures and videos that tests draw themselves."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def scene() -> Image.Image:
    """640x480 of waves, a yellow box and a blue ellipse."""
    y, x = np.mgrid[0:480, 0:640]
    grey = np.clip(127 + 80 * np.sin(x / 45) * np.cos(y / 60) + 0.08 * x, 0, 255).astype(np.uint8)
    picture = Image.merge("RGB", [Image.fromarray(grey)] * 3)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((60, 60, 260, 200), fill=(240, 230, 40))
    draw.ellipse((380, 240, 560, 420), fill=(20, 30, 160))
    return picture


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def noise(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """Blocks of random grey: nothing like the picture of another seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")


def animation(pictures: Sequence[Image.Image], format: str = "GIF", ms: int | list[int] = 100) -> bytes:
    more = list(pictures[1:])
    return encoded(pictures[0], format, save_all=True, append_images=more, duration=ms, loop=0)


def video(pictures: Sequence[Image.Image], format: str = "mp4", codec: str = "mpeg4", **options: str) -> bytes:
    """Ten frames a second, one per picture; the caller skips where PyAV is not installed."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=format, options=options) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return out.getvalue()
