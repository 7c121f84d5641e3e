"""The pictures of the sample, drawn from `pictures.yaml`.

Belongs here: shapes, letters, copies with their small differences, moving pictures. Does not belong here: which post
shows what (`posts.yaml`).

Pillow's own font has no Cyrillic, so those letters are strokes, and no font of the system is needed.
"""

import io
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import yaml
from PIL import Image, ImageDraw, ImageFont

RECIPES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "pictures.yaml").read_text("utf-8"))
WIDTH, HEIGHT = 480, 320
# Shapes and strokes are drawn larger and made smaller, which leaves smooth edges.
ZOOM = 2
LETTER, MARGIN, LINE = 30, 14, 42
QUALITY = 82
# Of moving pictures: smaller, so that the files are, and as slow as a flip book.
MOVING, RATE = (240, 160), 8
SHIFT = 9
# Without code for this or that processor, which also reads beyond the edge of a frame, bytes are the same everywhere.
ENCODER = {"x264-params": "threads=1:asm=0"}
INK, PAPER = "#161616", "#fdfdfd"
# Strokes from point to point; a point is a column 0 to 4 and a row 0 to 6.
STROKES = {
    "А": "06 20 46/14 34", "Б": "40 00 06 36 45 44 33 03", "В": "00 30 41 42 33 44 45 36 06 00/03 33",
    "Г": "40 00 06", "Д": "06 05 45 46/15 10 30 35", "Е": "40 00 06 46/03 33", "Ё": "41 01 06 46/03 33/10/30",
    "Ж": "00 23 06/40 23 46/20 26", "З": "01 10 30 41 42 33 44 45 36 16 05/13 33", "И": "00 06 40 46",
    "Й": "02 06 42 46/10 21 30", "К": "00 06/40 03 46", "Л": "06 15 10 40 46", "М": "06 00 23 40 46",
    "Н": "00 06/40 46/03 43", "О": "10 30 41 45 36 16 05 01 10", "П": "06 00 40 46", "Р": "06 00 30 41 42 33 03",
    "С": "41 30 10 01 05 16 36 45", "Т": "00 40/20 26", "У": "00 23/40 16 06", "Ф": "20 26/11 31 42 43 34 14 03 02 11",
    "Х": "00 46/40 06", "Ц": "00 05 45 46/30 35", "Ч": "00 02 13 43/40 46", "Ш": "00 06 46 40/20 26",
    "Ъ": "00 10 16 36 45 44 33 13", "Ы": "00 06 16 25 24 13 03/40 46", "Ь": "00 06 36 45 44 33 03",
    "Э": "01 10 30 41 45 36 16 05/23 43", "Ю": "00 06/03 13/20 30 41 45 36 26 15 11 20",
    "Я": "46 40 10 01 02 13 43/23 06",
}  # fmt: skip


@cache
def content(name: str) -> bytes:
    """The bytes of a file of `pictures.yaml`."""
    recipe = RECIPES["files"][name]
    if "text" in recipe:
        return str(recipe["text"]).encode()
    if "cut" in recipe:
        whole = content(recipe["of"])
        return whole[: int(len(whole) * recipe["cut"])]
    if "frames" in recipe:
        frames = [moving(recipe["scene"], SHIFT * number) for number in range(recipe["frames"])]
        return gif(frames) if name.endswith(".gif") else mp4(frames, recipe["rate"])
    return encoded(changed(recipe) if "of" in recipe else drawn(recipe), name, recipe.get("quality", QUALITY))


def encoded(picture: Image.Image, name: str, quality: int) -> bytes:
    out = io.BytesIO()
    if name.endswith(".png"):
        # A palette, as nothing here has more colours than that.
        picture.quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    else:
        picture.save(out, "WEBP" if name.endswith(".webp") else "JPEG", quality=quality)
    return out.getvalue()


def drawn(recipe: Mapping[str, Any]) -> Image.Image:
    """A picture in one colour, or a scene with what is written above and below it."""
    if "flat" in recipe:
        return Image.new("RGB", (WIDTH, HEIGHT), recipe["flat"])
    parts = [scene(recipe["scene"])]
    if "top" in recipe:
        parts = [written(recipe["top"]), *parts, written(recipe["bottom"])]
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    return picture


