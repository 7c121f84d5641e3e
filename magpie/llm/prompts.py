"""Prompts: where a function's prompt comes from, and how values get into it.

Belongs here: reading prompt files, choosing among override, scope and default, rendering, delimiting untrusted text.
Does not belong here: which values a function has (`FunctionSpec.variables`), settings (`choices.py`).

A template names values as `{identifier}` or `[MAGPIE_IDENTIFIER]`; `{{identifier}}` stands for the text `{identifier}`.
All other braces are text too, so that a prompt can hold JSON as it is. Rendering is one pass: what was put in is not
looked at again, so no value can name another.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from magpie.errors import UserError
from magpie.llm.spec import FunctionSpec, Row

OPEN, CLOSE = "<untrusted>", "</untrusted>"
# Stands where a delimiter was; it is part of no delimiter, so what is left around it cannot join to a new one.
REMOVED = "\ufffd"

_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_PLACEHOLDER = re.compile(
    rf"\{{\{{(?P<literal>{_IDENTIFIER})\}}\}}|\{{(?P<plain>{_IDENTIFIER})\}}|\[MAGPIE_(?P<marked>[A-Z0-9_]+)\]"
)


class PromptError(UserError):
    """A template that cannot be rendered; the row is refused before anything is spent."""


@dataclass(frozen=True)
class Template:
    """A prompt before its values."""

    text: str

    @cached_property
    def version(self) -> str:
        """sha256 of the text."""
        return _sha256(self.text)

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """The values it asks for."""
        return frozenset(name for match in _PLACEHOLDER.finditer(self.text) if (name := _name(match)))


@dataclass(frozen=True)
class Resolved:
    """The template that holds, and which tier it is from: item, default or the name of the scope."""

    template: Template
    source: str


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt as the model gets it.

    Attributes:
        prompt_version: sha256 of the template.
        prompt_source: item, default or the name of the scope.
        rendered_hash: sha256 of the text.
    """

    text: str
    prompt_version: str
    prompt_source: str
    rendered_hash: str


def load(package: str, name: str) -> str:
    """Return the prompt file `prompts/<name>.md` of a package."""
    return (files(package) / "prompts" / f"{name}.md").read_text("utf-8")


def resolve(item: str | None, scope: tuple[str, str | None], default: str) -> Resolved:
    """Return the first prompt that is not blank: the item's own, its scope's, the function's.

    Args:
        item: override of the row.
        scope: name of the tier (campaign, site, channel) and its prompt for this function.
        default: the function's template.
    """
    for source, text in (("item", item), scope):
        if text and text.strip():
            return Resolved(Template(text), source)
    return Resolved(Template(default), "default")


def render(template: Template, values: Mapping[str, str | None], declared: Collection[str], where: str) -> str:
    """Return the template with its values put in.

    Args:
        values: by identifier.
        declared: the identifiers that may be used.
        where: which prompt this is, for the error.

    Raises:
        PromptError: a placeholder is not declared, or has no value.
    """

    def filled(match: re.Match[str]) -> str:
        if match["literal"]:
            return "{" + match["literal"] + "}"
        name = _name(match)
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise PromptError(
                f"{where}: {match[0]} is no input of it; inputs: {known}; for braces as text write {{{{{name}}}}}"
            )
        value = values.get(name)
        if value is None:
            raise PromptError(f"{where}: there is no value for {match[0]}; remove it from the prompt or provide one")
        return value

    return _PLACEHOLDER.sub(filled, template.text)


def rendered(spec: FunctionSpec[Any], row: Row, resolved: Resolved) -> RenderedPrompt:
    """Render a function's prompt for one row; inputs that are not declared trusted are delimited.

    Raises:
        PromptError: the template names something that the function does not have.
    """
    values = {
        name: value if value is None or spec.inputs.get(name) == "trusted" else delimited(value)
        for name, value in spec.variables(row).items()
    }
    where = f"prompt of {spec.name} ({resolved.source})"
    # Half a surrogate pair, which YAML lets into a prompt, is in no request.
    text = render(resolved.template, values, spec.inputs, where).encode("utf-8", "replace").decode()
    return RenderedPrompt(text, resolved.template.version, resolved.source, _sha256(text))


def delimited(text: str) -> str:
    """Return untrusted text between delimiters, of which none, in whatever spelling, is left inside."""
    return f"{OPEN}{_DELIMITER.sub(REMOVED, text)}{CLOSE}"


def _name(match: re.Match[str]) -> str:
    return match["plain"] or (match["marked"] or "").lower()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _spellings(letter: str) -> str:
    """A character class of a letter in every style: wide, mathematical, circled and squared letters read the same."""
    styles = (range(0xFF21, 0xFF5B), range(0x1D400, 0x1D6A4), range(0x2460, 0x2500), range(0x1F110, 0x1F190))
    same = [chr(code) for span in styles for code in span if _folded(chr(code)) == letter]
    return f"[{letter}{''.join(same)}]"


def _folded(char: str) -> str:
    return unicodedata.normalize("NFKC", char).casefold().strip("()")


# Between the letters: white space, characters without width, and marks that combine with the letter before.
_GAP = r"[\s\u00ad\u0300-\u036f\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]*"
# The opening bracket and the word are enough, whatever stands between them that is no letter: a tag that is cut off
# there is none, and one pass suffices because nothing that follows the word belongs to the match.
_DELIMITER = re.compile(
    rf"[<\uff1c\ufe64][^\w<\uff1c\ufe64{REMOVED}]*" + _GAP.join(_spellings(letter) for letter in "untrusted"),
    re.IGNORECASE,
)
