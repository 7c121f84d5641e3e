"""Memes, people and reactions made up for benchmarks: tables in the declared columns, without any pictures.

Belongs here: making them. Does not belong here: measuring.

Texts follow Zipf's law over invented words of one to three syllables, 0 to 19 words each; hashes are random, so what
is near another is only what was copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.memes import tables as t
from magpie.memes.base import CATALOGUE
from magpie.memes.catalogue import STATUS
from magpie.memes.duplicates import HISTORY
from magpie.tables import UTC as MOMENT
from magpie.tables import Table

START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCES = 40
VOCABULARY, LONGEST, ZIPF = 20_000, 20, 0.9
HEADS = "b bl br c ch cl cr d dr f fl fr g gr h j k l m n p pl pr qu r s sc sh sl sp st str sw t th tr v w wh y z"
VOWELS = "a e i o u ai ea ee ie oa oo ou"
TAILS = "b ck d ft g ght l ll m mp n nd ng nk nt p r rd rk rn rt s sh ss st t tch th x y"
# Shares of memes that copy an earlier one: the picture and its text, the text alone, the picture with another text.
COPIED, QUOTED, REUSED = 0.08, 0.02, 0.06
# Of 17 sends ten are reacted to, seven of those with a like.
REACTED, LIKED = 10 / 17, 0.7
DAY_US = 86_400_000_000

Numbers = npt.NDArray[np.int64]


def filled(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in the columns of a table, null where it has none."""
    missing = [pl.lit(None, kind).alias(name) for name, kind in table.dtypes.items() if name not in frame.columns]
    return table.shaped(frame.with_columns(missing))


def _words(chance: np.random.Generator) -> npt.NDArray[np.str_]:
    size = (2 * VOCABULARY, 3)
    heads, vowels, tails = (chance.choice(["", *part.split()], size) for part in (HEADS, VOWELS, TAILS))
    syllables = np.char.add(np.char.add(heads, vowels), tails)
    lengths = chance.integers(1, 4, size[0])
    words = np.unique(["".join(row[:length]) for row, length in zip(syllables, lengths, strict=True)])[1:]
    chance.shuffle(words)
    return words[:VOCABULARY]


def texts(count: int, chance: np.random.Generator) -> list[str]:
    """Made-up texts, some of them empty."""
    words = _words(chance)
    shares = 1 / np.arange(1, len(words) + 1) ** ZIPF
    bounds = np.cumsum(shares) / shares.sum()
    drawn = words[np.minimum(np.searchsorted(bounds, chance.random((count, LONGEST))), len(words) - 1)]
    lengths = chance.integers(0, LONGEST, count)
    return [" ".join(row[:length]) for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True)]


def hashes(count: int, chance: np.random.Generator) -> npt.NDArray[np.uint64]:
    return chance.integers(0, 2**64, count, dtype=np.uint64)


def near(values: npt.NDArray[np.uint64], bits: int, chance: np.random.Generator) -> npt.NDArray[np.uint64]:
    """The same hashes with up to that many bits flipped."""
    for _ in range(bits):
        values = values ^ (np.uint64(1) << chance.integers(0, 64, len(values)).astype(np.uint64))
    return values


def as_hex(values: npt.NDArray[np.uint64]) -> pl.Series:
    return pl.Series([f"{value:016x}" for value in values.tolist()], dtype=pl.String)


def facts(count: int, days: int, seed: int) -> pl.DataFrame:
    """Images in the columns of `HISTORY`, spread evenly over the days; some copy earlier ones in picture or text."""
    chance = np.random.default_rng(seed)
    codes, said = hashes(count, chance), np.array(texts(count, chance), dtype=object)
    kind, earlier = chance.random(count), (chance.random(count) * np.arange(count)).astype(np.int64)
    copied, quoted = kind < COPIED, (kind >= COPIED) & (kind < COPIED + QUOTED)
    reused = (kind >= COPIED + QUOTED) & (kind < COPIED + QUOTED + REUSED)
    codes = np.where(copied | reused, near(codes[earlier], 4, chance), codes)
    said = np.where(copied | quoted, said[earlier], said)
    step = timedelta(days=days) // count
    frame = pl.DataFrame({"number": np.arange(count), "phash64": as_hex(codes), "text": said.tolist()})
    moment = pl.lit(START, MOMENT) + pl.col("number") * pl.lit(step)
    return frame.select(
        pl.format("telegram:c{}:{}", pl.col("number") % SOURCES, pl.col("number")).alias("meme_id"),
        pl.lit("telegram").alias("platform"),
        moment.dt.date().alias("day"),
        moment.cast(MOMENT).alias("published_at"),
        pl.lit("image").alias("type"),
        pl.lit(False).alias("ad_flag"),
        pl.format("{}{}", pl.lit("0" * 48), pl.col("number").cast(pl.String).str.zfill(16)).alias("sha256"),
        "phash64",
        pl.lit([], pl.List(pl.String)).alias("keyframes"),
        pl.lit(None, pl.Float64).alias("duration_s"),
        "text",
        pl.lit("en").alias("language"),
        pl.lit("unique").alias("verdict"),
    ).select(list(HISTORY))


