"""Rows of content's tables, complete and ok unless told otherwise.

Belongs here: what several test files build. Does not belong here: tests.
"""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from magpie.content import tables as t
from magpie.content.settings import Site
from magpie.llm.engine import RESULT_SCHEMA
from magpie.tables import Table

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SITE = Site(id="garden", name="Garden Shed", existing_pages=())
_FATE = {"status": "ok", **dict.fromkeys(("reason", "observed", "threshold", "not_before"))}
_ASKED = {"cost_usd": Decimal(0), "credits": 0, "attempts": 0}
_HTML = "<h2>Why sheds lean</h2><p>Soil moves.</p><h2>What to do</h2><p>Dig <strong>deep</strong>.</p>"


def frame(table: Table, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.dtypes} for row in rows], schema=table.dtypes)


def cluster(key: str = "sheds", *keywords: str, **more: Any) -> dict[str, Any]:
    members = keywords or ("garden shed", "shed base", "shed roof repair")
    return {
        **_FATE,
        **_ASKED,
        "site_id": "garden",
        "day": DAY,
        "sector": "general",
        "cluster_key": key,
        "name": key.title(),
        "keywords": [{"keyword_norm": keyword, "similarity": None} for keyword in members],
        "keywords_count": len(members),
        "extends_existing": False,
        "mapped_pages": [],
        "flags": [],
        **more,
    }


def keyword(text: str, **more: Any) -> dict[str, Any]:
    place = {"site_id": "garden", "day": DAY, "sector": "general", "source_file": "a.csv", "row_no": 1}
    return {**_FATE, **place, "keyword_norm": text, "keyword": text, "disabled": False, **more}


def article(name: str = "a1", **more: Any) -> dict[str, Any]:
    return {
        **_FATE,
        **_ASKED,
        "article_id": name,
        "site_id": "garden",
        "day": DAY,
        "title": "How to mend a shed",
        "meta_title": "How to mend a shed",
        "meta_description": "What to do when it leans.",
        "content_html": _HTML,
        "word_count": 11,
        "target_word_count": 1500,
        "primary_keyword": "shed repair",
        "secondary_keywords": ["shed base"],
        "tags": ["sheds"],
        "categories": ["DIY"],
        "content_type": "post",
        "content_structure": "guide",
        "parse_mode": "json",
        "source_kind": "html",
        "quality_score": 80,
        "quality_flags": [],
        "link_suggestions": [],
        "moderation_flagged": False,
        "moderation_categories": [],
        **more,
    }


def picture(content: bytes, name: str = "a1", kind: str = "featured", position: int = 0, **more: Any) -> dict[str, Any]:
    told = hashlib.sha256(content).hexdigest()
    return {
        **_FATE,
        **_ASKED,
        "article_id": name,
        "image_type": kind,
        "position": position,
        "site_id": "garden",
        "day": DAY,
        "path": f"images/garden/{name}/{kind}-{position}-{told[:8]}.webp",
        "sha256": told,
        "mime": "image/webp",
        "width": 1536,
        "height": 1024,
        "size_requested": "1536x1024",
        "size_used": "1536x1024",
        "bytes": len(content),
        "seed": 1,
        "prompt_status": "generated",
        **more,
    }


def image_prompt(name: str = "a1", kind: str = "featured", position: int = 0, **more: Any) -> dict[str, Any]:
    place = {"article_id": name, "image_type": kind, "position": position, "site_id": "garden", "day": DAY}
    told = {"prompt": "A leaning shed.", "alt_text": 'A "leaning" shed', "width": 1536, "height": 1024}
    return {**_FATE, **_ASKED, **place, **told, "moderation_flagged": False, "moderation_categories": [], **more}


def results(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows as the engine gives them."""
    usual = {**_FATE, "cost_usd": Decimal("0.002"), "tokens_in": 10, "tokens_out": 20, "attempts": 0, "credits": 1}
    told = {"provider": "openai", "model": "m", "prompt_source": "default", "prompt_version": "v", "input_hash": "h"}
    made = [{name: ({**usual, **told} | row).get(name) for name in RESULT_SCHEMA} for row in rows]
    return pl.DataFrame(made, schema=RESULT_SCHEMA)


EMPTY_IDEAS = t.CONTENT_IDEAS.empty()
