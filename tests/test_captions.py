"""Caption files: every word once in each dialect, nothing that breaks the reader, and the right track."""

import gc
import json
from collections.abc import Sequence
from html import escape, unescape
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magpie.sources import captions
from magpie.sources.captions import (
    FORMATS,
    MAX_LINE_CHARS,
    BadCaptions,
    Line,
    Track,
    choose_track,
    read_captions,
)

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "youtube"
needs_files = pytest.mark.skipif(not DATA.is_dir(), reason="the caption files of YouTube are not in ../shared/data")

WORD = st.one_of(
    st.sampled_from(
        ["buy", "hold", "the", "no", "$NVDA", "AT&T", "3.5%", "[Music]", "2027", "-->x", "a<b", "рынок", "株"]
    ),
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8).filter(str.isprintable),
).filter(lambda word: "-->" not in word and not word.isspace() and word.isprintable())
SPOKEN = st.lists(st.lists(WORD, min_size=1, max_size=7), min_size=1, max_size=15)


def clock(milliseconds: int, separator: str = ".") -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{fraction:03}"


def rolling_vtt(spoken: Sequence[Sequence[str]]) -> bytes:
    """As YouTube writes automatic captions: the line before, the new one with word times, and 10 ms in between."""
    blocks, before = ["WEBVTT\nKind: captions\nLanguage: en\n"], " "
    for number, words in enumerate(spoken):
        start, end = number * 2000, number * 2000 + 1990
        first, *later = (escape(word) for word in words)
        timed = first + "".join(f"<{clock(start + 100 * n)}><c> {word}</c>" for n, word in enumerate(later, 1))
        line = escape(" ".join(words))
        blocks.append(f"{clock(start)} --> {clock(end)} align:start position:0%\n{before}\n{timed}\n")
        blocks.append(f"{clock(end)} --> {clock(end + 10)} align:start position:0%\n{line}\n \n")
        before = line
    return "\n".join(blocks).encode()


def srt(spoken: Sequence[Sequence[str]]) -> bytes:
    blocks = []
    for number, words in enumerate(spoken):
        times = f"{clock(number * 2000, ',')} --> {clock(number * 2000 + 1990, ',')}"
        blocks.append(f"{number + 1}\r\n{times}\r\n{escape(' '.join(words))}\r\n")
    return "\r\n".join(blocks).encode()


def json3(spoken: Sequence[Sequence[str]]) -> bytes:
    events: list[dict[str, object]] = [{"tStartMs": 0, "dDurationMs": 99_000, "id": 1, "wpWinPosId": 1}]
    for number, (first, *later) in enumerate(spoken):
        segments = [{"utf8": first}, *({"utf8": f" {word}", "tOffsetMs": n} for n, word in enumerate(later, 1))]
        events.append({"tStartMs": number * 2000, "dDurationMs": 4000, "wWinId": 1, "segs": segments})
        events.append({"tStartMs": number * 2000 + 1990, "aAppend": 1, "wWinId": 1, "segs": [{"utf8": "\n"}]})
    return json.dumps({"wireMagic": "pb3", "pens": [{}], "events": events}).encode()


def srv3(spoken: Sequence[Sequence[str]]) -> bytes:
    body = '<w t="0" id="1" wp="1" ws="1"/>'
    for number, (first, *later) in enumerate(spoken):
        words = f"<s>{escape(first)}</s>" + "".join(
            f'<s t="{n}"> {escape(word)}</s>' for n, word in enumerate(later, 1)
        )
        body += (
            f'<p t="{number * 2000}" d="4000" w="1">{words}</p><p t="{number * 2000 + 1990}" d="9" w="1" a="1">\n</p>'
        )
    head = '<head><pen id="1" b="1"/><ws id="1"/><wp id="1"/></head>'
    return (
        f'<?xml version="1.0" encoding="utf-8" ?><timedtext format="3">{head}<body>{body}</body></timedtext>'.encode()
    )


RENDERERS = {"json3": json3, "srv3": srv3, "vtt": rolling_vtt, "srt": srt}


def text_of(lines: Sequence[Line]) -> str:
    return " ".join(line.text for line in lines)


