"""meme_duplicates: whether an earlier meme of any platform is the same, and by which rule.

Belongs here: which memes are compared, and which of several matches is named. Does not belong here: the rules for a
pair (`likeness.py`), roots of chains of copies (`chains.py`).

A meme is compared with every earlier one (by published_at, then meme_id) of its type that is ok, has ok media, is no
ad, was not rejected by a person, and is no copy itself unless a person called it distinct. The first rule that fires
for any of them is the verdict; of those for which it fires, published ones come first, then the earliest.
"""

from collections.abc import Collection
from datetime import date

import polars as pl

from magpie.lake import Lake
from magpie.memes import tables as t
from magpie.memes.likeness import RULES, DuplicateRules, Links, pairs_of
from magpie.memes.status import fold, main_media, spoken
from magpie.tables import UTC
from magpie.text.trigrams import normalised

# Of a pair for which any other rule fires, the later is a copy.
VERDICT_OF = {"template": "template", "pending_text": "uncertain"}
FACTS = pl.Schema(
    {
        "meme_id": pl.String(),
        "platform": pl.String(),
        "day": pl.Date(),
        "published_at": UTC,
        "type": pl.String(),
        "ad_flag": pl.Boolean(),
        "sha256": pl.String(),
        "phash64": pl.String(),
        "keyframes": pl.List(pl.String()),
        "duration_s": pl.Float64(),
        "text": pl.String(),
        "language": pl.String(),
    }
)
# What is known of a meme that was compared before: its facts, and the verdict if there is one.
HISTORY = pl.Schema({**FACTS, "verdict": pl.String()})
# Memes whose pairs are held at one time.
_BLOCK_MEMES = 1000


def facts_of(
    memes: pl.DataFrame | pl.LazyFrame, media: pl.DataFrame | pl.LazyFrame, descriptions: pl.DataFrame | pl.LazyFrame
) -> pl.LazyFrame:
    """What is compared of the memes that are ok and have ok media, in the columns of `FACTS`.

    The text is what is written in the picture: empty where there is none, null where nobody read it.
    """
    kept = memes.lazy().filter(pl.col("status") == "ok")
    seen = main_media(media).filter(pl.col("status") == "ok")
    seen = seen.select("meme_id", "sha256", "phash64", pl.col("keyframe_phashes").alias("keyframes"), "duration_s")
    told = descriptions.lazy().select(
        "meme_id", pl.col("ocr_text").alias("text"), pl.col("language").alias("described_language")
    )
    joined = kept.join(seen, on="meme_id").join(told, on="meme_id", how="left")
    return joined.with_columns(spoken().alias("language")).select(list(FACTS))


def history(lake: Lake, platforms: Collection[str], days: Collection[date]) -> pl.DataFrame:
    """What the lake knows of memes that may be earlier than those of these partitions, in the columns of `HISTORY`."""
    mine = pl.col("platform").is_in(list(platforms)) & pl.col("day").is_in(list(days))
    earlier = (pl.col("day") <= max(days)) & ~mine
    memes, media, descriptions, compared = (
        lake.read(table).filter(earlier) for table in (t.MEMES, t.MEME_MEDIA, t.MEME_DESCRIPTIONS, t.MEME_DUPLICATES)
    )
    facts = facts_of(memes, media, descriptions)
    return facts.join(compared.select("meme_id", "verdict"), on="meme_id", how="left").select(list(HISTORY)).collect()


def meme_duplicates(
    memes: pl.DataFrame,
    media: pl.DataFrame,
    descriptions: pl.DataFrame,
    history: pl.DataFrame,
    decisions: pl.DataFrame,
    rules: DuplicateRules,
) -> pl.DataFrame:
    """Return one row per meme, in the columns of `meme_duplicates`.

    Args:
        memes, media, descriptions: rows of the same partitions.
        history: other memes, in the columns of `HISTORY`; later ones are passed over.
        decisions: rows of `meme_moderation`.
    """
    folded = fold(decisions)
    own = _candidates(facts_of(memes, media, descriptions).collect(), folded)
    copies = (pl.col("verdict") == "duplicate").fill_null(False)
    others = _candidates(history.join(own, on="meme_id", how="anti"), folded).filter(
        pl.col("original") & (pl.col("distinct") | ~copies)
    )
    both = pl.concat(
        [
            own.with_columns(pl.lit(True).alias("own")),
            others.select(own.columns).with_columns(pl.lit(False).alias("own")),
        ]
    )
    links = Links.of(own, both, rules)
    pool = (
        links.linked(both)
        .sort("published_at", "meme_id")
        .with_row_index("place")
        .with_columns(pl.col("place").cast(pl.Int64))
    )
    return _told(memes, media, own, _compared(pool, links, rules))


