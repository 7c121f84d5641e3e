"""What may be wrong with the tables of content although every row is well formed.

Belongs here: one function per finding, over the partitions just made. Does not belong here: rules that refuse rows
(the schemas in `tables.py`: keys that repeat or are null never reach a table), points of one article
(`quality_score.py`), and who is told (asset checks).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from selectolax.lexbor import LexborHTMLParser, LexborNode

from magpie.content import tables as t
from magpie.content.normaliser import normalise
from magpie.content.quality_score import fits
from magpie.content.safe_html import ALLOWED_TAGS
from magpie.content.stages import PRODUCT
from magpie.lake import Lake
from magpie.llm import audit
from magpie.llm.engine import OFFLINE
from magpie.llm.models import Models
from magpie.llm.money import to_usd
from magpie.llm.schema import llm_call
from magpie.llm.store import Store
from magpie.quality import Finding
from magpie.tables import Partitions, Table

# Below it the keywords of a topic have little in common. Hash vectors are sparse, so their cosines are smaller.
HASH_COHESION, COHESION = 0.15, 0.35
_HASH = "offline-hash-"
# Shares beyond which something is wrong with the keywords, the model or the prompt.
UNCLUSTERED_SHARE = 0.30
TEXT_SHARE = 0.20
LENGTH_SHARE = 0.20
QUALITY_MEDIAN = 70
# A model that was asked within it is in use.
IN_USE_FOR = timedelta(days=30)
# What writers and models leave where something is still to be filled in. Braces in code mean something else.
_PLACEHOLDER = r"(?i)\blorem\b|\[insert\b[^\]<]{0,60}\]?|\{[^{}<>\n]{1,60}\}"
_CODE = r"(?s)<pre>.*?</pre>|<code>.*?</code>"
_LINK = re.compile(r"(?:https?://|mailto:).", re.IGNORECASE)
_SOURCE = re.compile(r"https://.|/(?![/\\])", re.IGNORECASE)
# A page has each of these whatever a text holds; attributes that the text gives them are its own.
_PAGE, _OF_PAGE = "<!doctype html><html><head></head><body>", ("html", "head", "body")
_ATTRIBUTES = {"a": ("href", "title", "rel"), "img": ("src", "alt")}
# Whose cost the sum over several questions is.
_LEFTOVERS = pl.col("cluster_key") == t.UNCLUSTERED

DESCRIPTIONS = {
    "keywords_once": "No keyword is ok twice in a sector of a site, whatever its batch.",
    "keywords_covered": "Every ok keyword is in exactly one topic of its batch, or among the leftovers.",
    "articles_normalised": "Normalising an article again changes nothing.",
    "articles_safe": "No article holds a tag or an attribute that is not allowed.",
    "slots_filled": "Every article has one featured image, and the positions of each type count from 0.",
    "images_are_there": "The file of every image is there, with the size and the sha256 of its row.",
    "calls_are_booked": "The ledger has the calls behind every row that a model was asked for, at the same cost.",
    "clusters_cohere": (
        f"The keywords of a topic have an average cosine of at least {HASH_COHESION} with hash vectors, and {COHESION} "
        "with others."
    ),
    "keywords_clustered": "At most 30 % of a site's keywords fit into no topic.",
    "answers_structured": "At most 20 % of a site's articles came as text instead of JSON.",
    "quality_usual": f"The median quality of a site's articles is at least {QUALITY_MEDIAN}.",
    "lengths_fit": "At most 20 % of a site's articles are longer or shorter than they may be.",
    "models_last": "No model that was asked for content within 30 days ends within 60.",
    "no_placeholders": "No article holds text that was to be replaced.",
}

Judge = Callable[[Lake, Partitions], Finding]


def keywords_once(lake: Lake, partitions: Partitions) -> Finding:
    """Keywords of these partitions that another ok row of the same site and sector has too."""
    over = ["site_id", "sector", "keyword_norm"]
    mine = _ok(lake, t.KEYWORDS, partitions).select(over).unique()
    held = lake.read(t.KEYWORDS).filter(pl.col("status") == "ok").join(mine, on=over, how="semi")
    found = held.group_by(over).agg(pl.len().alias("rows"), pl.col("day").cast(pl.String).unique().sort().alias("days"))
    wrong = found.filter(pl.col("rows") > 1).with_columns(pl.col("days").list.join(", ")).sort(over)
    return Finding.of(
        wrong.collect(),
        "every keyword is used once",
        "{n} keywords are ok in several batches; make keywords of the later days again",
    )


def keywords_covered(lake: Lake, partitions: Partitions) -> Finding:
    """Ok keywords in no topic or several, and keywords of topics that are not ok."""
    key = ["site_id", "day", "sector", "keyword_norm"]
    ok = _ok(lake, t.KEYWORDS, partitions).select(*key, ok=pl.lit(True))
    placed = (
        lake.read(t.KEYWORD_CLUSTERS, partitions)
        .select(*key[:3], pl.col("keywords").list.eval(pl.element().struct.field("keyword_norm")))
        .explode("keywords", empty_as_null=False, keep_nulls=False)
        .rename({"keywords": "keyword_norm"})
        .group_by(key)
        .agg(pl.len().alias("topics"))
    )
    held = ok.join(placed, on=key, how="full", coalesce=True).with_columns(
        pl.col("ok").fill_null(False), pl.col("topics").fill_null(0)
    )
    wrong = held.filter(~pl.col("ok") | (pl.col("topics") != 1)).sort(key).collect()
    return Finding.of(
        wrong,
        "every keyword is in exactly one topic",
        "{n} keywords are in no topic, in several, or are not ok; make keyword_clusters of their days again",
    )


def articles_normalised(lake: Lake, partitions: Partitions) -> Finding:
    """Articles that the normaliser would change."""
    written = _written(lake, partitions)
    same = [normalise(html).html == html for html in written["content_html"]]
    return Finding.of(
        written.filter(~pl.Series(same, dtype=pl.Boolean)).select("site_id", "day", "article_id", "title"),
        "every article is in its normal form",
        "{n} articles are not in their normal form; make articles of their days again",
    )


def articles_safe(lake: Lake, partitions: Partitions) -> Finding:
    """Articles in which a browser's parser, which is not the normaliser's, meets what is not allowed."""
    problem = pl.col("content_html").map_elements(lambda html: next(_forbidden(html), None), pl.String)
    told = _written(lake, partitions).select("site_id", "day", "article_id", problem.alias("problem"))
    return Finding.of(
        told.filter(pl.col("problem").is_not_null()),
        "articles hold nothing but what is allowed",
        "{n} articles hold what is not allowed; do not publish them, and make articles of their days again",
    )


def _forbidden(html: str) -> Iterator[str]:
    """What a text holds that no article may, as a browser reads it within a page."""
    root = LexborHTMLParser(_PAGE + html).root
    for node in root.traverse() if root else ():
        if node.is_comment_node:
            yield "a comment"
        elif node.is_element_node:
            yield from _forbidden_of(node)


def _forbidden_of(node: LexborNode) -> Iterator[str]:
    tag, given = str(node.tag), node.attributes
    if tag not in ALLOWED_TAGS and tag not in _OF_PAGE:
        yield f"<{tag}>"
    for name in given:
        if name not in _ATTRIBUTES.get(tag, ()):
            yield f"{name} of <{tag}>"
    if tag == "a" and not (_LINK.match(given.get("href") or "") and given.get("rel") == "noopener noreferrer"):
        yield f"a link to {(given.get('href') or 'nowhere')[:80]}"
    if tag == "img" and not _SOURCE.match(given.get("src") or ""):
        yield f"an image from {(given.get('src') or 'nowhere')[:80]}"


def slots_filled(table: Table) -> Judge:
    """Articles without exactly one featured image, with positions that do not count from 0, or without any slot.

    Args:
        table: `image_prompts`, held against the ok articles, or `article_images`, held against the prompts.
    """
    article, slot = ["site_id", "day", "article_id"], ["image_type", "position"]

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        held = lake.read(table, partitions).select(*article, *slot)
        places = held.group_by(*article, "image_type").agg(pl.col("position").sort().alias("places"))
        counts = pl.col("places") == pl.int_ranges(pl.col("places").list.len())
        single = (pl.col("image_type") == "in_article") | (pl.col("places").list.len() == 1)
        named = pl.col("places").cast(pl.List(pl.String)).list.join(", ")
        told = places.filter(~(counts & single)).select(
            *article, pl.format("{} at {}", "image_type", named).alias("problem")
        )
        featured = held.filter(pl.col("image_type") == "featured")
        bare = held.select(article).unique().join(featured, on=article, how="anti")
        parts = [told, bare.with_columns(problem=pl.lit("no featured image"))]
        if table is t.IMAGE_PROMPTS:
            lost = _ok(lake, t.ARTICLES, partitions).select(article).join(held, on=article, how="anti")
            parts.append(lost.with_columns(problem=pl.lit("no slots")))
        else:
            asked = lake.read(t.IMAGE_PROMPTS, partitions).select(*article, *slot)
            lost = asked.join(held, on=[*article, *slot], how="anti")
            parts.append(lost.select(*article, pl.format("no row for {} {}", *slot).alias("problem")))
        return Finding.of(
            pl.concat(parts).sort(*article, "problem").collect(),
            "every article has its slots",
            f"{{n}} articles lack slots or have too many; make {table.name} of their days again",
        )

    return judge


def images_are_there(lake: Lake, partitions: Partitions, home: Path) -> Finding:
    """Images whose file is missing, cannot be read, or holds other bytes."""
    made = _ok(lake, t.ARTICLE_IMAGES, partitions).sort(t.ARTICLE_IMAGES.sort_by).collect()
    problems = [_damage(home / (row["path"] or ""), row["bytes"], row["sha256"]) for row in made.iter_rows(named=True)]
    told = made.select("site_id", "day", "article_id", "path", pl.Series("problem", problems, pl.String))
    return Finding.of(
        told.filter(pl.col("problem").is_not_null()),
        "every image has its file",
        "{n} images lack their file; make article_images of their days again, what was bought is in the journal",
    )


def _damage(file: Path, size: int | None, sha256: str | None) -> str | None:
    try:
        if not file.is_file():
            return "no file"
        if file.stat().st_size != size:
            return "another size"
        with file.open("rb") as content:
            return None if hashlib.file_digest(content, "sha256").hexdigest() == sha256 else "other bytes"
    except OSError as error:
        return error.strerror or type(error).__name__


# How the ledger names a row; None: the row does not say, and its question is known by its input alone.
_ROW_REFS: Mapping[str, pl.Expr | None] = {
    t.KEYWORD_CLUSTERS.name: None,
    t.CONTENT_IDEAS.name: pl.format("{}/{}", "sector", "cluster_key"),
    t.ARTICLES.name: pl.col("article_id"),
    t.IMAGE_PROMPTS.name: pl.col("article_id"),
    t.ARTICLE_IMAGES.name: pl.format("{}#{}-{}", "article_id", "image_type", "position"),
}


def calls_are_booked(lake: Lake, partitions: Partitions, table: Table, store: Store) -> Finding:
    """Rows that a model was asked for and of which the ledger has no call, or calls at another cost.

    What the leftovers of a batch cost is the sum over several questions, which they do not name: of them only the
    first question is looked for.

    Args:
        table: one of those with the columns of `Asked`.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    ref = _ROW_REFS[table.name]
    key = ["partition", "input_hash"] if ref is None else ["partition", "row_ref", "input_hash"]
    summed = _LEFTOVERS if ref is None else pl.lit(False)
    asked = (pl.col("provider").is_not_null() & (pl.col("provider") != OFFLINE)) | (pl.col("cost_usd") > 0)
    told = lake.read(table, partitions).filter(asked)
    place = pl.format("{}|{}", "site_id", pl.col("day").cast(pl.String)).alias("partition")
    named = [] if ref is None else [ref.alias("row_ref")]
    rows = told.select("site_id", "day", place, *named, "input_hash", "cost_usd", summed.alias("summed")).unique()
    booked = _booked(store, table).group_by(key).agg(pl.sum("calls"), pl.sum("booked_usd"))
    held = rows.collect().join(booked, on=key, how="left").with_columns(pl.col("calls", "booked_usd").fill_null(0))
    wrong = held.filter((pl.col("calls") == 0) | (~pl.col("summed") & (pl.col("cost_usd") != pl.col("booked_usd"))))
    return Finding.of(
        wrong.drop("summed", "partition").sort("site_id", "day", *key[1:]),
        f"{table.name} and ledger agree on what was asked and spent",
        f"{{n}} questions of {table.name} are not in the ledger as their rows tell; make their days again",
    )


