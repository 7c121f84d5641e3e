"""`magpie videos` as a person meets it: what it prints, how it fails, and how politely it asks YouTube."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dagster_world import REPO, sample_settings

from magpie.cli import main
from magpie.cli.output import err, out
from magpie.cli.run import LOG_SECONDS, LogLines
from magpie.cli.run import _account as print_account
from magpie.control import Control
from magpie.engine import engine_of
from magpie.errors import UserError
from magpie.health import examine
from magpie.lake import Lake
from magpie.running import Progress, RunOutcome
from magpie.settings import Settings, load_settings
from magpie.summary import top_mentions
from magpie.tables import Partitions, Table
from magpie.videos import live, stages
from magpie.videos import tables as t
from magpie.videos.live import Backfill, backfill, source_of
from magpie.videos.segments import SegmentRules, transcript_passages, video_segments
from magpie.videos.status import STATES, video_status
from magpie.videos.symbols import SymbolTable, read_symbols
from magpie.videos.verify import VerifyRules, verify
from tests.cli_world import Here, one_line
from tests.fake_youtube import CHANNEL, PARAMS, FakeYouTube, a_player, with_captions

TAPE, LADDER = "UCsampleTeapotTape000001", "UCsampleSlowLadder000002"
LABELS = REPO / "samples" / "youtube" / "labels.csv"
NOW = datetime(2026, 5, 2, 9, 0, tzinfo=UTC)


Say = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs `magpie videos` in this process; gives what it wrote, to both streams."""

    def command(
        home: Path, *arguments: str, width: int = 200, code: int = 0, config: Path = REPO / "magpie.yaml"
    ) -> str:
        monkeypatch.setenv("MAGPIE_HOME", str(home))
        monkeypatch.setenv("MAGPIE_CONFIG", str(config))
        monkeypatch.setattr("sys.argv", ["magpie", "videos", *arguments])
        for console in (out, err):
            monkeypatch.setattr(console, "width", width)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed.out + printed.err

    return command


def wrong(say: Say, home: Path, *arguments: str) -> str:
    """What it said on refusing: one line."""
    told = say(home, *arguments, code=2)
    assert told.count("\n") == 1, told
    return told


# --- over the bundled sample --------------------------------------------------------------------------------------


def fill(settings: Settings) -> None:
    """The tables of videos over the sample, as far as mentions, consensus and pages, without an orchestrator."""
    lake, control = Lake(settings.lake_root), Control(settings.control_database)
    source, engine = source_of(settings, lake, control), engine_of(settings, control, env={})
    known = SymbolTable.of(read_symbols(settings.root / str(settings.videos.symbols)))
    reader = stages.Reader(settings, engine, known, None, lambda state: None)
    lake.write(t.VIDEO_FILES, source.video_files(), Partitions.whole())
    files = lake.read(t.VIDEO_FILES).filter(pl.col("status") == "ok").select("channel_id", "day").unique().collect()
    for channel in settings.channels:
        days = files.filter(pl.col("channel_id") == channel.channel_id)["day"].sort().to_list()
        partitions = Partitions({channel.channel_id: frozenset(days)})
        videos = source.videos(channel, days)
        heard = source.transcripts(channel, days, videos)
        cut = video_segments(
            heard, dict(videos.select("video_id", "chapters").iter_rows()), SegmentRules.of(settings.videos)
        )
        read, _ = reader.video_analyses(channel, videos, heard, cut)
        made: tuple[tuple[Table, pl.DataFrame], ...] = (
            (t.VIDEOS, videos),
            (t.TRANSCRIPTS, heard),
            (t.TRANSCRIPT_PASSAGES, transcript_passages(heard)),
            (t.VIDEO_ANALYSES, read),
            (t.STOCK_MENTIONS, verify(read, heard, videos, known, VerifyRules.of(settings.videos))),
        )
        for table, rows in made:
            lake.write(table, rows, partitions)
    days = sorted(set(files["day"]))
    scores = stages.consensus(settings, lake, days)
    lake.write(t.TICKER_CONSENSUS, scores, Partitions.days(days))
    lake.write(t.DAILY_DIGEST, stages.digests(settings, lake, days, scores), Partitions.days(days))
    control.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("videos") / "home"
    fill(sample_settings(made))
    return made


