"""The live Reddit client, the real asyncpraw included, against a Reddit on loopback."""

import asyncio
import gc
import json
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncpraw.config
import polars as pl
import pytest
from asyncprawcore.sessions import FiniteRetryStrategy
from fake_reddit import CLIENT_ID, CLIENT_SECRET, EPOCH, FakeReddit, Fault

from magpie.errors import UserError
from magpie.sources.archive_files import blocks
from magpie.sources.reddit_api import RedditCredentials, connect
from magpie.sources.reddit_lines import FileFacts, LineParser
from magpie.sources.reddit_live import (
    CrawlLimits,
    CrawlQuery,
    CrawlResult,
    Deletion,
    SweepStopped,
    check_deleted,
    crawl,
    search_text,
)

CASSETTES = Path(__file__).parents[2] / "shared" / "data" / "reddit" / "asyncpraw_cassettes"
NOW = datetime(2026, 9, 30, 3, 0, tzinfo=UTC)
KEYS = RedditCredentials(CLIENT_ID, CLIENT_SECRET, "magpie tests, on loopback")
ENVIRONMENT = {"REDDIT_CLIENT_ID": "id", "REDDIT_CLIENT_SECRET": "hush", "REDDIT_USER_AGENT": "an agent"}


@pytest.fixture
def reddit(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReddit]:
    # asyncprawcore sleeps up to four seconds before a retry.
    monkeypatch.setattr(FiniteRetryStrategy, "_sleep_seconds", lambda self: None)
    with FakeReddit() as server:
        yield server


def query(keyword: str, *subreddits: str, campaign: str = "crm") -> CrawlQuery:
    return CrawlQuery(campaign, keyword, search_text(keyword), subreddits)


class Naps:
    """Remembers how long a client was asked to wait, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def run(
    reddit: FakeReddit,
    folder: Path,
    *queries: CrawlQuery,
    keys: RedditCredentials = KEYS,
    naps: Naps | None = None,
    **limits: Any,
) -> CrawlResult:
    factory = partial(connect, oauth_url=reddit.url, reddit_url=reddit.url, sleep=naps or Naps())
    return asyncio.run(
        crawl(
            queries,
            credentials=keys,
            landing_dir=folder,
            clock=lambda: NOW,
            limits=CrawlLimits(**limits),
            reddit_factory=factory,
        )
    )


def sweep(reddit: FakeReddit, *names: str) -> list[Deletion]:
    factory = partial(connect, oauth_url=reddit.url, reddit_url=reddit.url, sleep=Naps())
    return asyncio.run(check_deleted(names, credentials=KEYS, clock=lambda: NOW, reddit_factory=factory))


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """The landed lines by fullname; a fullname on two lines fails."""
    found = [json.loads(line) for path in folder.glob("*.ndjson") for line in path.read_text("utf-8").splitlines()]
    by_name = {line["name"]: line for line in found}
    assert len(by_name) == len(found)
    return by_name


def read_back(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The posts and bad lines the archive reader makes of a landing file."""
    parser = LineParser(FileFacts.of(path.name), 1 << 24)
    parsed = [parser.parse(block) for block in blocks(path, max_line_bytes=1 << 24)]
    parser.close()
    return pl.concat([part.posts for part in parsed]), pl.concat([part.bad for part in parsed])


@pytest.mark.parametrize(
    ("keyword", "search"),
    [
        ("crm", '"crm"'),
        ("sales  pipeline", '"sales pipeline"'),
        ("crm + small team", '"crm" AND "small team"'),
        ("invoic*", "invoic"),
        ("crm + sales pipe*", '"crm" AND sales pipe'),
        ('say "cheese" \\ OR', '"say cheese OR"'),
        ("nsfw:yes OR*", "nsfw yes or"),
        ("c++", '"c++"'),
    ],
)
def test_a_keyword_becomes_a_search_in_which_nothing_the_user_typed_is_an_operator(keyword: str, search: str) -> None:
    assert search_text(keyword) == search


@pytest.mark.parametrize("keyword", ["", "crm + *", '""', "word " * 200])
def test_a_keyword_that_reddit_cannot_search_for_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="keyword"):
        search_text(keyword)


