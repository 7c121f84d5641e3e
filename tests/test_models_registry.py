"""The registry of models: what a name stands for, today and after a model's last day."""

from datetime import date, timedelta
from typing import Any, get_args

import pytest
from genai_prices.data import providers as priced

from magpie.errors import UserError
from magpie.llm.models import Model, Models
from magpie.llm.prices import Prices

TODAY = date(2026, 11, 21)
ALIASES = ("fast", "smart", "embed", "image", "moderate", "vision-free", "writer", "sentiment", "judge")


def names(found: tuple[Model, ...]) -> list[str]:
    return [model.name for model in found]


def row(model_id: str, **fields: Any) -> dict[str, Any]:
    return {"provider": "openai", "model_id": model_id, **fields}


def loaded(*rows: dict[str, Any], **aliases: list[str]) -> Models:
    return Models.load({"models": list(rows), "aliases": aliases})


@pytest.fixture(scope="module")
def models() -> Models:
    return Models.load()


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_stands_for_models_that_are_served_and_priced(models: Models, alias: str) -> None:
    kinds = {"embed": "embedding", "image": "image", "moderate": "moderation"}
    found = models.candidates(alias, TODAY)
    assert names(found) == list(models.aliases[alias])
    for model in found:
        assert model.kind == kinds.get(alias, "text")
        assert model.end_of_life is None
        assert Prices().rates(model.provider, model.model_id, TODAY) is not None


def test_every_id_is_one_that_the_provider_or_the_price_table_knows(models: Models) -> None:
    from openai.types import ChatModel, EmbeddingModel, ImageModel, ModerationModel

    known = {name for kind in (ChatModel, EmbeddingModel, ImageModel, ModerationModel) for name in get_args(kind)}
    tables = {table.id: table for table in priced}
    # Runware names models by where they were published, and no package lists those.
    for model in (row for row in models.rows if row.provider != "runware"):
        bare = model.model_id.removesuffix(":free")
        table = tables[model.provider]
        assert bare in known or table.find_model(model.model_id) or table.find_model(bare), model.name


def test_every_retired_name_has_a_successor_that_is_served_and_priced(models: Models) -> None:
    retired = [row for row in models.rows if row.end_of_life and row.end_of_life < TODAY]
    assert len(retired) > 10
    for row_ in retired:
        served = models.candidates(row_.name, TODAY)[0]
        assert served.end_of_life is None
        assert Prices().rates(served.provider, served.model_id, TODAY) is not None


def test_ends_of_life_are_those_that_the_sdk_announces(models: Models) -> None:
    from anthropic.resources.messages import DEPRECATED_MODELS

    for model_id in ("claude-sonnet-4-5", "claude-opus-4-0", "claude-3-7-sonnet-latest", "claude-3-opus-20240229"):
        last = models.get("anthropic", model_id).end_of_life
        assert last is not None
        month, day, year = DEPRECATED_MODELS[model_id].replace(",", "").split()
        assert (f"{last:%B}", f"{last.day}", f"{last.year}") == (month, day.rstrip("stndrh"), year)


def test_free_vision_models_are_free_and_see(models: Models) -> None:
    for model in models.candidates("vision-free"):
        assert model.provider == "openrouter"
        assert model.model_id.endswith(":free")
        assert model.vision


def test_embedding_models_tell_their_length(models: Models) -> None:
    assert models.get("openai", "text-embedding-3-small").dims == 1536
    assert models.get("openai", "text-embedding-3-large").dims == 3072


def test_a_literal_name_stands_for_itself_even_with_slashes_in_it(models: Models) -> None:
    assert names(models.candidates("anthropic/claude-opus-5-5")) == ["anthropic/claude-opus-5-5"]
    free = "openrouter/google/gemma-4-31b-it:free"
    assert names(models.candidates(free)) == [free]


@pytest.mark.parametrize("retired", ["dall-e-2", "dall-e-3", "gpt-image-1"])
def test_a_retired_image_model_resolves_to_one_that_is_served(models: Models, retired: str) -> None:
    assert names(models.candidates(f"openai/{retired}")) == ["openai/gpt-image-2"]


def test_a_model_is_served_through_its_last_day_and_its_successor_from_the_next(models: Models) -> None:
    last = models.get("openai", "gpt-5-mini").end_of_life
    assert last == date(2026, 12, 11)
    assert names(models.candidates("openai/gpt-5-mini")) == ["openai/gpt-5-mini"]
    assert names(models.candidates("openai/gpt-5-mini", last)) == ["openai/gpt-5-mini"]
    assert names(models.candidates("openai/gpt-5-mini", last + timedelta(days=1))) == ["openai/gpt-6-luna"]


def test_successors_are_followed_to_one_that_is_served_and_named_once() -> None:
    chain = loaded(
        row("a", end_of_life="2026-01-01", successor="b"),
        row("b", end_of_life="2026-02-01", successor="gpt-6-luna"),
        fast=["openai/a", "openai/gpt-6-luna", "openai/b", "anthropic/claude-haiku-5-5"],
    )
    assert names(chain.candidates("fast")) == ["openai/gpt-6-luna", "anthropic/claude-haiku-5-5"]