def _booked(store: Store, table: Table) -> pl.DataFrame:
    """The books of a table: questions with the number of calls and answers from the journal, and what they cost."""
    c = llm_call.c
    key = (c.partition, c.row_ref, c.input_hash)
    query = (
        sa.select(*key, sa.func.count().label("calls"), sa.func.sum(c.cost_nano).label("cost"))
        .where(c.product == PRODUCT, c.asset == table.name, c.input_hash.is_not(None))
        .group_by(*key)
    )
    found = [
        (row.partition, row.row_ref, row.input_hash, row.calls, to_usd(int(row.cost)))
        for row in store.read(lambda connection: connection.execute(query).all())
    ]
    texts = dict.fromkeys(("partition", "row_ref", "input_hash"), pl.String())
    schema = pl.Schema({**texts, "calls": pl.Int64(), "booked_usd": table.dtypes["cost_usd"]})
    return pl.DataFrame(found, schema=schema, orient="row")


def clusters_cohere(embed_model: str) -> Judge:
    """Topics whose keywords have little in common, by the vectors of this embedder."""
    floor = HASH_COHESION if embed_model.startswith(_HASH) else COHESION

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        loose = _ok(lake, t.KEYWORD_CLUSTERS, partitions).filter(pl.col("avg_cosine") < floor)
        return Finding.of(
            loose.sort("avg_cosine", "site_id", "day", "cluster_key")
            .select("site_id", "day", "sector", "name", "keywords_count", "avg_cosine")
            .collect(),
            "the keywords of each topic belong together",
            "{n} topics hold keywords of little in common; raise content.cluster_similarity, or choose another model",
        )

    return judge


