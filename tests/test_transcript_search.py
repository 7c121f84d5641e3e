"""Full-text search in SQL: the ranking of a plain BM25, phrases, and queries that mean no good."""

import math
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.catalog import MACROS, TABLES
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.tables import Partitions
from magpie.text.tokens import tokenise, wrapped
from magpie.videos.links import deep_link
from magpie.videos.search import K1, MOST_WORDS, B, search
from magpie.videos.tables import TRANSCRIPT_PASSAGES, VIDEOS
from magpie.warehouse import Macro, open_in_memory, publish
from tests.lake_tables import DAILY

ALPHA, BETA = "UC" + "a" * 22, "UC" + "b" * 22
MONDAY = date(2026, 3, 2)
RATES = (
    "the central bank keeps interest rates where they are",
    "rates of interest on savings are low",
    "I don't see why anyone would buy that fund",
    "a word about the weather",
    "rates rates rates and nothing else",
)
WORDS = st.sampled_from(
    ["rates", "rate", "interest", "bank", "buy", "the", "ß", "Straße", "don't", "3%", "ΣΙΓΜΑΣ", "A"]
)
TEXTS = st.lists(st.lists(WORDS, max_size=8).map(" ".join), min_size=1, max_size=12)


def passages(texts: list[str] | tuple[str, ...], channel: str = ALPHA, day: date = MONDAY) -> pl.DataFrame:
    """Texts as passages of half a minute, three to a video."""
    rows = []
    for n, text in enumerate(texts):
        video, number = f"{channel[-1]}{n // 3:010d}", n % 3
        tokens = tokenise(text)
        rows.append(
            {
                "video_id": video,
                "passage_no": number,
                "channel_id": channel,
                "day": day,
                "start_s": 30.0 * number,
                "end_s": 30.0 * number + 30,
                "text": text,
                "tokens": wrapped(tokens),
                "token_count": len(tokens),
                "deep_link": deep_link(video, 30 * number),
            }
        )
    return pl.DataFrame(rows, schema=TRANSCRIPT_PASSAGES.dtypes)


def lake_of(root: Path, *frames: pl.DataFrame) -> Lake:
    lake = Lake(str(root))
    for frame in frames:
        lake.write(TRANSCRIPT_PASSAGES, frame, Partitions.of(frame.select("channel_id", "day").rows()))
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_of(tmp_path / "lake", passages(RATES))


def texts_of(found: pl.DataFrame) -> list[str]:
    return found["text"].to_list()


