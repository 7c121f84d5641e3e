"""image_prompts: what each image of an article is to show, as a model words it or rules do.

Belongs here: the question and its answer, names that must not be in a prompt, the template and the negative prompt
that go around it, one row per slot. Does not belong here: which slots there are (`image_slots.py`), asking and
moderation (`magpie/llm`), making images (`article_images.py`).

Desktop and mobile images show what the featured one shows, in another size.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from selectolax.lexbor import LexborHTMLParser

from magpie.content.asked import OK, facts_of, fate_of, rejected
from magpie.content.image_slots import Slot
from magpie.content.names import names_in, without_names
from magpie.content.settings import Site
from magpie.content.tables import IMAGE_PROMPTS
from magpie.llm.moderation import Moderation
from magpie.llm.prompts import Template, load, render, resolve
from magpie.llm.refusal import Refused
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Row

# What a model is shown of the text.
TEXT_CHARS = 4000
# More of a heading says no more about what to draw.
HEADING_CHARS = 200
PROMPT_MIN_CHARS, PROMPT_MAX_CHARS = 2, 1000
ALT_CHARS = 125
# The narrowest provider takes no more, template included.
RENDERED_CHARS = 2000
# What goes around a prompt unless the site has its own template, and what images are not to show.
IMAGE_TEMPLATE = "{prompt} Style: {style}."
NEGATIVE_PROMPT = "text, letters, watermark, logo, signature, distorted hands, low quality"
# The function whose prompt, in a site's settings, is the template of its images.
TEMPLATE_OF = "article_images"
TEMPLATE_INPUTS = ("prompt", "style", "title", "image_type")
# Shares the featured image's prompt.
_AS_FEATURED = ("featured", "desktop", "mobile")

Prompt = Annotated[str, Field(max_length=5000)]


def _listed(value: object) -> object:
    """One text stands for a list of one; null for none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


Prompts = Annotated[tuple[Prompt, ...], BeforeValidator(_listed), Field(max_length=100)]


class ImagePromptsAnswer(BaseModel):
    """An extra field is ignored, a missing one is an error."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    featured_prompt: Prompt
    in_article_prompts: Prompts
    alt_texts: Prompts


@dataclass(frozen=True)
class ImagePromptRules:
    """What goes around a prompt.

    Attributes:
        template: with the inputs TEMPLATE_INPUTS.
        names: that no prompt may hold; empty with `forbid_names` off.
    """

    template: Template
    style: str
    negative_prompt: str
    forbid_names: bool
    names: tuple[str, ...]

    @classmethod
    def of(cls, site: Site) -> "ImagePromptRules":
        """Resolve template and negative prompt: the site's own if it is not blank, else the default.

        Raises:
            UserError: the template names what an image has not; said before anything is asked.
        """
        choice = site.functions.get(TEMPLATE_OF)
        resolved = resolve(None, ("site", choice.prompt if choice else None), IMAGE_TEMPLATE)
        render(resolved.template, dict.fromkeys(TEMPLATE_INPUTS, ""), TEMPLATE_INPUTS, f"image template of {site.id}")
        negative = resolve(None, ("site", site.negative_prompt), NEGATIVE_PROMPT).template.text
        return cls(resolved.template, site.image_style, negative, site.forbid_names, (site.name,))

    def rendered(self, prompt: str, title: str, image_type: str) -> str:
        """The prompt as an image model gets it."""
        values = {"prompt": prompt, "style": self.style, "title": title, "image_type": image_type}
        return render(self.template, values, TEMPLATE_INPUTS, "image template")[:RENDERED_CHARS].strip()


_TEXTS = ("row_ref", "partition", "article_id", "site_id", "title", "text", "language", "style", "slots")
INPUTS = pl.Schema(
    {
        **dict.fromkeys(_TEXTS, pl.String()),
        "day": pl.Date(),
        "headings": pl.List(pl.String),
        "in_article_count": pl.Int64(),
        "forbid_names": pl.Boolean(),
        "names": pl.List(pl.String),
    }
)


def question_rows(articles: pl.DataFrame, slots: Sequence[Slot], site: Site, rules: ImagePromptRules) -> pl.DataFrame:
    """Return what is asked about each ok article of a site, in the columns of INPUTS."""
    in_article = sum(slot.image_type == "in_article" for slot in slots)
    shown = ", ".join(f"{slot.image_type} {slot.width}x{slot.height}" for slot in slots)
    rows = []
    for row in articles.filter(pl.col("status") == "ok").sort("day", "article_id").iter_rows(named=True):
        text, headings = _read(row["content_html"])
        rows.append(
            {
                **{name: row[name] for name in ("article_id", "site_id", "day", "title")},
                "row_ref": row["article_id"],
                "partition": f"{row['site_id']}|{row['day']}",
                "text": text[:TEXT_CHARS],
                "headings": headings,
                "language": site.language,
                "style": rules.style,
                "slots": shown,
                "in_article_count": in_article,
                "forbid_names": rules.forbid_names,
                "names": list(rules.names),
            }
        )
    return pl.DataFrame(rows, schema=INPUTS)


def _read(html: str) -> tuple[str, list[str]]:
    """The visible text of an article, and its second-level headings."""
    body = LexborHTMLParser(html).body
    if body is None:
        return "", []
    text = " ".join(body.text(separator=" ").split())
    headings = (" ".join(node.text(separator=" ").split())[:HEADING_CHARS] for node in body.css("h2"))
    return text, [heading for heading in headings if heading]


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt."""
    count = row["in_article_count"]
    return {
        **{name: str(row[name]) for name in ("title", "text", "language", "style", "slots")},
        "in_article_count": str(count),
        "alt_text_count": str(1 + count),
        "name_rule": _NO_NAMES if row["forbid_names"] else "",
    }


