"""Keyword files: each export is known by its header, and no row disappears without a reason."""

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.sources.keyword_files import (
    INTENTS,
    MAX_BYTES,
    KeywordFileError,
    KeywordRow,
    KeywordRows,
    read_keyword_file,
)

GOOGLE = "Keyword\tCurrency\tAvg. monthly searches\tCompetition\tCompetition (indexed value)\tIn plan?"
GOOGLE_PREAMBLE = "Keyword Stats 2026-11-20 at 10_11_12\nNovember 1, 2025 - October 31, 2026\n"


def refused(content: bytes) -> str:
    with pytest.raises(KeywordFileError) as error:
        read_keyword_file(content)
    assert "\n" not in error.value.detail
    return error.value.reason


def plain(*lines: str) -> KeywordRows:
    return read_keyword_file("\n".join(lines).encode())


def test_google_ads_is_read_in_utf_16_with_tabs_below_its_two_lines_of_title() -> None:
    text = f"{GOOGLE_PREAMBLE}{GOOGLE}\ngarden shed\tEUR\t1,300\tHigh\t87\t\nshed kits\tEUR\t\tUnknown\t\t\n"
    for encoding in ("utf-16", "utf-8", "utf-8-sig"):
        found = read_keyword_file(text.replace("\n", "\r\n").encode(encoding))
        assert (found.format, found.bad) == ("google_ads", ())
        assert found.rows == (
            KeywordRow(1, "garden shed", volume=1300, difficulty=87.0),
            KeywordRow(2, "shed kits"),
        )


@pytest.mark.parametrize(
    ("cell", "volume"),
    [("1K – 10K", 3162), ("10 - 100", 32), ("0 – 10", 3), ("100K-1M", 316228), ("2.5K", 2500), ("1M", 1000000)],
)
def test_of_a_range_of_google_the_volume_is_the_geometric_mean(cell: str, volume: int) -> None:
    found = read_keyword_file(f"{GOOGLE}\nshed\tEUR\t{cell}\tLow\t3\t\n".encode())
    assert found.rows[0].volume == volume


def test_ahrefs_names_parent_country_and_the_first_intent_that_is_one() -> None:
    head = "#,Keyword,Country,Difficulty,Volume,CPC,CPS,Parent Keyword,SERP Features,Global volume,Intents"
    row = '1,shed ideas,us,14,"2,900",0.40,0.9,garden shed,"Image pack, Video",9100,"Non-branded, Commercial"'
    found = read_keyword_file(f"{head}\n{row}\n".encode("utf-16"))
    assert found.format == "ahrefs"
    assert found.rows == (
        KeywordRow(1, "shed ideas", "garden shed", 2900, difficulty=14.0, intent="commercial", country="us"),
    )


def test_impressions_of_search_console_are_no_search_volume() -> None:
    found = plain("Top queries,Clicks,Impressions,CTR,Position", "shed roof,12,400,3%,7.1")
    assert (found.format, found.rows) == ("search_console", (KeywordRow(1, "shed roof"),))


def test_a_plain_list_takes_every_field_in_any_order_and_case() -> None:
    found = plain(
        "sep=;",
        "Volume Override;KEYWORD;Seed;volume;difficulty;Difficulty_Override;intent;country;disabled",
        "50;shed paint;shed;1 200;12,5;40;Commercial;GB;yes",
        ";;;;;;;;",
        ";shed base;;;;;;;",
    )
    assert found.rows == (
        KeywordRow(1, "shed paint", "shed", 1200, 50, 12.5, 40.0, "commercial", "GB", True),
        KeywordRow(3, "shed base"),
    )


