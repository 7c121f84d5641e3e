"""Keywords: where files lie decides site, sector and day, and the first of a kind counts, whatever comes together."""

import unicodedata
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.content.keywords import Places, fingerprint, keyword_files, keyword_norm, keywords, rows_of
from magpie.content.settings import Content, Site
from magpie.content.tables import KEYWORD_FILES, KEYWORDS
from magpie.errors import UserError
from magpie.places import changed
from magpie.sources.keyword_files import KeywordRow, KeywordRows, read_keyword_file

SEEN = datetime(2026, 11, 25, 23, 59, tzinfo=UTC)
FIRST, SECOND = date(2026, 11, 20), date(2026, 11, 21)
CONTENT = Content(keyword_files=("keywords",))


def site(**values: Any) -> Site:
    return Site.model_validate({"id": "shed", "name": "Shed & Co", "sectors": ("sheds", "tools"), **values})


def places(root: Path, *sites: Site, content: Content = CONTENT) -> Places:
    (root / "keywords").mkdir(exist_ok=True)
    return Places.of(root, root / "home", content, sites or (site(),))


def put(root: Path, name: str, text: str = "keyword\nshed\n") -> Path:
    path = root / "keywords" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def seen(names: Collection[str]) -> Mapping[str, datetime]:
    return dict.fromkeys(names, SEEN)


def listed(where: Places, stored: pl.DataFrame | None = None, read: Any = read_keyword_file) -> pl.DataFrame:
    found = keyword_files(where, KEYWORD_FILES.empty() if stored is None else stored, read, seen)
    KEYWORD_FILES.schema.validate(found)
    return found


def made(where: Places, of: Site, *days: date, earlier: pl.DataFrame | None = None) -> pl.DataFrame:
    found = keywords(
        listed(where),
        of,
        days,
        KEYWORDS.empty() if earlier is None else earlier,
        lambda name: rows_of(where, name, read_keyword_file),
    )
    KEYWORDS.schema.validate(found)
    return found


def fates(rows: pl.DataFrame) -> dict[str, str | None]:
    return dict(rows.sort("day", "source_file", "row_no").select("keyword", "reason").iter_rows())


def test_the_day_of_a_batch_is_that_of_the_name_of_the_list_or_of_being_first_seen(tmp_path: Path) -> None:
    put(tmp_path, "shed/keywords-2026-11-20.csv")
    put(tmp_path, "shed/tools/export.csv")
    lists = [{"keywords": ["shed roof"]}, {"day": SECOND, "keywords": ["base"]}]
    found = listed(places(tmp_path, site(lists=lists)))
    assert dict(found.select("source_file", "day").iter_rows()) == {
        "keywords/shed/keywords-2026-11-20.csv": FIRST,
        "keywords/shed/tools/export.csv": SEEN.date(),
        "magpie.yaml#1": SEEN.date(),
        "magpie.yaml#2": SECOND,
    }
    assert set(found["status"]) == {"ok"}


@pytest.mark.parametrize(
    ("name", "reason", "observed"),
    [
        ("lost.csv", "no_site", "lost.csv"),
        ("other/a.csv", "unknown_site", "other"),
        ("shed/garden/a.csv", "unknown_sector", "garden"),
        ("shed/tools/deep/a.csv", "too_deep", "shed/tools/deep/a.csv"),
        ("shed/a-2026-13-40.csv", "bad_date", "2026-13-40"),
    ],
)
def test_a_file_in_the_wrong_place_says_what_is_wrong_with_it(
    tmp_path: Path, name: str, reason: str, observed: str
) -> None:
    put(tmp_path, name)
    row = listed(places(tmp_path)).row(0, named=True)
    assert (row["status"], row["reason"], row["observed"], row["day"]) == ("failed", reason, observed, None)


def test_a_file_that_cannot_be_used_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, "shed/a.csv", "name,price\nx,1\n")
    put(tmp_path, "shed/b.csv", "keyword,volume\nroof,5\nbase,many\n")
    (tmp_path / "keywords" / "shed" / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    put(tmp_path, "shed/.hidden.csv")
    found = listed(places(tmp_path))
    assert found["reason"].to_list() == ["unknown_format", None, "unreadable"]
    good = found.row(1, named=True)
    assert (good["keywords"], good["bad_rows"], good["format"]) == (1, 1, "plain")
    assert good["bad_example"] == "row 2: volume 'many' is not a count"
    assert str(tmp_path) not in str(found.to_dicts())


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path, "shed/a.csv")
    where = places(tmp_path)
    before = listed(where)

    def never(content: bytes) -> KeywordRows:
        raise AssertionError("read again")

    assert listed(where, before, never).equals(before)
    assert changed(before, fingerprint(where)) == []


def test_a_list_that_says_something_else_counts_as_changed(tmp_path: Path) -> None:
    before = listed(places(tmp_path, site(lists=[{"keywords": ["roof"]}])))
    now = fingerprint(places(tmp_path, site(lists=[{"keywords": ["door"]}])))
    assert changed(before, now) == ["magpie.yaml#1"]


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"content\.keyword_files"):
        places(tmp_path, content=Content(keyword_files=("nowhere",))).files()