_NO_NAMES = (
    "Name no brand, product, company, artist or person, living or dead, in a prompt: describe what they look like or "
    "do instead."
)


def check(answer: ImagePromptsAnswer, row: Row, last_try: bool) -> ImagePromptsAnswer:
    """Cut lists to the number of slots and texts to their length; take names out that came back again.

    Raises:
        InvalidAnswer: something is missing, too short or, while the model may be asked again, too long or names
            somebody.
    """
    count = row["in_article_count"]
    prompts = (answer.featured_prompt, *answer.in_article_prompts[:count])
    alts = answer.alt_texts[: 1 + count]
    if len(prompts) != 1 + count:
        raise InvalidAnswer(f"in_article_prompts has {len(answer.in_article_prompts)} items; give exactly {count}")
    if len(alts) != 1 + count:
        raise InvalidAnswer(f"alt_texts has {len(alts)} items; give exactly {1 + count}, the featured image's first")
    fields = ("featured_prompt", *(f"in_article_prompts.{n}" for n in range(count)))
    checked = [_prompt(name, prompt, row, last_try) for name, prompt in zip(fields, prompts, strict=True)]
    shown = [_cut(" ".join(alt.split()), ALT_CHARS) for alt in alts]
    for number, alt in enumerate(shown):
        if not alt:
            raise InvalidAnswer(f"alt_texts.{number} is empty; say what the image shows")
    return ImagePromptsAnswer(featured_prompt=checked[0], in_article_prompts=tuple(checked[1:]), alt_texts=tuple(shown))


def _prompt(name: str, prompt: str, row: Row, last_try: bool) -> str:
    text = " ".join(prompt.split())
    if len(text) > PROMPT_MAX_CHARS and not last_try:
        raise InvalidAnswer(f"{name} has {len(text)} characters; {PROMPT_MAX_CHARS} at most")
    if row["forbid_names"]:
        named = names_in(text, row["names"])
        if named and not last_try:
            raise InvalidAnswer(f"{name} names {', '.join(named[:5])}; describe what is seen without names")
        text = without_names(text, row["names"])
    text = _cut(text, PROMPT_MAX_CHARS)
    if len(text) < PROMPT_MIN_CHARS:
        raise InvalidAnswer(f"{name} has {len(text)} characters; say what the image shows")
    return text