def texts(content: str | bytes, format: str) -> list[str]:
    data = content if isinstance(content, bytes) else content.encode()
    return [line.text for line in read_captions(data, format)]


def test_rolling_cues_say_every_word_once_and_keep_the_moment_a_line_appears() -> None:
    content = """WEBVTT

00:00:00.480 --> 00:00:02.960
the thing nobody tells you

00:00:02.960 --> 00:00:02.970
the thing nobody tells you

00:00:02.970 --> 00:00:05.120
the thing nobody tells you
about funding is simple

00:00:05.120 --> 00:00:05.130
about funding is simple

00:00:05.130 --> 00:00:08.400
about funding is simple
you raise money to buy time
"""
    lines = read_captions(content.encode(), "vtt")
    assert [line.start_s for line in lines] == [0.48, 2.97, 5.13]
    assert [line.end_s for line in lines] == [2.96, 5.12, 8.4]
    assert len(text_of(lines).split()) == 15
    assert len([word for row in content.split("\n")[2:] if "-->" not in row for word in row.split()]) == 33


@given(SPOKEN)
@example([["no"], ["no"], ["no", "no"], ["2"]])
def test_a_rolling_file_reads_back_as_the_words_that_were_spoken(spoken: list[list[str]]) -> None:
    assert texts(rolling_vtt(spoken), "vtt") == [" ".join(words) for words in spoken]


@given(SPOKEN.map(lambda spoken: [words for last, words in pairwise([[], *spoken]) if words != last]))
@example([["AT&amp;T", "&lt;b&gt;"], ["<b>"], ["7"]])
def test_the_same_speech_gives_the_same_text_in_every_format(spoken: list[list[str]]) -> None:
    expected = [(float(number * 2), " ".join(words)) for number, words in enumerate(spoken)]
    for format, render in RENDERERS.items():
        lines = read_captions(render(spoken), format)
        assert [(line.start_s, line.text) for line in lines] == expected, format
        assert all(line.start_s <= line.end_s for line in lines)


@given(SPOKEN, st.sampled_from(FORMATS), st.data())
def test_files_that_are_cut_off_or_damaged_raise_nothing_but_bad_captions(
    spoken: list[list[str]], format: str, data: st.DataObject
) -> None:
    whole = bytearray(RENDERERS[format](spoken))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    reads_or_refuses(bytes(whole[: data.draw(st.integers(0, len(whole)))]), format)


@given(st.binary(), st.sampled_from(FORMATS))
@example(b"\xff\xfe\x00", "srt")
@example(b"[" * 100_000, "json3")
@example(b'{"events":' * 5_000, "json3")
@example(b'{"events": [{"tStartMs": ' + b"9" * 5000 + b', "segs": [{"utf8": "a"}]}]}', "json3")
@example(b'{"events": [{"tStartMs": 1e999, "dDurationMs": NaN, "segs": [{"utf8": "a"}]}]}', "json3")
def test_arbitrary_bytes_raise_nothing_but_bad_captions(data: bytes, format: str) -> None:
    reads_or_refuses(data, format)


def reads_or_refuses(data: bytes, format: str) -> None:
    try:
        lines = read_captions(data, format)
    except BadCaptions as bad:
        assert "\n" not in str(bad)
    else:
        for line in lines:
            assert 0 <= line.start_s <= line.end_s < float("inf")
            assert line.text == " ".join(line.text.split())
            assert line.text
            line.text.encode()  # half a surrogate pair would break the table


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)
SEGMENT = st.one_of(JUNK, st.fixed_dictionaries({"utf8": st.one_of(st.text(max_size=9), JUNK)}))
EVENT = st.one_of(
    JUNK,
    st.fixed_dictionaries(
        {"segs": st.one_of(JUNK, st.lists(SEGMENT, max_size=4))},
        optional={
            "tStartMs": st.one_of(JUNK, st.integers(0, 9999)),
            "dDurationMs": st.one_of(JUNK, st.integers(0, 999)),
        },
    ),
)


