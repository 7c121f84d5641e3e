"""The memes that may be recommended, column by column, with what is known of each.

Belongs here: joining status, ratings and words into arrays that engines filter and score, and finding the meme that
another is a copy of. Does not belong here: scores (`engines.py`), people (`people.py`), reading the lake
(`serving.py`).

A queue is filled while a person waits, so the catalogue is laid out once and filled from many times: rows stand newest
first, which is the order in which equal scores rank, and ids are compared as numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from magpie.tables import UTC

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

STATUS = pl.Schema(
    {
        **dict.fromkeys(("meme_id", "canonical_id", "platform", "source_id", "language"), pl.String()),
        "day": pl.Date(),
        "published_at": UTC,
        "servable": pl.Boolean(),
    }
)
STATS = pl.Schema(
    {
        "meme_id": pl.String(),
        **dict.fromkeys(("nlikes", "ndislikes", "nsent", "raw_rank", "invited"), pl.Int64()),
        **dict.fromkeys(("sec_to_react", "lr_smoothed", "engagement"), pl.Float64()),
    }
)
SOURCES = pl.Schema({"source_id": pl.String(), **dict.fromkeys(("nlikes", "ndislikes", "nsent_events"), pl.Int64())})
WORDS = pl.Schema({"meme_id": pl.String(), "words": pl.Int64()})
RECENT = pl.Schema({"meme_id": pl.String(), "user_id": pl.String()})
# Of counts and ranks that are not known. No filter holds for it.
UNKNOWN = -1


@dataclass(frozen=True)
class Catalogue:
    """Servable memes, newest first, then by id; all arrays have a value per meme unless said otherwise.

    Attributes:
        memes: meme_id, platform, day, language (in lower case).
        ids: of all memes that have a status, sorted; `root` is the place of its canonical meme among them.
        roots: of each of `ids`, the place of its canonical meme.
        source_of: of each of `ids`, the source of its canonical meme, null where that has no status.
        sources, languages: by number; `source` and `language` hold numbers.
        published_us: microseconds since 1970.
        raw_rank, words: `UNKNOWN` where they are; words of the text in the picture.
        sec_to_react: seconds, NaN where unknown.
        recent_likes: people among the latest likes of all.
        source_likes, source_dislikes, source_sent: by number of a source.
    """

    memes: pl.DataFrame
    ids: pl.Series
    roots: Ints
    source_of: pl.Series
    sources: pl.Series
    languages: pl.Series
    root: Ints
    source: Ints
    language: Ints
    published_us: Ints
    upload: Mask
    likes: Ints
    dislikes: Ints
    sent: Ints
    invited: Ints
    raw_rank: Ints
    words: Ints
    recent_likes: Ints
    sec_to_react: Floats
    lr_smoothed: Floats
    engagement: Floats
    source_likes: Ints
    source_dislikes: Ints
    source_sent: Ints

    @classmethod
    def of(
        cls,
        status: pl.DataFrame,
        stats: pl.DataFrame,
        sources: pl.DataFrame,
        words: pl.DataFrame,
        recent: pl.DataFrame,
    ) -> "Catalogue":
        """Lay out what the tables say.

        Args:
            status: `STATUS` of every meme, servable or not.
            stats: `STATS`, the latest row of each canonical meme; one without a row was never met.
            sources: `SOURCES`, the latest row of each source.
            words: `WORDS`; without a row, or null, the text was not read.
            recent: `RECENT`, the latest likes of all, whoever gave them.
        """
        ids = pl.concat([status["meme_id"], status["canonical_id"]]).unique().sort()
        numbered = pl.DataFrame({"meme_id": ids}).with_row_index("place")
        places = numbered.select("meme_id", pl.col("place").cast(pl.Int64))
        joined = places.join(status.select("meme_id", "canonical_id", "source_id"), on="meme_id", how="left")
        rooted = joined.sort("place").join(
            places.rename({"meme_id": "canonical_id", "place": "root"}),
            on="canonical_id",
            how="left",
            maintain_order="left",
        )
        roots = rooted.select(pl.coalesce("root", "place"))["root"]
        of_source = status["source_id"].unique().sort()
        rows = _rows(status, stats, words, _counted(recent, rooted), places, of_source)
        rated = pl.DataFrame({"source_id": of_source}).join(
            sources.select(list(SOURCES)), on="source_id", how="left", maintain_order="left"
        )
        languages = rows["language"].unique().sort()
        by_source = {name: rated[name].fill_null(0).to_numpy() for name in ("nlikes", "ndislikes", "nsent_events")}
        return cls(
            memes=rows.select("meme_id", "platform", "day", "language"),
            ids=ids,
            roots=roots.to_numpy(),
            source_of=rooted["source_id"].gather(roots),
            sources=of_source,
            languages=languages,
            root=roots.to_numpy()[rows["place"].to_numpy()],
            source=rows["source"].to_numpy(),
            language=_places(languages, rows["language"]),
            published_us=rows["published_at"].to_physical().to_numpy(),
            upload=(rows["platform"] == "upload").to_numpy(),
            likes=rows["nlikes"].to_numpy(),
            dislikes=rows["ndislikes"].to_numpy(),
            sent=rows["nsent"].to_numpy(),
            invited=rows["invited"].to_numpy(),
            raw_rank=rows["raw_rank"].to_numpy(),
            words=rows["words"].to_numpy(),
            recent_likes=rows["recent"].to_numpy(),
            sec_to_react=rows["sec_to_react"].to_numpy(),
            lr_smoothed=rows["lr_smoothed"].to_numpy(),
            engagement=rows["engagement"].to_numpy(),
            source_likes=by_source["nlikes"],
            source_dislikes=by_source["ndislikes"],
            source_sent=by_source["nsent_events"],
        )

    @property
    def height(self) -> int:
        return self.memes.height

    def partition(self, meme_id: str) -> tuple[str, date] | None:
        """Platform and day of a servable meme, None if it is none."""
        found = self.memes.filter(pl.col("meme_id") == meme_id)
        return (found["platform"][0], found["day"][0]) if found.height else None

    def canonical(self, meme_ids: pl.Series) -> pl.DataFrame:
        """Return canonical_id and source_id of each meme, in order; one without a status is its own, of no source."""
        places = _places(self.ids, meme_ids)
        known = places >= 0
        roots = self.roots[places[known]]
        where = pl.Series(np.flatnonzero(known), dtype=pl.UInt32)
        found = pl.DataFrame(
            {"row": where, "canonical_id": self.ids.gather(roots), "source_id": self.source_of.gather(roots)}
        )
        given = pl.DataFrame({"meme_id": meme_ids}).with_row_index("row")
        joined = given.join(found, on="row", how="left", maintain_order="left")
        return joined.select(pl.coalesce("canonical_id", "meme_id").alias("canonical_id"), "source_id")

    def among(self, canonical_ids: Iterable[str]) -> Mask:
        """Which memes have one of these as their canonical meme."""
        places = _places(self.ids, pl.Series(list(canonical_ids), dtype=pl.String))
        flags = np.zeros(len(self.ids), dtype=bool)
        flags[places[places >= 0]] = True
        return flags[self.root]

    def in_languages(self, languages: Iterable[str]) -> Mask:
        """Which memes are in one of these languages."""
        return self.languages.is_in(list(languages)).to_numpy()[self.language]

    def by_source(self, values: dict[str, float], otherwise: float) -> Floats:
        """Lay out what is known of some sources by their numbers."""
        laid = np.full(len(self.sources), otherwise)
        named = sorted(values)
        places = _places(self.sources, pl.Series(named, dtype=pl.String))
        laid[places[places >= 0]] = np.array([values[name] for name in named], dtype=np.float64)[places >= 0]
        return laid


def _places(ordered: pl.Series, wanted: pl.Series) -> Ints:
    """The place of each id in sorted ids, -1 where it is not among them."""
    if not len(ordered) or not len(wanted):
        return np.full(len(wanted), -1, dtype=np.int64)
    found = ordered.search_sorted(wanted).to_numpy().astype(np.int64)
    near = np.minimum(found, len(ordered) - 1)
    return np.where((ordered.gather(near) == wanted).to_numpy(), near, -1)


def _counted(recent: pl.DataFrame, rooted: pl.DataFrame) -> pl.DataFrame:
    """People among the latest likes by canonical meme: who taps twice, or likes two copies, counts once."""
    canonical = rooted.select("meme_id", pl.coalesce("canonical_id", "meme_id").alias("canonical_id"))
    met = recent.join(canonical, on="meme_id")
    return met.group_by("canonical_id").agg(pl.col("user_id").n_unique().cast(pl.Int64).alias("recent"))


def _rows(
    status: pl.DataFrame,
    stats: pl.DataFrame,
    words: pl.DataFrame,
    recent: pl.DataFrame,
    places: pl.DataFrame,
    sources: pl.Series,
) -> pl.DataFrame:
    numbers = (
        pl.DataFrame({"source_id": sources}).with_row_index("source").with_columns(pl.col("source").cast(pl.Int64))
    )
    rated = stats.select(list(STATS)).rename({"meme_id": "canonical_id"})
    return (
        status.filter("servable")
        .join(rated, on="canonical_id", how="left")
        .join(words.select(list(WORDS)), on="meme_id", how="left")
        .join(recent, on="canonical_id", how="left")
        .join(numbers, on="source_id", how="left")
        .join(places, on="meme_id", how="left")
        .with_columns(
            *(pl.col(name).fill_null(0) for name in ("nlikes", "ndislikes", "nsent", "invited", "recent")),
            *(pl.col(name).fill_null(UNKNOWN) for name in ("raw_rank", "words")),
            *(pl.col(name).fill_null(0.0) for name in ("lr_smoothed", "engagement")),
            pl.col("sec_to_react").fill_null(float("nan")),
            pl.col("language").str.to_lowercase(),
        )
        .sort("published_at", "meme_id", descending=[True, False])
        .rechunk()
    )
