"""Texts of pictures: they belong to bytes, are read once, and what nobody has read is no picture without text."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.fetches import Fetch
from magpie.llm.engine import RESULT_SCHEMA, Engine, EngineSettings
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.models import Models
from magpie.llm.spec import InvalidAnswer, Registry
from magpie.llm.task import Scope
from magpie.media.opening import UnusableMedia
from magpie.persona.image_lines import Line, LineReader, frame_times, in_corner, local_lines, shown_frames, text_of
from magpie.persona.image_read import IMAGE_READ, QUESTIONS, ImageReader, ImageReading, check, images, offline
from magpie.persona.image_texts import Downloads, Shop, arrived, image_texts, media_folders, retry_after
from magpie.persona.listing import Places
from magpie.persona.settings import Blog
from magpie.persona.tables import IMAGE_TEXTS, TUMBLR_POSTS
from magpie.sources.web import Page, WebError
from tests.free_world import MODELS, limits
from tests.gateway_world import desk
from tests.ledger_world import FakeClock, assert_books_balance
from tests.pictures import animation, encoded, noise, scene

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOST = "https://64.media.example/abc/s1280x1920"
Before = Mapping[str, dict[str, Any]]
ROW: dict[str, Any] = {"path": "", "local_text": "", "animated": False}


def line(text: str = "words", conf: float = 0.99, left: float = 0.3, top: float = 0.3, **size: float) -> Line:
    return Line(text, conf, left, top, size.get("width", 0.1), size.get("height", 0.03))


# --- what counts in a picture ---


def test_a_line_in_a_corner_is_no_text_of_the_picture_and_one_at_a_side_is() -> None:
    assert in_corner(line(left=0.02, top=0.02))
    assert not in_corner(line(left=0.02, top=0.50))
    assert in_corner(line(left=0.88, top=0.96))
    assert not in_corner(line(left=0.4, top=0.97))


def test_lines_count_by_confidence_and_equal_frames_once() -> None:
    first = [line("one"), line("murmur", 0.79, width=0.02), line("@blog", left=0.01, top=0.01)]
    assert text_of([first, [line("one")], [line("two"), line("three")]], 0.80) == "one\ntwo\nthree"
    assert text_of([first], 0.75) == "one\nmurmur"


def test_a_picture_most_of_whose_text_was_not_understood_is_not_said_to_have_none() -> None:
    assert text_of([[line("", 0.0), line("sure", width=0.09)]], 0.80) is None
    assert text_of([[line("", 0.0), line("sure", width=0.11)]], 0.80) == "sure"
    assert text_of([[]], 0.80) == text_of([[line("@blog", 0.1, left=0.0, top=0.0)]], 0.80) == ""


def test_a_moving_picture_is_looked_at_every_second_and_ten_times_at_most() -> None:
    assert frame_times(4.0) == pytest.approx([0, 0.8, 1.6, 2.4, 3.2])
    assert frame_times(25) == [2.5 * number for number in range(10)]
    assert frame_times(0.4) == frame_times(0) == [0]


@given(st.floats(0, 1e6))
def test_frames_lie_evenly_within_the_picture(duration_s: float) -> None:
    times = frame_times(duration_s)
    assert 1 <= len(times) <= 10
    assert times[0] == 0 and times[-1] < max(duration_s, 1e-300)
    assert len(times) == 10 or len(times) == int(duration_s) + 1


def test_the_frames_of_a_moving_picture_are_those_shown_at_these_times() -> None:
    shades = [Image.new("RGB", (20, 20), (10 * number, 0, 0)) for number in range(20)]
    found = shown_frames(animation(shades, ms=200))
    reds = [frame.getpixel((5, 5)) for frame in found.frames]
    assert reds == [(10 * number, 0, 0) for number in (0, 4, 8, 12, 16)]
    assert (found.n_frames, found.animated) == (5, True)


def test_equal_frames_are_looked_at_once() -> None:
    still, other = noise(1), noise(2)
    found = shown_frames(animation([still, other, still, other], ms=1000))
    assert (len(found.frames), found.n_frames) == (2, 5)


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(scene())[:500], b"\x00\x00\x00\x18ftypmp42"])
def test_bytes_without_a_picture_say_so(content: bytes) -> None:
    with pytest.raises(UnusableMedia):
        shown_frames(content)


@pytest.fixture(scope="module")
def reader() -> LineReader:
    found = local_lines()
    if found is None:
        pytest.skip("the extra `ocr` is not installed")
    return found


def test_this_machine_reads_lines_with_their_places(reader: LineReader) -> None:
    picture = Image.new("RGB", (640, 400), "white")
    for at, text, size in (
        ((96, 100), "THE TRAIN IS LATE", 36),
        ((96, 200), "again, 17:30", 36),
        ((4, 375), "@me", 16),
    ):
        ImageDraw.Draw(picture).text(at, text, font=ImageFont.load_default(size), fill="black")
    lines = reader.lines(picture)
    assert lines is not None
    assert text_of([lines], 0.80) == "THE TRAIN IS LATE\nagain, 17:30"
    first = lines[0]
    assert (first.left, first.top) == pytest.approx((0.15, 0.26), abs=0.03)
    assert 0.4 < first.width < 0.7 and 0.05 < first.height < 0.15
    assert reader.lines(Image.new("RGB", (300, 10), "white")) == []


# --- what is asked of a model ---


def checked(**fields: Any) -> ImageReading:
    return check(ImageReading(**fields), ROW, True)


def test_a_caption_of_300_characters_counts_and_one_of_301_does_not() -> None:
    assert len(checked(caption="x" * 300).caption) == 300
    with pytest.raises(InvalidAnswer, match="301 characters; 300 at most"):
        checked(caption="x" * 301)


def test_texts_are_cleaned_and_an_answer_of_nothing_is_none() -> None:
    found = checked(ocr_text=" TOP \r\nlow\x00 ", caption=" A cat.\n\u202eIt looks. ", language="EN")
    assert (found.ocr_text, found.caption, found.language) == ("TOP\nlow", "A cat. It looks.", "en")
    assert len(checked(ocr_text="y" * 9000).ocr_text) == 5000
    with pytest.raises(ValidationError, match="both empty"):
        ImageReading(ocr_text=" ", caption="")
    with pytest.raises(InvalidAnswer, match="nothing that can be read"):
        checked(ocr_text="\x00")


@given(st.text(max_size=6000), st.booleans())
def test_whatever_was_read_here_the_rules_answer_holds(text: str, animated: bool) -> None:
    row = {**ROW, "local_text": text.strip(), "animated": animated}
    assert check(offline(row), row, True) if text.strip().isprintable() else offline(row)


def test_the_rule_says_of_a_picture_without_text_that_there_is_one_and_adds_nothing_to_a_text() -> None:
    assert offline({**ROW, "animated": True}).caption == "a moving picture"
    assert offline(ROW).caption == "a picture"
    assert offline({**ROW, "local_text": "the train is late"}).caption == ""


def test_a_model_sees_jpegs_of_bounded_size_one_for_each_frame(tmp_path: Path) -> None:
    (tmp_path / "wide").write_bytes(encoded(Image.new("RGB", (2000, 500))))
    (tmp_path / "moving").write_bytes(animation([noise(1, 800, 400), noise(2, 800, 400)], ms=1500))
    sizes = [
        [
            (shown.mime, Image.open(io.BytesIO(shown.data)).size)
            for shown in images({**ROW, "path": str(tmp_path / name)})
        ]
        for name in ("wide", "moving")
    ]
    assert sizes == [[("image/jpeg", (1280, 320))], [("image/jpeg", (640, 320))] * 2]


# --- from posts to rows ---


@dataclass
class Server:
    """Answers each address with bytes or an outcome, and remembers."""

    blobs: Blobs
    there: dict[str, bytes | str] = field(default_factory=dict)
    log: dict[str, list[Fetch]] = field(default_factory=dict)

    def known(self, urls: Iterable[str]) -> dict[str, tuple[Fetch, ...]]:
        return {url: tuple(self.log[url]) for url in urls if url in self.log}

    def fetch(self, url: str, now: datetime) -> Fetch:
        said = self.there.get(url, "http_404")
        outcome, detail = ("ok", self.blobs.put(said)) if isinstance(said, bytes) else (said, "64.media.example")
        self.log.setdefault(url, []).append(Fetch("tumblr_media", url, "bytes", now, outcome, detail))
        return self.log[url][-1]

    @property
    def asked(self) -> int:
        return sum(map(len, self.log.values()))


@dataclass
class Reading:
    """Reads every picture alike, and counts."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, shas: Sequence[str], before: Before) -> dict[str, dict[str, Any]]:
        self.seen += shas
        told = {"status": "ok", "text": "words", "lines": [], "n_frames": 1, "animated": False, "engine": "local"}
        return {sha: {**told, "caption": f"of {sha[:4]}"} for sha in shas}