@given(st.fixed_dictionaries({"events": st.one_of(JUNK, st.lists(EVENT, max_size=6))}), st.booleans())
@example({"events": [{"segs": [{"utf8": "\ud83d half"}, {"utf8": None}, {"utf8": " kept"}]}]}, True)
def test_odd_json_reads_alike_through_the_fast_and_the_lenient_reader(document: object, ascii_only: bool) -> None:
    data = json.dumps(document, ensure_ascii=ascii_only).encode(errors="replace")

    def read() -> list[Line] | str:
        try:
            return read_captions(data, "json3")
        except BadCaptions:
            return "refused"

    fast = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captions, "from_json", lambda *_, **__: json.loads("no json"))
        assert read() == fast
    reads_or_refuses(data, "json3")


def test_an_odd_item_costs_its_own_words_and_no_more() -> None:
    events = [7, None, {"segs": "text"}, {"tStartMs": 5000, "segs": [{"utf8": "kept"}, 3, {"utf8": None}, {}]}]
    events += [{"tStartMs": "abc", "dDurationMs": -1, "segs": [{"utf8": "timeless"}]}]
    assert read_captions(json.dumps({"events": events}).encode(), "json3") == [
        Line(5.0, 5.0, "kept"),
        Line(5.0, 5.0, "timeless"),
    ]


def test_an_event_ends_where_the_next_begins_and_is_left_out_where_it_repeats_the_one_before() -> None:
    events = [
        {"tStartMs": 1000, "dDurationMs": 9000, "segs": [{"utf8": "first"}]},
        {"tStartMs": 3000, "dDurationMs": 2000, "segs": [{"utf8": " first "}]},
        {"tStartMs": 4000, "dDurationMs": 1000, "segs": [{"utf8": "above\nbelow"}]},
        {"tStartMs": 4000, "dDurationMs": 2000, "segs": [{"utf8": "beside"}]},
        {"tStartMs": 2000, "dDurationMs": 500, "segs": [{"utf8": "out of order"}]},
        {"tStartMs": 7000, "segs": [{"utf8": "without a length"}]},
        {"tStartMs": 8000, "segs": [{"utf8": "at the end"}]},
    ]
    assert read_captions(json.dumps({"events": events}).encode(), "json3") == [
        Line(1.0, 3.0, "first"),
        Line(4.0, 5.0, "above below"),
        Line(4.0, 6.0, "beside"),
        Line(2.0, 2.5, "out of order"),
        Line(7.0, 8.0, "without a length"),
        Line(8.0, 8.0, "at the end"),
    ]


def test_events_that_scroll_two_lines_say_each_once() -> None:
    shown = ["rates stay", "rates stay\nfor longer", "for longer\nthan we think", "for longer\nthan we think"]
    events = [{"tStartMs": n * 1000, "dDurationMs": 1000, "segs": [{"utf8": text}]} for n, text in enumerate(shown)]
    assert texts(json.dumps({"events": events}), "json3") == ["rates stay", "for longer", "than we think"]
    body = "".join(f'<p t="{n}000" d="1000">{text}</p>' for n, text in enumerate(shown))
    assert texts(f'<timedtext format="3"><body>{body}</body></timedtext>', "srv3") == [
        "rates stay",
        "for longer",
        "than we think",
    ]


SCREEN = st.lists(st.sampled_from(["a", "b", "c", "a ", "  b", " ", "\u200b", "a  b", "7"]), max_size=4)


@given(st.lists(SCREEN, max_size=12), st.booleans())
@example([["a"], ["a", "\u200b"], ["a"], ["\u200b"], ["a", "b"], ["a", "b"], ["b", "\u200b", "c"]], False)
def test_shortcuts_for_rolling_cues_give_what_the_rule_gives(screens: list[list[str]], with_numbers: bool) -> None:
    blocks = []
    for number, rows in enumerate(screens):
        head = f"{number + 1}\n" if with_numbers else ""
        blocks.append(
            f"{head}{clock(number * 1000)} --> {clock(number * 1000 + 900)}\n" + "".join(f"{r}\n" for r in rows)
        )
    found = read_captions(("WEBVTT\n\n" + "\n".join(blocks)).encode(), "vtt")
    assert [(line.start_s, line.text) for line in found] == by_the_rule(screens)