def later_matches(
    fresh: pl.DataFrame, facts: pl.DataFrame, compared: pl.DataFrame, rules: DuplicateRules
) -> list[tuple[str, date]]:
    """Return the other partitions that hold a later meme like one of the fresh ones, sorted: to be made again.

    Every pair for which a rule could fire counts, but those whose later meme is known to be a copy of the fresh one, or
    of an older one. The partition of a fresh meme is left out, since the run that made the meme compared it.

    Args:
        fresh: memes that are new, or whose picture or text is, in the columns of `FACTS`.
        facts: the whole catalogue in the same columns.
        compared: rows of `meme_duplicates` of the whole catalogue.
    """
    nobody = fold(t.MEME_MODERATION.empty())
    own = _candidates(fresh.select(list(FACTS)), nobody)
    others = _candidates(facts.select(list(FACTS)).join(fresh, on="meme_id", how="anti"), nobody)
    links = Links.of(own, others, rules)
    # Places that say only who is who: here the other one is to be the later.
    numbered = (
        pl.concat([own, links.linked(others)]).with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))
    )
    mine, theirs = numbered.head(own.height), numbered.slice(own.height)
    names = numbered.select("place", "meme_id", "published_at", "platform", "day")
    pairs = (
        pairs_of(mine, theirs, links, rules)
        .join(names, on="place")
        .join(names, left_on="other", right_on="place", suffix="_other")
    )
    moment, moment_other = pl.col("published_at"), pl.col("published_at_other")
    later = (moment_other > moment) | ((moment_other == moment) & (pl.col("meme_id_other") > pl.col("meme_id")))
    elsewhere = (pl.col("platform_other") != pl.col("platform")) | (pl.col("day_other") != pl.col("day"))
    known = compared.select("meme_id", "verdict", "duplicate_of")
    originals = facts.select(duplicate_of="meme_id", original_at="published_at")
    told = known.join(originals, on="duplicate_of", how="left")
    joined = pairs.join(told, left_on="meme_id_other", right_on="meme_id", how="left")
    older = (pl.col("verdict") == "duplicate") & (pl.col("original_at") <= moment)
    settled = ((pl.col("duplicate_of") == pl.col("meme_id")) | older).fill_null(False)
    asked = joined.filter(later & elsewhere & ~settled)
    return sorted(asked.select("platform_other", "day_other").unique().iter_rows())


def _candidates(facts: pl.DataFrame, folded: pl.DataFrame) -> pl.DataFrame:
    """Facts without ads, with what people decided, and with the text as it is compared."""
    decided = folded.select("meme_id", "verdict", "published", "distinct", "purged").rename({"verdict": "judged"})
    joined = facts.join(decided, on="meme_id", how="left").with_columns(
        pl.col("published", "distinct", "purged").fill_null(False), normalised(facts["text"]).alias("norm")
    )
    judged = pl.col("judged").fill_null("")
    return (
        joined.filter(~pl.col("ad_flag") | (judged == "approve"))
        .with_columns(
            # What people turned down stays what it is: a copy of it is not served either.
            (~pl.col("purged")).alias("original"),
            pl.col("norm").str.len_chars().cast(pl.Int64).alias("chars"),
        )
        .drop("judged", "purged", "ad_flag", "text")
    )