def test_a_search_is_paged_beyond_one_page_and_stops_at_its_limit(reddit: FakeReddit, tmp_path: Path) -> None:
    for number in range(270):
        reddit.add_submission(f"a{number}", f"Which CRM, take {number}")
    result = run(reddit, tmp_path, query("crm", "smallbusiness"))
    assert (result.submissions, result.comments, result.calls, result.stopped_reason) == (250, 0, 3, None)
    assert [request.params["limit"] for request in reddit.requests[1:]] == ["100", "100", "50"]
    assert set(lines(tmp_path)) == {f"t3_a{number}" for number in range(20, 270)}, "the youngest ones"
    assert result.rate_limit_left == 997


def test_a_post_found_by_two_keywords_is_one_line_with_both(reddit: FakeReddit, tmp_path: Path) -> None:
    both = reddit.add_submission("b1", "CRM with invoicing")
    one = reddit.add_submission("b2", "A CRM", subreddit="startups")
    reply = reddit.add_comment("c1", both)
    result = run(reddit, tmp_path, query("invoic*", "smallbusiness"), query("crm", "Startups", "smallbusiness"))
    landed = lines(tmp_path)
    assert landed[both]["matched_queries"] == ["crm", "invoic*"]
    assert landed[one]["matched_queries"] == ["crm"]
    assert landed[reply]["matched_queries"] == [], "a search returns submissions only"
    assert reddit.paths() == ["/r/smallbusiness/search/", "/r/smallbusiness+Startups/search/", "/comments/b1/"]
    assert (result.submissions, result.comments) == (2, 1)