def plain_bm25(texts: list[str], query: str) -> list[tuple[float, int]]:
    """Scores above 0 and the place of their text, the best first; ties in the order of the texts."""
    held = [tokenise(text) for text in texts]
    mean = sum(map(len, held)) / len(held)
    scores = []
    for place, tokens in enumerate(held):
        score = 0.0
        for word in sorted(set(tokenise(query))):
            tf, df = tokens.count(word), sum(word in other for other in held)
            if tf:
                idf = math.log(1 + (len(held) - df + 0.5) / (df + 0.5))
                score += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(tokens) / mean))
        if score > 0:
            scores.append((score, place))
    return sorted(scores, key=lambda found: (-round(found[0], 9), found[1]))


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.lists(WORDS, min_size=1, max_size=5).map(" ".join))
def test_passages_are_ranked_as_a_plain_bm25_ranks_them(texts: list[str], query: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        found = search(lake_of(Path(root), passages(texts)), query, most=100)
    expected = plain_bm25(texts, query)
    assert found["score"].to_list() == pytest.approx([score for score, _ in expected])
    # Two sums that differ in their last bit only may come in either order.
    keys = zip(found["score"].round(9), found["video_id"], found["start_s"], strict=True)
    ranked = sorted(keys, key=lambda key: (-key[0], *key[1:]))
    assert [int(video[1:]) * 3 + int(start // 30) for _, video, start in ranked] == [place for _, place in expected]


def test_a_rare_word_and_a_short_passage_count_for_more(lake: Lake) -> None:
    found = search(lake, "interest rates")
    assert texts_of(found) == [RATES[1], RATES[0], RATES[4]]
    assert found["score"].is_sorted(descending=True)
    assert found.columns == ["video_id", "channel_id", "day", "start_s", "score", "text", "deep_link", "title"]
    assert found["deep_link"][0] == "https://www.youtube.com/watch?v=a0000000000&t=30s"


@pytest.mark.parametrize("query", ['"interest rates"', "“interest rates”", '"Interest - RATES!" savings'])
def test_what_stands_in_quotes_must_occur_word_for_word(lake: Lake, query: str) -> None:
    assert texts_of(search(lake, query)) == [RATES[0]]


def test_two_phrases_must_both_occur_and_an_open_quote_is_none(lake: Lake) -> None:
    assert texts_of(search(lake, '"interest rates" "central bank"')) == [RATES[0]]
    assert texts_of(search(lake, '"interest rates" "the weather"')) == []
    assert len(search(lake, '"interest rates')) == 3


@pytest.mark.parametrize("query", ["DON'T", "don’t", "dont", "ｄｏｎ't"])
def test_a_query_is_folded_as_the_passages_are(lake: Lake, query: str) -> None:
    assert texts_of(search(lake, query)) == [RATES[2]]


@pytest.mark.parametrize("query", ["", " ", "?!…", '"', '""', '"" ""', "'", "%", "\x00", "\\", "$1", "{}", "--"])
def test_a_query_without_words_finds_nothing(lake: Lake, query: str) -> None:
    assert search(lake, query).is_empty()


@pytest.mark.parametrize(
    "query", ["'; DROP VIEW lake.videos; --", "' OR '1'='1", "\"') UNION SELECT 1 --", "rates'); FROM glob('/*'); --"]
)
def test_sql_in_a_query_is_words(lake: Lake, query: str) -> None:
    found = search(lake, query)
    assert set(texts_of(found)) <= set(RATES)
    with open_in_memory(lake, TABLES.values(), macros=MACROS) as session:
        asked = session.sql("FROM search_transcripts($query)", params={"query": query}).pl()
        assert asked.columns == found.columns
        assert session.sql("FROM lake.videos").fetchall() == []


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return lake_of(tmp_path_factory.mktemp("search"), passages(RATES))


@settings(max_examples=50, deadline=None)
@given(query=st.text(max_size=40) | st.text(alphabet="rates \"'“”*;", max_size=20))
def test_any_text_is_a_query(shared_lake: Lake, query: str) -> None:
    assert search(shared_lake, query).height <= len(RATES)


def test_a_channel_narrows_the_answer_and_not_what_is_rare(tmp_path: Path) -> None:
    later = MONDAY + timedelta(days=1)
    lake = lake_of(tmp_path, passages(RATES), passages(RATES[:2], BETA), passages(RATES[:1], BETA, later))
    everything, beta = search(lake, "interest rates"), search(lake, "interest rates", channel=BETA)
    assert set(beta["channel_id"]) == {BETA}
    assert beta.rows() == everything.filter(pl.col("channel_id") == BETA).rows()
    assert search(lake, "interest rates", channel="' OR true --").is_empty()


def test_equal_passages_come_in_the_order_of_their_videos(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, passages(["rates go up"] * 9, BETA), passages(["rates go up"] * 9))
    found = search(lake, "rates", most=12)
    key = found.select("video_id", "start_s").rows()
    assert key == sorted(key)
    assert len(key) == 12
    assert search(lake, "rates", most=5).rows() == found.head(5).rows()


def test_a_passage_carries_the_title_of_its_video(lake: Lake) -> None:
    row = dict.fromkeys(VIDEOS.dtypes) | {"video_id": "a0000000000", "channel_id": ALPHA, "day": MONDAY}
    row |= {"title": "On money", "url": "u", "description": "", "date_precision": "unknown", "media_kind": "video"}
    row |= {"chapters": [], "source": "rss", "first_seen_at": pl.Series([MONDAY]).cast(pl.Datetime("us", "UTC"))[0]}
    lake.write(VIDEOS, pl.DataFrame([row | {"status": "ok"}], schema=VIDEOS.dtypes), Partitions.of([(ALPHA, MONDAY)]))
    titles = dict(search(lake, "rates").select("text", "title").rows())
    assert titles == {RATES[0]: "On money", RATES[1]: "On money", RATES[4]: None}


def test_bounds_that_make_no_sense_are_refused_in_one_line(lake: Lake) -> None:
    with pytest.raises(UserError, match="cannot show 0 passages"):
        search(lake, "rates", most=0)
    with pytest.raises(UserError, match=f"{MOST_WORDS + 1} words; search for {MOST_WORDS} or fewer"):
        search(lake, "rates " * (MOST_WORDS + 1))


def test_an_empty_lake_is_searched_without_complaint(tmp_path: Path) -> None:
    assert search(Lake(str(tmp_path / "lake")), "rates").is_empty()


def sessions(lake: Lake, build: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The macro where people meet it: `magpie sql`, the warehouse opened as it is, and attached under another name."""
    yield open_in_memory(lake, TABLES.values(), macros=MACROS)
    publish(lake, TABLES.values(), build, MACROS)
    yield duckdb.connect(str(build), read_only=True)
    attached = duckdb.connect()
    attached.execute(f"ATTACH '{build}' AS other (READ_ONLY); USE other")
    yield attached


def test_sql_finds_the_same_wherever_the_lake_is_open(lake: Lake, tmp_path: Path) -> None:
    expected = search(lake, "interest rates").rows()
    for session in sessions(lake, tmp_path / "w.duckdb"):
        with session:
            assert session.sql("FROM lake.search_transcripts('Interest rates')").pl().rows() == expected
            assert session.sql("FROM lake.search_transcripts('interest rates', most := 1)").pl().rows() == expected[:1]
            assert session.sql("FROM lake.search_transcripts('interest rates', most := NULL)").pl().rows() == expected
            phrase = f"FROM lake.search_transcripts('“interest rates”', channel := '{ALPHA}')"
            assert texts_of(session.sql(phrase).pl()) == [RATES[0]]
            assert session.sql("FROM lake.search_transcripts(NULL)").fetchall() == []
            assert session.sql("FROM lake.search_transcripts(42)").fetchall() == []


def test_a_session_need_not_name_the_schema(lake: Lake) -> None:
    with open_in_memory(lake, TABLES.values(), macros=MACROS) as session:
        assert session.sql("FROM search_transcripts('weather')").pl()["text"].to_list() == [RATES[3]]


def test_a_macro_without_its_tables_is_left_out_and_one_that_changed_replaces_the_old(
    lake: Lake, tmp_path: Path
) -> None:
    with open_in_memory(lake, [DAILY], macros=MACROS) as session, pytest.raises(duckdb.CatalogException):
        session.sql("FROM search_transcripts('rates')")
    build = tmp_path / "w.duckdb"
    for answer in (1, 2):
        publish(lake, [DAILY], build, [Macro("answer", f"() AS TABLE SELECT {answer} AS n", "It's known.", ())])
        with duckdb.connect(str(build), read_only=True) as session:
            assert session.sql("FROM lake.answer()").fetchall() == [(answer,)]
            described = "SELECT comment FROM duckdb_functions() WHERE function_name = 'answer'"
            assert session.sql(described).fetchall() == [("It's known.",)]
