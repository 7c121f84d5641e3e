"""What all readers of channel posts share: counts, moments, addresses, and what is found in a text."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.sources import meme_posts as m

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=50), st.lists(st.text(), max_size=2)
)


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        ("1.2K", 1200),
        ("12.7K", 12700),
        ("2.01K", 2010),
        ("3M", 3_000_000),
        ("1 204", 1204),
        ("1\u00a0204", 1204),
        ("1\u202f204", 1204),
        (None, None),
        ("987", 987),
        ("0", 0),
        ("1,204", 1204),
        ("1,204,800", 1_204_800),
        ("1,2K", 1200),
        ("4k", 4000),
        ("1.5B", 1_500_000_000),
        ("1.0005K", 1001),
        ("  12\n", 12),
    ],
)
def test_a_shortened_count_is_read_as_an_exact_decimal_and_rounded(shown: str | None, count: int | None) -> None:
    assert m.count_of(shown) == count


@pytest.mark.parametrize("shown", ["", "K", "views", "-5", "1.2.3", "1e5", "١٢", "12 views", "9" * 400, "999999999B"])
def test_what_is_no_count_is_unknown_and_not_zero(shown: str) -> None:
    assert m.count_of(shown) is None


@given(st.integers(0, 999), st.integers(0, 99), st.sampled_from(["K", "M", "B"]))
def test_no_count_loses_a_digit_to_floats(whole: int, hundredths: int, unit: str) -> None:
    factor = {"K": 10, "M": 10**4, "B": 10**7}[unit]
    assert m.count_of(f"{whole}.{hundredths:02}{unit}") == (100 * whole + hundredths) * factor


@given(st.text(max_size=80))
def test_any_text_is_a_count_or_none(text: str) -> None:
    count = m.count_of(text)
    assert count is None or 0 <= count <= m.MAX_COUNT


def test_a_hidden_count_is_unknown() -> None:
    said = {-1: None, True: None, "12": 12, 12.0: 12, float("nan"): None, (): None, 10**30: None, None: None}
    assert {value: m.whole_of(value) for value in said} == said


def test_moments_need_a_zone_and_a_plausible_year() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    said = (noon.timestamp(), str(int(noon.timestamp())), "2026-03-01T12:00:00Z", "2026-03-01T15:00:00+03:00")
    assert {m.moment_of(value) for value in said} == {noon}
    refused = ("2026-03-01T12:00:00", "2026-03-01 12:00:00", "yesterday", 0, -5, 10**13, None, True, float("inf"))
    assert {m.moment_of(value) for value in refused} == {None}


@given(ANYTHING)
def test_no_value_breaks_a_reader_of_single_values(value: object) -> None:
    moment = m.moment_of(value)
    assert moment is None or moment.utcoffset() == timedelta(0)
    for reader in (m.whole_of, m.side_of, m.seconds_of):
        number = reader(value)
        assert number is None or number >= 0
    assert m.post_id_of(value) is None or str(value) == m.post_id_of(value)
    name = m.name_of(value)
    assert name is None or (0 < len(name) <= m.NAME_CHARS and "\n" not in name)


def test_links_are_found_without_the_sentence_around_them() -> None:
    text = "see https://a.example/x?utm_campaign=1, (http://b.example/y). t.me/other! www.c.example/(d) mail@t.me/x"
    assert m.links_in(text) == (
        "https://a.example/x?utm_campaign=1",
        "http://b.example/y",
        "https://t.me/other",
        "https://www.c.example/(d)",
    )


def test_a_channels_own_links_are_no_links_out() -> None:
    links = [
        "https://t.me/Frogs/7",
        "https://t.me/frogs",
        "https://t.me/s/frogs?q=x",
        "https://t.me/frogspawn",
        "tg://x",
    ]
    assert m.unique_links([*links, *links], own=("frogs",)) == ("https://t.me/frogspawn",)


def test_mentions_are_names_and_no_mail_addresses() -> None:
    text = "by @foo_bar, @foo_bar and me@mail.example https://x.example/@nobody"
    assert m.mentions_in(text) == ("foo_bar",)
    assert m.mentions_in("hi @a.b.c.", dots=True) == ("a.b.c",)


def test_hashtags_hold_a_letter_and_are_no_parts_of_addresses() -> None:
    assert m.hashtags_in("#мем #top10 #10 https://x.example/#frag &#10071; a#b #мем") == ("мем", "top10")


def test_what_is_found_in_a_text_is_bounded() -> None:
    text = " ".join(f"https://x.example/{n} @name{n} #tag{n}" for n in range(500))
    assert {len(found) for found in (m.links_in(text), m.mentions_in(text), m.hashtags_in(text))} == {m.MAX_FOUND}


@given(st.text(max_size=300))
def test_a_trimmed_text_can_be_stored_and_trimming_it_again_changes_nothing(text: str) -> None:
    kept = m.trimmed(text, 100)
    if kept is not None:
        assert 0 < len(kept) <= 100
        assert "\0" not in kept
        kept.encode()
        assert m.trimmed(kept, 100) == kept


def test_half_surrogate_pairs_and_nuls_leave_a_text() -> None:
    assert m.trimmed("\0 a\ud83d b\r\nc ") == "a b\nc"
    assert m.trimmed("\n\0 ") is None


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.jpg", "a/../../x", "C:\\x.jpg", "\\\\host\\x", "", "a\0b", 7, "."]
)
def test_a_path_that_leads_out_of_the_folder_is_unreadable(path: object) -> None:
    with pytest.raises(m.Unreadable):
        m.file_of(path)


def test_a_path_is_told_with_slashes() -> None:
    assert m.file_of("photos\\.\\a.jpg") == "photos/a.jpg"


@given(st.text(max_size=40))
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    try:
        kept = m.file_of(path)
    except m.Unreadable:
        return
    assert not kept.startswith("/")
    assert ".." not in kept.split("/")


def test_gaps_are_counted_between_the_lowest_and_the_highest_id() -> None:
    assert (m.gaps([]), m.gaps([5]), m.gaps([9, 3, 4, 9])) == (0, 0, 4)