@dataclass(frozen=True)
class Read:
    """Rows of `memes`, `meme_media` and `meme_descriptions`."""

    memes: pl.DataFrame
    media: pl.DataFrame
    descriptions: pl.DataFrame

    @classmethod
    def of(cls, facts: pl.DataFrame) -> "Read":
        """The tables that such facts come from."""
        ok = facts.drop("verdict").with_columns(
            pl.lit("ok").alias("status"),
            pl.format("tg:{}", pl.col("meme_id").str.split(":").list.get(1)).alias("source_id"),
            pl.lit(0).alias("ord"),
            pl.col("keyframes").alias("keyframe_phashes"),
        )
        told = ok.drop("language").rename({"text": "ocr_text"})
        return cls(filled(t.MEMES, ok), filled(t.MEME_MEDIA, ok), filled(t.MEME_DESCRIPTIONS, told))


@dataclass(frozen=True)
class Audience:
    """People, the memes they are sent, and what they make of them.

    Attributes:
        events: about how many in all; days: over so many, from `START` on.
    """

    events: int
    days: int
    people: int
    memes: int
    seed: int = 1

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """The memes (`CATALOGUE`); one in twenty is a copy of the one before it."""
        number = pl.col("number")
        known = pl.DataFrame({"number": np.arange(self.memes)})
        root = pl.when(number % 20 == 19).then(number - 1).otherwise(number)
        return known.select(
            pl.format("telegram:c:{}", number).alias("meme_id"),
            pl.format("telegram:c:{}", root).alias("canonical_id"),
            pl.format("tg:c{}", number % SOURCES).alias("source_id"),
            pl.when(number == root).then(pl.lit("ok")).otherwise(pl.lit("duplicate")).alias("state"),
            pl.lit(START - timedelta(days=1), MOMENT).alias("published_at"),
            (number * 7919 % 100_000).alias("views"),
        ).select(list(CATALOGUE))

    def reactions(self) -> Iterator[tuple[date, pl.DataFrame]]:
        """Yield each day with its rows of `meme_reactions`."""
        sends = round(self.events / (1 + REACTED) / self.days)
        for number in range(self.days):
            yield (START + timedelta(days=number)).date(), self._day(number, sends)

    def _day(self, number: int, sends: int) -> pl.DataFrame:
        chance = np.random.default_rng((self.seed, number))
        # Squares: some people and memes are met far more often than others.
        user = (chance.random(sends) ** 2 * self.people).astype(np.int64)
        meme = (chance.random(sends) ** 2 * self.memes).astype(np.int64)
        at = chance.integers(0, DAY_US - 120_000_000, sends)
        reacted = chance.random(sends) < REACTED
        took = (chance.lognormal(1.3, 0.9, sends) * 1_000_000).astype(np.int64).clip(100_000, 100_000_000)
        kind = np.where(chance.random(sends) < LIKED, "like", "dislike")
        sent = pl.DataFrame({"kind": ["sent"] * sends, "user": user, "meme": meme, "us": at})
        told = pl.DataFrame(
            {"kind": kind[reacted], "user": user[reacted], "meme": meme[reacted], "us": (at + took)[reacted]}
        )
        day = START + timedelta(days=number)
        rows = pl.concat([sent, told]).with_row_index("row")
        made = rows.select(
            pl.format("e{}-{}", pl.lit(number), pl.col("row")).alias("event_id"),
            pl.lit(day.date()).alias("day"),
            (pl.lit(day, MOMENT) + pl.duration(microseconds="us")).cast(MOMENT).alias("at"),
            "kind",
            pl.format("u{}", pl.col("user")).alias("user_id"),
            pl.format("telegram:c:{}", pl.col("meme")).alias("meme_id"),
            pl.when(pl.col("kind") == "sent").then(pl.lit("lr_smoothed")).alias("engine"),
            pl.lit("ok").alias("status"),
        )
        return filled(t.MEME_REACTIONS, made)


