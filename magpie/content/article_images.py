"""Images of articles: each slot's prompt is made into a file, or its row says why not.

Belongs here: which prompts are made, files and their names, the rows. Does not belong here: prompts
(`image_prompts.py`), asking for images (`magpie/llm/images.py`).

One slot's failure concerns no other: each image is a call of its own, and what was bought stays bought.
"""

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from magpie.content.settings import Content
from magpie.content.tables import ARTICLE_IMAGES, IMAGE_TYPES
from magpie.llm.credits import DEFAULT_VERSION
from magpie.llm.engine import fate_of
from magpie.llm.history import NOTHING, Past
from magpie.llm.image_sizes import written
from magpie.llm.images import ImageMaker, Made, Order
from magpie.llm.money import to_usd
from magpie.llm.refusal import Refused
from magpie.llm.spec import PACE
from magpie.llm.store import LedgerUnavailable
from magpie.media.drawing import Format
from magpie.sources.whole_file import write_whole

FOLDER = "images"
# So much of a hash keeps the names of one slot's images apart.
NAME_CHARS = 8
# What becomes part of a path; both are made here, and are looked at again before they are.
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
# Of what a provider takes as a seed, the part that all of them do.
SEEDS = 2**31

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ImageRules:
    """How images are made.

    Attributes:
        form: asked of whoever makes them.
        workers: images that are asked for at the same time.
    """

    form: Format = "webp"
    workers: int = 1

    @classmethod
    def of(cls, settings: Content, workers: int) -> "ImageRules":
        return cls(settings.image_format, workers)


def article_images(
    prompts: pl.DataFrame, maker: ImageMaker, rules: ImageRules, home: Path, now: datetime
) -> pl.DataFrame:
    """Make the image of every prompt.

    Args:
        prompts: rows of `image_prompts`.
        home: files are written to `images/<site>/<article>/` below it.
        now: UTC.

    Returns:
        Rows of `article_images`, one for each prompt.

    Raises:
        UserError: a file cannot be written; images that were bought are found in the journal again.
        ValueError: a site or an article has a name that no folder can have.
    """
    # In the order of the slots, so that a cap that is reached leaves the less important ones out.
    order = pl.col("image_type").cast(pl.Enum(IMAGE_TYPES))
    rows = prompts.sort("site_id", "day", "article_id", order, "position").iter_rows(named=True)
    with ThreadPoolExecutor(max(1, rules.workers), thread_name_prefix="images") as pool:
        made = list(pool.map(lambda row: _row(row, maker, rules, home, now), rows))
    frame = pl.DataFrame(made, schema=ARTICLE_IMAGES.dtypes, orient="row")
    return ARTICLE_IMAGES.shaped(frame).sort(ARTICLE_IMAGES.sort_by)


def order_for(prompt: Row, form: Format) -> Order:
    """The image that a row of `image_prompts` asks for."""
    text = prompt["prompt"] or ""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % SEEDS
    return Order(
        text,
        (prompt["width"], prompt["height"]),
        prompt["negative_prompt"] or "",
        form,
        seed,
        prompt["alt_text"] or "",
        f"{prompt['article_id']}#{prompt['image_type']}-{prompt['position']}",
        f"{prompt['site_id']}|{prompt['day']}",
        prompt["prompt_version"],
    )


def image_path(site_id: str, article_id: str, image_type: str, position: int, made: Made) -> str:
    """Where an image is kept, below the home.

    Raises:
        ValueError: a name is none that a folder can have.
    """
    for name in (site_id, article_id):
        if not SAFE.fullmatch(name):
            raise ValueError(f"{name[:80]!r} cannot be the name of a folder")
    return f"{FOLDER}/{site_id}/{article_id}/{image_type}-{position}-{made.sha256[:NAME_CHARS]}.{made.ending}"


def _row(prompt: Row, maker: ImageMaker, rules: ImageRules, home: Path, now: datetime) -> dict[str, Any]:
    kept = {name: prompt[name] for name in ("article_id", "image_type", "position", "site_id", "day")}
    kept |= {name: prompt[name] for name in ("prompt_source", "prompt_version", "rendered_hash")}
    kept |= {"size_requested": written((prompt["width"], prompt["height"]))}
    unfit = _unfit(prompt)
    if unfit is not None:
        return {**kept, **_asked(NOTHING), **unfit, "prompt_status": _prompt_status(unfit["status"])}
    order = order_for(prompt, rules.form)
    outcome = maker.make(order)
    bill = _bill(maker, order, outcome)
    asked = {**_asked(bill), "input_hash": order.input_hash}
    if isinstance(outcome, Refused):
        status, reason, not_before = fate_of(outcome, bill, PACE, now)
        seen = {"observed": outcome.observed or outcome.detail, "threshold": outcome.threshold}
        fate = {"status": status, "reason": reason, "not_before": not_before, **seen}
        return {**kept, **asked, **fate, "prompt_status": _prompt_status(status)}
    return {**kept, **asked, **_made(prompt, outcome, home), "status": "ok", "prompt_status": "generated"}


def _unfit(prompt: Row) -> dict[str, Any] | None:
    """Why no image is made of a prompt; None: one is. What nobody has looked at goes to no provider."""
    status, reason = prompt["status"], prompt["reason"]
    if status == "pending":
        return {"status": "pending", "reason": "awaiting_prompt", "observed": reason}
    if status != "ok":
        return {name: prompt[name] for name in ("status", "reason", "observed", "threshold")}
    if prompt["moderation_flagged"] is None:
        return {"status": "pending", "reason": "awaiting_prompt", "observed": "not moderated"}
    if prompt["moderation_flagged"]:
        return {"status": "rejected", "reason": "moderated", "observed": ", ".join(prompt["moderation_categories"])}
    return None


def _made(prompt: Row, made: Made, home: Path) -> dict[str, Any]:
    path = image_path(prompt["site_id"], prompt["article_id"], prompt["image_type"], prompt["position"], made)
    write_whole(home / path, made.content)
    return {
        "path": path,
        "sha256": made.sha256,
        "mime": made.mime,
        "width": made.width,
        "height": made.height,
        "size_used": written(made.size_asked),
        "bytes": len(made.content),
        "seed": made.seed,
        "provider": made.provider,
        "model": made.model,
    }


def _bill(maker: ImageMaker, order: Order, outcome: Made | Refused) -> Past:
    try:
        return maker.bill(order)
    except LedgerUnavailable:
        # The image is there all the same, and what it cost is known from the call itself.
        return Past(cost_nano=outcome.cost_nano, credits=outcome.credits) if isinstance(outcome, Made) else NOTHING


def _asked(bill: Past) -> dict[str, Any]:
    counted = {"credits": bill.credits, "credits_version": DEFAULT_VERSION if bill.credits else None}
    return {"cost_usd": to_usd(bill.cost_nano), "attempts": bill.invalid, **counted}


def _prompt_status(status: str) -> str:
    return "pending" if status == "pending" else "failed"