def by_the_rule(screens: list[list[str]]) -> list[tuple[float, str]]:
    expected, shown = [], []
    for number, rows in enumerate(screens):
        lines = [line for row in rows if (line := " ".join(row.replace("\u200b", "").split()))]
        if lines:
            sizes = range(min(len(shown), len(lines)) + 1)
            repeated = max(size for size in sizes if shown[len(shown) - size :] == lines[:size])
            expected += [(float(number), line) for line in lines[repeated:]]
            shown = lines
    return expected


def test_single_words_have_no_tags_and_are_kept() -> None:
    content = (
        "WEBVTT\n\n00:01.000 --> 00:02.000\nso\n\n00:02.000 --> 00:03.000\nso\nwell\n\n00:03.000 --> 00:04.000\nyes\n"
    )
    assert texts(content, "vtt") == ["so", "well", "yes"]


def test_coloured_files_lose_their_tags_styles_and_regions() -> None:
    content = """WEBVTT
Kind: captions
Language: en
Style:
::cue(c.colorCCCCCC) { color: rgb(204,204,204);
 }
##

NOTE made by hand
in two lines

STYLE
::cue { color: white }

REGION
id:left width:40%

00:00:00.000 --> 00:00:02.000 align:start position:0%
<c.colorE5E5E5>we<00:00:00.500> like</c><c.colorCCCCCC><00:00:01.000> margins</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
<c.colorE5E5E5>we like margins
 </c>

00:00:02.010 --> 00:00:04.000 align:start position:0%
<c.colorE5E5E5>we like</c> margins
<c.colorE5E5E5>and<00:00:03.000> cash</c>
"""
    assert texts(content, "vtt") == ["we like margins", "and cash"]


def test_manual_captions_keep_every_line_with_the_times_of_its_cue() -> None:
    content = "\ufeffWEBVTT - made by us\r\n\r\nintro\r\n1:00:00.5 --> 1:00:03.25 line:0\r\n"
    content += "<v Ann>- Tom &amp; Co&nbsp;</v>\r\n- 5 < 6 &amp;gt; &lt;4\r\n"
    expected = [Line(3600.5, 3603.25, "- Tom & Co"), Line(3600.5, 3603.25, "- 5 < 6 &gt; <4")]
    assert read_captions(content.encode(), "vtt") == expected


@pytest.mark.parametrize("separator", [".", ","])
@pytest.mark.parametrize("head", ["", "WEBVTT\n\n", "\n\n", "1\n"])
def test_files_without_a_header_and_with_either_decimal_sign_are_read(head: str, separator: str) -> None:
    content = f"{head}00:00:01{separator}000 --> 00:00:02{separator}000\nlive words\n"
    for format in ("vtt", "srt"):
        assert read_captions(content.encode(), format) == [Line(1.0, 2.0, "live words")]


def test_cue_numbers_are_no_speech_even_without_blank_lines_between_cues() -> None:
    content = "1\n00:01,0 --> 00:02,0\n{\\an8}<i>first</i>\n2\n00:02,0 --> 00:03,0\n\n3\n00:03,0 --> 00:04,0\n1999\n\n"
    assert texts(content, "srt") == ["first", "1999"]


def test_a_wrong_clock_keeps_the_order_of_the_file_and_never_ends_before_it_begins() -> None:
    content = "WEBVTT\n\n00:09.000 --> 00:03.000\nlate\n\n00:01.000 --> 00:02.000\nearly\n"
    assert read_captions(content.encode(), "vtt") == [Line(9.0, 9.0, "late"), Line(1.0, 2.0, "early")]


@given(st.lists(st.tuples(st.integers(0, 359_999_999), st.sampled_from(",.")), min_size=1, max_size=5), st.booleans())
def test_clocks_read_alike_at_once_and_one_by_one(moments: list[tuple[int, str]], with_odd_one: bool) -> None:
    clocks = [clock(milliseconds, separator) for milliseconds, separator in moments]
    expected = [milliseconds / 1000 for milliseconds, _ in moments]
    odd = ["123456:1:2.3"] if with_odd_one else []
    assert captions._all_seconds(clocks + odd) == expected + [444_441_662.3][: len(odd)]
    assert [captions._seconds(each) for each in clocks] == expected


