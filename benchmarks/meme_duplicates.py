"""How many copies of memes are found, and how many others are taken for copies: our rules and a bare hash.

Belongs here: pairs whose truth is known, the verdicts on them, the tables. Does not belong here: the rules themselves
(`magpie/memes`), how fast they are (`memes.py`).

    python -m benchmarks.meme_duplicates [--templates 40] [--read 10]

Two sets. The first is made at run time: pictures with a text, copies of them as channels make them, and other jokes on
the same pictures, which are to be kept apart; then pictures without text. The second is the PDQ project's test
pictures, labelled by their file names; nobody wrote on them, so only the hash decides. Texts are once as they were
written (a perfect reader) and once as the local reader sees them in the very picture (extra `ocr`).

Each pair goes through the whole verdict alone: both pictures become bytes, facts and rows. The reference calls a pair
a copy where the hashes are at most so many bits apart, and looks at no text.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import polars as pl
from PIL import Image, ImageOps

from benchmarks import meme_pictures as drawn
from benchmarks import meme_world
from benchmarks.machine import describe
from magpie.media.ocr import Reader, local_reader
from magpie.media.phash import Facts, facts_of, hamming
from magpie.media.watermark import marked
from magpie.memes import tables as t
from magpie.memes.duplicates import HISTORY, meme_duplicates
from magpie.memes.likeness import DuplicateRules
from magpie.memes.settings import Memes

SEED = 20_261_121
# Words of a joke.
SHORTEST, LONGEST = 5, 11
# The thresholds of the reference, in bits: what the rules use for pictures without text, with text, and a common one.
BARE = (4, 9, 12)
RULES = DuplicateRules.of(Memes())


@dataclass(frozen=True)
class Side:
    """One picture of a pair, with its text as it was written; None: nobody read it."""

    content: bytes
    text: str | None


@dataclass(frozen=True)
class Pair:
    """Two pictures, the kind of the pair, and whether the second is a copy of the first."""

    kind: str
    copy: bool
    first: Side
    second: Side


@dataclass(frozen=True)
class Told:
    """What became of a pair: our verdict and rule, and bits between the hashes, None where one has none."""

    pair: Pair
    verdict: str
    rule: str | None
    bits: int | None


def _jpeg30(picture: Image.Image) -> bytes:
    return drawn.as_jpeg(picture, 30)


def _half(picture: Image.Image) -> bytes:
    return drawn.as_jpeg(picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS))


def _bordered(picture: Image.Image) -> bytes:
    return drawn.as_jpeg(ImageOps.expand(picture, round(picture.width * 0.02), (255, 255, 255)))


def _cropped(picture: Image.Image) -> bytes:
    x, y = round(picture.width * 0.05), round(picture.height * 0.05)
    return drawn.as_jpeg(picture.crop((x, y, picture.width - x, picture.height - y)))


def _watermarked(picture: Image.Image) -> bytes:
    content = marked(picture, "@another_channel")
    assert content is not None
    return content


VARIANTS: dict[str, Callable[[Image.Image], bytes]] = {
    "half the size": _half,
    "JPEG of quality 30": _jpeg30,
    "border of 2 %": _bordered,
    "5 % cut off each side": _cropped,
    "watermark": _watermarked,
}


def made_pairs(count: int) -> Iterator[Pair]:
    """Copies of each picture in every way; other texts on it; and another picture with another text."""
    chance, before = Random(SEED), None
    for picture in drawn.templates(count, SEED):
        text, other = (drawn.sentence(chance, chance.randint(SHORTEST, LONGEST)) for _ in range(2))
        meme = drawn.captioned(picture, text)
        first = Side(drawn.as_jpeg(meme), text)
        for kind, change in VARIANTS.items():
            yield Pair(kind, True, first, Side(change(meme), text))
        second = Side(drawn.as_jpeg(drawn.captioned(picture, other)), other)
        yield Pair("same picture, other joke", False, first, second)
        for kind, share in (("same picture, half of the words other", 0.5), ("same picture, one word other", 0.0)):
            changed = _reworded(text, share, chance)
            yield Pair(kind, False, first, Side(drawn.as_jpeg(drawn.captioned(picture, changed)), changed))
        if before is not None:
            yield Pair("other picture, other joke", False, before, first)
        before = second


def _reworded(text: str, share: float, chance: Random) -> str:
    """The text with that share of its words, at least one, replaced by words that are not in it."""
    words = text.split()
    for place in chance.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = chance.choice([word for word in drawn.WORDS if word not in words])
    return " ".join(words)


def plain_pairs(count: int) -> Iterator[Pair]:
    """Copies of pictures without any text, in every way; and each with the one before it."""
    before = None
    for picture in drawn.templates(count, SEED + 1):
        first = Side(drawn.as_jpeg(picture), "")
        for kind, change in VARIANTS.items():
            yield Pair(kind, True, first, Side(change(picture), ""))
        if before is not None:
            yield Pair("other picture", False, before, first)
        before = first


# Of a photo of a bridge: what a file was made by, and whether one who looks at it says that it is the same picture.
BRIDGE = {
    "blurred, sharpened, toned": ("bridge-mods", ("blur*", "high*", "sharpen*"), True),
    "made smaller": ("bridge-mods", ("shrink*",), True),
    "squeezed into a square": ("bridge-mods", ("square*",), True),
    "turned or mirrored": ("dih", ("bridge-[2-8]*",), False),
    "other colour modes": ("misc-images/modes", ("1.png", "RGB.jpg", "YCbCr.jpg"), True),
}
LABELLED = ("labelme-subset", "misc-images")


def pdq_pairs(folder: Path) -> Iterator[Pair]:
    """The bridge with its variants, and each two pictures of different things; nothing is written on any."""
    original = folder / "bridge-mods/aaa-orig.jpg"
    first = Side(original.read_bytes(), "")
    for kind, (place, patterns, copy) in BRIDGE.items():
        for path in sorted(path for pattern in patterns for path in (folder / place).glob(pattern)):
            yield Pair(kind, copy, first, Side(path.read_bytes(), ""))
    apart = [original, *(path for place in LABELLED for path in sorted((folder / place).glob("*.jpg")))]
    for number, one in enumerate(apart):
        for other in apart[number + 1 :]:
            sides = (Side(path.read_bytes(), "") for path in (one, other))
            yield Pair("different things", False, *sides)


class Judge:
    """Takes pairs through the stage; what was seen and read of equal bytes is kept."""

    def __init__(self, reader: Reader | None) -> None:
        """`reader` reads the texts; None: they are as they were written."""
        self._reader = reader
        self._seen: dict[bytes, Facts] = {}
        self._read: dict[bytes, str | None] = {}

    def told(self, pair: Pair) -> Told:
        """The verdict on the second picture when the first is all that is known."""
        first, second = (self._facts(side) for side in (pair.first, pair.second))
        earlier, later = self._row(pair.first, first, 0), self._row(pair.second, second, 1)
        read = meme_world.Read.of(later)
        found = meme_duplicates(
            read.memes, read.media, read.descriptions, earlier, t.MEME_MODERATION.empty(), RULES
        ).row(0, named=True)
        bits = None
        if first.phash64 is not None and second.phash64 is not None:
            bits = hamming(int(first.phash64, 16), int(second.phash64, 16))
        return Told(pair, found["verdict"], found["rule"], bits)

    def _facts(self, side: Side) -> Facts:
        if side.content not in self._seen:
            found = facts_of(side.content)
            assert isinstance(found, Facts)
            self._seen[side.content] = found
        return self._seen[side.content]

    def _text(self, side: Side) -> str | None:
        if self._reader is None:
            return side.text
        if side.content not in self._read:
            self._read[side.content] = self._reader.read(side.content)
        return self._read[side.content]

    def _row(self, side: Side, seen: Facts, number: int) -> pl.DataFrame:
        row = {
            "meme_id": f"telegram:c:{number}",
            "platform": "telegram",
            "day": meme_world.START.date(),
            "published_at": meme_world.START + timedelta(minutes=number),
            "type": "image",
            "ad_flag": False,
            "sha256": seen.sha256,
            "phash64": seen.phash64,
            "keyframes": [],
            "duration_s": None,
            "text": self._text(side),
            "language": "en",
            "verdict": "unique",
        }
        return pl.DataFrame([row], schema=HISTORY)


def kinds_table(found: Sequence[Told]) -> str:
    """A line per kind of pair: of how many our rules and each bare threshold say that they are copies."""
    named = "".join(f" d <= {bits} |" for bits in BARE)
    lines = [f"| pairs | truth | n | ours: copy | by rule |{named} bits, median (most) |"]
    lines.append("|---|---|---:|---:|---|" + "---:|" * (len(BARE) + 1))
    for kind in dict.fromkeys(each.pair.kind for each in found):
        mine = [each for each in found if each.pair.kind == kind]
        rules = pl.Series([each.rule or "none" for each in mine]).value_counts(sort=True).rows()
        told = ", ".join(f"{rule} {count}" for rule, count in rules)
        bits = sorted(each.bits for each in mine if each.bits is not None)
        apart = f"{bits[len(bits) // 2]} ({bits[-1]})" if bits else "no hash"
        truth = "copy" if mine[0].pair.copy else "none"
        ours = sum(each.verdict == "duplicate" for each in mine)
        bare = "".join(f" {sum(_near(each, most) for each in mine)} |" for most in BARE)
        lines.append(f"| {kind} | {truth} | {len(mine)} | {ours} | {told} |{bare} {apart} |")
    return "\n".join(lines)


def _near(told: Told, most: int) -> bool:
    return told.bits is not None and told.bits <= most


def quality_table(found: Sequence[Told]) -> str:
    """Precision and recall over all pairs: ours, and of each bare threshold."""
    sides: dict[str, Callable[[Told], bool]] = {"**our rules**": lambda each: each.verdict == "duplicate"}
    sides |= {f"bare hash, d <= {bits}": lambda each, bits=bits: _near(each, bits) for bits in BARE}  # type: ignore[misc]
    lines = ["| | precision | recall | copies found | others taken for copies |", "|---|---:|---:|---:|---:|"]
    copies = sum(each.pair.copy for each in found)
    for name, says in sides.items():
        right = sum(says(each) for each in found if each.pair.copy)
        wrong = sum(says(each) for each in found if not each.pair.copy)
        precision = f"{right / (right + wrong):.3f}" if right + wrong else "none said"
        figures = f"{precision} | {right / copies:.3f} | {right} of {copies} | {wrong} of {len(found) - copies}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


def _print(title: str, judge: Judge, pairs: Sequence[Pair]) -> None:
    found = [judge.told(pair) for pair in pairs]
    print(f"\n### {title}\n\n{kinds_table(found)}\n\n{quality_table(found)}")


def main() -> None:
    """Print the tables; what is not at hand is named."""
    parser = argparse.ArgumentParser(description="Copies of memes found, and others taken for copies")
    parser.add_argument("--templates", type=int, default=40, help="pictures that copies and other jokes are made of")
    parser.add_argument("--read", type=int, default=10, help="of which so many are read, a second for each picture")
    chosen = parser.parse_args()
    print(describe(("polars", "pillow", "rapidocr")))
    made, plain, reader = list(made_pairs(chosen.templates)), list(plain_pairs(chosen.templates)), local_reader()
    print(f"{chosen.templates} pictures, half of them windows of {len(drawn.photos())} photos, the others drawn")
    _print("Made pictures, texts as written", Judge(None), made)
    _print("Made pictures without text", Judge(None), plain)
    if reader is None:
        print("\nThe extra `ocr` is not installed: texts as read are left out.")
    else:
        some = list(made_pairs(chosen.read))
        _print(f"{chosen.read} of them, texts as read from the picture", Judge(reader), some)
    if not drawn.PHOTOS.is_dir():
        print(f"\n{drawn.PHOTOS} is not there: the PDQ pictures are left out.")
        return
    photos = list(pdq_pairs(drawn.PHOTOS))
    _print("PDQ pictures, known to have no text", Judge(None), photos)
    if reader is not None:
        _print("PDQ pictures, read", Judge(reader), photos)


if __name__ == "__main__":
    main()
