"""How the partitions of each table are made again, for the sensors that look after waiting rows.

Belongs here: job, assets, key and scopes by table, for all products. Does not belong here: when (`waiting.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from assets.partitions import BLOGS, CAMPAIGNS, CHANNELS, PLATFORMS, SITES
from magpie.content.cluster_keywords import CLUSTER_KEYWORDS
from magpie.content.generate_article import GENERATE_ARTICLE
from magpie.content.generate_ideas import GENERATE_IDEAS
from magpie.content.image_prompts import IMAGE_PROMPTS_FUNCTION
from magpie.content.stages import IMAGE
from magpie.content.stages import PRODUCT as CONTENT
from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.leads.stages import PRODUCT as LEADS
from magpie.memes.describe import MEME_DESCRIBE
from magpie.memes.describer import PRODUCT as MEMES
from magpie.persona.image_read import IMAGE_READ
from magpie.persona.stages import PRODUCT as PERSONA
from magpie.persona.write_post import PERSONA_WRITE
from magpie.videos.reading import EXTRACT_PICKS
from magpie.videos.stages import PRODUCT as VIDEOS
from schedules.content import SITE_DAYS
from schedules.leads import CAMPAIGN_ANSWERS, CAMPAIGN_DAYS, CAMPAIGN_WORDS
from schedules.memes import MEME_DAYS
from schedules.persona import BLOG_DAYS, BLOG_POSTS
from schedules.videos import CHANNEL_DAYS

CAMPAIGN, CHANNEL, SITE, BLOG = (str(one.name) for one in (CAMPAIGNS, CHANNELS, SITES, BLOGS))
# Its partitions are what the settings of memes know, whatever the instance holds.
PLATFORM = "platform"
WAITING = "magpie/waiting"
ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dataclass(frozen=True)
class Target:
    """How a table's partitions are made again.

    Attributes:
        job: by name; assets: those of it that depend on the table's rows.
        dimension: of the partitions, the one that the partition begins with; what waits of one that is gone waits in
            vain.
        partition_key: from the partition as the control database names it to Dagster's key.
        scopes: of the ledger that bound what it may cost.
        function: whose breaker holds it back; None: no model is asked, nothing is spent.
        step: of a run, in which the function is asked; None: that of the table, or of the first asset.
    """

    job: str
    dimension: str
    assets: tuple[str, ...]
    partition_key: Callable[[str], str]
    scopes: Callable[[str], tuple[str, ...]]
    function: str | None
    step: str | None = None


def _lead_day(dimension: str) -> Callable[[str], str]:
    """From `agency-crm|2026-03-02` to the key of that campaign or channel on that day."""

    def key(partition: str) -> str:
        lead, day = partition.split("|")
        return dg.MultiPartitionKey({dimension: lead, "day": day})

    return key


def _scopes_of(product: str, dimension: str) -> Callable[[str], tuple[str, ...]]:
    """Product and campaign or channel, as the ledger names them."""
    return lambda partition: (f"product:{product}", f"{dimension}:{partition.partition('|')[0]}")


_campaign_day, _of_campaign = _lead_day("campaign"), _scopes_of(LEADS, "campaign")
_channel_day, _of_channel = _lead_day("channel"), _scopes_of(VIDEOS, "channel")


_site_day, _of_site = _lead_day(SITE), _scopes_of(CONTENT, SITE)
_platform_day, _of_platform = _lead_day(PLATFORM), _scopes_of(MEMES, PLATFORM)
_blog_day, _of_blog = _lead_day(BLOG), _scopes_of(PERSONA, BLOG)


def _from(asset: str, layer: tuple[str, ...] = CHANNEL_DAYS) -> tuple[str, ...]:
    """An asset and what of its layer is made from it."""
    return layer[layer.index(asset) :]


def present(instance: dg.DagsterInstance, dimension: str) -> set[str]:
    """The partitions that there are of a dimension."""
    return set(PLATFORMS.get_partition_keys() if dimension == PLATFORM else instance.get_dynamic_partitions(dimension))


def made_again(table: str, partition: str) -> dict[str, str]:
    """Tags of a run that makes a partition again, by which `busy` knows it."""
    return {WAITING: f"{table} {partition}"}


def busy(instance: dg.DagsterInstance) -> set[str]:
    """The partitions that runs are making again, or will when they have their turn."""
    runs = instance.get_runs(dg.RunsFilter(statuses=ACTIVE))
    return {run.tags[WAITING].partition(" ")[2] for run in runs if WAITING in run.tags}


# By table, upstream first: what is made from a table that waits, waits because of it.
TARGETS: dict[str, Target] = {
    "campaign_keywords": Target("campaign_words", CAMPAIGN, CAMPAIGN_WORDS, str, _of_campaign, "embed"),
    "post_embeddings": Target("campaign_days", CAMPAIGN, CAMPAIGN_DAYS[1:], _campaign_day, _of_campaign, "embed"),
    "lead_extractions": Target(
        "campaign_answers", CAMPAIGN, CAMPAIGN_ANSWERS, _campaign_day, _of_campaign, EXTRACT_LEAD.name
    ),
    "transcripts": Target("channel_days", CHANNEL, _from("transcripts"), _channel_day, _of_channel, None),
    "video_analyses": Target(
        "channel_days", CHANNEL, _from("video_analyses"), _channel_day, _of_channel, EXTRACT_PICKS.name
    ),
    "pick_outcomes": Target("channel_days", CHANNEL, _from("pick_outcomes"), _channel_day, _of_channel, None),
    "keyword_clusters": Target(
        "site_days", SITE, _from("keyword_clusters", SITE_DAYS), _site_day, _of_site, CLUSTER_KEYWORDS.name
    ),
    "content_ideas": Target(
        "site_days", SITE, _from("content_ideas", SITE_DAYS), _site_day, _of_site, GENERATE_IDEAS.name
    ),
    "articles": Target("site_days", SITE, _from("articles", SITE_DAYS), _site_day, _of_site, GENERATE_ARTICLE.name),
    "image_prompts": Target(
        "site_days", SITE, _from("image_prompts", SITE_DAYS), _site_day, _of_site, IMAGE_PROMPTS_FUNCTION.name
    ),
    "article_images": Target("site_days", SITE, _from("article_images", SITE_DAYS), _site_day, _of_site, IMAGE),
    "memes": Target("meme_days", PLATFORM, _from("memes", MEME_DAYS), _platform_day, _of_platform, None),
    "meme_media": Target("meme_days", PLATFORM, _from("meme_media", MEME_DAYS), _platform_day, _of_platform, None),
    "meme_descriptions": Target(
        *("meme_days", PLATFORM, _from("meme_descriptions", MEME_DAYS), _platform_day, _of_platform),
        MEME_DESCRIBE.name,
    ),
    "image_texts": Target("blog_posts", BLOG, _from("image_texts", BLOG_POSTS), _blog_day, _of_blog, IMAGE_READ.name),
    # From the inbox on, which admits once more what had to wait. What waits in the inbox itself waits for a tick, and
    # a draft for a human.
    "candidates": Target("blog_days", BLOG, BLOG_DAYS, _blog_day, _of_blog, PERSONA_WRITE.name, step="author"),
}
