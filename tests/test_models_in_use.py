"""Which models the settings name: those that functions of sites and blogs, embedders, moderation and images ask."""

from datetime import date, timedelta
from typing import Any

from magpie.engine import models_of
from magpie.health import models_in_use
from magpie.llm import audit
from magpie.settings import LLM, Settings

TODAY = date(2026, 11, 20)
GARDEN: dict[str, Any] = {"id": "garden", "name": "Garden Shed"}


def test_a_model_that_one_site_or_blog_chooses_for_a_function_is_in_use() -> None:
    own = {"generate_ideas": {"model": "openai/of-site"}, "article_images": {"prompt": "{prompt}, in chalk"}}
    found = models_in_use(Settings(start_day=TODAY, sites=[{**GARDEN, "functions": own}]))
    assert "openai/of-site" in found
    assert "smart" in found, "other sites ask with what the function has"
    blog = {"name": "a-blog", "functions": {"persona_write": {"model": "openai/of-blog"}}}
    assert "openai/of-blog" in models_in_use(Settings(start_day=TODAY, blogs=[blog]))


def test_embedders_moderation_and_makers_of_images_are_in_use_where_there_is_something_for_them_to_do() -> None:
    hosted = {"embed_model": "text-embedding-3-small"}
    for section in ("leads", "content"):
        found = models_in_use(Settings(start_day=TODAY, **{section: hosted}))
        assert "openai/text-embedding-3-small" in found, f"as the registry calls the embedder of {section}"

    def of(provider: str, *sites: dict[str, Any]) -> set[str]:
        return models_in_use(Settings(start_day=TODAY, content={"image_provider": provider}, sites=list(sites)))

    drawing = of("offline", GARDEN)
    assert "moderate" in drawing
    for provider in ("openai", "runware"):
        makers = of(provider, GARDEN) - drawing
        assert makers
        assert all(name.startswith(f"{provider}/") for name in makers), "not all that the alias stands for"
        assert not (makers | {"moderate"}) & of(provider), "without a site nobody wants an image"


def test_an_embedder_and_a_maker_of_images_that_end_soon_are_told() -> None:
    last = str(TODAY + timedelta(days=5))
    names = ("text-embedding-3-small", "gpt-image-2")
    rows = [{"provider": "openai", "model_id": name, "end_of_life": last} for name in names]
    llm = LLM(models=[{**row, "kind": kind} for row, kind in zip(rows, ("embedding", "image"), strict=True)])
    content = {"embed_model": "text-embedding-3-small", "image_provider": "openai"}
    settings = Settings(start_day=TODAY, llm=llm, content=content, sites=[GARDEN])
    told = audit.models_last(models_of(settings), models_in_use(settings), TODAY).rows
    assert {f"openai/{name}" for name in names} <= {row["model"] for row in told}


def test_where_no_model_may_be_asked_none_is_in_use() -> None:
    content = {"embed_model": "text-embedding-3-small", "image_provider": "openai"}
    settings = Settings(start_day=TODAY, llm=LLM(provider="offline"), content=content, sites=[GARDEN])
    assert models_in_use(settings) == set()