def _cut(text: str, longest: int) -> str:
    """At most so many characters, ending with a whole word where there is more than one."""
    if len(text) <= longest:
        return text
    head = text[: longest + 1]
    return (head.rsplit(" ", 1)[0] if " " in head else text[:longest]).rstrip(" ,;:-–")


def offline(row: Row) -> ImagePromptsAnswer:
    """Word prompts after title and headings; in small letters, since case tells names from words only in prose."""
    count = row["in_article_count"]
    title = row["title"].strip()[:HEADING_CHARS] or "The subject of the article"
    topic = title.casefold()
    headings = [heading.casefold() for heading in row["headings"]] or [topic]
    parts = [headings[n % len(headings)] for n in range(count)]
    return ImagePromptsAnswer(
        featured_prompt=f"A calm scene that stands for the topic: {topic}.",
        in_article_prompts=tuple(f"A simple scene that illustrates: {part}; the topic is {topic}." for part in parts),
        alt_texts=(title, *(f"{part[:1].upper()}{part[1:]}" for part in parts)),
    )


def image_prompts(
    questions: pl.DataFrame,
    results: pl.DataFrame,
    slots: Sequence[Slot],
    moderate: Callable[[str], Moderation | Refused],
    rules: ImagePromptRules,
) -> pl.DataFrame:
    """Return one row per article and slot, in the columns of `image_prompts`.

    Args:
        questions: as asked; results: the engine's row for each, in the same order.
        moderate: asked once about each prompt, as the image model would get it.
    """
    rows = []
    for question, result in zip(questions.iter_rows(named=True), results.iter_rows(named=True), strict=True):
        common = {**{name: question[name] for name in ("article_id", "site_id", "day")}, **facts_of(result)}
        common |= {"moderation_categories": [], **fate_of(result)}
        answer = ImagePromptsAnswer.model_validate(json.loads(result["value"])) if result["status"] == "ok" else None
        seen: dict[str, dict[str, Any]] = {}
        for slot in slots:
            place = {name: getattr(slot, name) for name in ("image_type", "position", "width", "height")}
            row = {**common, **place}
            if answer is not None:
                number = 0 if slot.image_type in _AS_FEATURED else 1 + slot.position
                worded = (answer.featured_prompt, *answer.in_article_prompts)[number]
                prompt = rules.rendered(worded, question["title"], slot.image_type)
                if prompt not in seen:
                    seen[prompt] = _moderated(moderate(prompt))
                told = {
                    "prompt": prompt,
                    "negative_prompt": rules.negative_prompt,
                    "alt_text": answer.alt_texts[number],
                }
                row |= {**told, **seen[prompt]}
            rows.append({name: row.get(name) for name in IMAGE_PROMPTS.dtypes})
    return IMAGE_PROMPTS.shaped(pl.DataFrame(rows, schema=IMAGE_PROMPTS.dtypes)).sort(IMAGE_PROMPTS.sort_by)


def _moderated(said: Moderation | Refused) -> dict[str, Any]:
    """Fate and finding; what could not be looked at waits, it does not pass."""
    if isinstance(said, Refused):
        waits = {"status": "pending", "reason": "moderation_unavailable", "observed": said.observed or said.reason}
        return {**OK, **waits, "not_before": said.not_before}
    found = {
        "moderation_flagged": said.flagged,
        "moderation_categories": list(said.categories),
        "moderation_provider": said.provider,
    }
    fate = rejected("moderated", ", ".join(said.categories) or "flagged", "not flagged") if said.flagged else dict(OK)
    return {**fate, **found}


IMAGE_PROMPTS_FUNCTION = FunctionSpec(
    name="image_prompts",
    version=1,
    display_name="Image prompts",
    description="Say what the images of an article show, with alternative texts.",
    template=load("magpie.content", "image_prompts"),
    output=ImagePromptsAnswer,
    alias="fast",
    inputs={
        **dict.fromkeys(("language", "style", "slots", "in_article_count", "alt_text_count", "name_rule"), "trusted"),
        **dict.fromkeys(("title", "text"), "untrusted"),
    },
    variables=variables,
    check=check,
    offline=offline,
    max_output_tokens=800,
    temperature=0.7,
    credits="image_prompts",
)
