"""Secrets are planted everywhere, servers repeat them, and then everything that was written is searched for them."""

import base64
import contextlib
import io
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
import sqlalchemy as sa
import yaml
from dagster_world import archive, submission

import dbt_project
from magpie import json_logs
from magpie.blobs import Blobs
from magpie.cli import main
from magpie.content.export import Ready
from magpie.content.export_page import Page
from magpie.content.wordpress import Account, WordPress
from magpie.control import Control
from magpie.environment import IN_FILE, SECRETS, Environment
from magpie.errors import UserError
from magpie.lake import Lake
from magpie.llm.images import Images, Order
from magpie.llm.prices import Prices
from magpie.llm.providers.lookup import KNOWN, build
from magpie.memes.live import Channel, Fetcher
from magpie.persona.live import Courier
from magpie.settings import Settings, load_settings
from magpie.sources.web import Web
from tests.content_rows import SITE, article
from tests.databases import database_in
from tests.echo_server import MARK, EchoServer
from tests.gateway_world import MODELS, PURPOSE, desk

DAY = date(2026, 3, 20)
# In no form that a pattern for keys would catch; only who knows the very value can take it out.
PLANTED = {name: f"planted0{name.lower().replace('_', '0')}0{number}q7Zx" for number, name in enumerate(SECRETS)}
CONTROL_PASSWORD = PLANTED["MAGPIE_CONTROL_URL"]
# Where the value is an address, the secret is a part of it; that of the control database is a real one.
ADDRESSES = {
    "MAGPIE_ALERT_WEBHOOK": "https://127.0.0.1:1/{}",
    "MAGPIE_CELERY_BROKER": "amqp://someone:{}@127.0.0.1:1//",
    "MAGPIE_CELERY_BACKEND": "db+postgresql://someone:{}@127.0.0.1:1/results",
}
WORDPRESS_USER = "editor"
# As they are, as they stand in an address, and as a header has them.
FORMS = {
    form: value
    for value in PLANTED.values()
    for form in (
        value,
        quote(value),
        base64.b64encode(value.encode()).decode().rstrip("="),
        base64.b64encode(f"{WORDPRESS_USER}:{value}".encode()).decode().rstrip("="),
    )
}
POST = "a-post-everybody-may-read"
# What servers answer, and when: who was refused is left alone for hours.
MOMENTS = {status: datetime(2026, 11, day, tzinfo=UTC) for day, status in enumerate((200, 500, 401), start=20)}
OTHERS = {"REDDIT_USER_AGENT": "tests", "REDDIT_USERNAME": "someone", "WORDPRESS_USER": WORDPRESS_USER}


@dataclass(frozen=True)
class World:
    """A home in which much went wrong.

    Attributes:
        control_url: of a real Postgres, with a password in it.
        said: what was printed, raised and logged, by what was done.
    """

    home: Path
    control_url: str
    said: dict[str, str]


