"""Schemas of answers: what strict mode is told, and what it cannot be told."""

import copy
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field, RootModel

from magpie.llm.schemas import strict_schema

# What the providers document for structured output; a keyword beyond these is refused by one or ignored by another.
KNOWN = {
    "type",
    "enum",
    "description",
    "anyOf",
    "$ref",
    "$defs",
    "properties",
    "required",
    "additionalProperties",
    "items",
}


class Urgency(StrEnum):
    NOW = "now"
    LATER = "later"


class Budget(BaseModel):
    """For people only."""

    text: Annotated[str, Field(min_length=1, max_length=200, pattern="^x")]
    amount: float | None = Field(default=None, ge=0)


class Answer(BaseModel):
    """For people only."""

    score: int = Field(ge=0, le=100, description="how likely")
    kind: Literal["a", "b"]
    only: Literal["x"]
    mixed: Literal["x", 1, None]
    urgency: Urgency = Urgency.LATER
    tags: list[Annotated[str, Field(max_length=9)]] = Field(default=[], max_length=5)
    budget: Budget | None = None
    budgets: list[Budget] = []
    either: int | str = 3


class Circle(BaseModel):
    kind: Literal["circle"]
    r: float


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Drawn(BaseModel):
    shape: Circle | Square = Field(discriminator="kind")


def keywords(schema: Any, *, names: bool = False) -> set[str]:
    """Every keyword in a schema; the names of properties and definitions are none."""
    if isinstance(schema, list):
        return set().union(*(keywords(part) for part in schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    own = set() if names else set(schema)
    return own.union(*(keywords(part, names=key in ("properties", "$defs")) for key, part in schema.items()))


def objects(schema: Any) -> list[dict[str, Any]]:
    parts = list(schema.values()) if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    own = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
    return own + [found for part in parts for found in objects(part)]


@pytest.mark.parametrize("model", [Answer, Drawn])
def test_only_what_every_provider_knows_is_left(model: type[BaseModel]) -> None:
    schema = strict_schema(model)
    assert keywords(schema) <= KNOWN
    assert len(objects(schema)) == (2 if model is Answer else 3)
    for found in objects(schema):
        assert found["required"] == list(found["properties"])
        assert found["additionalProperties"] is False


def test_fields_keep_their_order_types_and_descriptions() -> None:
    schema = strict_schema(Answer)
    assert list(schema["properties"]) == list(Answer.model_fields)
    assert schema["properties"]["score"] == {"type": "integer", "description": "how likely"}
    assert schema["properties"]["only"] == {"type": "string", "enum": ["x"]}
    assert schema["properties"]["mixed"] == {"type": ["integer", "null", "string"], "enum": ["x", 1, None]}
    assert schema["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert schema["properties"]["budget"] == {"anyOf": [{"$ref": "#/$defs/Budget"}, {"type": "null"}]}
    assert schema["properties"]["urgency"] == {"$ref": "#/$defs/Urgency"}
    assert schema["$defs"]["Urgency"] == {"type": "string", "enum": ["now", "later"]}


def test_a_docstring_is_not_in_the_request_so_that_correcting_it_buys_no_answer_again() -> None:
    assert "people" not in json.dumps(strict_schema(Answer))


def test_a_whole_answer_satisfies_the_schema_and_the_model_alike() -> None:
    answer = Answer(score=1, kind="a", only="x", mixed=None, budget=Budget(text="x 5"), tags=["t"])
    jsonschema.validate(answer.model_dump(mode="json"), strict_schema(Answer))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**answer.model_dump(mode="json"), "more": 1}, strict_schema(Answer))
    partly = answer.model_dump(mode="json", exclude={"tags"})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(partly, strict_schema(Answer))


def test_a_union_told_apart_by_a_field_is_a_plain_union() -> None:
    schema = strict_schema(Drawn)
    assert schema["properties"]["shape"] == {"anyOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Square"}]}


def test_the_sdk_s_own_tightening_finds_nothing_left_to_do() -> None:
    from openai.lib._pydantic import _ensure_strict_json_schema

    for model in (Answer, Drawn):
        schema = strict_schema(model)
        again = copy.deepcopy(schema)
        assert _ensure_strict_json_schema(again, path=(), root=again) == schema


class Tree(BaseModel):
    children: list["Tree"]


class Ping(BaseModel):
    pong: "Pong | None"


class Pong(BaseModel):
    ping: Ping | None


class Holder(BaseModel):
    ping: Ping


class Keyed(BaseModel):
    by_name: dict[str, int]


class Loose(BaseModel):
    anything: Any


class Pair(BaseModel):
    pair: tuple[int, str]


class Empty(BaseModel):
    pass


class Numbers(RootModel[list[int]]):
    pass


@pytest.mark.parametrize("model", [Tree, Holder, Keyed, Loose, Pair, Empty, Numbers])
def test_what_strict_mode_cannot_say_is_refused_when_the_function_is_written(model: type[BaseModel]) -> None:
    model.model_rebuild()
    with pytest.raises(ValueError, match=r"strict mode|must be an object"):
        strict_schema(model)


def test_one_model_used_twice_is_no_recursion() -> None:
    class Both(BaseModel):
        one: Budget
        two: Budget

    assert set(strict_schema(Both)["$defs"]) == {"Budget"}