def test_the_same_search_of_two_campaigns_is_sent_once(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.add_submission("b1", "CRM wanted")
    run(reddit, tmp_path, query("crm"), query("CRM", campaign="other"), query("crm", campaign="third"))
    assert reddit.paths() == ["/r/all/search/", "/r/all/search/"], '"crm" and "CRM" are two texts'
    assert lines(tmp_path)["t3_b1"]["matched_queries"] == ["CRM", "crm"]
    assert reddit.requests[1].params["restrict_sr"] == "false"


def test_comments_are_read_through_more_stubs_up_to_the_limit(reddit: FakeReddit, tmp_path: Path) -> None:
    post = reddit.add_submission("p1", "CRM?")
    for number in range(12):
        below = reddit.add_comment(f"d{number}", post)
        reddit.add_comment(f"e{number}", below)
    result = run(reddit, tmp_path / "some", query("crm"), max_comments_per_submission=10)
    assert result.comments == 10
    assert reddit.paths()[-1] == "/comments/p1/"
    reddit.canned["/comments/p1/"] = reddit.answer_with_limit("p1", 8)
    result = run(reddit, tmp_path / "stubbed", query("crm"), max_comments_per_submission=16)
    assert result.comments == 16
    assert reddit.paths()[-1] == "/api/morechildren/"
    assert {line["link_id"] for name, line in lines(tmp_path / "stubbed").items() if name.startswith("t1_")} == {post}


def test_without_comments_wanted_no_tree_is_read(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.add_comment("d1", reddit.add_submission("p1", "CRM?"))
    assert run(reddit, tmp_path, query("crm"), max_comments_per_submission=0).calls == 1


def test_a_landed_line_holds_what_the_archive_reader_reads_and_no_profile(reddit: FakeReddit, tmp_path: Path) -> None:
    post = reddit.add_submission("p1", "Looking for a CRM \ud800", over_18=True, author=None)
    reply = reddit.add_comment("d1", post, "Try \u2028 paper\n\nor so")
    result = run(reddit, tmp_path, query("crm", "smallbusiness"))
    line = lines(tmp_path)[post]
    assert line["retrieved_on"] == int(NOW.timestamp())
    assert (line["source"], line["id"], line["created_utc"]) == ("live", "p1", EPOCH)
    assert isinstance(line["created_utc"], int)
    assert not {"author_fullname", "selftext_html", "media", "all_awardings", "author_karma"} & set(line)
    posts, bad = read_back(result.files[0])
    assert bad.is_empty()
    rows = {row["fullname"]: row for row in posts.iter_rows(named=True)}
    assert rows[post]["title"] == "Looking for a CRM ?"
    assert (rows[post]["author"], rows[post]["over_18"], rows[post]["sub_subscribers"]) == (None, True, 48_210)
    assert (rows[post]["matched_queries"], rows[post]["source"], rows[post]["retrieved_at"]) == (["crm"], "live", NOW)
    assert (rows[reply]["text"], rows[reply]["author"]) == ("Try \u2028 paper\n\nor so", "quiet_ledger")
    assert (rows[reply]["link_fullname"], rows[reply]["parent_fullname"]) == (post, post)


def test_the_result_names_the_days_that_were_touched(reddit: FakeReddit, tmp_path: Path) -> None:
    post = reddit.add_submission("p1", "CRM?", created_utc=1_789_999_999.0)
    reddit.add_comment("d1", post, created_utc=1_790_200_000.5)
    result = run(reddit, tmp_path, query("crm"))
    assert result.days == (date(2026, 9, 21), date(2026, 9, 23))
    assert result.earliest_created == datetime.fromtimestamp(1_789_999_999, UTC)
    assert result.latest_created == datetime.fromtimestamp(1_790_200_000.5, UTC)


def test_hot_posts_are_counted_only_when_asked_for_and_once_per_subreddit(reddit: FakeReddit, tmp_path: Path) -> None:
    for number in range(3):
        reddit.add_submission(f"p{number}", "CRM?")
    run(reddit, tmp_path / "off", query("crm"))
    assert "/r/smallbusiness/hot" not in reddit.paths()
    run(reddit, tmp_path / "on", query("crm"), hot_posts=True)
    assert reddit.paths().count("/r/smallbusiness/hot") == 1
    assert {line["subreddit_hot_posts"] for line in lines(tmp_path / "on").values()} == {3}


def test_a_subreddit_whose_hot_posts_are_closed_is_landed_without_their_number(
    reddit: FakeReddit, tmp_path: Path
) -> None:
    post = reddit.add_submission("p1", "CRM?")
    reddit.faults = [Fault("/hot", status=404)]
    assert len(run(reddit, tmp_path, query("crm"), hot_posts=True).problems) == 1
    assert "subreddit_hot_posts" not in lines(tmp_path)[post]


def test_a_second_crawl_in_the_same_second_writes_a_file_of_its_own(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.add_submission("p1", "CRM?")
    first, second = (run(reddit, tmp_path, query("crm")).files[0] for _ in range(2))
    assert [first.name, second.name] == ["live_20260930T030000Z.ndjson", "live_20260930T030000Z_2.ndjson"]
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first.name, second.name]), "nothing half-written"


def test_a_crawl_that_finds_nothing_leaves_no_file(reddit: FakeReddit, tmp_path: Path) -> None:
    result = run(reddit, tmp_path, query("crm"))
    assert (result.files, result.days, result.earliest_created) == ((), (), None)
    assert list(tmp_path.iterdir()) == []


SERVER_ERROR = Fault("invoice", status=503, times=99)
CUT = Fault("invoice", cut=True, times=99)
MALFORMED = Fault("invoice", body=b'{"kind": "Listing", "da')
HTML = Fault("invoice", body=b"<html>busy</html>", headers={"content-type": "text/html"})
OTHER_SHAPE = Fault("invoice", body=b'{"kind": "Listing", "data": {"children": {"0": []}}}')
THROTTLED = Fault("invoice", status=429, headers={"retry-after": "7"}, times=99)
THROTTLED_TILL_A_DATE = Fault("invoice", status=429, headers={"retry-after": "Wed, 30 Sep 2026 04:00:00 GMT"}, times=99)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (SERVER_ERROR, "server_error"),
        (CUT, "connection_lost"),
        (MALFORMED, "unreadable_answer"),
        (HTML, "unreadable_answer"),
        (OTHER_SHAPE, "unreadable_answer"),
        (THROTTLED, "rate_limited"),
        (THROTTLED_TILL_A_DATE, "rate_limited"),
    ],
)
def test_a_failing_second_query_stops_the_crawl_and_keeps_what_the_first_found(
    reddit: FakeReddit, tmp_path: Path, fault: Fault, reason: str
) -> None:
    post = reddit.add_submission("p1", "CRM or invoice tool?")
    reddit.faults = [Fault(**vars(fault))]
    result = run(reddit, tmp_path, query("crm"), query("invoice"), query("never asked"))
    assert (result.stopped_reason, result.submissions) == (reason, 1)
    assert lines(tmp_path)[post]["matched_queries"] == ["crm"]
    assert result.problems == (f"stopped at r/all/search/: {reason}",)
    assert not any(request.params.get("q") == '"never asked"' for request in reddit.requests)


