"""Names in speech: what is named is found, and a word that only looks like a name is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_symbols import row, table

from magpie.videos.naming import Named, is_spelled_out

KNOWN = table(
    row("NVDA", "NVIDIA Corporation", "~and video"),
    row("GS", "The Goldman Sachs Group, Inc."),
    row("GSX", "Goldman"),
    row("TGT", "Target Corporation"),
    row("BBY", "Best Buy Co., Inc."),
    row("T", "AT&T Inc."),
    row("MCD", "McDonald's Corp"),
    row("GOOGL", "Alphabet Inc. Class A", "Google"),
    row("GOOG", "Alphabet Inc. Class C", "Google"),
    row("BRK.B", "Berkshire Hathaway Inc /DE/", "Berkshire"),
    row("COST", "Costco Wholesale", "Costco"),
    row("ALL", "Allstate Corp"),
    row("AMD", "Advanced Micro Devices"),
    row("ONON", "On Holding AG"),
    row("META", "Meta Platforms, Inc.", "Meta"),
    row("FB", "Meta Platforms, Inc.", "Facebook", active=False),
    row("BTC-USD", "Bitcoin", "~bit coin", asset_type="crypto"),
)


def named(text: str) -> list[tuple[str, str]]:
    return [(found.symbol, found.how) for found in KNOWN.mentions([text])[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i like $nvda and $BRK-B and $BTC", [("BRK.B", "cashtag"), ("BTC-USD", "cashtag"), ("NVDA", "cashtag")]),
        ("$BTC-USD, $GOOG's chart", [("BTC-USD", "cashtag"), ("GOOG", "cashtag")]),
        ("it costs $5 and US$ZZZ, $ nvda", []),
        ("nvidia's numbers", [("NVDA", "name")]),
        ("NVIDIA’S NUMBERS", [("NVDA", "name")]),
        ("a goldman sachs note", [("GS", "name")]),
        ("mcdonalds and McDonald's", [("MCD", "name")]),
        ("AT&T, not at t mobile", [("T", "name")]),
        ("i think AMD and COST look fine", [("AMD", "ticker"), ("COST", "ticker")]),
        ("AMD IS THE ONE", []),
        ("i am ALL in", []),
        ("costs amdahl", []),
        ("berkshire-hathaway; berkshire", [("BRK.B", "name")]),
        ("[nvidia]", []),
        ("facebook", [("FB", "alias")]),
        ("meta", [("META", "alias")]),
        ("", []),
    ],
)
def test_a_text_names_what_it_names(text: str, expected: list[tuple[str, str]]) -> None:
    assert named(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("my price target for it is ninety", False),
        ("target is the best buy here", False),
        ("it hit the TARGET", False),
        ("It was fine. Target was met", False),
        ("Target", False),
        ("The Target", False),
        ("i really like Target here", True),
        ("target stock is cheap", True),
        ("buying target calls", True),
        ("$TGT", True),
    ],
)
def test_an_everyday_word_is_a_company_only_where_that_shows(text: str, found: bool) -> None:
    assert [symbol for symbol, _ in named(text)] == (["TGT"] if found else [])


def test_a_stop_word_is_no_company_even_if_a_company_is_called_so() -> None:
    assert named("they are on the move") == []
    assert named("i bought On shares") == [("ONON", "name")]


def test_the_longest_name_wins_and_the_shorter_one_is_found_elsewhere() -> None:
    assert named("goldman sachs") == [("GS", "name")]
    assert named("goldman sachs and goldman") == [("GS", "name"), ("GSX", "name")]


def test_what_captions_mishear_is_marked_and_a_clear_name_in_the_line_goes_before_it() -> None:
    [[heard]] = KNOWN.mentions(["look at and video here"])
    assert heard == Named("NVDA", "alias", "and video", sound_alike=True)
    [[clear]] = KNOWN.mentions(["and video or nvidia"])
    assert clear == Named("NVDA", "name", "nvidia")


def test_a_name_of_several_securities_tells_the_others() -> None:
    assert KNOWN.mentions(["google"]) == [[Named("GOOGL", "alias", "google", others=("GOOG",))]]
    assert KNOWN.mentions(["Meta Platforms"]) == [[Named("META", "name", "Meta Platforms", others=("FB",))]]


def test_a_share_that_is_called_just_so_goes_before_one_of_a_class() -> None:
    known = table(row("BRK.A", "Berkshire Hathaway Inc. Class A"), row("BRK.B", "Berkshire B", "Berkshire Hathaway"))
    [[found]] = known.mentions(["berkshire hathaway"])
    assert (found.symbol, found.others) == ("BRK.B", ("BRK.A",))


def test_a_share_that_is_gone_leaves_its_name_to_the_one_that_is_traded() -> None:
    gone = row("FB", "Meta Platforms, Inc.", active=False)
    [[found]] = table(gone, row("META", "Meta Platforms, Inc. Class A")).mentions(["meta platforms"])
    assert (found.symbol, found.others) == ("META", ("FB",))


def test_a_name_runs_over_a_line_end_only_in_flowing_speech() -> None:
    lines = ["i like goldman", "sachs and", "nvidia"]
    apart, flowing = KNOWN.mentions(lines), KNOWN.mentions(lines, flowing=True)
    assert [[found.symbol for found in line] for line in apart] == [["GSX"], [], ["NVDA"]]
    assert [[found.symbol for found in line] for line in flowing] == [["GS"], [], ["NVDA"]]
    assert flowing[0][0].text == "goldman sachs"


def test_every_text_has_its_answer_however_many_there_are() -> None:
    texts = ["", "nvidia", ".", "[Music]\n", "$AMD"] * 700
    assert [len(found) for found in KNOWN.mentions(texts)] == [0, 1, 0, 0, 1] * 700
    assert KNOWN.mentions([]) == []


@pytest.mark.parametrize(
    ("symbol", "text", "found"),
    [
        ("AMD", "well amd is up", True),
        ("AMD", "amdahl", False),
        ("COST", "what will it cost", False),
        ("COST", "i bought COST", True),
        ("ALL", "ALL of it", False),
        ("GS", "gs", False),
        ("GS", "GS again", True),
        ("T", "T is down", False),
        ("BRK.B", "brk b and more", True),
        ("BTC-USD", "btc is up", True),
    ],
)
def test_a_symbol_itself_is_found_where_it_can_only_be_one(symbol: str, text: str, found: bool) -> None:
    assert is_spelled_out(symbol, text) == found


NAMES = ("nvidia", "Nvidia's", "goldman", "sachs", "$BTC", "AMD", "target", "Target", "stock", "and", "video", "on")
MARKS = (".", ",", "!", "[", "]", "\n", " ", "  ", "İ", "ß", "ﬁ", "'", "&", "_", "\x1c", "1")
PIECES = st.sampled_from((*NAMES, *MARKS))


@given(st.lists(st.lists(PIECES, max_size=12).map(" ".join), max_size=6), st.booleans())
def test_any_text_is_answered_line_by_line_with_each_symbol_once(texts: list[str], flowing: bool) -> None:
    found = KNOWN.mentions(texts, flowing=flowing)
    assert len(found) == len(texts)
    for line in found:
        assert [one.symbol for one in line] == sorted({one.symbol for one in line})


@given(st.lists(st.lists(PIECES, max_size=12).map(" ".join), max_size=6))
def test_what_one_line_names_does_not_depend_on_the_lines_around_it(texts: list[str]) -> None:
    # An aside may reach over a line end, so brackets are left out here.
    plain = [text.replace("[", "").replace("]", "") for text in texts]
    assert KNOWN.mentions(plain) == [KNOWN.mentions([text])[0] for text in plain]


ALIKE = ("tovi kano", "tovi kano rella", "tovi", "tovi rella", "kano", "kano rella tovi", "rella")
FROM_ALIKE = st.lists(st.sampled_from(("tovi", "kano", "rella", "spoke")), max_size=12).map(" ".join)


@given(FROM_ALIKE)
def test_of_names_that_begin_alike_the_longest_is_found_wherever_its_words_stand(text: str) -> None:
    spaced, expected = f" {text} ", set()
    for name in sorted(ALIKE, key=len, reverse=True):
        if f" {name} " in spaced:
            expected.add(name)
            # What it took counts for no other name.
            while f" {name} " in spaced:
                spaced = spaced.replace(f" {name} ", " - ", 1)
    known = table(*(row(f"K{letter}", name) for letter, name in zip("ABCDEFG", ALIKE, strict=True)))
    assert {named.text for named in known.mentions([text])[0]} == expected
