"""`magpie memes` as a person meets it: what it prints, how it fails, and what it writes down."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from magpie.blobs import Blobs
from magpie.cli import main, memes_channels, memes_review
from magpie.cli.output import err, out
from magpie.control import Control
from magpie.errors import UserError
from magpie.fetches import Cooling
from magpie.health import examine
from magpie.lake import Lake
from magpie.memes import tables as t
from magpie.memes.describe_queue import RETRIES
from magpie.memes.live import Report, Visit
from magpie.memes.logs import EVENTS, MODERATION, SOURCE_EVENTS
from magpie.memes.moderation import waiting
from magpie.settings import Settings, load_settings
from magpie.sources.channel_clients import Resting
from magpie.tables import Partitions
from tests.dagster_world import copy_home
from tests.meme_home import make_memes, make_ratings
from tests.pictures import encoded, noise

DAY = date(2026, 5, 4)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DUCK, AD, COPY, ALBUM = "telegram:pond:1", "telegram:pond:2", "telegram:pond:3", "telegram:pond:4"
CONFIG = """
start_day: 2026-05-04
memes: {archives: [archives], local_ocr: "off"}
meme_sources: [{id: "tg:pond"}]
"""
# Number, caption, pictures.
Post = tuple[int, str, tuple[str, ...]]
POSTS: tuple[Post, ...] = (
    (1, "the duck", ("1.png",)),
    (2, "buy now, promo code DUCK", ("2.png",)),
    (3, "", ("1.png",)),
    (4, "", ("1.png", "2.png")),
)

Say = Callable[..., str]


def page(posts: Sequence[Post] = POSTS) -> str:
    def message(number: int, caption: str, pictures: tuple[str, ...]) -> str:
        wraps = "".join(
            f'<a class="tgme_widget_message_photo_wrap" style="background-image:url(\'media/{name}\')"></a>'
            for name in pictures
        )
        return (
            f'<div class="tgme_widget_message" data-post="pond/{number}">{wraps}'
            f'<div class="tgme_widget_message_text">{caption}</div><a class="tgme_widget_message_date">'
            f'<time datetime="2026-05-04T10:0{number}:00+00:00"></time></a></div>'
        )

    return f'<body class="tgme_channel_info">{"".join(message(*post) for post in posts)}</body>'


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one saved page, its tables made; tests work on copies of it."""
    project = tmp_path_factory.mktemp("project")
    folder = project / "archives" / "telegram" / "pond"
    (folder / "media").mkdir(parents=True)
    (folder / "page.html").write_text(page())
    for number in (1, 2):
        (folder / "media" / f"{number}.png").write_bytes(encoded(noise(number)))
    (project / "magpie.yaml").write_text(CONFIG)
    make(project)
    return project


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    copy_home(made_home, tmp_path)
    return tmp_path


def settings_of(home: Path) -> Settings:
    return load_settings(home / "magpie.yaml").model_copy(update={"home": home / "home"})


def control_of(home: Path) -> Control:
    return Control(settings_of(home).control_database)


def make(home: Path, *more: date) -> None:
    control = control_of(home)
    make_memes(settings_of(home), control, {DAY, *more}, NOON)
    make_ratings(settings_of(home), control, {DAY, *more}, datetime.now(UTC))
    control.close()