def test_search_shows_where_something_was_said_with_whole_links_on_a_narrow_terminal(home: Path, say: Say) -> None:
    told = say(home, "search", "nvidia hardware margins", "--most", "2", width=60)
    links = [line.strip() for line in told.splitlines() if "watch?v=" in line]
    assert len(links) == 2
    assert all(link.startswith("https://www.youtube.com/watch?v=") and link.endswith("s") for link in links)
    assert "Slow Ladder" in told
    assert "Nvidia is priced for perfection" in " ".join(told.split())


def test_a_search_in_one_channel_shows_that_channel_alone(home: Path, say: Say) -> None:
    told = say(home, "search", "nvidia", "--channel", TAPE)
    heads = [line for line in told.splitlines() if line.startswith("2026-")]
    assert heads and all("Teapot Tape" in line for line in heads)


def test_a_search_that_finds_nothing_is_one_line_that_says_so(home: Path, say: Say) -> None:
    for query in ("zyzzyva", "!!"):
        told = say(home, "search", query)
        assert told.count("\n") == 1
        assert f"nothing that was said answers {query}" in told


def test_found_words_are_bold_whatever_their_case_and_punctuation(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "magpie.cli.videos.out", type(out)(force_terminal=True, width=200, color_system="standard", highlight=False)
    )
    told = say(home, "search", "NVIDIA!", "--most", "1").lower()
    assert "\x1b[1mnvidia" in told and "\x1b[1mof" not in told


def test_status_tells_of_each_video_how_far_it_got_and_counts_them(home: Path, say: Say) -> None:
    wide = say(home, "status")
    lines = wide.splitlines()
    assert [line[:10] for line in lines[1:3]] == ["2026-03-27"] * 2
    (short,) = [line for line in lines if "1UrJ4E5O6pE" in line]
    assert "rejected" in short and "short" in short and "Tea or coffee?" in short
    (told,) = [line for line in lines if "videos:" in line]
    assert "45 videos: 32 analyzed" in told and "7 rejected" in told
    narrow = say(home, "status", "--most", "3", width=80)
    assert "the newest 3 are shown" in " ".join(narrow.split())
    assert all(len(line) <= 80 for line in narrow.splitlines())


def test_status_by_reason_and_channel_leaves_the_others_out(home: Path, say: Say) -> None:
    told = say(home, "status", "--reason", "no_captions", "--channel", LADDER)
    assert "7Cp4LYKiiaE" in told and "1 videos: 1 failed" in told
    assert "no video has the reason nope" in say(home, "status", "--reason", "nope")
    assert "channels there" in wrong(say, home, "status", "--channel", "UC")


def test_the_last_page_is_printed_as_it_is_stored_and_a_day_without_one_is_refused(home: Path, say: Say) -> None:
    stored = Lake(str(home / "lake")).read(t.DAILY_DIGEST).filter(pl.col("day") == date(2026, 3, 27)).collect()
    assert say(home, "digest") == stored["markdown"][0]
    assert say(home, "digest", "2026-03-09").startswith("# 2026-03-09\n")
    assert "videos are of 2026-03-02 to 2026-03-27" in wrong(say, home, "digest", "2020-01-01")
    assert "DAY 'soon' is not a day" in wrong(say, home, "digest", "soon")


def test_scores_of_both_modes_are_shown_with_labels_that_no_video_is_there_for(
    home: Path, say: Say, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    shutil.copy(LABELS, labels)
    with labels.open("a", encoding="utf-8") as more:
        more.write("zzzzzzzzzzz,AAPL,buy,3\n")
    told = say(home, "score", str(labels))
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.startswith(("strict", "published"))}
    assert (rows["strict"][0], rows["published"][0]) == ("33", "32")
    assert all(0 < float(a) < float(b) for a, b in zip(rows["strict"][1:4], rows["published"][1:4], strict=True))
    assert "33 videos are labelled; of them 1 are not stored here and 0 not read" in told
    one = say(home, "score", str(labels), "--mode", "strict", "--by-video")
    assert "zzzzzzzzzzz" in one and "AAPL" in one
    assert not any(line.startswith("published") for line in one.splitlines())