def keywords_clustered(lake: Lake, partitions: Partitions) -> Finding:
    """Sites of whose keywords too many fit into no topic; what still waits does not count."""
    counted = (
        lake.read(t.KEYWORD_CLUSTERS, partitions)
        .filter(pl.col("status").is_in(["ok", "rejected"]))
        .group_by("site_id")
        .agg(
            pl.col("keywords_count").sum().alias("keywords"),
            pl.col("keywords_count").filter(_LEFTOVERS).sum().alias("unclustered"),
        )
    )
    wrong = counted.filter(pl.col("unclustered") > UNCLUSTERED_SHARE * pl.col("keywords"))
    return Finding.of(
        wrong.with_columns((pl.col("unclustered") / pl.col("keywords")).round(4).alias("share"))
        .sort("site_id")
        .collect(),
        "most keywords fit into a topic",
        "{n} sites have more than 30 % keywords without a topic; import more around them, or lower "
        "content.cluster_similarity",
    )


def answers_structured(lake: Lake, partitions: Partitions) -> Finding:
    """Sites of whose answers too many were no JSON."""
    answered = lake.read(t.ARTICLES, partitions).filter(pl.col("parse_mode").is_not_null())
    return _share(
        answered.collect(),
        pl.col("parse_mode") == "text",
        TEXT_SHARE,
        "articles come as JSON",
        "{n} sites have more than 20 % articles that came as text; look at the prompt or choose another model",
    )