def test_a_retired_model_without_successor_is_refused_by_name_and_passed_over_in_an_alias() -> None:
    models = loaded(row("gone", end_of_life="2026-01-01"), fast=["openai/gone", "openai/gpt-6-luna"])
    assert names(models.candidates("fast")) == ["openai/gpt-6-luna"]
    with pytest.raises(UserError, match=r"openai/gone is no longer served: openai/gone \(2026-01-01\); choose"):
        models.candidates("openai/gone")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quick", "no model alias 'quick'; there are embed, fast, image, judge, moderate,"),
        ("", "no model alias ''"),
        ("openai/gpt-99", "no model openai/gpt-99; known of openai: gpt-4.1, gpt-4.1-mini, "),
        ("acme/gpt", "no model acme/gpt; providers with known models: anthropic, local, openai, openrouter"),
        ("local/", "no model alias 'local/'"),
    ],
)
def test_an_unknown_name_says_in_one_line_what_there_is(models: Models, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        models.candidates(name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_local_server_has_whatever_model_is_asked_for() -> None:
    models = loaded(
        {"provider": "local", "model_id": "llava", "vision": True, "json": True},
        embed=["local/nomic-embed-text"],
        smart=["local/library/qwen:7b"],
        **{"vision-free": ["local/llava"]},
    )
    assert models.candidates("embed") == (Model("local", "nomic-embed-text", "embedding"),)
    assert models.candidates("smart") == (Model("local", "library/qwen:7b", "text"),)
    assert not models.get("local", "qwen").json
    assert models.get("local", "bge", "embedding").kind == "embedding"
    assert models.get("local", "llava").json


def test_an_override_changes_the_fields_it_names_and_keeps_the_others() -> None:
    models = loaded(row("gpt-6-luna", max_output_tokens=500), row("mine", kind="embedding", dims=7))
    changed = models.get("openai", "gpt-6-luna")
    assert (changed.max_output_tokens, changed.json, changed.temperature) == (500, True, False)
    assert models.get("openai", "mine") == Model("openai", "mine", "embedding", dims=7)
    assert models.candidates("smart") == Models.load().candidates("smart")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"models": [row("x", visoin=True)]}, "magpie.yaml: llm.models.0.visoin: Extra inputs are not permitted"),
        ({"models": [row("x", dims=0)]}, "magpie.yaml: llm.models.0.dims: "),
        ({"models": [{"provider": "acme", "model_id": "x"}]}, "magpie.yaml: llm.models.0.provider: "),
        ({"modles": []}, "magpie.yaml: llm.modles: "),
        ({"as_of": "2030-01-01"}, "magpie.yaml: llm.as_of: "),
        ({"aliases": {"fast": "openai/gpt-6-luna"}}, "magpie.yaml: llm.aliases.fast: "),
        ({"aliases": {"fast": []}}, "llm.aliases.fast: an alias has no slash in it and stands for one model or more"),
        ({"aliases": {"a/b": ["openai/gpt-6-luna"]}}, "llm.aliases.a/b: an alias has no slash"),
        ({"aliases": {"fast": ["openai/gpt-99"]}}, "llm.aliases.fast: no model openai/gpt-99; "),
        ({"aliases": {"fast": ["smart"]}}, "llm.aliases.fast: no model alias 'smart'"),
        ({"aliases": {"embed": ["openai/gpt-6-luna"]}}, "llm.aliases.embed: openai/gpt-6-luna is a text model; embed"),
        (
            {"aliases": {"vision-free": ["openai/gpt-6-luna"]}},
            "llm.aliases.vision-free: model ids of vision-free must end in :free, or be local; openai/gpt-6-luna",
        ),
        ({"aliases": {"vision-free": ["local/qwen"]}}, "llm.aliases.vision-free: local/qwen must have vision: true"),
        (
            {
                "models": [row("a/paid", provider="openrouter", vision=True)],
                "aliases": {"vision-free": ["openrouter/a/paid"]},
            },
            "llm.aliases.vision-free: model ids of vision-free must end in :free, or be local; openrouter/a/paid",
        ),
        (
            {
                "models": [
                    row("b", provider="openrouter", vision=True),
                    row("google/gemma-4-31b-it:free", provider="openrouter", successor="b", end_of_life="2027-01-01"),
                ]
            },
            "llm.aliases.vision-free: model ids of vision-free must end in :free, or be local; openrouter/b is",
        ),
        ({"models": [row("x", successor="y")]}, "llm.models: the successor y of openai/x is no text model here"),
        (
            {"models": [row("x", successor="gpt-image-2")]},
            "llm.models: the successor gpt-image-2 of openai/x is no text model here",
        ),
        (
            {"models": [row("x", successor="y"), row("y", successor="x")]},
            "llm.models: the successors of openai/x lead back to x",
        ),
    ],
)
def test_a_wrong_override_is_one_line_that_says_where(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Models.load(overrides)
    assert str(caught.value).startswith(message)


def test_models_that_end_soon_are_told_with_the_most_urgent_first(models: Models) -> None:
    in_use = ["fast", "openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "openai/dall-e-3", "openai/unheard-of", "x"]
    found = models.ending(in_use, TODAY)
    assert [(end.used_as, end.days_left) for end in found] == [
        ("openai/dall-e-3", -193),
        ("anthropic/claude-sonnet-4-5", 9),
        ("openai/gpt-5-mini", 20),
    ]
    assert found[1].model.successor == "claude-sonnet-5-5"


def test_an_end_counts_from_exactly_so_many_days_before(models: Models) -> None:
    last = date(2026, 12, 11)
    for days, told in ((60, True), (61, False)):
        assert bool(models.ending(["openai/gpt-5-mini"], last - timedelta(days=days))) is told
    assert models.ending(["openai/gpt-5-mini"], last - timedelta(days=61), within_days=61)


def test_an_alias_in_use_tells_of_each_model_behind_it() -> None:
    models = loaded(row("gpt-6-luna", end_of_life="2026-12-01"))
    assert [(end.used_as, end.model.name) for end in models.ending(["fast"], TODAY)] == [("fast", "openai/gpt-6-luna")]
