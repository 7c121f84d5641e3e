"""Export: what may go out does, whole, and the same each time; what may not stays behind with a reason."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser

from magpie.content import tables as t
from magpie.content.export import Exported, ExportRules, export, ready
from magpie.content.reviews import STATES_SCHEMA
from magpie.content.settings import Content
from magpie.content.slugs import is_slug, slug_of
from magpie.errors import UserError
from magpie.text.html_markdown import markdown_of
from tests.content_rows import NOON, SITE, article, frame, image_prompt, picture

PICTURE = b"a picture"
RULES = ExportRules.of(Content())


def states(**by_id: str) -> pl.DataFrame:
    """States of articles by id, and of images by id with `__` for each slash."""
    rows = [
        ("image" if "/" in (ref := name.replace("__", "/")) else "article", ref, state, False, NOON, "ann", "{}")
        for name, state in by_id.items()
    ]
    return pl.DataFrame(rows, schema=STATES_SCHEMA, orient="row")


def run(
    home: Path,
    *articles: dict[str, Any],
    said: pl.DataFrame | None = None,
    images: tuple[dict[str, Any], ...] = (),
    prompts: tuple[dict[str, Any], ...] = (),
) -> Exported:
    made, left = ready(
        frame(t.ARTICLES, *articles),
        frame(t.IMAGE_PROMPTS, *prompts),
        frame(t.ARTICLE_IMAGES, *images),
        states(a1="approved") if said is None else said,
        SITE,
        home,
        RULES,
    )
    return export(made, left, SITE.id, home / "out")


def drawn(home: Path, content: bytes = PICTURE, **more: Any) -> dict[str, Any]:
    """A row of an image whose file exists."""
    row = picture(content, **more)
    (home / row["path"]).parent.mkdir(parents=True, exist_ok=True)
    (home / row["path"]).write_bytes(content)
    return row


def held(home: Path) -> dict[str, tuple[bytes, int]]:
    out = home / "out"
    files = (path for path in out.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path.relative_to(out).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


PLACE = "garden/how-to-mend-a-shed"


def test_an_approved_article_is_a_folder_with_page_markdown_json_and_images(tmp_path: Path) -> None:
    row = drawn(tmp_path)
    done = run(tmp_path, article(), images=(row,), prompts=(image_prompt(),))
    assert done == Exported(("how-to-mend-a-shed",), (), (), ())
    name = f"images/{Path(row['path']).name}"
    assert set(held(tmp_path)) == {
        "garden/index.json",
        *(f"{PLACE}/{file}" for file in ("index.html", "index.md", "index.json", name)),
    }
    page = held(tmp_path)[f"{PLACE}/index.html"][0].decode()
    assert f'src="{name}" alt="A &quot;leaning&quot; shed"' in page
    assert "<h1>How to mend a shed</h1>" in page
    assert "<p>Dig <strong>deep</strong>.</p>" in page


def test_front_matter_is_yaml_whatever_a_title_holds(tmp_path: Path) -> None:
    title = 'Sheds: "old" --- \n---\n# and #new {x} é'
    run(tmp_path, article(title=title))
    (text,) = (content.decode() for name, (content, _) in held(tmp_path).items() if name.endswith("index.md"))
    _, matter, body = text.split("---\n", 2)
    told = yaml.safe_load(matter)
    assert (told["title"], told["date"], told["keywords"]) == (title, "2026-11-20", ["shed repair", "shed base"])
    assert body.strip().startswith("## Why sheds lean")


def test_titles_and_texts_of_others_are_escaped_in_the_page(tmp_path: Path) -> None:
    run(tmp_path, article(title="</title><script>x</script>", meta_title='"><script>', meta_description='"onload="x'))
    (page,) = (content.decode() for name, (content, _) in held(tmp_path).items() if name.endswith("index.html"))
    assert "<script>" not in page
    assert 'content="&quot;onload=&quot;x"' in page


@pytest.mark.parametrize(
    ("row", "said", "reason"),
    [
        ({"status": "rejected", "reason": "moderated"}, "approved", "not_ok"),
        ({}, "review", "not_approved"),
        ({}, "declined", "not_approved"),
        ({"quality_score": 69}, "approved", "low_quality"),
        ({"article_id": "../a"}, "approved", "unsafe_path"),
    ],
)
def test_what_may_not_go_out_stays_behind_with_a_reason(
    tmp_path: Path, row: dict[str, Any], said: str, reason: str
) -> None:
    done = run(tmp_path, article(**row), said=states(a1=said))
    assert (done.written, [skip.reason for skip in done.skipped]) == ((), [reason])


def test_a_published_article_goes_out_and_a_score_at_the_bound_is_enough(tmp_path: Path) -> None:
    assert run(tmp_path, article(quality_score=70), said=states(a1="published")).written


def test_a_second_export_touches_nothing(tmp_path: Path) -> None:
    row = drawn(tmp_path)
    run(tmp_path, article(), images=(row,))
    before = held(tmp_path)
    assert run(tmp_path, article(), images=(row,)).unchanged == ("how-to-mend-a-shed",)
    assert held(tmp_path) == before


def test_a_change_touches_only_the_files_that_change(tmp_path: Path) -> None:
    row = drawn(tmp_path)
    run(tmp_path, article(), images=(row,))
    before = held(tmp_path)
    assert run(tmp_path, article(tags=["roofs"]), images=(row,)).written
    after = held(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"{PLACE}/index.md", f"{PLACE}/index.json", "garden/index.json"}


def test_an_article_that_is_declined_later_goes_and_files_of_others_stay(tmp_path: Path) -> None:
    run(tmp_path, article())
    own = tmp_path / "out" / "garden" / "notes"
    own.mkdir()
    (own / "index.json").write_text('{"article_id": "a1"}')
    assert run(tmp_path, article(), said=states(a1="declined")).removed == ("how-to-mend-a-shed",)
    assert set(held(tmp_path)) == {"garden/index.json", "garden/notes/index.json"}
    assert json.loads(held(tmp_path)["garden/index.json"][0]) == []


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "out" / PLACE
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    done = run(tmp_path, article())
    assert [skip.reason for skip in done.skipped] == ["foreign_folder"]
    assert (place / "mine.txt").read_text() == "mine"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "garden").symlink_to(elsewhere)
    with pytest.raises(UserError, match="link"):
        run(tmp_path, article())
    (tmp_path / "out" / "garden").unlink()
    (tmp_path / "out" / "garden").mkdir()
    (tmp_path / "out" / PLACE).symlink_to(elsewhere)
    assert [skip.reason for skip in run(tmp_path, article()).skipped] == ["foreign_folder"]
    assert not list(elsewhere.iterdir())


def test_what_a_crash_left_is_cleaned_up(tmp_path: Path) -> None:
    left = tmp_path / "out" / "garden" / ".how-to-mend-a-shed.new"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    run(tmp_path, article())
    assert not left.exists()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "images/../../secret", "images/link.webp", "keys.webp"])
def test_an_image_from_elsewhere_stays_behind_and_its_article_goes_out(tmp_path: Path, path: str) -> None:
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(PICTURE)
    (home / "keys.webp").write_bytes(PICTURE)
    (home / "images" / "link.webp").symlink_to(tmp_path / "secret")
    done = run(home, article(), images=(picture(PICTURE, path=path),))
    assert [(skip.object_id, skip.reason) for skip in done.skipped] == [("a1/featured/0", "unsafe_path")]
    assert done.written


def test_an_image_that_is_gone_changed_or_declined_stays_behind(tmp_path: Path) -> None:
    gone, changed = picture(b"gone"), drawn(tmp_path, kind="in_article")
    (tmp_path / changed["path"]).write_bytes(b"other")
    declined = drawn(tmp_path, kind="in_article", position=1)
    said = states(a1="approved", a1__in_article__1="declined")
    done = run(tmp_path, article(), said=said, images=(gone, changed, declined))
    assert [skip.reason for skip in done.skipped] == ["file_missing", "file_changed"]
    assert not any("images" in name for name in held(tmp_path))


def test_in_article_images_are_spread_over_the_sections(tmp_path: Path) -> None:
    html = "".join(f"<h2>Part {n}</h2><p>Text {n}.</p>" for n in range(4))
    rows = tuple(drawn(tmp_path, kind="in_article", position=n) for n in range(3))
    run(tmp_path, article(content_html=html), images=rows)
    page = held(tmp_path)[f"{PLACE}/index.html"][0].decode()
    order = re.findall(r"Part \d|in_article-\d", page)
    assert order == ["Part 0", "Part 1", "in_article-0", "Part 2", "in_article-1", "Part 3", "in_article-2"]


def test_equal_titles_have_folders_of_their_own_which_do_not_depend_on_approval(tmp_path: Path) -> None:
    pair = (article("a1"), article("a2"))
    run(tmp_path, *pair, said=states(a2="approved"))
    (only,) = {name.split("/")[1] for name in held(tmp_path) if name.count("/") > 1}
    assert only.startswith("how-to-mend-a-shed-")
    done = run(tmp_path, *pair, said=states(a1="approved", a2="approved"))
    assert (done.written, done.unchanged) == (("how-to-mend-a-shed",), (only,))


@given(st.text(max_size=200))
def test_a_slug_is_a_safe_name_or_nothing(title: str) -> None:
    slug = slug_of(title)
    assert slug == "" or is_slug(slug)
    assert slug_of(slug) == slug


def test_slugs_keep_the_letters_of_other_languages_where_latin_has_them() -> None:
    assert slug_of("Žluťoučký kůň & Straße: 100 %") == "zlutoucky-kun-strasse-100"
    assert slug_of("小屋") == ""
    assert len(slug_of("a long word " * 30)) <= 80


TEXT = st.text(alphabet="ab1 *_`[]()<>#+-.!|\\~&;\n'\"é漢=:{}$", max_size=12)


def _shown(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


INLINE = st.recursive(
    TEXT.map(_shown),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.tuples(st.sampled_from(["strong", "em", "code", "span"]), inner).map(lambda p: f"<{p[0]}>{p[1]}</{p[0]}>"),
        inner.map(lambda text: f'<a href="https://example.com/(x)">{text}</a>'),
    ),
    max_leaves=5,
)
BLOCK = st.recursive(
    st.one_of(
        st.tuples(st.sampled_from(["p", "h2", "h3", "h4"]), INLINE).map(lambda p: f"<{p[0]}>{p[1]}</{p[0]}>"),
        TEXT.map(lambda text: f"<pre><code>{_shown(text)}</code></pre>"),
        st.lists(st.lists(INLINE, min_size=1, max_size=3), min_size=1, max_size=3).map(
            lambda rows: (
                "<table>"
                + "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
                + "</table>"
            )
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda blocks: f"<blockquote>{''.join(blocks)}</blockquote>"),
        st.tuples(st.sampled_from(["ul", "ol"]), st.lists(inner, max_size=3)).map(
            lambda p: f"<{p[0]}>" + "".join(f"<li>{item}</li>" for item in p[1]) + f"</{p[0]}>"
        ),
    ),
    max_leaves=6,
)


def words(html: str) -> list[str]:
    """Words and single marks that a reader sees."""
    parted = re.sub(r"</(?:p|h\d|td|th|li|pre|tr|blockquote)>", " ", html)
    body = LexborHTMLParser(parted).body
    return re.findall(r"\w+", body.text() if body is not None else "")


@given(st.lists(BLOCK, max_size=4).map("".join))
def test_every_word_that_was_seen_is_seen_in_the_markdown(html: str) -> None:
    shown = MarkdownIt("commonmark").enable("table").render(markdown_of(html))
    assert words(shown) == words(html)


@given(st.text(max_size=300))
def test_markdown_is_made_of_whatever_comes(text: str) -> None:
    assert isinstance(markdown_of(text), str)
    assert markdown_of("<blockquote>" * 200 + "deep" + "</blockquote>" * 200).count("deep") == 1


def test_markdown_reads_as_people_write_it() -> None:
    html = (
        "<h2>Two ways</h2><p>A <strong>bold</strong>, <em>fine</em> one &amp; <code>x_y</code>.</p>"
        "<ul><li>one</li><li>two<ol><li>a</li></ol></li></ul><table><tr><th>n</th><th>m</th></tr><tr><td>1</td></tr></table>"
    )
    assert markdown_of(html) == (
        "## Two ways\n\nA **bold**, _fine_ one \\& `x_y`.\n\n- one\n- two\n\n  1. a\n\n"
        "| n | m |\n| --- | --- |\n| 1 |  |\n"
    )
