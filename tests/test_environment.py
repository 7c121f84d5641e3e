"""Secrets from files: what stands in one counts as if it were set, and what is wrong with it is told without it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.content.wordpress import PASSWORD
from magpie.environment import IN_FILE, MOST_BYTES, SECRETS, Environment
from magpie.errors import UserError
from magpie.health import KEYS
from magpie.llm.providers.lookup import KNOWN, build
from magpie.settings import Settings, load_settings
from magpie.sources import channel_clients, tumblr_api

KEY, FILE = "OPENAI_API_KEY", "OPENAI_API_KEY_FILE"
VALUE = "a-key-nobody-may-see"
# Of what a doctor looks for, only this is public.
PUBLIC = {"REDDIT_USER_AGENT"}


@pytest.fixture()
def held(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{VALUE}\n", "utf-8")
    return path


def test_what_a_file_holds_counts_as_if_it_were_set(held: Path) -> None:
    env = Environment({FILE: str(held), "HOME": "/somewhere"})
    assert (env[KEY], env.get(KEY), KEY in env) == (VALUE, VALUE, True)
    assert dict(env) == {FILE: str(held), "HOME": "/somewhere", KEY: VALUE}
    assert len(env) == 3


def test_a_provider_has_the_key_of_its_file(held: Path) -> None:
    assert build("openai", env=Environment({FILE: str(held)})).has_key
    assert not build("anthropic", env=Environment({FILE: str(held)})).has_key


def test_a_file_is_read_each_time_so_that_a_new_key_counts(held: Path) -> None:
    env = Environment({FILE: str(held)})
    assert env[KEY] == VALUE
    held.write_text("another", "utf-8")
    assert env[KEY] == "another"


def test_without_a_file_everything_is_as_it_is_set() -> None:
    assert dict(Environment({KEY: VALUE, FILE: ""})) == {KEY: VALUE, FILE: ""}
    assert Environment({}).get(KEY) is None
    assert KEY not in Environment({})


def test_an_empty_variable_is_no_second_value(held: Path) -> None:
    assert Environment({KEY: "", FILE: str(held)})[KEY] == VALUE


def test_a_file_of_another_name_is_no_secret(held: Path) -> None:
    env = Environment({"SSL_CERT_FILE": str(held)})
    assert "SSL_CERT" not in env
    assert dict(env) == {"SSL_CERT_FILE": str(held)}


def test_a_secret_that_is_set_twice_is_refused(held: Path) -> None:
    with pytest.raises(UserError, match=f"{KEY} and {FILE} are both set; unset one") as caught:
        Environment({KEY: "another", FILE: str(held)})[KEY]
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", b"\xff\xfe\x00", b"k\x00ey", b"k" * (MOST_BYTES + 1)])
def test_a_file_without_a_secret_is_refused_and_not_quoted(held: Path, content: bytes) -> None:
    held.write_bytes(content)
    with pytest.raises(UserError, match=f"{FILE} names holds no secret") as caught:
        Environment({FILE: str(held)})[KEY]
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "nothing/there"])
def test_a_file_that_cannot_be_read_is_told_by_its_variable(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match=f"cannot read the file that {FILE} names: "):
        Environment({FILE: str(tmp_path / path)})[KEY]


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200), st.sampled_from(SECRETS))
def test_any_key_survives_its_file(tmp_path_factory: pytest.TempPathFactory, value: str, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / "one-key"
    path.write_text(f"{value}\r\n", "utf-8")
    assert Environment({name + IN_FILE: str(path)})[name] == value


def test_every_key_that_a_module_asks_for_may_stand_in_a_file() -> None:
    asked = {known.key_name for known in KNOWN.values()} | set(channel_clients.KEYS.values()) | set(KEYS)
    asked |= set(tumblr_api._KEY_VARIABLES.values()) | {PASSWORD, "REDDIT_PASSWORD", "MAGPIE_CONTROL_URL"}
    assert asked - PUBLIC <= set(SECRETS)


def test_the_control_database_may_be_named_by_a_file(
    held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("MAGPIE_")]:
        monkeypatch.delenv(name)
    held.write_text("postgresql://me:secret@host/books\n", "utf-8")
    monkeypatch.setenv("MAGPIE_CONTROL_URL_FILE", str(held))
    config = tmp_path / "magpie.yaml"
    config.write_text("start_day: 2026-03-02\n", "utf-8")
    settings = load_settings(config)
    assert settings.control_database == "postgresql://me:secret@host/books"
    assert "secret" not in repr(settings)


def test_keys_of_a_bucket_may_stand_in_files_and_the_files_are_no_option_of_it(held: Path) -> None:
    settings = Settings.model_validate({"start_day": "2026-03-02", "lake_url": "s3://bucket/lake"})
    told = {"AWS_SECRET_ACCESS_KEY_FILE": str(held), "AWS_REGION": "eu-central-1", "AWS_CONFIG_FILE": "/etc/aws"}
    assert settings.storage_options(Environment(told)) == {
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/etc/aws",
        "AWS_SECRET_ACCESS_KEY": VALUE,
    }