def lengths_fit(tolerance: float) -> Judge:
    """Sites of whose articles too many miss their length by more than a share of it."""

    def judge(lake: Lake, partitions: Partitions) -> Finding:
        ok = _ok(lake, t.ARTICLES, partitions).collect()
        off = [
            not fits(words, target, tolerance) for words, target in ok.select("word_count", "target_word_count").rows()
        ]
        return _share(
            ok.with_columns(pl.Series("off", off, pl.Boolean)),
            pl.col("off"),
            LENGTH_SHARE,
            "articles are as long as they were meant to be",
            "{n} sites have more than 20 % articles of another length; offline drafts are short, of others look at the "
            "prompt or choose another model",
        )

    return judge


def quality_usual(lake: Lake, partitions: Partitions) -> Finding:
    """Sites whose median article is not good enough."""
    medians = (
        _ok(lake, t.ARTICLES, partitions)
        .group_by("site_id")
        .agg(pl.len().alias("articles"), pl.col("quality_score").median().alias("median_quality"))
    )
    return Finding.of(
        medians.filter(pl.col("median_quality") < QUALITY_MEDIAN).sort("site_id").collect(),
        "articles are of the usual quality",
        "{n} sites have a lower quality than usual; quality_flags of their articles say what is missing",
    )


def models_last(store: Store, models: Models, now: datetime) -> Finding:
    """Models that content has asked lately and whose last day is near, or over.

    Raises:
        LedgerUnavailable: the control database is away.
    """
    c = llm_call.c
    query = (
        sa.select(c.provider, c.model_asked)
        .where(c.kind == "call", c.product == PRODUCT, c.day >= f"{now - IN_USE_FOR:%Y-%m-%d}")
        .distinct()
    )
    asked = store.read(lambda connection: connection.execute(query).all())
    return audit.models_last(models, {f"{row.provider}/{row.model_asked}" for row in asked}, now.date())