def test_the_first_reason_decides_and_shows_what_it_saw(tmp_path: Path) -> None:
    rows = [
        "roof",
        "  ROOF! ",
        "free roof",
        "freestanding roof",
        "base",
        "door",
        '"?!"',
        "x" * 101,
        "free " + "x" * 100,
    ]
    put(tmp_path, "shed/k-2026-11-20.csv", "keyword,disabled\n" + "\n".join(f"{row},{row == 'door'}" for row in rows))
    mine = site(exclude_keywords=("Free",), disabled_keywords=("BASE",))
    found = made(places(tmp_path, mine), mine, FIRST).sort("row_no")
    assert found.select("row_no", "status", "reason", "observed", "threshold").rows() == [
        (1, "ok", None, None, None),
        (2, "rejected", "duplicate", "2026-11-20 keywords/shed/k-2026-11-20.csv row 1", None),
        (3, "rejected", "excluded", "free roof", "free"),
        (4, "ok", None, None, None),
        (5, "rejected", "disabled", "in the settings", None),
        (6, "rejected", "disabled", "in the file", None),
        (7, "rejected", "empty", "?!", None),
        (8, "rejected", "too_long", "101", "100"),
        (9, "rejected", "too_long", "105", "100"),
    ]


def test_a_keyword_of_an_earlier_batch_is_a_duplicate_only_in_its_sector(tmp_path: Path) -> None:
    put(tmp_path, "shed/k-2026-11-20.csv", "keyword\nroof\nbase\n")
    put(tmp_path, "shed/k-2026-11-21.csv", "keyword\nroof\ndoor\n")
    put(tmp_path, "shed/tools/k-2026-11-21.csv", "keyword\nroof\n")
    where = places(tmp_path)
    first = made(where, site(), FIRST)
    found = made(where, site(), SECOND, earlier=first)
    by_sector = {
        key: fate for *key_, fate in found.select("sector", "keyword", "reason").iter_rows() for key in [tuple(key_)]
    }
    assert by_sector == {("sheds", "roof"): "duplicate", ("sheds", "door"): None, ("tools", "roof"): None}


def test_days_made_together_or_one_by_one_hold_the_same_rows(tmp_path: Path) -> None:
    for day, text in ((20, "roof\nbase"), (21, "base\ndoor"), (22, "door\nroof\nwall")):
        put(tmp_path, f"shed/k-2026-11-{day}.csv", f"keyword\n{text}\n")
    where, days = places(tmp_path), [date(2026, 11, day) for day in (20, 21, 22)]
    together = made(where, site(), *days)
    stored = KEYWORDS.empty()
    for day in days:
        stored = pl.concat([stored, made(where, site(), day, earlier=stored)])
    assert stored.sort(KEYWORDS.sort_by).equals(together)
    # What is stored of the days themselves and of later ones changes nothing.
    assert made(where, site(), *days, earlier=together).equals(together)
    assert made(where, site(), days[0], earlier=together).equals(together.filter(pl.col("day") == days[0]))


def test_a_file_that_lost_its_rows_since_it_was_listed_is_told_in_one_line(tmp_path: Path) -> None:
    path = put(tmp_path, "shed/k-2026-11-20.csv")
    where = places(tmp_path)
    listed(where)
    path.write_text("nothing")
    with pytest.raises(UserError, match="materialise keyword_files again"):
        rows_of(where, "keywords/shed/k-2026-11-20.csv", read_keyword_file)


def test_rows_keep_what_the_file_says_of_them(tmp_path: Path) -> None:
    head = "keyword,seed,volume,volume_override,difficulty,intent,country"
    put(tmp_path, "shed/k-2026-11-20.csv", f"{head}\n Shed   Roof ,shed,10,20,3.5,commercial,gb\n")
    row = made(places(tmp_path), site(), FIRST).row(0, named=True)
    told = {name: row[name] for name in ("keyword", "keyword_norm", "seed", "volume", "volume_override", "sector")}
    assert told == {
        "keyword": "Shed Roof",
        "keyword_norm": "shed roof",
        "seed": "shed",
        "volume": 10,
        "volume_override": 20,
        "sector": "sheds",
    }


def test_a_list_in_the_settings_is_read_like_a_file(tmp_path: Path) -> None:
    mine = site(lists=[{"day": FIRST, "sector": "tools", "keywords": ["roof", "Roof", ""]}])
    found = made(places(tmp_path, mine), mine, FIRST)
    assert sorted(found.select("sector", "row_no", "reason").rows()) == [
        ("tools", 1, None),
        ("tools", 2, "duplicate"),
        ("tools", 3, "empty"),
    ]
    assert rows_of(places(tmp_path, mine), "magpie.yaml#1", read_keyword_file)[1][0] == KeywordRow(1, "roof")


@pytest.mark.parametrize(
    ("text", "norm"),
    [
        ("  Best\tCRM ", "best crm"),
        ("“what is a CRM?”", "what is a crm"),
        ("Ｆｕｌｌ ﬁle", "full file"),
        ("STRASSE straße", "strasse strasse"),
        ("c# tutorial vs. C#", "c# tutorial vs. c#"),
        ("- 100% cotton -", "100% cotton"),
        ("soft\u00adware\u200b", "software"),
        ("c++", "c++"),
        ("?!…", ""),
        ("#", ""),
        ("", ""),
    ],
)
def test_a_keyword_is_compared_without_case_width_and_punctuation_around_it(text: str, norm: str) -> None:
    assert keyword_norm(text) == norm


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = keyword_norm(text)
    assert keyword_norm(once) == once
    assert once == " ".join(once.split())
    assert unicodedata.is_normalized("NFKC", once)
    assert keyword_norm(f"  {text} ") == once
