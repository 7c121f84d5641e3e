"""Fields of answers that several functions have: texts as models write them, and codes of languages.

Belongs here: reading one field of an answer, tolerantly. Does not belong here: which fields an answer has and which
answers count (beside each function), finding the answer in what a model wrote (`extractor.py`).
"""

from typing import Annotated

from pydantic import BeforeValidator

from magpie.text.language import known_code


def _said(value: object) -> object:
    """A text from what models make of one: null for none, a list for lines."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value


def _code(value: object) -> str | None:
    return known_code(value) if isinstance(value, str) else None


Text = Annotated[str, BeforeValidator(_said)]
Language = Annotated[str | None, BeforeValidator(_code)]