@pytest.fixture
def say(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs `magpie memes` in this process; gives what it wrote, to both streams."""

    def command(
        *arguments: str,
        code: int = 0,
        group: str = "memes",
        at: Path = home,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        monkeypatch.setenv("MAGPIE_HOME", str(at / "home"))
        monkeypatch.setenv("MAGPIE_CONFIG", str(at / "magpie.yaml"))
        monkeypatch.setenv("USER", "root")
        for key in ("OPENROUTER_API_KEY", "VK_TOKEN", "HIKERAPI_KEY"):
            monkeypatch.delenv(key, raising=False)
        for key, value in env.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr("sys.argv", ["magpie", *([group] if group else []), *arguments])
        for console in (out, err):
            monkeypatch.setattr(console, "width", 200)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed.out + printed.err

    return command


def wrong(say: Say, *arguments: str, **more: Any) -> str:
    """What it said on refusing: one line."""
    told = say(*arguments, code=2, **more)
    assert told.count("\n") == 1, told
    return told


# --- what became of it --------------------------------------------------------------------------------------------


def test_status_counts_states_and_tells_the_whole_story_of_one_meme(say: Say) -> None:
    told = say("status")
    assert "4 posts, 1 are served, 0 wait for a review" in told
    assert "carousel" in told
    served = say("status", DUCK)
    assert "It is served." in served
    assert "the duck" in served
    assert COPY in served, "its copies are named"
    copy = say("status", COPY)
    assert f"It is not served: duplicate of {DUCK}, sha256." in copy
    assert "It is no meme: rejected in memes, carousel." in say("status", ALBUM)
    assert "no post is known of 'telegram:pond:99'" in wrong(say, "status", "telegram:pond:99")


def test_an_empty_home_says_what_to_run(say: Say, home: Path) -> None:
    empty = home / "empty"
    empty.mkdir()
    (empty / "magpie.yaml").write_text("start_day: 2026-05-04\n")
    assert "no meme is stored; `magpie run memes`" in say("status", at=empty)
    assert "nobody reacted yet" in say("stats", at=empty)
    assert "nothing waits for a review" in say("review", at=empty)
    assert "no source; list channels" in say("sources", at=empty)
    assert "`magpie run memes` first" in wrong(say, "plan", "memes", group="", at=empty)


def test_stats_rank_memes_as_asked(say: Say, home: Path) -> None:
    assert "nobody reacted yet" in say("stats")
    lake, day = Lake(settings_of(home).lake_root), Partitions.days([DAY])
    usual: dict[str, Any] = dict.fromkeys(
        ("nlikes", "ndislikes", "nsent", "age_days", "invited", "invited_by_channel", "n_lr", "n_es"), 1
    )
    usual |= {"day": DAY, "lr_smoothed": 0.5, "engagement": 0.25, "as_of": NOON}
    rows = [{**usual, "meme_id": DUCK, "nlikes": 3}, {**usual, "meme_id": AD, "lr_smoothed": 0.75}]
    lake.write(t.MEME_STATS, pl.DataFrame(rows, schema_overrides=t.MEME_STATS.dtypes).pipe(shaped), day)
    usually, by_likes = say("stats"), say("stats", "--by", "likes", "--most", "1")
    assert usually.index(AD) < usually.index(DUCK)
    assert DUCK in by_likes
    assert AD not in by_likes
    assert "1 of 2 that anybody met" in by_likes
    assert "memes are not rated by 'luck'" in wrong(say, "stats", "--by", "luck")


def shaped(rows: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None).alias(name) for name in t.MEME_STATS.dtypes if name not in rows.columns]
    return t.MEME_STATS.shaped(rows.with_columns(*missing))


# --- people -------------------------------------------------------------------------------------------------------


def test_what_is_not_said_of_a_person_stays_as_it_was(say: Say) -> None:
    assert "nobody is registered as 'ann'" in wrong(say, "user", "ann")
    assert "needs at least one language" in wrong(say, "user", "ann", "--accept-rules")
    say("user", "ann", "--languages", "en,ru", "--accept-rules")
    assert "ann: moderator, reads en, ru, rules accepted" in say("user", "ann", "--role", "moderator")
    assert "'king' is no role" in wrong(say, "user", "ann", "--role", "king")


def test_pop_hands_out_a_meme_once_and_react_hands_out_the_next(say: Say, home: Path) -> None:
    say("user", "ann", "--languages", "en", "--role", "moderator")
    assert DUCK in say("pop", "ann")
    assert "nothing is left for ann" in say("pop", "ann")
    assert "like of telegram:pond:1" in say("react", "ann", DUCK, "like")
    assert sorted(EVENTS.read(control_of(home))["kind"]) == ["like", "sent"]
    assert "is no reaction" in wrong(say, "react", "ann", DUCK, "meh")
    assert "there is no meme" in wrong(say, "react", "ann", "telegram:pond:99", "like")
    assert "nobody is registered" in wrong(say, "react", "nobody", DUCK, "like")
    assert len(EVENTS.read(control_of(home))) == 2, "what was refused is not written down"


def test_an_upload_lands_waits_and_is_approved(say: Say, home: Path) -> None:
    picture = home / "mine.png"
    picture.write_bytes(encoded(noise(9)))
    say("user", "ann", "--languages", "en", "--role", "moderator")
    told = say(
        "upload",
        str(picture),
        "--user",
        "ann",
        "--language",
        "en",
        "--caption",
        "my own joke",
        "--forwarded-at",
        "2026-05-04",
    )
    meme_id = told.split()[0]
    make(home)
    listed = say("review")
    assert listed.index(meme_id) < listed.index(AD), "uploads come first"
    assert "my own joke" in listed
    assert "somebody else has to approve" in wrong(say, "review", "--approve", meme_id, "--actor", "ann")
    say("review", "--approve", meme_id)
    make(home)
    assert "It is served." in say("status", meme_id)
    likes = EVENTS.read(control_of(home))
    assert sorted(likes["user_id"]) == ["ann", "root"], "whoever sent it in and whoever approved it like it"


def test_an_upload_that_is_none_or_not_allowed_is_one_line(say: Say, home: Path) -> None:
    text = home / "notes.txt"
    text.write_text("no picture")
    say("user", "ann", "--languages", "en")
    assert "nobody knows bob" in wrong(say, "upload", str(text), "--user", "bob", "--language", "en")
    assert "the file cannot be used" in wrong(say, "upload", str(text), "--user", "ann", "--language", "en")
    assert "cannot read" in wrong(say, "upload", str(home / "none.png"), "--user", "ann", "--language", "en")
    picture = home / "mine.png"
    picture.write_bytes(encoded(noise(9)))
    assert "not taken: rules_not_accepted" in wrong(say, "upload", str(picture), "--user", "ann", "--language", "en")
    when = ("--forwarded-at", "yesterday")
    assert "is no moment" in wrong(say, "upload", str(picture), "--user", "ann", "--language", "en", *when)


# --- moderation ---------------------------------------------------------------------------------------------------


def rows_waiting(home: Path) -> pl.DataFrame:
    return waiting(Lake(settings_of(home).lake_root), control_of(home), 10)


def ignored(path: Path, mime: str | None) -> None:
    """Opens nothing."""


def keys(*pressed: str) -> Callable[[str], str]:
    left: Iterator[str] = iter(pressed)
    return lambda question: next(left)


def test_keys_decide_skip_and_quit_and_a_wrong_key_is_asked_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, said, shown = rows_waiting(home), [], []
    assert rows["meme_id"].to_list() == [AD]
    both = pl.concat([rows, rows.with_columns(meme_id=pl.lit("telegram:pond:5")), rows])
    done = memes_review.go_through(
        both,
        settings_of(home).home,
        lambda meme_id, action, reason: said.append((meme_id, action, reason)),
        keys("x", "r", "s", "q"),
        keys("  spam "),
        lambda path, mime: shown.append(path),
    )
    assert done == 1
    assert said == [(AD, "reject", "spam")]
    assert len(shown) == 3
    assert all(path.is_file() for path in shown)
    assert "taken for an ad" in capsys.readouterr().out


def test_a_decision_that_is_refused_does_not_end_the_review(home: Path) -> None:
    rows = pl.concat([rows_waiting(home)] * 2)

    def refuse(meme_id: str, action: str, reason: str | None) -> None:
        raise UserError("somebody was faster")

    nothing = memes_review.go_through(rows, home, refuse, keys("a", "a"), keys(), ignored)
    assert nothing == 0


def test_the_end_of_input_ends_the_review(home: Path) -> None:
    def closed(question: str) -> str:
        raise EOFError

    assert memes_review.go_through(rows_waiting(home), home, lambda *a: None, closed, closed, ignored) == 0


def test_pictures_are_opened_under_a_name_that_says_what_they_are_and_only_on_a_display(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[list[str]] = []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("subprocess.Popen", lambda command, **more: opened.append(command))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    picture = home / "archives" / "telegram" / "pond" / "media" / "1.png"
    blob = tmp_path / "blob"
    blob.write_bytes(picture.read_bytes())
    memes_review.viewer(tmp_path)(blob, "image/png")
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    memes_review.viewer(tmp_path)(blob, "image/png")
    memes_review.viewer(tmp_path)(tmp_path / "gone", "image/png")
    assert opened == [["xdg-open", str(tmp_path / "blob.png")]]


def test_decisions_are_written_down_and_refused_in_one_line(say: Say, home: Path) -> None:
    say("review", "--reject", AD, "--reason", "spam")
    say("decide", "publish", DUCK)
    say("decide", "set_language", DUCK, "--value", "ru")
    said = MODERATION.read(control_of(home)).sort("at")
    assert said.select("action", "actor", "reason", "value").rows() == [
        ("reject", "root", "spam", None),
        ("publish", "root", None, None),
        ("set_language", "root", None, "ru"),
    ]
    assert "cannot approve" in wrong(say, "review", "--approve", COPY + "9")[0:0] + wrong(
        say, "decide", "approve", DUCK
    )
    assert "no decision about a meme" in wrong(say, "decide", "frob", DUCK)
    assert "make one at a time" in wrong(say, "review", "--approve", AD, "--reject", AD)
    assert "--reason goes with" in wrong(say, "review", "--reason", "x")


def test_forget_removes_bytes_at_once_and_text_with_the_next_run(say: Say, home: Path) -> None:
    lake = Lake(settings_of(home).lake_root)
    sha256 = lake.read(t.MEME_MEDIA).filter(pl.col("meme_id") == AD).collect()["sha256"][0]
    assert "1 recorded" in say("forget", AD, "--reason", "asked for by mail")
    assert not Blobs(settings_of(home).blobs).has(sha256)
    make(home)
    assert "promo" not in say("status", AD)
    assert "rejected, purged" in say("status", AD)
    assert "deleted on request" in wrong(say, "decide", "publish", AD)
    assert "there is no meme" in wrong(say, "forget", "telegram:pond:99")
    assert "0 blobs" in say("forget", AD), "asked for again, only what came back is removed"
    assert MODERATION.read(control_of(home)).height == 1


def test_a_failed_description_is_tried_again_only_when_asked(say: Say, home: Path) -> None:
    assert "no description has failed" in say("retry")
    assert "has not failed" in wrong(say, "retry", "--meme", DUCK)
    lake = Lake(settings_of(home).lake_root)
    rows = (
        lake.read(t.MEME_DESCRIPTIONS).collect().with_columns(status=pl.lit("failed"), reason=pl.lit("describe_failed"))
    )
    lake.write(t.MEME_DESCRIPTIONS, rows, Partitions.of(rows.select("platform", "day").unique().iter_rows()))
    assert "1 descriptions may be tried again" in say("retry", "--meme", DUCK)
    assert RETRIES.read(control_of(home))["meme_id"].to_list() == [DUCK]


# --- channels -----------------------------------------------------------------------------------------------------


def test_channels_are_added_enabled_and_put_to_sleep(say: Say, home: Path) -> None:
    assert "tg:pond" in say("sources")
    assert "tg:lake is in_moderation now" in say("sources", "add", "tg:lake", "--language", "ru")
    say("sources", "enable", "tg:lake")
    say("sources", "snooze", "tg:pond", "--reason", "frozen over")
    assert SOURCE_EVENTS.read(control_of(home)).height == 3
    asleep = say("sources", "list", "--state", "snoozed")
    assert "frozen over" in asleep
    assert "tg:lake" not in asleep
    assert "cannot enable tg:lake" in wrong(say, "sources", "enable", "tg:lake")
    assert "is no id of a source" in wrong(say, "sources", "snooze", "pond")
    assert "is no state of a source" in wrong(say, "sources", "list", "--state", "wet")


def test_only_platforms_in_the_settings_are_asked(say: Say) -> None:
    assert "add it to memes.live" in wrong(say, "fetch", "telegram")
    assert "is no platform" in wrong(say, "fetch", "upload")
    assert "is no platform" in wrong(say, "resume", "moon")


def test_a_fetch_tells_what_came_of_each_channel_and_of_a_refusal(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visit("tg:pond", 20, (Path("a.html"),), {"ok": 3, "http_404": 1})
    closed = Visit("tg:shut", 0, (), {}, "no_preview", "t.me shows no posts of shut")
    rest = Cooling("fetch_telegram", NOON, "http_429", "too many requests")

    def fetch(found: Report) -> None:
        monkeypatch.setattr(memes_channels.Fetcher, "fetch", lambda self, platform: found)

    fetch(Report("telegram", (visit, closed)))
    told = say("fetch", "telegram")
    assert "2 channels asked, 3 media stored, 0 channels left for later" in told
    assert "no_preview: t.me shows no posts of shut" in told
    fetch(Report("telegram", (visit,), ("tg:other",), rest))
    assert "`magpie memes resume telegram` ends it" in say("fetch", "telegram", code=1)


def test_resume_ends_a_rest(say: Say, home: Path) -> None:
    now = datetime.now(UTC)
    Resting(control_of(home), "vk").refused(now, timedelta(hours=6), "http_401", "no")
    assert "vk may be asked again" in say("resume", "vk")
    assert "was not resting" in say("resume", "vk")
    assert Resting(control_of(home), "vk").now(now) is None


# --- plan and doctor ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [200, 1])
def test_the_plan_counts_what_waits_at_no_cost_however_many_pictures_it_opens(
    say: Say, home: Path, monkeypatch: pytest.MonkeyPatch, opened: int
) -> None:
    monkeypatch.setattr("magpie.memes.plan.OPENED", opened)
    folder = home / "archives" / "telegram" / "pond"
    (folder / "media" / "7.png").write_bytes(encoded(noise(7)))
    (folder / "more.html").write_text(page(((7, "the swan", ("7.png",)),)))
    make(home)
    assert "no call is to be made" in say("plan", "memes", group="")
    told = say("plan", "memes", group="", env={"OPENROUTER_API_KEY": "sk-or-planted"})
    assert "at most $0: all 2 fit today" in told
    assert "800 of 800" in told
    assert ("the other 1 are taken to be like them" in told) is (opened == 1)
    assert "planted" not in told
    assert "--channel narrows videos" in wrong(say, "plan", "memes", "--channel", "x", group="")
    assert "must be in order" in wrong(say, "plan", "memes", "--from", "2026-05-05", "--to", "2026-05-04", group="")


def lines_of(home: Path, env: dict[str, str] | None = None, **changes: object) -> dict[str, tuple[str, str]]:
    settings = settings_of(home)
    memes = settings.memes.model_copy(update=changes)
    found = examine(settings.model_copy(update={"memes": memes}), env or {}, datetime.now(UTC))
    return {finding.subject: (finding.level, finding.text) for finding in found}


def test_doctor_tells_of_channels_asleep_platforms_resting_keys_and_quota(say: Say, home: Path) -> None:
    quiet = lines_of(home)
    assert quiet["meme files"] == ("ok", "1 files, 1 read")
    assert quiet["meme sources"] == ("ok", "1 enabled")
    assert quiet["platforms"][0] == "note"
    assert quiet["free calls today"] == ("ok", "0 of 900 in all, 0 of 800 by memes")
    say("sources", "snooze", "tg:pond", "--reason", "frozen over")
    Resting(control_of(home), "telegram").refused(datetime.now(UTC), timedelta(hours=1), "http_429", "slow down")
    loud = lines_of(home, live=("telegram", "vk"))
    assert loud["meme sources"] == ("warn", "1 snoozed; asleep: tg:pond (frozen over)")
    assert "slow down" in loud["telegram"][1]
    assert "VK_TOKEN is not set" in loud["vk"][1]
    assert lines_of(home, {"VK_TOKEN": "key"}, live=("vk",))["vk"] == ("ok", "may be asked")


def test_doctor_names_extras_that_are_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magpie.memes.checkup.local_reader", lambda: None)
    monkeypatch.setattr("magpie.memes.checkup.can_decode", lambda: False)
    found = lines_of(home)
    assert "extra `ocr`" in found["text in pictures"][1]
    assert "extra `video`" in found["videos of memes"][1]


def test_doctor_reports_a_folder_that_is_gone(home: Path) -> None:
    found = lines_of(home, archives=("nowhere",))
    assert found["meme files"][0] == "bad"
    assert "nowhere" in found["meme files"][1]
