"""`magpie content export` and `wordpress`: approved articles as files, and as drafts of a WordPress.

Belongs here: arguments, keys from the environment, printing. Does not belong here: which articles go out and their
files (`magpie/content/export.py`), requests (`wordpress.py`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from magpie.cli import options
from magpie.cli.content_review import stores
from magpie.cli.output import out, plain, table
from magpie.content import reviews
from magpie.content import tables as t
from magpie.content.export import ExportRules, Ready, Skipped, ready
from magpie.content.export import export as export_to
from magpie.content.why import articles_now
from magpie.content.wordpress import Account, WordPress
from magpie.environment import Environment
from magpie.settings import Settings, load_settings
from magpie.sources.web import Web

OBSERVED_CHARS = 60
# Most articles of a site wait for a yes: they are counted, the others named.
COUNTED = "not_approved"

SiteId = Annotated[str, typer.Argument(metavar="SITE", help="As sites in magpie.yaml have it.")]


def export(
    site: SiteId,
    to: Annotated[Path, typer.Option("--out", help="Folder; the articles go to SITE/ in it.")],
    config: options.Config = None,
) -> None:
    """Write approved articles as HTML, Markdown and JSON with their images; what may not go out any more is removed."""
    settings = load_settings(config)
    found, skipped = _ready(settings, site)
    done = export_to(found, skipped, site, to)
    for verb, slugs in (("wrote", done.written), ("removed", done.removed)):
        for slug in slugs:
            out.print(f"{verb} {plain(to / site / slug)}", soft_wrap=True)
    _print_skipped(done.skipped)
    counts = f"{len(done.written):,} written, {len(done.unchanged):,} unchanged, {len(done.removed):,} removed"
    out.print(f"{counts}: {plain(to / site)}", soft_wrap=True)


def wordpress(
    site: SiteId,
    url: Annotated[str, typer.Option(help="Of the WordPress, as in https://example.org.")],
    private: Annotated[bool, typer.Option("--private", help="It is on this machine or in a private network.")] = False,
    config: options.Config = None,
) -> None:
    """Make or update a draft of each approved article; nothing is published. Needs WORDPRESS_USER and
    WORDPRESS_APP_PASSWORD in the environment."""
    settings = load_settings(config)
    server = WordPress(Web(private=private), Account.of(url, Environment()))
    found, skipped = _ready(settings, site)
    for item in found:
        posted = server.put_draft(item)
        out.print(f"{posted.outcome:<8}{plain(item.page.slug)}  {plain(posted.link)}", soft_wrap=True)
    _print_skipped(skipped)
    out.print(
        f"{len(found):,} articles; once one is published there, `magpie content decide article ID publish --url URL` "
        "notes it",
        soft_wrap=True,
    )


def _ready(settings: Settings, site_id: str) -> tuple[list[Ready], list[Skipped]]:
    """The articles of a site that may go out, with all edits, and what stays behind."""
    site = settings.site(site_id)
    lake, control = stores(settings)
    mine = pl.col("site_id") == site.id
    prompts, images = (lake.read(table).filter(mine).collect() for table in (t.IMAGE_PROMPTS, t.ARTICLE_IMAGES))
    states = reviews.fold(reviews.REVIEWS.read(control))
    articles = articles_now(settings, lake, control, site)
    return ready(articles, prompts, images, states, site, settings.home, ExportRules.of(settings.content))


def _print_skipped(skipped: Sequence[Skipped]) -> None:
    rows = [
        (plain(one.object_id), one.reason, plain(one.observed, OBSERVED_CHARS), plain(one.threshold, OBSERVED_CHARS))
        for one in skipped
        if one.reason not in (COUNTED, "not_ok")
    ]
    if rows:
        out.print(table("Left behind", ("article or image", "reason", "observed", "threshold"), rows))
    counts = Counter(one.reason for one in skipped)
    if counts[COUNTED] + counts["not_ok"]:
        out.print(f"{counts[COUNTED]:,} are not approved, {counts['not_ok']:,} are not written or not ok", style="dim")