def scene(name: str, shift: int = 0) -> Image.Image:
    """A scene, moved to the right by so many pixels on its background."""
    picture = Image.new("RGB", (ZOOM * WIDTH, ZOOM * HEIGHT))
    pen = ImageDraw.Draw(picture)
    for line in RECIPES["scenes"][name].splitlines():
        kind, colour, *numbers = line.split()
        values = [int(number) for number in numbers]
        width, values = (values[0], values[1:]) if kind in ("line", "arc") else (0, values)
        angles, values = (values[4:], values[:4]) if kind == "arc" else ([], values)
        points = [ZOOM * (value + (shift if place % 2 == 0 else 0)) for place, value in enumerate(values)]
        if kind == "back":
            pen.rectangle((0, 0, *picture.size), fill=colour)
        elif kind == "box":
            pen.rectangle(points, fill=colour)
        elif kind == "oval":
            pen.ellipse(points, fill=colour)
        elif kind == "poly":
            pen.polygon(points, fill=colour)
        elif kind == "line":
            pen.line(points, fill=colour, width=ZOOM * width, joint="curve")
        else:
            pen.arc(points, angles[0], angles[1], fill=colour, width=ZOOM * width)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def written(text: str) -> Image.Image:
    """A band of white with one line of text in its middle."""
    line = strokes(text) if text[0] in STROKES else typed(text)
    picture = Image.new("RGB", (WIDTH, LINE + MARGIN), PAPER)
    picture.paste(line, ((WIDTH - line.width) // 2, (picture.height - line.height) // 2))
    return picture


def typed(text: str) -> Image.Image:
    font = ImageFont.load_default(LETTER)
    picture = Image.new("RGB", (int(font.getlength(text)) + 1, LINE), PAPER)
    ImageDraw.Draw(picture).text((0, LINE // 2), text, INK, font, anchor="lm")
    if picture.width > WIDTH - MARGIN:
        return picture.resize((WIDTH - MARGIN, LINE), Image.Resampling.LANCZOS)
    return picture


def strokes(text: str) -> Image.Image:
    step, thick, above = 8, 8, 18
    advance = 7 * step
    picture = Image.new("RGB", (advance * len(text), ZOOM * LINE), PAPER)
    pen = ImageDraw.Draw(picture)
    for place, letter in enumerate(text):
        for stroke in STROKES[letter].split("/") if letter != " " else ():
            grid = [(int(point[0]), int(point[1])) for point in stroke.split()]
            points = [(advance * place + step * (x + 1), above + step * y) for x, y in grid]
            pen.line(points, fill=INK, width=thick)
            for x, y in points:
                pen.ellipse((x - thick // 2, y - thick // 2, x + thick // 2, y + thick // 2), fill=INK)
    return picture.resize((min(picture.width // ZOOM, WIDTH - MARGIN), LINE), Image.Resampling.LANCZOS)


def changed(recipe: Mapping[str, Any]) -> Image.Image:
    """A copy as it comes back from elsewhere: framed, of another size."""
    with Image.open(io.BytesIO(content(recipe["of"]))) as source:
        picture = source.convert("RGB")
    if "border" in recipe:
        left, above, right, below = recipe["border"]
        framed = Image.new("RGB", (picture.width + left + right, picture.height + above + below), INK)
        framed.paste(picture, (left, above))
        picture = framed
    scale = recipe.get("scale", 1)
    return picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.LANCZOS)


def moving(name: str, shift: int) -> Image.Image:
    return scene(name, shift).resize(MOVING, Image.Resampling.LANCZOS)


def gif(frames: list[Image.Image]) -> bytes:
    out = io.BytesIO()
    first, *rest = [frame.quantize(32, dither=Image.Dither.NONE) for frame in frames]
    first.save(out, "GIF", save_all=True, append_images=rest, duration=150, loop=0)
    return out.getvalue()


def mp4(frames: list[Image.Image], rate: int) -> bytes:
    """A video in H.264 of so many bits a second."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", RATE, options=ENCODER)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = MOVING
        stream.pix_fmt, stream.bit_rate = "yuv420p", rate
        stream.time_base = Fraction(1, RATE)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()