@pytest.mark.parametrize("fault", [Fault("crm", status=502, times=2), Fault("crm", cut=True, times=2)])
def test_a_passing_error_is_retried(reddit: FakeReddit, tmp_path: Path, fault: Fault) -> None:
    reddit.add_submission("p1", "CRM?")
    reddit.faults = [Fault(**vars(fault))]
    result = run(reddit, tmp_path, query("crm"))
    assert (result.submissions, result.stopped_reason, len(reddit.paths())) == (1, None, 3)


@pytest.mark.parametrize(
    ("headers", "naps"),
    [
        ({"retry-after": "7"}, [7.0]),
        ({"x-ratelimit-reset": "41", "x-ratelimit-used": "1000", "x-ratelimit-remaining": "0"}, [41.0]),
        ({}, [10.0]),
    ],
)
def test_a_429_is_waited_out_for_as_long_as_reddit_says(
    reddit: FakeReddit, tmp_path: Path, headers: dict[str, str], naps: list[float]
) -> None:
    reddit.add_submission("p1", "CRM?")
    reddit.faults = [Fault("crm", status=429, headers=headers)]
    slept = Naps()
    assert run(reddit, tmp_path, query("crm"), naps=slept).submissions == 1
    assert slept.seconds == naps


def test_a_429_beyond_the_rate_window_is_not_waited_out(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.faults = [Fault("crm", status=429, headers={"retry-after": "86400"})]
    slept = Naps()
    assert run(reddit, tmp_path, query("crm"), naps=slept).stopped_reason == "rate_limited"
    assert slept.seconds == []


def test_a_failure_inside_a_tree_keeps_its_first_comments_and_all_submissions(
    reddit: FakeReddit, tmp_path: Path
) -> None:
    for name in ("p1", "p2"):
        post = reddit.add_submission(name, "CRM?")
        for number in range(4):
            reddit.add_comment(f"{name}{number}", post)
    reddit.canned["/comments/p2/"] = reddit.answer_with_limit("p2", 2)
    reddit.faults = [Fault("morechildren", status=500, times=9)]
    result = run(reddit, tmp_path, query("crm"))
    assert (result.submissions, result.comments, result.stopped_reason) == (2, 2, "server_error")


def test_a_thread_that_is_gone_or_closed_since_the_search_is_passed_over(reddit: FakeReddit, tmp_path: Path) -> None:
    for name in ("p1", "p2", "p3"):
        reddit.add_comment(f"{name}c", reddit.add_submission(name, "CRM?"))
    reddit.faults = [Fault("/comments/p3/", status=404), Fault("/comments/p2/", status=403)]
    result = run(reddit, tmp_path, query("crm"))
    assert (result.submissions, result.comments, result.stopped_reason) == (3, 1, None)
    assert len(result.problems) == 2


def test_a_subreddit_that_does_not_exist_costs_only_its_own_query(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.add_submission("p1", "CRM?")
    moved = {"location": "https://www.reddit.com/subreddits/search?q=nosuch"}
    reddit.faults = [Fault("/r/nosuch/", status=302, headers=moved), Fault("/r/banned/", status=404)]
    result = run(reddit, tmp_path, query("crm", "nosuch"), query("crm", "banned"), query("crm", "smallbusiness"))
    assert (result.submissions, result.stopped_reason) == (1, None)
    assert result.problems == (
        "r/nosuch/search/ has no answer (HTTP 302)",
        "r/banned/search/ has no answer (HTTP 404)",
    )


@pytest.mark.parametrize(
    "keys",
    [
        RedditCredentials(CLIENT_ID, "not-the-secret", "magpie tests, on loopback"),
        RedditCredentials(CLIENT_ID, CLIENT_SECRET, "magpie tests, on loopback", "nora", "not-the-password"),
    ],
)
def test_wrong_credentials_give_one_line_that_holds_no_secret(
    reddit: FakeReddit, tmp_path: Path, keys: RedditCredentials
) -> None:
    reddit.users = {"nora": "her-password"}
    with pytest.raises(UserError) as refused:
        run(reddit, tmp_path, query("crm"), keys=keys)
    message = str(refused.value)
    assert "check REDDIT_" in message
    assert "\n" not in message
    assert "not-the" not in message + repr(keys) + repr(refused.value)
    assert refused.value.__cause__ is None
    assert list(tmp_path.iterdir()) == []


def test_an_account_signs_in_with_its_password(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.users = {"nora": "her-password"}
    reddit.add_submission("p1", "CRM?")
    keys = RedditCredentials(CLIENT_ID, CLIENT_SECRET, "magpie tests, on loopback", "nora", "her-password")
    assert run(reddit, tmp_path, query("crm"), keys=keys).submissions == 1


@pytest.mark.parametrize(("status", "hint"), [(401, "REDDIT_CLIENT_ID"), (403, "approved")])
def test_a_refusal_in_the_middle_is_one_line_and_loses_nothing(
    reddit: FakeReddit, tmp_path: Path, status: int, hint: str
) -> None:
    reddit.add_submission("p1", "CRM?")
    reddit.faults = [Fault("invoice", status=status, times=9)]
    with pytest.raises(UserError, match=f"{hint}.*1 already fetched are kept in live_"):
        run(reddit, tmp_path, query("crm"), query("invoice"))
    assert set(lines(tmp_path)) == {"t3_p1"}


def test_a_cancelled_crawl_keeps_what_it_has(reddit: FakeReddit, tmp_path: Path) -> None:
    class Cancelled(Naps):
        async def __call__(self, seconds: float) -> None:
            raise asyncio.CancelledError

    reddit.add_submission("p1", "CRM?")
    reddit.faults = [Fault("invoice", status=429)]
    with pytest.raises(asyncio.CancelledError):
        run(reddit, tmp_path, query("crm"), query("invoice"), naps=Cancelled())
    assert set(lines(tmp_path)) == {"t3_p1"}


def test_a_token_that_expired_on_the_way_is_renewed(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.add_submission("p1", "CRM?")
    expired = {"www-authenticate": 'Bearer realm="reddit", error="invalid_token"'}
    reddit.faults = [Fault("crm", status=401, headers=expired)]
    assert run(reddit, tmp_path, query("crm")).submissions == 1
    assert reddit.tokens == 2


def test_a_sign_in_that_answers_nonsense_stops_the_crawl(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.faults = [Fault("access_token", body=b'{"hello": "there"}')]
    assert run(reddit, tmp_path, query("crm")).stopped_reason == "unreadable_answer"


def test_a_name_that_is_no_subreddit_is_refused_before_anything_is_sent(reddit: FakeReddit, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no subreddit name"):
        run(reddit, tmp_path, query("crm", "../api/v1/me"))
    assert reddit.requests == []


def test_a_landing_folder_that_cannot_be_made_is_named_before_anything_is_sent(
    reddit: FakeReddit, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot write to"):
        run(reddit, tmp_path / "taken" / "live", query("crm"))
    assert reddit.requests == []


def test_objects_without_a_usable_id_are_not_landed(reddit: FakeReddit, tmp_path: Path) -> None:
    children = [{"kind": "t3", "data": {"id": bad}} for bad in (None, 7, "../x", "")]
    children += [{"kind": "t5", "data": {"id": "abc"}}, {"kind": "t3"}, "t3"]  # type: ignore[list-item]
    reddit.canned["/r/all/search/"] = {"kind": "Listing", "data": {"children": children, "after": None}}
    assert run(reddit, tmp_path, query("crm")).submissions == 0


def test_a_praw_ini_in_the_way_changes_nothing(
    reddit: FakeReddit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = "[DEFAULT]\nuser_agent=theirs\nreddit_url=http://127.0.0.1:9\noauth_url=http://127.0.0.1:9\nusername=them\n"
    (tmp_path / "praw.ini").write_text(ini + "password=theirs\ntimeout=soon\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("praw_site", "elsewhere")
    monkeypatch.setattr(asyncpraw.config.Config, "CONFIG", None)
    reddit.add_submission("p1", "CRM?")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert run(reddit, tmp_path / "live", query("crm")).submissions == 1
    assert reddit.requests[0].params["grant_type"] == "client_credentials"


def test_a_broken_praw_ini_is_named(reddit: FakeReddit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "praw.ini").write_text("no section\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asyncpraw.config.Config, "CONFIG", None)
    with pytest.raises(UserError, match=r"praw\.ini"):
        run(reddit, tmp_path / "live", query("crm"))


@pytest.mark.parametrize("missing", list(ENVIRONMENT))
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(UserError, match=f"{missing} is not set"):
        RedditCredentials.from_environment({**ENVIRONMENT, missing: " "})


def test_half_an_account_is_named() -> None:
    with pytest.raises(UserError, match="REDDIT_PASSWORD is not set"):
        RedditCredentials.from_environment({**ENVIRONMENT, "REDDIT_USERNAME": "nora"})


def test_a_key_with_a_line_break_or_colon_is_refused_without_showing_it() -> None:
    for name, value in (
        ("REDDIT_USER_AGENT", "a\r\nx: b"),
        ("REDDIT_CLIENT_ID", "hu:sh"),
        ("REDDIT_CLIENT_SECRET", "hüsh"),
    ):
        with pytest.raises(UserError, match=name) as refused:
            RedditCredentials.from_environment({**ENVIRONMENT, name: value})
        assert value not in str(refused.value)


def test_credentials_do_not_show_their_secrets() -> None:
    keys = RedditCredentials.from_environment(
        {**ENVIRONMENT, "REDDIT_USERNAME": "nora", "REDDIT_PASSWORD": "open sesame"}
    )
    assert keys.password == "open sesame"
    assert "hush" not in repr(keys)
    assert "sesame" not in repr(keys)


def test_a_sweep_asks_a_hundred_at_a_time_and_tells_what_is_gone(reddit: FakeReddit) -> None:
    names = [reddit.add_submission(f"p{number}", "CRM?") for number in range(246)]
    by_author = reddit.add_submission("g1", "CRM?", selftext="[deleted]", author="[deleted]")
    no_author = reddit.add_submission("g2", "CRM?", author=None)
    taken_down = reddit.add_submission("g3", "CRM?", selftext="[removed]", removed_by_category="deleted")
    moderated = reddit.add_submission("g4", "CRM?", selftext="[removed]", removed_by_category="moderator")
    del reddit.posts[names[7]]
    found = sweep(reddit, *names, by_author, no_author, taken_down, moderated, by_author)
    assert reddit.paths() == ["/api/info/"] * 3
    assert [(gone.fullname, gone.kind) for gone in found] == [
        (names[7], "post"),
        (by_author, "post"),
        (no_author, "author"),
        (taken_down, "post"),
    ]
    assert {gone.detected_at for gone in found} == {NOW}


def test_a_sweep_tells_a_deleted_comment_from_a_deleted_account(reddit: FakeReddit) -> None:
    post = reddit.add_submission("p1", "CRM?")
    deleted = reddit.add_comment("d1", post, "[deleted]", author="[deleted]")
    orphaned = reddit.add_comment("d2", post, "Paper works.", author="[deleted]")
    found = sweep(reddit, post, deleted, orphaned)
    assert [(gone.fullname, gone.kind) for gone in found] == [(deleted, "post"), (orphaned, "author")]


def test_a_sweep_that_is_cut_short_takes_no_unanswered_post_for_deleted(reddit: FakeReddit) -> None:
    names = [reddit.add_submission(f"p{number}", "CRM?") for number in range(150)]
    del reddit.posts[names[3]]
    reddit.faults = [Fault("api/info", status=500, times=9, after=1)]
    with pytest.raises(SweepStopped, match="server_error; run it again later") as stopped:
        sweep(reddit, *names)
    assert [gone.fullname for gone in stopped.value.found] == [names[3]]


def test_a_sweep_of_nothing_sends_nothing_and_of_nonsense_is_refused(reddit: FakeReddit) -> None:
    assert sweep(reddit) == []
    with pytest.raises(ValueError, match="no fullname"):
        sweep(reddit, "t3_abc,t3_def")
    assert reddit.requests == []


def test_no_session_is_left_open_however_a_crawl_ends(reddit: FakeReddit, tmp_path: Path) -> None:
    reddit.add_submission("p1", "CRM?")
    wrong = RedditCredentials(CLIENT_ID, "not-the-secret", "magpie tests, on loopback")
    gc.collect()  # what tests before this one left is not this one's
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(reddit, tmp_path, query("crm"))
        sweep(reddit, "t3_p1", "t3_gone")
        with pytest.raises(UserError):
            run(reddit, tmp_path, query("crm"), keys=wrong)
        reddit.faults = [Fault("crm", cut=True, times=9)]
        run(reddit, tmp_path, query("crm"))
        gc.collect()
    assert [str(warning.message) for warning in caught if "nclosed" in str(warning.message)] == []


def recorded(name: str, place: int) -> Any:
    path = CASSETTES / f"{name}.json"
    if not path.is_file():
        pytest.skip("the recorded answers of the API are not here (../shared/data/reddit/asyncpraw_cassettes)")
    return json.loads(json.loads(path.read_text("utf-8"))["interactions"][place]["response"]["body"]["string"])


def test_a_recorded_comment_tree_survives_the_way_into_the_archive(reddit: FakeReddit, tmp_path: Path) -> None:
    answer = recorded("TestCommentForest.test_replace__all", 1)
    reddit.canned = {"/r/all/search/": answer[0], "/comments/3hahrw/": answer}
    result = run(reddit, tmp_path, query("drums"), max_comments_per_submission=1000)
    assert (result.submissions, result.comments, result.stopped_reason) == (1, 527, None)
    posts, bad = read_back(result.files[0])
    assert (posts.height, bad.height) == (528, 0)
    waiting = list(answer[1]["data"]["children"])
    bodies = {}
    while waiting:
        thing = waiting.pop()
        if thing["kind"] == "t1":
            bodies[thing["data"]["name"]] = thing["data"]["body"]
            waiting += thing["data"]["replies"]["data"]["children"] if thing["data"]["replies"] else []
    live = posts.filter((pl.col("kind") == "comment") & (pl.col("content_state") == "ok"))
    assert live.height > 400
    assert all(bodies[row["fullname"]] == row["text"] for row in live.iter_rows(named=True))
    assert posts.filter(pl.col("kind") == "comment")["link_fullname"].unique().to_list() == ["t3_3hahrw"]


def test_a_recorded_listing_survives_the_way_into_the_archive(reddit: FakeReddit, tmp_path: Path) -> None:
    listing = recorded("TestSubredditStreams.test_submissions", 1)
    reddit.canned = {"/r/all/search/": listing}
    result = run(reddit, tmp_path, query("anything"), max_comments_per_submission=0)
    posts, bad = read_back(result.files[0])
    assert (result.submissions, posts.height, bad.height) == (100, 100, 0)
    sent = {child["data"]["name"]: child["data"] for child in listing["data"]["children"]}
    for row in posts.iter_rows(named=True):
        data = sent[row["fullname"]]
        assert (row["title"], row["author"], row["num_comments"]) == (
            data["title"],
            data["author"],
            data["num_comments"],
        )
        assert row["created_utc"].timestamp() == data["created_utc"]
        assert row["sub_subscribers"] == data["subreddit_subscribers"]