def no_placeholders(lake: Lake, partitions: Partitions) -> Finding:
    """Articles with words that stand for others; what is written as code may hold any."""
    text = pl.concat_str(
        *("title", "meta_title", "meta_description"), pl.col("content_html").str.replace_all(_CODE, " "), separator="\n"
    )
    told = _ok(lake, t.ARTICLES, partitions).with_columns(text.str.extract(f"({_PLACEHOLDER})").alias("placeholder"))
    return Finding.of(
        told.filter(pl.col("placeholder").is_not_null())
        .sort("site_id", "day", "article_id")
        .select("site_id", "day", "article_id", "title", "placeholder")
        .collect(),
        "no article has a gap that was to be filled",
        "{n} articles hold placeholders; fill them in with `magpie content review`, or decline the articles",
    )


def _ok(lake: Lake, table: Table, partitions: Partitions) -> pl.LazyFrame:
    return lake.read(table, partitions).filter(pl.col("status") == "ok")


def _written(lake: Lake, partitions: Partitions) -> pl.DataFrame:
    """Every text there is, that of articles which are turned down too."""
    held = lake.read(t.ARTICLES, partitions).filter(pl.col("content_html").is_not_null())
    return held.sort("site_id", "day", "article_id").collect()


def _share(rows: pl.DataFrame, bad: pl.Expr, bound: float, good: str, some: str) -> Finding:
    """A finding for each site of which more than a share of the rows is bad."""
    counted = rows.group_by("site_id").agg(pl.len().alias("rows"), bad.sum().alias("bad"))
    wrong = counted.filter(pl.col("bad") > bound * pl.col("rows")).sort("site_id")
    return Finding.of(wrong.with_columns((pl.col("bad") / pl.col("rows")).round(4).alias("share")), good, some)
