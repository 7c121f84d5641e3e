"""Approved articles as a folder that any site builder reads.

Belongs here: which articles go out, the files of one, writing them so that readers see an article whole. Does not
belong here: sending them somewhere (`wordpress.py`), who approved what (`reviews.py`), how HTML becomes Markdown
(`magpie/text/html_markdown.py`).

An article is the folder `<out>/<site>/<slug>/` with `index.html` (a page of its own), `index.md` (with front matter),
`index.json` (all of it) and `images/`; `<out>/<site>/index.json` lists what is there. The same articles give the same
bytes, and what has not changed is not touched.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from magpie.content.export_page import ExportImage, Page, markdown_page, page
from magpie.content.reviews import STATES_SCHEMA, image_ref
from magpie.content.settings import Content, Site
from magpie.content.slugs import is_slug, slug_of
from magpie.errors import UserError
from magpie.sources.whole_file import write_whole

# States in which an article may be seen by others.
OUT_STATES = ("approved", "published")
MARK = "index.json"
# Image files of ours are some hundred kB; nothing that is read whole may be without a bound.
IMAGE_BYTES = 32 * 1024 * 1024
# An article with all it says of itself; more is nothing that an export wrote.
MARK_BYTES = 8 * 1024 * 1024
ID_CHARS = 8


@dataclass(frozen=True)
class ExportRules:
    """From which score on an article may go out."""

    min_quality: int

    @classmethod
    def of(cls, settings: Content) -> "ExportRules":
        return cls(settings.publish_min_quality)


@dataclass(frozen=True)
class Ready:
    """An article that may go out, with the files that belong to it."""

    page: Page
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Skipped:
    """Something that stays behind: an article or, with its slot, an image."""

    object_id: str
    reason: str
    observed: str
    threshold: str


@dataclass(frozen=True)
class Exported:
    """What an export did, by slug; `skipped` says why the others are not there."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def ready(
    articles: pl.DataFrame,
    image_prompts: pl.DataFrame,
    images: pl.DataFrame,
    states: pl.DataFrame,
    site: Site,
    home: Path,
    rules: ExportRules,
) -> tuple[list[Ready], list[Skipped]]:
    """Return the articles of a site that may go out, by slug, and what stays behind and why.

    Args:
        articles: `articles` of the site, all days, with the edits of people applied.
        image_prompts: for the alternative texts of `images`.
        states: of `reviews.fold`.
        home: the folder that paths of images are relative to.
    """
    mine = articles.filter(pl.col("site_id") == site.id).sort("day", "article_id")
    known = states.select(list(STATES_SCHEMA)).filter(pl.col("object_type") == "article")
    state_of = {row["object_id"]: row for row in known.iter_rows(named=True)}
    slugs = _slugs(mine)
    shown = _images_of(images, image_prompts, states)
    found: list[Ready] = []
    skipped: list[Skipped] = []
    for row in mine.iter_rows(named=True):
        why = _why_not(row, state_of.get(row["article_id"]), rules)
        if why is not None:
            skipped.append(why)
            continue
        files: dict[str, bytes] = {}
        held: list[ExportImage] = []
        for image in shown.get(row["article_id"], ()):
            read = _read_image(image, home)
            if isinstance(read, Skipped):
                skipped.append(read)
                continue
            named, content = read
            files[named.path] = content
            held.append(named)
        made = Page.of(row, slugs[row["article_id"]], site, tuple(held))
        texts = {"index.html": page(made), "index.md": markdown_page(made), MARK: _json(made.facts())}
        found.append(Ready(made, {**files, **{name: text.encode() for name, text in texts.items()}}))
    return sorted(found, key=lambda item: item.page.slug), skipped


def _why_not(row: Mapping[str, Any], state: Mapping[str, Any] | None, rules: ExportRules) -> Skipped | None:
    name = row["article_id"]
    if not is_slug(name):
        return Skipped(name, "unsafe_path", name[:200], "an id of small letters and digits")
    if row["status"] != "ok":
        return Skipped(name, "not_ok", f"{row['status']}: {row['reason']}", "ok")
    now = state["state"] if state else "draft"
    if now not in OUT_STATES:
        return Skipped(name, "not_approved", now, "approved")
    if state and state["disabled"]:
        return Skipped(name, "disabled", "disabled", "enabled")
    if row["quality_score"] < rules.min_quality:
        return Skipped(name, "low_quality", str(row["quality_score"]), str(rules.min_quality))
    return None


def _slugs(articles: pl.DataFrame) -> dict[str, str]:
    """By article; of equal ones the first article has the plain one, whichever of them are approved."""
    taken: set[str] = set()
    slugs: dict[str, str] = {}
    for name, title in articles.select("article_id", "title").iter_rows():
        mark = hashlib.sha256(name.encode()).hexdigest()[:ID_CHARS]
        plain = slug_of(title) or mark
        slugs[name] = f"{plain}-{mark}" if plain in taken else plain
        taken.add(slugs[name])
    return slugs