@pytest.fixture(scope="module")
def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything is done with all secrets in place, half of them in files."""
    folder = tmp_path_factory.mktemp("planted")
    with (
        database_in(postgres) as server,
        EchoServer() as echo,
        pytest.MonkeyPatch.context() as patch,
        contextlib.ExitStack() as afterwards,
    ):
        # Commands of this process choose how it logs.
        afterwards.callback(json_logs.configure, {})
        url = sa.make_url(server).set(password=CONTROL_PASSWORD).render_as_string(hide_password=False)
        made = World(folder / "home", url, {})
        _plant(patch, folder, url)
        patch.setenv("MAGPIE_CONFIG", str(_settings_file(folder, echo)))
        patch.setenv("MAGPIE_HOME", str(made.home))
        patch.setenv("MAGPIE_LOG", "json")
        patch.setenv("DAGSTER_HOME", "")
        for status in MOMENTS:
            echo.status = status
            _through_the_gateway(made, echo, f"gateway {status}")
            _through_sources(made, echo, f"sources {status}")
        echo.status = 401
        for command in (("doctor",), ("run", "leads"), ("spend",), ("plan", "leads"), ("doctor",)):
            made.said[" ".join(command)] = _command(patch, *command)
        made.said["no such database"] = _command(patch, "doctor", MAGPIE_CONTROL_URL=_nowhere())
        made.said["no such file"] = _command(patch, "run", "leads", OPENAI_API_KEY_FILE=str(folder / "nothing"))
        assert not {name for name, value in PLANTED.items() if not _was_sent(name, value, echo)}
        yield made


def _plant(patch: pytest.MonkeyPatch, folder: Path, control_url: str) -> None:
    given = {name: ADDRESSES.get(name, "{}").format(value) for name, value in PLANTED.items()}
    given["MAGPIE_CONTROL_URL"] = control_url
    secrets = folder / "secrets"
    secrets.mkdir()
    for number, (name, value) in enumerate(given.items()):
        if number % 2:
            (secrets / name).write_text(value + "\n", "utf-8")
            patch.setenv(name + IN_FILE, str(secrets / name))
        else:
            patch.setenv(name, value)
    for name, value in OTHERS.items():
        patch.setenv(name, value)


def _settings_file(folder: Path, echo: EchoServer) -> Path:
    archive(folder / "reddit" / "posts.ndjson", submission("aa1", DAY, title=f"Looking for a CRM {POST}"))
    told = {
        "start_day": DAY,
        "reddit": {"archives": ["reddit"]},
        "llm": {"provider": "auto", "base_urls": {name: echo.base_url(name) for name in KNOWN}},
        "campaigns": [
            {
                "id": "agency-crm",
                "name": "Agency",
                "product_description": "A program for agencies that keeps track of clients.",
                "keywords": ["crm", "client management", "lead tracking"],
                "gates": {"min_fused": 0.0, "cosine_threshold": -1.0, "min_keyword_hits": 0},
            }
        ],
    }
    path = folder / "magpie.yaml"
    path.write_text(yaml.safe_dump(told), "utf-8")
    return path


def _nowhere() -> str:
    """An address at which nothing listens, with a password."""
    return f"postgresql://someone:{CONTROL_PASSWORD}@127.0.0.1:1/nothing"


def _command(patch: pytest.MonkeyPatch, *arguments: str, **environment: str) -> str:
    """Everything that a command prints in this process."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as inner:
        for name, value in environment.items():
            inner.setenv(name, value)
            inner.delenv(name + IN_FILE, raising=False)
            inner.delenv(name.removesuffix(IN_FILE) if name.endswith(IN_FILE) else f"{name}_", raising=False)
        inner.setattr("sys.argv", ["magpie", *arguments])
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit):
            main()
    patch.setenv("DAGSTER_HOME", "")
    return printed.getvalue()


def _through_the_gateway(world: World, echo: EchoServer, name: str) -> None:
    """Each provider is asked, and its answer or refusal is booked and journalled."""
    keys = {known.key_name: Environment()[known.key_name] for known in KNOWN.values()}
    said = []
    patient: Any = {"clock": lambda: MOMENTS[echo.status], "sleep": lambda seconds: None}
    with desk(world.control_url, world.home, echo, keys=keys, **patient) as made:  # type: ignore[arg-type]
        for provider in MODELS:
            said.append(repr(made.ask(f"{name} {provider}", provider)))
        runware = build("runware", base_url=echo.base_url("runware"), env=keys)
        made.gateway.providers["runware"] = runware  # type: ignore[index]
        prices = world.home.parent / "prices-of-images.yaml"
        prices.write_text('"runware/runware:101@1": {image: 0.005}\n', "utf-8")
        made.gateway.prices = Prices(prices)
        images = Images(made.gateway, [made.models.get("runware", "runware:101@1")], PURPOSE)
        said.append(repr(images.make(Order(f"a desk, {name}", (1024, 1024), row_ref="x#0", partition="a|d"))))
    world.said[name] = "\n".join(said)


def _through_sources(world: World, echo: EchoServer, name: str) -> None:
    """Platforms are visited and an article is sent to WordPress."""
    control, lake, web = Control(world.control_url), Lake(str(world.home / "lake")), Web(private=True)
    blobs = Blobs(world.home / "blobs")
    patient: Any = {"clock": lambda: MOMENTS[echo.status], "sleep": lambda seconds: None}
    settings = Settings(
        start_day=DAY,
        home=world.home,
        memes={"live": ["vk", "instagram"]},
        blogs=[{"name": "demo-blog", "mode": "live", "originals": False}],
    )
    said = []
    bases = {platform: echo.base_url(platform) for platform in ("vk", "instagram")}
    fetcher = Fetcher(settings, lake, control, web, blobs, bases=bases, **patient)
    for channel in ("vk:cats", "ig:cats"):
        platform = "vk" if channel.startswith("vk") else "instagram"
        said.append(repr(fetcher.fetch_channels(platform, [Channel(channel)])))
        said.append(repr(fetcher.__dict__))
    courier = Courier(settings, lake, control, web, blobs, base_url=echo.base_url("tumblr"), **patient)
    said.append(repr(courier.visit()))
    account = Account.of(echo.base_url("wordpress"), Environment())
    page = Page.of(article(), "how-to-mend-a-shed", SITE, ())
    with pytest.raises(UserError) as caught:
        WordPress(web, account, sleep=lambda seconds: None).put_draft(Ready(page, {}))
    world.said[name] = "\n".join([*said, repr(account), str(caught.value)])
    control.close()