def test_json_is_a_list_of_keywords_or_of_objects_and_its_bad_items_are_told() -> None:
    items = ["shed", {"keyword": "base", "volume": 10, "disabled": True}, 7, {"volume": 1}, {"keyword": "x", "kd": []}]
    found = read_keyword_file(json.dumps({"keywords": items}).encode())
    assert found.format == "json"
    assert found.rows == (KeywordRow(1, "shed"), KeywordRow(2, "base", volume=10, disabled=True))
    assert [row.row_no for row in found.bad] == [3, 4, 5]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("shed,many,1", "volume 'many' is not a count"),
        ("shed,1.000,1", "volume '1.000' is not a count"),
        ("shed,-4,1", "volume '-4' is not a count"),
        ("shed,9999999999999,1", "volume '9999999999999' is not a count"),
        ("shed,1,101", "difficulty '101' is not a number from 0 to 100"),
        ("shed,1,nan%", "difficulty 'nan%' is not a number from 0 to 100"),
        ("shed,1,1,1", "more cells than the header; quote values that hold the separator"),
    ],
)
def test_a_row_that_is_wrong_is_told_with_its_number_and_the_others_stay(cells: str, problem: str) -> None:
    found = plain("keyword,volume,difficulty", "roof,5,5", cells)
    assert [row.keyword for row in found.rows] == ["roof"]
    assert [(row.row_no, row.problem) for row in found.bad] == [(2, problem)]


def test_a_cell_longer_than_the_reader_takes_spoils_its_row_alone() -> None:
    found = plain("keyword", "roof", "x" * 200_000, "base")
    assert [row.keyword for row in found.rows] == ["roof", "base"]
    assert len(found.bad) == 1


def test_a_file_of_another_form_is_refused_with_its_reason() -> None:
    assert refused(b"name,price\nshed,3\n") == "unknown_format"
    assert refused(b"") == "unknown_format"
    assert refused(b"[1, 2") == "unknown_format"
    assert refused(b'{"sheds": []}') == "unknown_format"
    assert refused(b"[" * 100_000) == "unknown_format"
    assert refused(b"keyword\n\xff\xfe\xfd\n") == "not_text"
    assert refused(b"keyword\n\0\n") == "not_text"
    assert refused(b"\x89PNG\r\n\x1a\n") == "not_text"
    assert refused(b"keyword,volume\n") == "no_keywords"
    assert refused(b"keyword,volume\nshed,many\n") == "no_keywords"
    assert refused(b"k" * (MAX_BYTES + 1)) == "too_large"


def test_a_line_of_title_stands_before_the_header_of_google_only() -> None:
    assert refused(b"My sheds\nkeyword\nroof\n") == "unknown_format"


def test_half_of_a_surrogate_pair_becomes_a_mark_that_every_table_holds() -> None:
    found = read_keyword_file(b'["shed \\ud83d"]')
    assert found.rows[0].keyword == "shed \ufffd"


words = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1, max_size=30).filter(
    lambda text: text.strip() and text.strip() == text
)


@given(
    st.lists(st.tuples(words, st.none() | st.integers(0, 10**12), st.none() | st.sampled_from(INTENTS)), min_size=1),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=60, deadline=None)
def test_what_a_writer_of_csv_writes_comes_back(
    rows: list[tuple[str, int | None, str | None]], separator: str, encoding: str
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator)
    writer.writerows([("keyword", "volume", "intent"), *(("" if v is None else v for v in row) for row in rows)])
    found = read_keyword_file(out.getvalue().encode(encoding))
    assert [(row.keyword, row.volume, row.intent) for row in found.rows] == rows
    assert found.bad == ()


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: ("keyword,volume\n" + text).encode()))
@settings(max_examples=150, deadline=None)
def test_whatever_the_bytes_there_are_rows_within_bounds_or_a_reason(content: bytes) -> None:
    try:
        found = read_keyword_file(content)
    except KeywordFileError as error:
        assert error.reason in ("too_large", "not_text", "unknown_format", "no_keywords")
        return
    numbers = [row.row_no for row in (*found.rows, *found.bad)]
    assert len(set(numbers)) == len(numbers)
    for row in found.rows:
        assert row.volume is None or 0 <= row.volume <= 10**12
        assert row.difficulty is None or (0 <= row.difficulty <= 100 and math.isfinite(row.difficulty))