def test_bytes_that_are_no_text_are_replaced_and_controls_removed() -> None:
    content = b"WEBVTT\n\n00:01.000 --> 00:02.000\nb\x00u\x07y \xff now\xe2\x80\x8b\xc2\x85!\n\x01\n"
    assert texts(content, "vtt") == ["buy \ufffd now !"]
    raw = b'{"events": [{"tStartMs": 0, "segs": [{"utf8": "b\x00uy \xff\\u0007now \\ud83d"}]}]}'
    assert texts(raw, "json3") == ["buy \ufffdnow \ufffd"]
    assert texts(b'<timedtext><body><p t="1">b\x00uy\xff</p></body></timedtext>', "srv3") == ["buy\ufffd"]


def test_wide_files_of_subtitle_editors_are_read() -> None:
    content = "1\r\n00:00:01,000 --> 00:00:02,000\r\nмы покупаем\r\n".encode("utf-16")
    assert texts(content, "srt") == ["мы покупаем"]


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("", "vtt"),
        ("WEBVTT\nKind: captions\n", "vtt"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n \n\n", "vtt"),
        ("", "srt"),
        ('{"wireMagic": "pb3"}', "json3"),
        ('{"events": []}', "json3"),
        ('{"events": [{"tStartMs": 1, "segs": [{"utf8": "\\n"}]}]}', "json3"),
        ('<timedtext format="3"><body/></timedtext>', "srv3"),
    ],
)
def test_a_file_without_text_gives_no_lines(content: str, format: str) -> None:
    assert texts(content, format) == []


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        ("<html>too many requests</html>", "vtt", "this is no vtt file"),
        ("<html>too many requests</html>", "srt", "this is no srt file"),
        ('{"error": 429}', "json3", "no list of events"),
        ('{"events": 5}', "json3", "no list of events"),
        ('{"events": [', "json3", "no JSON"),
        ("", "json3", "no JSON"),
        ("<transcript><text start='0'>old</text></transcript>", "srv3", "no timedtext"),
        ("<timedtext><p t='0'>", "srv3", "no well-formed XML"),
        (
            '<!DOCTYPE t [<!ENTITY a "aaaa">]><timedtext><body><p t="0">&a;</p></body></timedtext>',
            "srv3",
            "document type",
        ),
        ("anything", "ttml", "'ttml' are not read"),
    ],
)
def test_what_is_no_caption_file_is_refused_with_the_reason(content: str, format: str, message: str) -> None:
    with pytest.raises(BadCaptions, match=message) as caught:
        read_captions(content.encode(), format)
    assert "\n" not in str(caught.value)


def test_a_declared_encoding_hides_no_entities() -> None:
    content = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE t [<!ENTITY a "aaaa">]><timedtext>&a;</timedtext>'
    with pytest.raises(BadCaptions, match="document type"):
        read_captions(content.encode("utf-16"), "srv3")


def test_bounds_cut_a_line_and_refuse_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    content = f"WEBVTT\n\n00:01.000 --> 00:02.000\n{'a' * (MAX_LINE_CHARS + 1)}\nnext\n"
    assert [len(text) for text in texts(content, "vtt")] == [MAX_LINE_CHARS, 4]
    monkeypatch.setattr(captions, "MAX_BYTES", 10)
    with pytest.raises(BadCaptions, match="11 bytes"):
        read_captions(b"WEBVTT\n\n\n\n\n", "vtt")


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        reads_or_refuses(b"no captions", "json3")
        reads_or_refuses(b'{"events": []}', "json3")
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("format", FORMATS)
def test_a_video_of_ten_hours_is_read_whole(format: str) -> None:
    spoken = [["word", f"n{number}", "of", "a", "long", "stream"] for number in range(18_000)]
    lines = read_captions(RENDERERS[format](spoken), format)
    assert len(lines) == 18_000
    assert (lines[-1].start_s, lines[-1].text) == (35_998.0, "word n17999 of a long stream")


@needs_files
def test_a_real_automatic_file_shrinks_to_a_third() -> None:
    data = (DATA / "finec_lecture.ru.auto.vtt").read_bytes()
    lines = read_captions(data, "vtt")
    shown = [row for row in data.decode().split("\n")[4:] if "-->" not in row]
    naive = sum(len(captions._TAGS.sub("", row).split()) for row in shown)
    assert 2.5 <= naive / len(text_of(lines).split()) <= 3.5
    # Once the file itself shows the same one-word line twice on one screen: both were spoken.
    assert [line.text for last, line in pairwise(lines) if last.text == line.text] == ["fa"]
    assert all(last.start_s <= line.start_s for last, line in pairwise(lines))
    # Lines with word times are those that were new on their screen: none is lost.
    timed = {unescape(" ".join(captions._TAGS.sub("", row).split())) for row in shown if "<c>" in row}
    assert timed <= {line.text for line in lines}