def _compared(pool: pl.DataFrame, links: Links, rules: DuplicateRules) -> pl.DataFrame:
    """The verdict on each asked meme, each compared with what those before it were found to be."""
    open_to = pool["original"].to_numpy().copy()
    exempt = pool["distinct"].to_numpy()
    asked = pool.filter("own")
    found: list[tuple[int, int, int, int | None, float | None]] = []
    for start in range(0, asked.height, _BLOCK_MEMES):
        pairs = pairs_of(asked.slice(start, _BLOCK_MEMES), pool.filter(pl.Series(open_to)), links, rules)
        pairs = pairs.filter(pl.col("other") < pl.col("place")).join(
            pool.select("place", "published"), left_on="other", right_on="place"
        )
        ordered = pairs.sort("place", "rule", "published", "other", descending=[False, False, True, False])
        last = -1
        for place, other, rule, distance, similarity in ordered.drop("published").iter_rows():
            if place == last or not open_to[other]:
                continue
            last = place
            found.append((place, other, rule, distance, similarity))
            if RULES[rule] not in VERDICT_OF and not exempt[place]:
                open_to[place] = False
    schema = {
        "place": pl.Int64,
        "other": pl.Int64,
        "rule": pl.Int64,
        "phash_distance": pl.Int64,
        "text_similarity": pl.Float64,
    }
    matched = pl.DataFrame(found, schema=schema, orient="row")
    matched = matched.with_columns(pl.col("rule").replace_strict(dict(enumerate(RULES)), return_dtype=pl.String))
    names = pool.select(
        pl.col("place").alias("other"), pl.col("meme_id").alias("duplicate_of"), pl.col("norm").alias("other_norm")
    )
    return (
        pool.join(matched, on="place")
        .join(names, on="other")
        .select("meme_id", "duplicate_of", "rule", "phash_distance", "text_similarity", "norm", "other_norm")
    )


def _told(memes: pl.DataFrame, media: pl.DataFrame, compared: pl.DataFrame, matches: pl.DataFrame) -> pl.DataFrame:
    """A row for each meme: the verdict, or why it was not compared."""
    seen = main_media(media).select(
        "meme_id", pl.col("status").alias("media_fate"), pl.col("reason").alias("media_reason")
    )
    rows = (
        memes.rename({"status": "meme_fate", "reason": "meme_reason"})
        .drop("observed", "threshold", "not_before")
        .join(seen.collect(), on="meme_id", how="left")
        .join(compared.select("meme_id", pl.lit(True).alias("compared")), on="meme_id", how="left")
        .join(matches, on="meme_id", how="left")
    )
    verdict = pl.col("rule").replace_strict(VERDICT_OF, default=pl.lit("duplicate"), return_dtype=pl.String)
    rows = rows.with_columns(
        pl.when("compared")
        .then(pl.when(pl.col("rule").is_null()).then(pl.lit("unique")).otherwise(verdict))
        .alias("verdict")
    )
    return t.MEME_DUPLICATES.shaped(_with_fate(rows)).sort(t.MEME_DUPLICATES.sort_by)


def _with_fate(rows: pl.DataFrame) -> pl.DataFrame:
    uncertain = pl.col("verdict") == "uncertain"
    own, other = pl.col("norm").is_null(), pl.col("other_norm").is_null()
    missing = pl.when(own & other).then(pl.lit("both")).when(own).then(pl.lit("own")).otherwise(pl.lit("earlier"))
    broken = pl.col("media_fate").is_in(["rejected", "failed"])
    # Condition, status, reason, observed; a row that none is true of was compared and has its verdict.
    fates = [
        (uncertain, "pending", "pending_text", missing),
        (pl.col("compared"), "ok", None, None),
        (pl.col("meme_fate") == "pending", "pending", "awaiting_meme", pl.col("meme_reason")),
        (pl.col("meme_fate") != "ok", "rejected", "meme_rejected", pl.col("meme_reason")),
        (broken, "rejected", "broken_media", pl.col("media_reason")),
        (
            pl.col("media_fate").is_null() | (pl.col("media_fate") == "pending"),
            "pending",
            "awaiting_media",
            pl.col("media_reason"),
        ),
    ]
    status, reason, observed = pl.lit("rejected"), pl.lit("ad"), pl.col("ad_reason")
    for condition, fate, why, value in reversed(fates):
        holds = condition.fill_null(False)
        status = pl.when(holds).then(pl.lit(fate)).otherwise(status)
        reason = pl.when(holds).then(pl.lit(why, pl.String)).otherwise(reason)
        observed = pl.when(holds).then(pl.lit(None, pl.String) if value is None else value).otherwise(observed)
    return rows.with_columns(
        status.alias("status"),
        reason.alias("reason"),
        observed.alias("observed"),
        pl.lit(None, pl.String).alias("threshold"),
        pl.lit(None, UTC).alias("not_before"),
    )
