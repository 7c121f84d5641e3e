"""Files of a blog: each has its row, and a file that is of no use says why."""

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from magpie.errors import UserError
from magpie.persona import listing
from magpie.persona.listing import Places, fingerprint, misplaced, tumblr_files
from magpie.persona.tables import TUMBLR_FILES
from magpie.places import changed

AT = 1763672400
DAY = 86_400


def post(number: int, at: int = AT, **more: Any) -> dict[str, Any]:
    return {"id": number, "blog_name": "demo-blog", "timestamp": at, "content": [], **more}


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "archive").mkdir()
    return Places.of(tmp_path, tmp_path / "home", ["archive"], tmp_path / "home" / "raw" / "live")


def listed(places: Places, stored: pl.DataFrame | None = None, blogs: tuple[str, ...] = ("demo-blog",)) -> pl.DataFrame:
    frame = tumblr_files(places, TUMBLR_FILES.empty() if stored is None else stored, blogs)
    return TUMBLR_FILES.schema.validate(frame)


def row(frame: pl.DataFrame, end: str) -> dict[str, Any]:
    return next(row for row in frame.iter_rows(named=True) if row["source_file"].endswith(end))


def test_a_page_is_listed_with_its_blog_kind_items_and_days(tmp_path: Path, places: Places) -> None:
    page = [post(1), post(2, AT + 2 * DAY), {"id": 3}]
    write(tmp_path / "archive" / "demo-blog" / "posts" / "2025" / "a.json", {"response": {"posts": page}})
    note = {"type": "reply", "timestamp": AT, "blog_name": "ada", "reply_text": "hi"}
    write(places.live / "demo-blog" / "notes" / "1.json", [note])
    frame = listed(places)
    found = row(frame, "a.json")
    assert (found["blog"], found["kind"], found["status"]) == ("demo-blog", "posts", "ok")
    assert (found["items"], found["bad_items"]) == (2, 1)
    assert found["bad_example"] == "posts[2]: post 3 has no usable name of a blog"
    assert (str(found["first_day"]), str(found["last_day"])) == ("2025-11-20", "2025-11-22")
    assert row(frame, "1.json")["source_file"] == "raw/live/demo-blog/notes/1.json"
    assert (row(frame, "1.json")["items"], row(frame, "1.json")["kind"]) == (1, "notes")


def test_a_file_of_no_use_says_why(tmp_path: Path, places: Places) -> None:
    root = tmp_path / "archive"
    expected = {
        "loose.json": ("rejected", "no_blog"),
        "demo-blog/loose2.json": ("rejected", "no_blog"),
        "other/posts/o.json": ("rejected", "unknown_blog"),
        "demo-blog/likes/l.json": ("rejected", "unknown_kind"),
        "demo-blog/posts/cut.json": ("failed", "json_parse"),
        "demo-blog/posts/none.json": ("failed", "no_posts"),
        "demo-blog/notes/x.json": ("failed", "bad_name"),
        "demo-blog/notes/7.json": ("failed", "no_notes"),
    }
    for name in expected:
        write(root / name, '{"posts": [' if "cut" in name else "{}")
    frame = listed(places)
    assert frame.height == len(expected)
    for name, fate in expected.items():
        assert (row(frame, name)["status"], row(frame, name)["reason"]) == fate
    assert row(frame, "o.json")["threshold"] == "demo-blog"


def test_media_hidden_files_and_other_endings_are_passed_over(tmp_path: Path, places: Places) -> None:
    blog = tmp_path / "archive" / "demo-blog"
    for name in ("media/a.json", ".cache/b.json", "posts/.c.json", "posts/d.txt"):
        write(blog / name, [])
    write(blog / "posts" / "media" / "e.JSON", [])
    assert listed(places)["source_file"].to_list() == ["archive/demo-blog/posts/media/e.JSON"]


def test_what_has_not_changed_is_not_read_again(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "archive" / "demo-blog" / "posts" / "a.json", [post(1)])
    bad = write(tmp_path / "archive" / "demo-blog" / "posts" / "b.json", "[")
    first = listed(places)
    read: list[str] = []
    whole = listing.content_of
    monkeypatch.setattr(listing, "content_of", lambda path: (read.append(path.name), whole(path))[1])
    assert listed(places, first).equals(first)
    assert read == ["b.json"]
    write(path, [post(1), post(2)])
    os.utime(path, ns=(1, 1))
    bad.unlink()
    assert changed(first, fingerprint(places)) == [f"archive/demo-blog/posts/{name}" for name in ("a.json", "b.json")]
    again = listed(places, first)
    assert (again.height, row(again, "a.json")["items"]) == (1, 2)


def test_a_blog_that_the_settings_gain_or_lose_is_noticed(tmp_path: Path, places: Places) -> None:
    name = "archive/demo-blog/posts/a.json"
    write(tmp_path / name, [post(1)])
    unknown = listed(places, blogs=())
    assert (misplaced(unknown, []), misplaced(unknown, ["demo-blog"])) == ([], [name])
    known = listed(places, unknown)
    assert row(known, "a.json")["status"] == "ok"
    assert (misplaced(known, ["demo-blog"]), misplaced(known, ["other"])) == ([], [name])
    assert row(listed(places, known, ()), "a.json")["reason"] == "unknown_blog"


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"persona\.archives"):
        Places.of(tmp_path, tmp_path, ["missing"], tmp_path / "live").files()