def _images_of(
    images: pl.DataFrame, image_prompts: pl.DataFrame, states: pl.DataFrame
) -> dict[str, list[dict[str, Any]]]:
    """The images of each article that were made and that nobody declined, in the order of the slots."""
    slot = ["article_id", "image_type", "position"]
    turned_down = states.filter(
        (pl.col("object_type") == "image") & ((pl.col("state") == "declined") | pl.col("disabled"))
    )["object_id"]
    rows = (
        images.filter((pl.col("status") == "ok") & pl.col("path").is_not_null())
        .filter(~image_ref().is_in(turned_down.implode()))
        .join(image_prompts.select(*slot, "alt_text"), on=slot, how="left")
        .sort(slot)
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["article_id"], []).append(row)
    return found


def _read_image(image: Mapping[str, Any], home: Path) -> tuple[ExportImage, bytes] | Skipped:
    """An image under its name in the export, or why it stays behind."""
    ref = f"{image['article_id']}/{image['image_type']}/{image['position']}"
    path = Path(image["path"])
    root = (home / "images").resolve()
    whole = (home / path).resolve()
    if path.is_absolute() or ".." in path.parts or not whole.is_relative_to(root) or not is_slug(path.stem):
        return Skipped(ref, "unsafe_path", str(path)[:200], "a file below images/")
    try:
        size = whole.stat().st_size
        content = whole.read_bytes() if size <= IMAGE_BYTES else b""
    except OSError:
        return Skipped(ref, "file_missing", str(path), "a file")
    if size > IMAGE_BYTES:
        return Skipped(ref, "file_too_large", str(size), str(IMAGE_BYTES))
    told = hashlib.sha256(content).hexdigest()
    if told != image["sha256"]:
        return Skipped(ref, "file_changed", told, str(image["sha256"]))
    named = ExportImage(
        f"images/{path.name}",
        image["image_type"],
        image["position"],
        image["alt_text"] or "",
        image["width"],
        image["height"],
        image["mime"],
    )
    return named, content


def export(found: Sequence[Ready], skipped: Sequence[Skipped], site_id: str, out: Path) -> Exported:
    """Write the articles of one site; those that an earlier export wrote and that may not go out now are removed.

    Raises:
        UserError: the folder cannot be written, or leads elsewhere.
    """
    if not is_slug(site_id):
        raise UserError(f"site {site_id!r} is no name for a folder; use small letters, digits, - and _")
    root = out.resolve()
    folder = root / site_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{site_id}.lock"):
            if folder.resolve() != folder:
                raise UserError(f"{folder} is a link; export to the folder it leads to")
            strays = {item.page.slug: why for item in found if (why := _stray(folder, item))}
            mine = [item for item in found if item.page.slug not in strays]
            written = tuple(item.page.slug for item in mine if _put(folder, item))
            removed = _remove_others(folder, {item.page.slug for item in found})
            index = _json([{**item.page.summary(), "files": sorted(item.files)} for item in mine]).encode()
            if not _same(folder / MARK, index):
                write_whole(folder / MARK, index)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; free space or grant write permission") from None
    unchanged = tuple(item.page.slug for item in mine if item.page.slug not in written)
    return Exported(written, unchanged, removed, (*skipped, *strays.values()))


def _stray(folder: Path, item: Ready) -> Skipped | None:
    """Nothing is written outside of the folder, and nothing of somebody else's is replaced."""
    slug, place = item.page.slug, folder / item.page.slug
    if not is_slug(slug) or not all(_is_inside(name) for name in item.files):
        return Skipped(item.page.article_id, "unsafe_path", slug[:200], "a name of small letters, digits, - and _")
    if place.is_symlink() or (place.exists() and not _is_ours(place)):
        return Skipped(item.page.article_id, "foreign_folder", str(place), "a folder that an export wrote")
    return None


def _is_ours(place: Path) -> bool:
    """Whether a folder holds an article that an export wrote: what it says of itself fits where it lies."""
    mark = place / MARK
    try:
        told = json.loads(mark.read_bytes()) if mark.stat().st_size <= MARK_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    where = (place.parent.name, place.name)
    return isinstance(told, dict) and (told.get("site_id"), told.get("slug")) == where and "article_id" in told


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _put(folder: Path, item: Ready) -> bool:
    """Write an article's folder as a whole unless it is there already; return whether it was written."""
    place = folder / item.page.slug
    there = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    changed = [name for name, content in item.files.items() if not _same(place / name, content)]
    if not changed and there == set(item.files):
        return False
    # Names that no slug has; what a crash left of them is in the way and nobody's.
    fresh, old = folder / f".{item.page.slug}.new", folder / f".{item.page.slug}.old"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    for name, content in item.files.items():
        target = fresh / name
        if name in changed:
            write_whole(target, content)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place / name, target)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return True


def _remove_others(folder: Path, kept: set[str]) -> tuple[str, ...]:
    """Remove the folders that earlier exports wrote and that are not wanted any more."""
    gone = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in kept and is_slug(path.name) and not path.is_symlink() and _is_ours(path)
    )
    for name in gone:
        shutil.rmtree(folder / name)
    return tuple(gone)


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
