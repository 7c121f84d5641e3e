"""How like two memes are: which rule fires for which pair, found without comparing all with all.

Belongs here: the rules for a pair. Does not belong here: which memes may be compared and which of several matches
counts (`duplicates.py`), how near hashes and similar texts are found (`hash_index.py`, `trigrams.py`).

What is near is found among distinct hashes and texts first, and only then becomes pairs of memes, so that a template
that thousands share costs one search. Both signals are needed: unrelated texts are alike now and then, and memes drawn
on one template look the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from magpie.media.hash_index import HashIndex, hashes_of
from magpie.memes.settings import Memes
from magpie.text.trigrams import similar_pairs, similarities

# In the order in which they are tried; the place in it is a rule's number.
RULES = ("sha256", "phash_text", "phash_plain", "template", "pending_text", "text_only", "keyframes")
# Copies lie some seconds apart where they were cut anew.
KEYFRAMES_NEEDED, DURATION_SLACK_S = 2, 1.0
NUMBERS = {rule: number for number, rule in enumerate(RULES)}


@dataclass(frozen=True)
class DuplicateRules:
    """Bits and similarities that are near enough, and how long texts must be to tell anything."""

    phash_max: int
    phash_plain_max: int
    near_text_min: float
    text_only_min: float
    min_text_len: int
    text_only_len: int

    @classmethod
    def of(cls, settings: Memes) -> "DuplicateRules":
        return cls(
            settings.phash_max,
            settings.phash_plain_max,
            settings.near_text_min,
            settings.text_only_min,
            settings.min_text_len,
            settings.text_only_len,
        )


@dataclass(frozen=True)
class Links:
    """What of the asked memes is near what of the others, by value: each pair of values once, however many have it.

    Attributes:
        pictures: own_hash, hash, distance; of images.
        frames: the same of key frames.
        texts: type, language, own_norm, norm, similarity.
        sha256: of the asked memes.
    """

    pictures: pl.DataFrame
    frames: pl.DataFrame
    texts: pl.DataFrame
    sha256: pl.DataFrame

    @classmethod
    def of(cls, own: pl.DataFrame, others: pl.DataFrame, rules: DuplicateRules) -> "Links":
        image = pl.col("type") == "image"
        pictures = _near_hashes(own.filter(image)["phash64"], others.filter(image)["phash64"], rules.phash_max)
        frames = _near_hashes(_frames(own)["hash"], _frames(others)["hash"], rules.phash_max)
        return cls(pictures, frames, _near_texts(own, others, rules), own.select("sha256").unique())

    def linked(self, memes: pl.DataFrame) -> pl.DataFrame:
        """Those memes that something near belongs to; asked ones are near themselves where they have anything."""
        found = [
            memes.join(self.sha256, on="sha256", how="semi"),
            memes.join(self.pictures, left_on="phash64", right_on="hash", how="semi"),
            memes.join(self.texts, on=["type", "language", "norm"], how="semi"),
            memes.join(_frames(memes).join(self.frames, on="hash", how="semi"), on="meme_id", how="semi"),
        ]
        return pl.concat(found).unique("meme_id", keep="first", maintain_order=True)


def _near_hashes(own: pl.Series, others: pl.Series, most: int) -> pl.DataFrame:
    mine, theirs = own.drop_nulls().unique(), others.drop_nulls().unique()
    pairs = HashIndex(hashes_of(theirs)).within(hashes_of(mine), most)
    return pl.DataFrame(
        {"own_hash": mine.gather(pairs["query"]), "hash": theirs.gather(pairs["stored"]), "distance": pairs["distance"]}
    )


def _frames(memes: pl.DataFrame) -> pl.DataFrame:
    """meme_id, frame, hash: one row per key frame of a video or animation."""
    moving = memes.filter(pl.col("type").is_in(["video", "animation"])).select(
        "meme_id", pl.col("keyframes").alias("hash")
    )
    numbered = moving.with_columns(pl.int_ranges(pl.col("hash").list.len()).alias("frame"))
    return numbered.explode("hash", "frame").drop_nulls("hash").select("meme_id", "frame", "hash")


def _near_texts(own: pl.DataFrame, others: pl.DataFrame, rules: DuplicateRules) -> pl.DataFrame:
    kinds = ["type", "language"]
    long = pl.col("chars") >= rules.text_only_len
    theirs = others.filter(long).select(*kinds, "norm").unique().partition_by(kinds, as_dict=True)
    mine = own.filter(long).select(*kinds, "norm").unique().sort(*kinds, "norm").partition_by(kinds, as_dict=True)
    found = [pl.DataFrame(schema={**dict.fromkeys((*kinds, "own_norm", "norm"), pl.String), "similarity": pl.Float64})]
    for (kind, language), texts in mine.items():
        if (kind, language) not in theirs:
            continue
        there = theirs[kind, language]["norm"].sort()
        pairs = similar_pairs(texts["norm"], there, rules.text_only_min)
        found.append(
            pl.select(
                pl.lit(kind).alias("type"),
                pl.lit(language).alias("language"),
                texts["norm"].gather(pairs["left"]).alias("own_norm"),
                there.gather(pairs["right"]).alias("norm"),
                pairs["similarity"],
            )
        )
    return pl.concat(found)


def pairs_of(own: pl.DataFrame, pool: pl.DataFrame, links: Links, rules: DuplicateRules) -> pl.DataFrame:
    """place, other, rule, distance, similarity: every pair of memes for which a rule fires, with the first that does.

    A pair may come twice, with several rules; the lowest counts.
    """
    other = pool.select("place", "type", "sha256", "phash64", "norm", "chars", "language", "duration_s", "meme_id")
    same = own.join(other, on=["type", "sha256"], suffix="_other").select(
        "place",
        pl.col("place_other").alias("other"),
        _rule("sha256"),
        _distance(),
        pl.lit(None, pl.Float64).alias("similarity"),
    )
    found = [same, _near_pictures(own, other, links, rules), _near_texts_of(own, other, links, rules)]
    found.append(_near_films(own, pool, links))
    return pl.concat(found).filter(pl.col("place") != pl.col("other"))


def _rule(name: str) -> pl.Expr:
    return pl.lit(NUMBERS[name], pl.Int64).alias("rule")


def _distance() -> pl.Expr:
    """Bits between the pictures of both, null where one has no hash."""

    def bits(hashes: Sequence[pl.Series]) -> pl.Series:
        known = hashes[0].is_not_null() & hashes[1].is_not_null()
        left, right = (hashes_of(column.fill_null("0" * 16)) for column in hashes)
        counted = pl.Series(np.bitwise_count(left ^ right), dtype=pl.Int64)
        return pl.select(pl.when(known).then(counted)).to_series()

    return pl.map_batches(["phash64", "phash64_other"], bits, return_dtype=pl.Int64).alias("distance")


def _near_pictures(own: pl.DataFrame, other: pl.DataFrame, links: Links, rules: DuplicateRules) -> pl.DataFrame:
    images = pl.col("type") == "image"
    pairs = (
        own.filter(images)
        .join(links.pictures, left_on="phash64", right_on="own_hash")
        .join(other.filter(images), left_on="hash", right_on="phash64", suffix="_other")
    )
    shorter, longer = pl.min_horizontal("chars", "chars_other"), pl.max_horizontal("chars", "chars_other")
    unread = pl.col("chars").is_null() | pl.col("chars_other").is_null()
    told = ~unread & (shorter >= rules.min_text_len)
    pairs = pairs.with_columns(told.alias("told"), unread.alias("unread"))
    measured = pairs.select(pl.when("told").then(name).alias(name) for name in ("norm", "norm_other"))
    pairs = pairs.with_columns(similarities(measured["norm"], measured["norm_other"]).alias("similarity"))
    rule = (
        pl.when("unread")
        .then(NUMBERS["pending_text"])
        .when(pl.col("told") & (pl.col("similarity") >= rules.near_text_min))
        .then(NUMBERS["phash_text"])
        .when("told")
        .then(NUMBERS["template"])
        .when((longer < rules.min_text_len) & (pl.col("distance") <= rules.phash_plain_max))
        .then(NUMBERS["phash_plain"])
    )
    chosen = pairs.select(
        "place", pl.col("place_other").alias("other"), rule.cast(pl.Int64).alias("rule"), "distance", "similarity"
    )
    return chosen.drop_nulls("rule")


def _near_texts_of(own: pl.DataFrame, other: pl.DataFrame, links: Links, rules: DuplicateRules) -> pl.DataFrame:
    kinds = ["type", "language"]
    pairs = (
        own.join(links.texts.rename({"norm": "norm_near"}), left_on=[*kinds, "norm"], right_on=[*kinds, "own_norm"])
        .join(other, left_on=[*kinds, "norm_near"], right_on=[*kinds, "norm"], suffix="_other")
        .select("place", pl.col("place_other").alias("other"), _rule("text_only"), _distance(), "similarity")
    )
    return pairs.filter(pl.col("distance").is_null() | (pl.col("distance") > rules.phash_max))


def _near_films(own: pl.DataFrame, pool: pl.DataFrame, links: Links) -> pl.DataFrame:
    """Pairs of videos with enough key frames near one of the other's, each frame of either counting once.

    Flat frames have no hash, so the first of those there are need not be the same moment in both.
    """

    def films(memes: pl.DataFrame) -> pl.DataFrame:
        return _frames(memes).join(memes.select("meme_id", "place", "type", "duration_s"), on="meme_id").drop("meme_id")

    matched = (
        films(own)
        .join(links.frames.rename({"hash": "near"}), left_on="hash", right_on="own_hash")
        .join(films(pool), left_on=["type", "near"], right_on=["type", "hash"], suffix="_other")
        .filter((pl.col("duration_s") - pl.col("duration_s_other")).abs() <= DURATION_SLACK_S)
    )
    nearest = matched.group_by("place", "place_other", "frame").agg(pl.col("distance").min(), "frame_other")
    counted = nearest.group_by("place", "place_other").agg(
        pl.len().alias("frames"),
        pl.col("frame_other").list.explode().n_unique().alias("frames_other"),
        pl.col("distance").sort().get(KEYFRAMES_NEEDED - 1, null_on_oob=True),
    )
    enough = pl.min_horizontal("frames", "frames_other") >= KEYFRAMES_NEEDED
    return counted.filter(enough).select(
        "place",
        pl.col("place_other").alias("other"),
        _rule("keyframes"),
        "distance",
        pl.lit(None, pl.Float64).alias("similarity"),
    )