def _was_sent(name: str, value: str, echo: EchoServer) -> bool:
    """Whether a server was told a secret, so that it could repeat it; some are not for these servers at all."""
    elsewhere = name.startswith(("REDDIT_", "AWS_", "MAGPIE_C", "MAGPIE_A"))
    signs_only = name in ("TUMBLR_CONSUMER_SECRET", "TUMBLR_OAUTH_SECRET")
    return elsewhere or signs_only or any(value in said for said in echo.seen)


def contents(home: Path) -> Iterator[tuple[str, str]]:
    """Every file below a folder as text, and what is packed or compressed in it unpacked."""
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        yield str(path), str(path) + path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield str(path), str(pl.read_parquet(path).to_dicts())
        elif path.suffix in (".db", ".sqlite"):
            with contextlib.closing(sqlite3.connect(path)) as connection:
                names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for name in names:
                    yield f"{path}:{name}", unpacked(connection.execute(f'SELECT * FROM "{name}"').fetchall())


def unpacked(rows: list[Any]) -> str:
    """Rows as text, with bytes that are compressed made readable."""
    told = []
    for value in (value for row in rows for value in row):
        if isinstance(value, bytes | memoryview):
            content = bytes(value)
            with contextlib.suppress(zlib.error):
                content = zlib.decompress(content)
            told.append(content.decode("latin-1"))
        else:
            told.append(str(value))
    return "\n".join(told)


def rows_of_the_books(url: str) -> Iterator[tuple[str, str]]:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"))
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            yield table.name, unpacked([tuple(row) for row in connection.execute(sa.select(table))])
    engine.dispose()


def leaks(told: Mapping[str, str] | Iterator[tuple[str, str]]) -> list[str]:
    items = told.items() if isinstance(told, Mapping) else told
    return [f"{FORMS[form][8:40]} in {where}" for where, text in items for form in FORMS if form in text]


def test_no_file_of_the_home_holds_a_secret(world: World) -> None:
    found = dict(contents(world.home))
    assert not leaks(found)
    # The search finds what was written: by the lake, by a visit, by Dagster.
    for where, mark in {
        "lake": POST,
        "raw/memes/live": MARK,
        "dagster": "agency-crm",
    }.items():
        assert any(f"{world.home}/{where}" in path and mark in text for path, text in found.items()), where


def test_no_row_of_the_books_holds_a_secret(world: World) -> None:
    found = dict(rows_of_the_books(world.control_url))
    assert not leaks(found)
    # Answers that repeat keys were stored, and refusals that do were noted.
    assert MARK in found["llm_response"]
    assert MARK in found["llm_call"]


def test_nothing_that_was_printed_logged_or_raised_holds_a_secret(world: World) -> None:
    assert not leaks(world.said)
    assert "REDDIT_CLIENT_SECRET" in world.said["doctor"]
    assert MARK in world.said["gateway 401"]
    # Candidates were found, and a model was asked that refused the key.
    assert "provider_auth" in world.said["run leads"]
    assert MARK in world.said["sources 401"]
    assert "cannot use the control database" in world.said["no such database"]
    assert "OPENAI_API_KEY_FILE" in world.said["no such file"]


def test_the_marts_are_told_no_secret() -> None:
    # dbt keeps the value of each variable that a project asks for in its files.
    project = Path(dbt_project.__file__).parent
    files = [path for kind in ("*.yml", "models/**/*", "tests/**/*") for path in project.glob(kind) if path.is_file()]
    asked = {name for path in files for name in re.findall(r"env_var\(\s*['\"](\w+)", path.read_text("utf-8"))}
    assert "MAGPIE_WAREHOUSE_BUILD" in asked
    assert not asked & set(SECRETS)


def test_no_settings_show_a_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGPIE_LAKE_URL", "s3://bucket/lake")
    settings = load_settings(world.home.parent / "magpie.yaml")
    assert settings.control_database == world.control_url
    options = settings.storage_options()
    assert options["AWS_SECRET_ACCESS_KEY"] == PLANTED["AWS_SECRET_ACCESS_KEY"]
    shown = {
        "settings": repr(settings) + str(settings),
        "lake": repr(Lake(settings.lake_root, options)),
        "environment": repr(Environment()),
    }
    assert not leaks(shown)