@needs_files
@pytest.mark.parametrize(
    ("file", "lines", "words"),
    [
        ("json3_earnings_call_small.json3", 4, 10),
        ("json3_hanif_small.json3", 2, 4),
        ("json3_sift_small.json3", 6, 46),
        ("json3_yt2md_small.json3", 4, 9),
        ("vtt_sift_rolling_small.vtt", 3, 15),
    ],
)
def test_real_small_files_give_their_lines(file: str, lines: int, words: int) -> None:
    path = DATA / file
    found = read_captions(path.read_bytes(), path.suffix[1:])
    assert (len(found), len(text_of(found).split())) == (lines, words)


@needs_files
def test_a_real_styled_srv3_file_keeps_windows_side_by_side_and_loses_its_marks() -> None:
    found = read_captions((DATA / "ytsubconverter_reference.srv3").read_bytes(), "srv3")
    assert Line(44.0, 48.0, "漢(かん)字(じ)") in found
    assert Line(52.0, 56.0, "Rotated text (LTR)") in found


def automatic(*names: str, format: str = "vtt") -> list[Track]:
    return [Track(name, format, False) for name in names]


def manual(*names: str, format: str = "vtt") -> list[Track]:
    return [Track(name, format, True) for name in names]


@pytest.mark.parametrize(
    ("tracks", "language", "expected"),
    [
        (manual("en", "de") + automatic("de-orig", "de"), "de", "de"),
        (manual("en-GB", "fr") + automatic("en-orig"), "en", "en-GB"),
        (manual("en-GB", "en"), "en", "en"),
        (manual("en-GB", "en-US", "en"), "en-US", "en-US"),
        (manual("en-nP7-2PuUl7o"), "en", "en-nP7-2PuUl7o"),
        (manual("en") + automatic("de-orig", "de"), "de", "en"),
        (manual("fr") + automatic("de-orig", "de"), "de", "de-orig"),
        (automatic("en", "en-orig", "de", "fr"), "en", "en-orig"),
        (automatic("en", "de", "fr"), "en", "en"),
        (automatic("en", "de"), "en-US", "en"),
        (manual("nl", "en") + automatic("nl-en", "nl-orig", "nl"), "nl", "nl"),
        (automatic("nl-en"), "nl", None),
        (manual("nl-en"), "nl", None),
        (automatic("zh-Hant-en", "zh-Hans-en"), "zh", None),
        (automatic("pt-br"), "pt-br", "pt-br"),
        (automatic("en", "ru-orig", "ru"), "en", None),
        (automatic("en"), "ru", None),
        (manual("live_chat"), "en", None),
        (automatic("live_chat"), None, None),
        (automatic("auto-translated"), None, None),
        ([], "en", None),
        (automatic("en", "de-orig", "de", "fr"), None, "de-orig"),
        (manual("de", "en") + automatic("de-orig", "de", "en"), None, "de"),
        (automatic("ru"), None, "ru"),
        (automatic("ru", "en"), None, None),
        (automatic("ru", "nl-en"), None, "ru"),
        (manual("en", "fr"), None, "en"),
        (manual("fr"), None, None),
    ],
)
def test_people_come_before_recognition_and_translations_never_count(
    tracks: list[Track], language: str | None, expected: str | None
) -> None:
    for ordered in (tracks, tracks[::-1]):
        chosen = choose_track(ordered, language)
        assert (chosen.name if chosen else None) == expected


def test_the_format_with_the_least_repetition_is_taken() -> None:
    tracks = [Track("en-orig", format, False) for format in ("srt", "ttml", "vtt", "srv1", "srv3", "json3")]
    order = []
    while chosen := choose_track(tracks, "en"):
        order.append(chosen.format)
        tracks.remove(chosen)
    assert order == ["json3", "srv3", "vtt", "srt"]
