"""Pictures with a line of text, as memes are: cut from real photos where they are at hand, drawn where not.

Belongs here: making pictures for benchmarks of memes. Does not belong here: measuring.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageStat

PHOTOS = Path("../shared/data/memes/pdq")
# The widest side of what channels post.
SIDE = 1080
# Of grey values: a piece of plain sky has no hash, and is no meme. Photos below it as a whole are left out.
LEAST_SPREAD = 15
TALK = (
    "when the build passes on friday and nobody dares to deploy my cat explains again why monday was cancelled "
    "grandma found our group chat so the printer sings at night while three ducks queue for coffee send help "
    "before lunch every spreadsheet hides one brave potato that learned how to juggle umbrellas inside the lift"
)
WORDS = tuple(dict.fromkeys(TALK.split()))


def photos() -> list[Image.Image]:
    """The photos that variants of no other are, or none."""
    found = [PHOTOS / "bridge-mods/aaa-orig.jpg", *sorted((PHOTOS / "labelme-subset").glob("*.jpg"))]
    opened = (Image.open(path).convert("RGB") for path in found if path.is_file())
    return [photo for photo in opened if ImageStat.Stat(photo.convert("L")).stddev[0] >= 2 * LEAST_SPREAD]


def templates(count: int, seed: int) -> Iterator[Image.Image]:
    """Yield pictures of 1080 pixels on the long side: windows of photos, turned over and toned, or drawn shapes."""
    chance, held = Random(seed), photos()
    for number in range(count):
        picture = _window(held[number % len(held)], chance) if held and number % 2 else _drawn(chance)
        yield picture


def _window(photo: Image.Image, chance: Random) -> Image.Image:
    part = _part(photo, chance)
    while ImageStat.Stat(part.convert("L")).stddev[0] < LEAST_SPREAD:
        part = _part(photo, chance)
    share = SIDE / max(part.size)
    return part.resize((round(part.width * share), round(part.height * share)), Image.Resampling.BICUBIC)


def _part(photo: Image.Image, chance: Random) -> Image.Image:
    width, height = (int(side * chance.uniform(0.35, 0.8)) for side in photo.size)
    left, top = chance.randrange(photo.width - width), chance.randrange(photo.height - height)
    part = photo.crop((left, top, left + width, top + height))
    if chance.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part


def _drawn(chance: Random) -> Image.Image:
    width, height = SIDE, chance.choice((720, 810, 1080))
    blocks = np.random.default_rng(chance.randrange(2**32)).integers(40, 216, (5, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(chance.randint(3, 7)):
        x, y, w, h = (chance.randrange(side) for side in (width, height, width // 2, height // 2))
        shape = chance.choice((draw.ellipse, draw.rectangle))
        shape((x, y, x + w + 20, y + h + 20), fill=tuple(chance.randrange(256) for _ in range(3)))
    return picture


def sentence(chance: Random, words: int) -> str:
    """Words without sense, none twice."""
    return " ".join(chance.sample(WORDS, words))


def captioned(picture: Image.Image, text: str) -> Image.Image:
    """Write a text over the lower part in white with a black outline, as memes have it."""
    made = picture.copy()
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(made.width // 22)
    words, lines = text.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if draw.textlength(longer, font) < made.width * 0.9 else [*lines, word]
    step = round(made.width / 18)
    for number, line in enumerate(reversed(lines), start=1):
        place = (made.width / 2, made.height - number * step - step / 2)
        draw.text(place, line, (255, 255, 255), font, anchor="mt", stroke_width=3, stroke_fill=(0, 0, 0))
    return made


def as_jpeg(picture: Image.Image, quality: int = 88) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()