def test_rejected_picks_count_only_when_asked_for(home: Path, say: Say) -> None:
    found = [
        next(line for line in say(home, "score", *given).splitlines() if line.startswith("strict")).split()[2]
        for given in ((str(LABELS),), (str(LABELS), "--include-rejected"))
    ]
    assert found[0] != found[1]


def test_labels_that_cannot_be_read_are_one_line_that_names_file_and_row(home: Path, say: Say, tmp_path: Path) -> None:
    assert "cannot be read" in wrong(say, home, "score", str(tmp_path / "none.csv"))
    labels = tmp_path / "wrong.csv"
    labels.write_text("video_id,ticker,action,conviction\naaaaaaaaaaa,AAPL,devour,3\n")
    assert "row 1: action is 'devour'" in wrong(say, home, "score", str(labels))


def test_an_empty_home_is_no_error_where_nothing_is_asked_of_it(say: Say, tmp_path: Path) -> None:
    assert "no video is stored" in say(tmp_path, "status")
    assert "nothing that was said" in say(tmp_path, "search", "rates")
    assert "run `magpie run videos` first" in wrong(say, tmp_path, "digest")
    assert not any(tmp_path.iterdir())


def test_the_states_are_those_of_the_first_stage_that_stopped(home: Path) -> None:
    found = video_status(Lake(str(home / "lake")))
    assert found["video_id"].is_unique().all()
    assert set(found["state"]) <= set(STATES)
    state = {row["video_id"]: (row["state"], row["stage"], row["reason"]) for row in found.iter_rows(named=True)}
    assert state["1UrJ4E5O6pE"] == ("rejected", "videos", "short")
    assert state["mTMO7J0oKpY"] == ("failed", "transcripts", "bad_captions")
    assert state["g9PBZdBUiU0"] == ("waiting", "videos", "live_now")
    assert state["hjYomfQh-98"] == ("analyzed", "video_analyses", None)
    days = found["day"].to_list()
    assert days == sorted(days, reverse=True)