@dataclass
class Table:
    """The table as last made, and everything it is made of."""

    home: Path
    live: bool = False
    stored: pl.DataFrame = field(default_factory=IMAGE_TEXTS.empty)
    now: datetime = NOW
    read: Callable[[Sequence[str], Before], dict[str, dict[str, Any]]] = field(default_factory=Reading)

    def __post_init__(self) -> None:
        self.blobs = Blobs(self.home / "blobs")
        self.server = Server(self.blobs)
        self.folder = self.home / "archive" / "demo-blog" / "media"
        self.folder.mkdir(parents=True)

    def put(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def make(self, *names: str, day: date = DAY, **post: Any) -> dict[str, dict[str, Any]]:
        """Make the rows of one post with pictures of these names, or addresses; return them by name."""
        urls = [name if ":" in name else f"{HOST}/{name}" for name in names]
        told = {"blog": "demo-blog", "day": day, "post_id": "1", "status": "ok", "payload": json.dumps(urls), **post}
        posts = pl.DataFrame([told], schema=TUMBLR_POSTS.dtypes)
        shop = Shop([self.home / "none", self.folder], self.server if self.live else None, self.blobs, self.now)
        made = image_texts(posts, json.loads, self.stored, shop, self.read)
        self.stored = pl.concat([self.stored.filter(pl.col("day") != day), IMAGE_TEXTS.schema.validate(made)])
        return {row["url"].rpartition("/")[2]: row for row in made.iter_rows(named=True)}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Table:
    return Table(tmp_path, live=True)


def fate(row: dict[str, Any]) -> tuple[str, str | None]:
    return row["status"], row["reason"]


def test_a_file_of_the_archive_is_found_by_the_last_part_of_its_address(table: Table) -> None:
    table.put("cat picture.png", encoded(scene()))
    row = table.make("cat%20picture.png?x=1")["cat%20picture.png?x=1"]
    assert fate(row) == ("ok", None)
    assert table.blobs.get(row["media_sha256"]) == encoded(scene())
    assert (row["text"], row["engine"]) == ("words", "local")


def test_a_file_that_is_not_there_is_waited_for_and_is_no_picture_without_text(table: Table) -> None:
    row = table.make("gone.jpg")["gone.jpg"]
    assert fate(row) == ("pending", "media_missing")
    assert (row["not_before"], row["text"], row["media_sha256"], row["lines"]) == (None, None, None, [])
    folders = {"demo-blog": [table.folder]}
    assert arrived(table.stored, folders) == []
    table.put("gone.jpg", encoded(scene()))
    assert arrived(table.stored, folders) == [("demo-blog", DAY)]
    assert fate(table.make("gone.jpg")["gone.jpg"]) == ("ok", None)


def test_equal_bytes_are_read_once_under_all_their_addresses_and_on_all_days(table: Table) -> None:
    for name in ("a.png", "b.png"):
        table.put(name, encoded(scene()))
    made = table.make("a.png", "b.png")
    assert isinstance(table.read, Reading) and len(table.read.seen) == 1
    assert made["a.png"]["caption"] == made["b.png"]["caption"]
    later = table.make("b.png", day=DAY + timedelta(days=1))["b.png"]
    assert len(table.read.seen) == 1
    assert {name: later[name] for name in later if name not in ("day", "url")} == {
        name: made["b.png"][name] for name in later if name not in ("day", "url")
    }


def test_two_failures_never_share_a_text(live: Table) -> None:
    made = live.make("a.png", "b.png")
    assert [fate(row) for row in made.values()] == [("pending", "media_missing")] * 2
    assert {row["media_sha256"] for row in made.values()} == {None}


@pytest.mark.parametrize("name", ["clip.mp4", "song.mp3", "loop.gifv", "page.html"])
def test_what_is_no_picture_by_its_ending_is_not_looked_for(live: Table, name: str) -> None:
    assert fate(live.make(name)[name]) == ("rejected", "not_image")
    assert live.server.asked == 0


def test_an_address_that_is_none_is_turned_away(live: Table) -> None:
    made = live.make("data:image/png;base64,AAAA", "http://[/a.png", "ftp://host/b.png")
    assert {fate(row) for row in made.values()} == {("rejected", "bad_address")}
    assert live.server.asked == 0


def test_deleted_and_rejected_posts_show_no_pictures(table: Table) -> None:
    assert table.make("a.png", payload=None, status="rejected", reason="deleted") == {}
    assert table.make("a.png", status="rejected", reason="bad_time") == {}


def test_a_file_that_is_too_large_or_may_not_be_read_fails_alone(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magpie.persona.image_texts.MAX_BYTES", len(encoded(scene())))
    table.put("a.png", encoded(scene()))
    table.put("b.png", encoded(scene()) + b"more")
    table.put("c.png", encoded(scene()))
    honest = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "c.png":
            raise PermissionError(13, "Permission denied")
        return honest(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    made = table.make("a.png", "b.png", "c.png", "d" * 400 + ".png")
    fates = {name[:5]: fate(row) for name, row in made.items()}
    assert fates["a.png"] == ("ok", None)
    assert fates["b.png"] == fates["c.png"] == ("failed", "media_unreadable")
    assert fates["ddddd"] == ("pending", "media_missing")
    assert str(table.home) not in (made["c.png"]["observed"] or "")


def test_a_live_picture_is_fetched_once_and_the_archive_comes_first(live: Table) -> None:
    live.server.there[f"{HOST}/a.png"] = encoded(scene())
    live.put("b.png", encoded(noise(1)))
    assert {fate(row) for row in live.make("a.png", "b.png").values()} == {("ok", None)}
    live.make("a.png", "b.png")
    live.make("a.png", day=DAY + timedelta(days=1))
    assert live.server.asked == 1


def test_a_picture_that_is_away_is_asked_for_again_after_growing_pauses_and_fails_in_the_end(live: Table) -> None:
    pauses = []
    for _ in range(4):
        row = live.make("a.png")["a.png"]
        assert fate(row) == ("pending", "media_missing")
        pauses.append((row["not_before"] - live.now) / timedelta(hours=1))
        live.now += timedelta(minutes=30)
        live.make("a.png")
        live.now = row["not_before"]
    assert (pauses, live.server.asked) == ([1, 2, 4, 8], 4)
    row = live.make("a.png")["a.png"]
    assert (*fate(row), row["observed"], row["threshold"]) == (
        *("failed", "media_missing"),
        *("5 x http_404", "5 attempts"),
    )
    live.now += timedelta(days=9)
    live.make("a.png")
    assert live.server.asked == 5
    live.put("a.png", encoded(scene()))
    assert fate(live.make("a.png")["a.png"]) == ("ok", None)


def test_pauses_end_growing_at_a_day() -> None:
    assert retry_after(6) == retry_after(10**6) == timedelta(hours=24)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("private_address", ("rejected", "bad_address")),
        ("not_http", ("rejected", "bad_address")),
        ("too_large", ("failed", "media_unreadable")),
        ("empty", ("failed", "media_unreadable")),
    ],
)
def test_what_an_address_will_always_say_is_asked_once(
    live: Table, outcome: str, expected: tuple[str, str | None]
) -> None:
    live.server.there[f"{HOST}/a.png"] = outcome
    assert fate(live.make("a.png")["a.png"]) == expected
    live.now += timedelta(days=9)
    assert fate(live.make("a.png")["a.png"]) == expected
    assert live.server.asked == 1


def test_a_server_that_is_away_is_left_alone_for_the_rest_of_the_run(live: Table) -> None:
    names = [f"{letter}.png" for letter in "abcdefgh"]
    made = live.make(*names)
    assert live.server.asked == 5
    waits = {(row["not_before"] - NOW) / timedelta(minutes=1) for row in made.values()}
    assert waits == {60, 15}


def test_bytes_that_were_removed_are_fetched_again(live: Table) -> None:
    live.server.there[f"{HOST}/a.png"] = encoded(scene())
    row = live.make("a.png")["a.png"]
    live.blobs.remove(row["media_sha256"])
    assert fate(live.make("a.png")["a.png"]) == ("ok", None)
    assert live.server.asked == 2 and live.blobs.has(row["media_sha256"])


@dataclass
class Web:
    """A web that says these things one after the other."""

    says: list[bytes | WebError]

    def get(self, url: str, **bounds: Any) -> Page:
        said = self.says.pop(0)
        if isinstance(said, WebError):
            raise said
        return Page(200, {}, said, url)


def test_downloads_are_tried_again_where_it_may_help_and_every_outcome_is_logged(tmp_path: Path) -> None:
    control, blobs = Control(f"sqlite:///{tmp_path / 'control.db'}"), Blobs(tmp_path / "blobs")
    slept: list[float] = []
    passing, gone = WebError("timeout", "slow", passing=True), WebError("http_404", "gone")
    web = Web([passing, passing, passing, b"bytes", gone, b""])
    downloads = Downloads(control, blobs, web, slept.append)  # type: ignore[arg-type]
    long = f"{HOST}/{'x' * 3000}.png"
    outcomes = [downloads.fetch(url, NOW).outcome for url in (long, "https://b.example/b.png", "https://b.example/c")]
    assert (outcomes, slept) == (["ok", "http_404", "empty"], [1.0, 2.0, 4.0])
    known = downloads.known([long, "https://b.example/b.png", "https://never.example"])
    assert {url: [fetch.outcome for fetch in fetches] for url, fetches in known.items()} == {
        long: ["ok"],
        "https://b.example/b.png": ["http_404"],
    }
    detail = known[long][0].detail
    assert detail is not None and blobs.get(detail) == b"bytes"
    control.close()


def test_media_of_a_blog_lie_beside_its_pages(tmp_path: Path) -> None:
    places = Places.of(tmp_path, tmp_path / "home", ["one", "two"], tmp_path / "live")
    assert media_folders(places, "demo-blog") == tuple(
        tmp_path / folder / "demo-blog" / "media" for folder in ("one", "two", "live")
    )


# --- reading bytes ---


@dataclass
class Lines:
    """Finds the same lines in every frame."""

    found: list[Line] | None
    frames: int = 0

    def lines(self, picture: Image.Image) -> list[Line] | None:
        self.frames += 1
        return self.found


def by_rule(questions: pl.DataFrame) -> pl.DataFrame:
    rows = [
        {"row_ref": row["row_ref"], "status": "ok", "provider": "offline", "value": offline(row).model_dump_json()}
        for row in questions.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)


def never(questions: pl.DataFrame) -> pl.DataFrame:
    raise AssertionError("nothing was to be asked")


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_read_here_a_picture_has_its_text_with_the_lines_and_no_caption(blobs: Blobs) -> None:
    sha = blobs.put(animation([noise(1), noise(2)], ms=1000))
    local = Lines([line("good words"), line("faint", 0.5, width=0.01)])
    row = ImageReader.of(Blog(name="demo-blog"), by_rule, False, local, blobs).read([sha], {})[sha]
    assert (row["status"], row["text"], row["caption"], row["engine"]) == ("ok", "good words", None, "local")
    assert (row["n_frames"], row["animated"], local.frames) == (3, True, 2)
    assert [(found["text"], found["conf"]) for found in row["lines"]] == [("good words", 0.99), ("faint", 0.5)] * 2


def test_a_picture_without_text_is_ok_and_empty(blobs: Blobs) -> None:
    sha = blobs.put(encoded(scene()))
    row = ImageReader(by_rule, False, Lines([]), blobs, 0.8).read([sha], {})[sha]
    assert (row["status"], row["text"], row["caption"]) == ("ok", "", "a picture")


def test_without_a_reader_and_without_a_model_pictures_wait_and_bad_bytes_are_told_all_the_same(blobs: Blobs) -> None:
    shas = [blobs.put(content) for content in (encoded(scene()), b"no picture", b"\x00\x00\x00\x18ftypmp42")]
    rows = ImageReader(never, False, None, blobs, 0.8).read([*shas, "0" * 64], {})
    assert [(rows[sha]["status"], rows[sha]["reason"]) for sha in shas] == [
        ("pending", "no_reader"),
        ("failed", "media_unreadable"),
        ("rejected", "not_image"),
    ]
    assert all("text" not in row for row in rows.values())
    assert rows["0" * 64]["status"] == "failed"


def test_what_was_found_and_not_understood_is_told_and_no_text_is_claimed(blobs: Blobs) -> None:
    sha = blobs.put(encoded(scene()))
    row = ImageReader(never, False, Lines([line("xq", 0.3)]), blobs, 0.8).read([sha], {})[sha]
    assert (row["status"], row["reason"], row.get("text")) == ("rejected", "illegible", None)
    assert row["lines"][0]["conf"] == 0.3
    assert (row["observed"], row["threshold"]) == ("0 of 1 lines", "0.8 on 50% of the text")
    gave_up = ImageReader(never, False, Lines(None), blobs, 0.8).read([sha], {})[sha]
    assert (gave_up["status"], gave_up["reason"]) == ("failed", "ocr_failed")


ANSWER = {"ocr_text": "WORDS\nof a model", "caption": "A cat looks.", "language": "en"}


@dataclass
class Studio:
    """An engine over the fake provider that reads the pictures of the table."""

    table: Table
    engine: Engine
    fake: FakeProvider
    local: Lines | None = field(default_factory=lambda: Lines([line("read here")]))

    def __post_init__(self) -> None:
        self.table.read = self.read

    def read(self, shas: Sequence[str], before: Before) -> dict[str, dict[str, Any]]:
        scope = Scope("persona", IMAGE_TEXTS.name, run_id="run-1")
        by_model = bool(self.engine.asking(IMAGE_READ.name, pl.DataFrame(schema=QUESTIONS), scope).models)
        ask = lambda rows: self.engine.run(IMAGE_READ.name, rows, scope).rows  # noqa: E731
        reader = ImageReader.of(Blog(name="demo-blog"), ask, by_model, self.local, self.table.blobs)
        return reader.read(shas, before)


@pytest.fixture
def studio(table: Table, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Studio]:
    fake.now = clock
    fake.responder = lambda body: json.dumps(ANSWER)
    url = f"sqlite:///{tmp_path / 'control.db'}"
    with desk(url, tmp_path, fake, limits(calls=2), clock=clock, sleep=clock.sleep) as made:
        registry = Registry([replace(IMAGE_READ, pace=replace(IMAGE_READ.pace, request_s=0.5))])
        yield Studio(table, Engine(registry, Models.load(MODELS), made.gateway, EngineSettings("auto")), fake)
        assert_books_balance(made.store)


def test_a_model_reads_within_its_quota_and_this_machine_stands_in_for_the_rest(studio: Studio) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        studio.table.put(name, encoded(noise(number)))
    made = studio.table.make("a.png", "b.png", "c.png")
    read = [row for row in made.values() if row["status"] == "ok"]
    assert len(read) == 2 and studio.fake.attempts == 2
    for row in read:
        assert (row["text"], row["caption"], row["n_frames"]) == ("WORDS\nof a model", "A cat looks.", 1)
        assert row["engine"] in {model["model_id"] for model in MODELS["models"]}  # type: ignore[index]
        assert row["request_key"]
    (waits,) = (row for row in made.values() if row["status"] != "ok")
    assert fate(waits) == ("pending", "quota_exhausted")
    assert (waits["text"], waits["engine"], waits["caption"]) == ("read here", "local", None)
    assert waits["not_before"] is not None
    again = studio.table.make("a.png", "b.png", "c.png")
    assert again == made
    assert studio.fake.attempts == 2 and studio.local is not None and studio.local.frames == 1


def test_without_a_key_the_same_pictures_are_read_by_rule(studio: Studio) -> None:
    studio.engine.settings = EngineSettings("offline")
    studio.table.put("a.png", encoded(scene()))
    row = studio.table.make("a.png")["a.png"]
    assert (*fate(row), row["text"], row["engine"], row["request_key"]) == ("ok", None, "read here", "local", None)
    studio.local = None
    studio.table.put("b.png", encoded(noise(1)))
    made = studio.table.make("a.png", "b.png")
    assert {name: fate(row) for name, row in made.items()} == {
        "a.png": ("ok", None),
        "b.png": ("pending", "no_reader"),
    }
    assert (made["b.png"]["text"], studio.fake.attempts) == (None, 0)