@dataclass(frozen=True)
class Shelf:
    """A catalogue to recommend from, by table: half of it rated, a twentieth uploads, two languages."""

    status: pl.DataFrame
    stats: pl.DataFrame
    sources: pl.DataFrame
    descriptions: pl.DataFrame

    @classmethod
    def of(cls, count: int, seed: int = 1) -> "Shelf":
        chance, number = np.random.default_rng(seed), pl.col("number")
        day = START.date()
        numbered = pl.DataFrame({"number": np.arange(count), "draw": chance.random(count)}).with_columns(
            pl.when(number % 20 == 0).then(pl.lit("upload")).otherwise(pl.lit("telegram")).alias("platform"),
            pl.lit(day).alias("day"),
        )
        numbered = numbered.with_columns(pl.format("{}:c:{}", "platform", number).alias("meme_id"))
        ok = numbered.with_columns(
            pl.lit("ok").alias("status"),
            pl.format("tg:c{}", number % (10 * SOURCES)).alias("source_id"),
            pl.lit("image").alias("type"),
            pl.when(pl.col("draw") < 0.7).then(pl.lit("en")).otherwise(pl.lit("ru")).alias("language"),
            (pl.lit(START, MOMENT) + pl.duration(milliseconds=number * 86_000_000 // count))
            .cast(MOMENT)
            .alias("published_at"),
            pl.lit("ok").alias("state"),
            pl.col("meme_id").alias("canonical_id"),
            pl.lit(True).alias("servable"),
            pl.lit("rules").alias("decided_by"),
        )
        assert set(STATUS) <= set(ok.columns)
        return cls(
            filled(t.MEME_STATUS, ok),
            _stats(numbered.filter(number % 2 == 0), chance),
            _sources(day),
            _descriptions(ok, chance),
        )


def _stats(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    count = rows.height
    sent = (chance.pareto(1.2, count) * 8).astype(np.int64).clip(0, 20_000)
    likes = chance.binomial(sent, chance.beta(2, 4, count))
    made = rows.with_columns(
        pl.Series("nsent", sent),
        pl.Series("nlikes", likes),
        pl.Series("ndislikes", chance.binomial(sent - likes, 0.4)),
        pl.lit(20, pl.Int64).alias("age_days"),
        pl.Series("sec_to_react", chance.lognormal(1.3, 0.9, count)),
        pl.Series("raw_rank", chance.integers(0, 5, count)),
        pl.Series("invited", chance.integers(0, 3, count)),
        pl.lit(0, pl.Int64).alias("invited_by_channel"),
        pl.Series("lr_smoothed", chance.normal(0, 0.2, count)),
        pl.Series("engagement", chance.normal(0, 0.2, count)),
        pl.Series("n_lr", sent),
        pl.Series("n_es", sent),
        pl.lit(START + timedelta(days=1), MOMENT).alias("as_of"),
    )
    return filled(t.MEME_STATS, made)


def _sources(day: date) -> pl.DataFrame:
    rows = pl.DataFrame({"number": range(10 * SOURCES)})
    counts = {"nlikes": 3000, "ndislikes": 1000, "nsent_events": 9000, "nmemes": 500, "nmemes_sent": 400}
    return filled(
        t.SOURCE_STATS,
        rows.with_columns(
            pl.format("tg:c{}", pl.col("number")).alias("source_id"),
            pl.lit(day).alias("day"),
            *(pl.lit(value, pl.Int64).alias(name) for name, value in counts.items()),
            pl.lit(100, pl.Int64).alias("processed_7d"),
            pl.lit(START + timedelta(days=1), MOMENT).alias("as_of"),
        ),
    )


def _descriptions(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    words = pl.Series(chance.integers(0, 45, rows.height))
    told = rows.drop("language").with_columns(
        pl.lit(0, pl.Int64).alias("attempts"),
        pl.select(pl.lit("word ").repeat_by(words).list.join("")).to_series().alias("ocr_text"),
        pl.lit("local").alias("ocr_engine"),
        pl.lit(0, pl.Int64).alias("failures"),
        pl.lit(0).alias("cost_usd"),
    )
    return filled(t.MEME_DESCRIPTIONS, told)