def test_a_video_whose_captions_changed_since_it_was_read_is_to_be_read_again(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "lake", tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    partition = Partitions({LADDER: frozenset([date(2026, 3, 9)])})
    heard = lake.read(t.TRANSCRIPTS, partition).collect()
    lake.write(t.TRANSCRIPTS, heard.with_columns(pl.lit("0" * 64).alias("transcript_hash")), partition)
    (row,) = video_status(lake).filter(pl.col("video_id") == "hjYomfQh-98").iter_rows(named=True)
    assert (row["state"], row["reason"]) == ("captioned", None)


def test_top_mentions_hold_no_symbol_twice_and_no_place_twice(home: Path) -> None:
    best = top_mentions(Lake(str(home / "lake")), 10)
    assert best.height == 10
    assert best["symbol"].is_unique().all() and best["deep_link"].is_unique().all()
    assert best["conviction"].is_sorted(descending=True)


# --- fetching -----------------------------------------------------------------------------------------------------


class Beyond:
    """A YouTube with three uploads, a home that knows none of them, and the source between them."""

    def __init__(self, root: Path, **videos: Any) -> None:
        self.youtube = FakeYouTube()
        self.ids = ["aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"]
        self.youtube.uploads = [self.ids]
        for video_id in self.ids:
            self.youtube.players[video_id] = with_captions(a_player(video_id), ("en", True))
        self.config = root / "magpie.yaml"
        told = {"live": True, **videos}
        self.config.write_text(
            json.dumps(
                {
                    "start_day": "2026-01-01",
                    "videos": told,
                    "channels": [{"channel_id": CHANNEL, "name": "Some channel"}],
                }
            )
        )
        # A home that the environment names would win.
        self.settings = load_settings(self.config).model_copy(update={"home": root / "home"})
        self.lake = Lake(self.settings.lake_root)
        self.control = Control(f"sqlite:///{root / 'control.db'}")
        self.slept: list[float] = []
        self.source = self.a_source()

    def a_source(self, *_: Any, **__: Any) -> stages.Source:
        return source_of(
            self.settings,
            self.lake,
            self.control,
            clock=lambda: NOW,
            sleep=self.slept.append,
            params=PARAMS,
            handlers=[self.youtube.handler()],
        )

    def fill(self, most: int = 10) -> Backfill:
        return backfill(self.source, self.settings.channel(CHANNEL), most)

    def list_files(self) -> None:
        self.lake.write(t.VIDEO_FILES, self.source.video_files(), Partitions.whole())


@pytest.fixture
def beyond(tmp_path: Path) -> Iterator[Beyond]:
    made = Beyond(tmp_path)
    yield made
    made.control.close()


def test_uploads_are_visited_the_newest_first_up_to_the_number_asked_for(beyond: Beyond) -> None:
    found = beyond.fill(2)
    assert [visit.video_id for visit in found.visits] == beyond.ids[:2]
    assert {visit.outcome for visit in found.visits} == {"captions"}
    assert (found.left, found.stopped, found.until, found.too_old) == (0, None, None, None)


def test_what_was_visited_is_known_before_and_after_its_files_are_listed(beyond: Beyond) -> None:
    beyond.fill(1)
    assert [visit.video_id for visit in beyond.fill(1).visits] == beyond.ids[1:2]
    beyond.list_files()
    found = beyond.fill(1)
    assert [visit.video_id for visit in found.visits] == beyond.ids[2:]
    assert (found.listed, found.known) == (3, 2)
    assert beyond.fill().visits == ()


def test_a_long_list_is_read_no_further_than_needed(beyond: Beyond) -> None:
    pages = [[f"{page}{n:010d}" for n in range(100)] for page in "xyz"]
    beyond.youtube.uploads = pages
    for video_id in pages[0][:3]:
        beyond.youtube.players[video_id] = with_captions(a_player(video_id), ("en", True))
    assert beyond.fill(3).listed == 3
    assert beyond.youtube.paths().count("/youtubei/v1/browse") == 1


def test_a_deleted_upload_is_not_asked_about_again_but_a_broken_connection_is(beyond: Beyond) -> None:
    first, second, _ = beyond.ids
    beyond.youtube.players[first] = a_player(first, "ERROR", "This video has been removed by the uploader")
    beyond.youtube.players[second] = (500, b"{}")
    assert [visit.outcome for visit in beyond.fill().visits] == ["deleted", "transport", "captions"]
    assert [visit.video_id for visit in beyond.fill().visits] == [second]


def test_a_refusal_ends_it_at_once_and_says_until_when(beyond: Beyond) -> None:
    beyond.youtube.players[beyond.ids[0]] = (429, b"{}")
    found = beyond.fill()
    assert [visit.outcome for visit in found.visits] == ["cooling_down"]
    assert (found.stopped, found.left) == ("cooling_down", 2)
    assert found.until is not None and found.until > NOW
    before = len(beyond.youtube.asked)
    with pytest.raises(UserError, match="rests until"):
        beyond.fill()
    assert len(beyond.youtube.asked) == before


def test_a_video_from_before_the_channel_is_followed_ends_it(tmp_path: Path) -> None:
    beyond = Beyond(tmp_path, start_day="2026-04-01")
    old = with_captions(a_player(beyond.ids[0]), ("en", True))
    old["microformat"] = {"playerMicroformatRenderer": {"uploadDate": "2026-03-05T05:00:00-07:00"}}
    beyond.youtube.players[beyond.ids[0]] = old
    found = beyond.fill()
    beyond.control.close()
    assert (found.too_old, len(found.visits), found.left) == (date(2026, 3, 5), 1, 2)


def test_without_live_polling_nothing_is_asked_and_one_line_says_what_to_set(tmp_path: Path, here: Here) -> None:
    told = one_line(here(tmp_path / "home", "videos", "fetch", TAPE))
    assert "videos.live is off" in told and "set it to true" in told
    assert "channels there" in one_line(here(tmp_path / "home", "videos", "fetch", "UC"))
    assert not (tmp_path / "home").exists()


def test_the_command_tells_each_visit_what_to_run_next_and_when_to_go_on(
    beyond: Beyond, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "source_of", beyond.a_source)
    beyond.youtube.players[beyond.ids[1]] = (429, b"{}")
    shown = " ".join(say(beyond.settings.home, "fetch", CHANNEL, code=1, config=beyond.config).split())
    assert "1 of 3 aaaaaaaaaaa captions" in shown
    assert "2 videos visited: captions 1, cooling_down 1" in shown
    assert f"magpie run videos --channel {CHANNEL}" in shown
    assert "YouTube refused (cooling_down), 1 videos are left; run the same command after 2026-05-02 09:01:00 UTC" in (
        shown
    )


# --- progress and health ------------------------------------------------------------------------------------------


def test_a_log_gets_a_line_per_step_and_of_a_long_step_one_now_and_then() -> None:
    now, lines = 0.0, []
    log = LogLines(lines.append, lambda: now)
    for second in range(25):
        now = float(second)
        log.tell(Progress("video_analyses", 3, 9, f"{second} of 25 rows" if second else ""))
    log.tell(Progress("stock_mentions", 4, 9))
    log.tell(Progress("stock_mentions", 5, 9))
    assert [line.split("partitions  ")[1] for line in lines] == [
        "video_analyses",
        f"video_analyses: {LOG_SECONDS} of 25 rows",
        f"video_analyses: {2 * LOG_SECONDS} of 25 rows",
        "stock_mentions",
    ]


def findings(settings: Settings) -> dict[str, tuple[str, str]]:
    return {found.subject: (found.level, found.text) for found in examine(settings, {}, NOW + timedelta(days=365))}


def test_doctor_tells_of_channels_symbols_prices_and_early_closes(tmp_path: Path) -> None:
    found = findings(sample_settings(tmp_path / "home"))
    assert found["channels"][0] == "ok" and "2 of 2 active; 48 info.json" in found["channels"][1]
    assert found["symbols"] == ("ok", "164 securities")
    assert "2026-02-23 to 2026-04-17" in found["prices"][1]
    assert found["early closes"][0] == "ok"


def test_doctor_names_each_file_of_videos_that_is_not_there(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path / "home")
    gone = {"archives": ("nowhere",), "symbols": "no.csv", "prices": ("none.csv",), "early_closes": "never.csv"}
    found = findings(settings.model_copy(update={"videos": settings.videos.model_copy(update=gone)}))
    for subject, name in (
        ("channels", "nowhere"),
        ("symbols", "no.csv"),
        ("prices", "none.csv"),
        ("early closes", "never.csv"),
    ):
        assert found[subject][0] == "bad" and name in found[subject][1]


def test_doctor_says_what_follows_where_no_reference_file_is_named(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path / "home")
    unnamed = {"archives": (), "symbols": None, "prices": (), "early_closes": None}
    found = findings(settings.model_copy(update={"videos": settings.videos.model_copy(update=unnamed)}))
    assert [found[name][0] for name in ("channels", "symbols", "prices", "early closes")] == [
        *("warn", "warn", "note", "note")
    ]
    other = {"benchmark_symbol": "NONE"}
    found = findings(settings.model_copy(update={"videos": settings.videos.model_copy(update=other)}))
    assert found["prices"] == ("warn", "none of NONE, which every outcome is held against")
    assert findings(settings.model_copy(update={"channels": ()}))["channels"][0] == "note"


def test_the_account_lists_what_holds_rows_the_best_mentions_and_what_to_do_next(
    home: Path, here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = sample_settings(home)
    monkeypatch.setattr(out, "width", 80)
    print_account(settings, RunOutcome(date(2026, 3, 2), date(2026, 3, 27), (), ("look here",), ("videos", "spend")), 1)
    told = capsys.readouterr().out
    assert "stock_mentions" in told and "reddit_posts" not in told and "more tables hold no rows" in told
    links = [line.split()[-1] for line in told.splitlines() if "watch?v=" in line]
    assert len(links) == 5 and all(link.startswith("https://") and link.endswith("s") for link in links)
    assert "read by offline; set a provider's key" in told and "look here" in told
    assert 'magpie videos search "interest rates"' in told and "magpie leads" not in told
    query = next(line.split('"')[1] for line in told.splitlines() if line.startswith("Mentions"))
    assert here(home, "sql", query, "-f", "csv").stdout.count("\n") > 5
