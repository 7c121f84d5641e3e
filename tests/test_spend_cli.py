"""`magpie spend`, `magpie breaker` and the doctor's lines about money, as a person meets them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from dagster_world import sample_settings

from magpie.cli import main
from magpie.cli.output import out
from magpie.control import Control
from magpie.health import examine
from magpie.llm import breaker, ledger, pacing
from magpie.llm.journal import BodyFiles
from magpie.llm.ledger import Reserved
from magpie.llm.purpose import FREE_TIER, Limits
from magpie.llm.refusal import Refused
from magpie.llm.reply import Exchange
from magpie.llm.schema import hidden_model
from magpie.llm.store import Store
from magpie.settings import Settings
from tests.cli_world import REPO, Here, one_line
from tests.ledger_world import NOON, Books, FakeClock

DOLLAR = 1_000_000_000


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, list[str]]:
        """The lines of a table by their first cell."""
        return {line.split()[0]: line.split() for line in self.out.splitlines() if line.strip()}


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process over a home of its own, at noon of 2026-11-20."""
    for name, value in (("HOME", tmp_path / "home"), ("CONFIG", REPO / "magpie.yaml")):
        monkeypatch.setenv(f"MAGPIE_{name}", str(value))
    monkeypatch.setattr("magpie.cli.spend._now", lambda: NOON)
    monkeypatch.setattr(out, "width", 160)

    def command(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["magpie", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return command


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    control = Control(f"sqlite:///{tmp_path / 'home' / 'control.sqlite'}")
    store = Store(control)
    yield Books(store, Limits())
    store.close()
    control.close()


def spent(books: Books, usd: str, campaign: str = "agency-crm") -> None:
    """A settled call of that campaign."""
    nano = int(Decimal(usd) * DOLLAR)
    purpose = replace(books.booking(0).purpose, scopes=(f"campaign:{campaign}",))
    call = books.held(nano, purpose=purpose)
    books.send(call)
    books.settle(call, nano)


# --- magpie spend -------------------------------------------------------------------------------------------------


def test_looking_at_a_home_that_is_not_there_says_so_and_makes_nothing(tmp_path: Path, here: Here) -> None:
    for command in (("spend",), ("spend", "--since", "2026-11-01"), ("spend", "sweep"), ("breaker",)):
        result = here(tmp_path / "home", *command)
        assert result.returncode == 0, result.stderr
        assert "nothing spent yet" in result.stdout or "no breaker is open" in result.stdout
    assert not (tmp_path / "home").exists()


def test_an_empty_control_database_shows_the_caps_and_nothing_spent(run: Run, tmp_path: Path) -> None:
    Control(f"sqlite:///{tmp_path / 'home' / 'control.sqlite'}").engine().dispose()
    said = run("spend")
    assert said.code == 0, said.err
    assert "nothing spent yet today, 2026-11-20 UTC" in said.out
    assert said.rows["all"][1:7] == ["day", "$0", "$0", "0", "$15.00", "$15.00"]
    assert "campaign:folding-bike" in said.rows


def test_today_is_told_by_scope_against_the_caps_and_eighty_percent_is_announced(run: Run, books: Books) -> None:
    spent(books, "0.85")
    spent(books, "0.0004", "folding-bike")
    said = run("spend")
    assert said.rows["campaign:agency-crm"][1:7] == ["day", "$0.85", "$0", "1", "$1.00", "$0.15"]
    assert said.rows["campaign:agency-crm"][-1] == "85%"
    assert said.rows["campaign:folding-bike"][2] == "$0.0004"
    assert said.rows["model:openai/small"][1:] == ["day", "$0.8504", "$0", "2"]
    assert "look campaign:agency-crm has used 85% of its cap of $1.00" in said.out
    assert "look all" not in said.out


def test_a_scope_or_all_of_a_kind_can_be_asked_for(run: Run, books: Books) -> None:
    spent(books, "0.10")
    campaigns = run("spend", "--scope", "campaign").rows
    assert {"campaign:agency-crm", "campaign:folding-bike"} <= set(campaigns)
    assert "all" not in campaigns
    both = run("spend", "--scope", "all", "--scope", "provider:openai").rows
    assert {"all", "provider:openai"} <= set(both)
    assert "product:leads" not in both


def test_a_scope_that_nothing_is_counted_for_is_one_line_with_those_there_are(run: Run, books: Books) -> None:
    spent(books, "0.10")
    for command in (("spend",), ("spend", "--since", "2026-11-19")):
        said = run(*command, "--scope", "chanel")
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert "'chanel'" in said.err
        assert "campaign:agency-crm" in said.err


def test_since_lists_each_day_with_what_the_journal_saved(run: Run, books: Books) -> None:
    books.clock.now = NOON - timedelta(days=1)
    spent(books, "0.25")
    books.clock.now = NOON
    spent(books, "0.50")
    hits = ledger.hit_rows([(books.booking(0), 120_000_000, None)], NOON)
    books.store.write(lambda c: ledger.record_hits(c, hits))
    lines = [line.split() for line in run("spend", "--since", "2026-11-19", "--scope", "all").out.splitlines()]
    assert lines[1:] == [["2026-11-20", "all", "$0.5", "1", "1", "$0.12"], ["2026-11-19", "all", "$0.25", "1"]]
    assert "nothing spent since 2026-11-21" in run("spend", "--since", "2026-11-21").out


def test_a_day_that_is_none_is_refused_with_an_example(run: Run, books: Books) -> None:
    spent(books, "0.10")
    said = run("spend", "--since", "yesterday")
    assert (said.code, said.err) == (2, "magpie: --since 'yesterday' is not a day; write it as 2026-03-02\n")


def test_a_quota_is_shown_once_it_is_used(run: Run, books: Books) -> None:
    books.held(0, provider="openrouter", model="some:free", free_tier=True)
    said = run("spend")
    assert said.rows[FREE_TIER][1:7] == ["day", "$0", "$0", "1", "of", "900"]
    assert f"{FREE_TIER}/memes" not in said.rows


def test_what_stands_in_the_way_is_told_below_the_sums(run: Run, books: Books) -> None:
    books.send(cut := books.held(5_000_000))
    books.cut(cut)
    books.clock.now = NOON - timedelta(hours=2)
    books.held(DOLLAR)
    said = run("spend")
    assert "cut off calls that may still be reconciled: 1, given up: 0; charged at $0.005 in all" in said.out
    assert "calls of ended processes: 1; `magpie spend sweep`" in said.out


# --- magpie spend sweep -------------------------------------------------------------------------------------------


def chat_body() -> bytes:
    message = {"role": "assistant", "content": "{}"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "small"}
    return json.dumps({**answer, "choices": choices, "usage": usage}).encode()


def test_a_sweep_settles_from_the_journal_frees_the_unsent_and_gives_up_the_rest(run: Run, tmp_path: Path) -> None:
    # The sweep itself goes by the real time, so the calls have to be old by it.
    control = Control(f"sqlite:///{tmp_path / 'home' / 'control.sqlite'}")
    books = Books(Store(control), Limits(), FakeClock(datetime.now(UTC) - timedelta(days=1)))
    unsent, answered, silent = books.held(3), books.held(DOLLAR), books.held(7)
    for call in (answered, silent):
        books.send(call)
    BodyFiles(tmp_path / "home" / "journal").keep(answered, Exchange(200, {}, chat_body()))
    said = run("spend", "sweep")
    assert said.code == 0, said.err
    told = "1 never sent, their money is free again; 1 settled from the journal; 1 given up, charged at their estimate"
    assert told in said.out
    assert [books.state(call) for call in (unsent, answered, silent)] == ["voided", "settled", "lost"]
    again = run("spend", "sweep").out
    assert "0 never sent" in again
    assert "0 settled" in again


# --- magpie breaker -----------------------------------------------------------------------------------------------


def stop_something(books: Books) -> None:
    def change(connection: object) -> None:
        breaker.open_breaker(connection, "provider:openai", NOON, None, "provider_auth", "key refused [red]x[/red]")
        until = NOON + timedelta(hours=1)
        breaker.open_breaker(connection, "function:extract_lead", NOON, until, "failed_runs", "3 runs failed")
        pacing.cool(connection, "model:openai/small", NOON + timedelta(minutes=9), "cooling_down", "slow down")

    books.store.write(change)


def test_models_that_are_no_longer_listed_are_shown_and_are_nothing_to_reset(run: Run, books: Books) -> None:
    gone = {"provider": "openrouter", "model_id": "maker/a:free", "since": NOON}
    books.store.append(hidden_model.insert(), gone)
    (line,) = [line for line in run("breaker").out.splitlines() if "maker/a:free" in line]
    assert "hidden" in line
    assert "since 2026-11-20 12:00 UTC" in line
    assert "nothing is stopped" in run("breaker", "reset", "model:openrouter/maker/a:free").err


def test_breakers_and_rests_are_listed_with_until_when_and_why(run: Run, books: Books) -> None:
    stop_something(books)
    lines = {line.split()[0]: line for line in run("breaker").out.splitlines() if line.strip()}
    assert "you reset it" in lines["provider:openai"]
    assert "key refused [red]x[/red]" in lines["provider:openai"], "an error text is no markup"
    assert "2026-11-20 13:00 UTC" in lines["function:extract_lead"]
    assert "cool-down" in lines["model:openai/small"]
    assert "slow down" in lines["model:openai/small"]


def test_a_reset_of_one_scope_leaves_the_others_stopped(run: Run, books: Books) -> None:
    stop_something(books)
    assert "free again: model:openai/small" in run("breaker", "reset", "model:openai/small").out
    assert "free again: provider:openai" in run("breaker", "reset", "provider:openai").out
    left = run("breaker").out
    assert "function:extract_lead" in left
    assert "provider:openai" not in left
    assert "model:openai/small" not in left


def test_a_reset_without_a_scope_frees_all_and_calls_are_made_again(run: Run, books: Books) -> None:
    stop_something(books)
    assert isinstance(books.reserve(1), Refused)
    assert "function:extract_lead, model:openai/small, provider:openai" in run("breaker", "reset").out
    assert isinstance(books.reserve(1), Reserved)
    assert "nothing was stopped" in run("breaker", "reset").out


def test_a_reset_of_what_is_not_stopped_is_one_line_with_what_is(run: Run, books: Books) -> None:
    stop_something(books)
    said = run("breaker", "reset", "provider:anthropic")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "'provider:anthropic'; stopped now: function:extract_lead, model:openai/small, provider:openai" in said.err


def test_a_breaker_whose_pause_is_over_waits_for_the_next_call(run: Run, books: Books) -> None:
    earlier = NOON - timedelta(hours=2)
    until = earlier + timedelta(hours=1)
    books.store.write(lambda c: breaker.open_breaker(c, "function:x", earlier, until, "failed_runs", "3 runs failed"))
    assert "now: the next call tries it" in run("breaker").out


def test_books_that_cannot_be_read_are_one_line(tmp_path: Path, here: Here) -> None:
    (tmp_path / "control.sqlite").write_text("this is no database" * 100)
    for command in (("spend",), ("breaker",), ("breaker", "reset"), ("spend", "sweep")):
        assert "cannot use the control database" in one_line(here(tmp_path, *command))


# --- the doctor ---------------------------------------------------------------------------------------------------


def doctor(settings: Settings) -> dict[str, tuple[str, str]]:
    return {finding.subject: (finding.level, finding.text) for finding in examine(settings, {}, NOON)}


def test_the_doctor_finds_nothing_amiss_in_an_unused_home(tmp_path: Path) -> None:
    found = doctor(sample_settings(tmp_path / "home"))
    assert found["spent today"] == ("ok", "$0 of $15.00 (0%)")
    assert found["breakers"] == ("ok", "none open")
    assert found["dead calls"] == ("ok", "none wait")


def test_the_doctor_tells_of_a_nearly_spent_cap_breakers_and_dead_calls(books: Books, tmp_path: Path) -> None:
    spent(books, "12.00")
    books.held(1)
    books.clock.now = NOON - timedelta(hours=2)
    books.held(1)
    stop_something(books)
    found = doctor(sample_settings(tmp_path / "home"))
    assert found["spent today"] == ("warn", "$12.00 of $15.00 (80%)")
    assert found["breakers"] == ("warn", "open: function:extract_lead, provider:openai; `magpie breaker`")
    assert found["dead calls"] == ("warn", "1 wait for `magpie spend sweep`")


def test_the_doctor_names_models_in_use_that_end_soon_and_settings_that_name_none(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path / "home")
    last = str((NOON + timedelta(days=5)).date())
    ending = {"provider": "openai", "model_id": "old", "end_of_life": last}
    llm = settings.llm.model_copy(update={"models": (ending,), "aliases": {"fast": ("openai/old",)}})
    level, told = doctor(settings.model_copy(update={"llm": llm}))["models"]
    assert level == "warn"
    assert f"openai/old on {last}" in told
    wrong = settings.llm.model_copy(update={"aliases": {"fast": ("openai/nothing",)}})
    level, told = doctor(settings.model_copy(update={"llm": wrong}))["models"]
    assert level == "bad"
    assert "openai/nothing" in told


def test_the_doctor_says_once_that_the_control_database_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "control.sqlite").write_text("this is no database" * 100)
    broken = [f for f in examine(sample_settings(tmp_path), {}, NOON) if "cannot use the control" in f.text]
    assert [(finding.level, finding.subject) for finding in broken] == [("bad", "control")]
