"""The JSON schema of an answer, as providers take it.

Belongs here: turning a pydantic model into the part of JSON schema that every provider's strict mode knows. Does not
belong here: validation (pydantic does it, with all bounds), how a provider wraps a schema (`providers/`).

What is left is types, enums, `anyOf`, references and the descriptions of fields. Bounds, patterns and formats go: one
provider refuses a schema that has them and another ignores them. The docstrings of models go too: they are for people,
and a corrected comment must not change the request and so buy its answer again.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_KEPT = ("type", "enum", "description")
_REF = "#/$defs/"
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),  # before int, whose subclass it is
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (type(None), "null"),
)


def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of an answer: every property required, none other allowed.

    A field with a default has to be answered like any other; one that may be null stays nullable.

    Raises:
        ValueError: the model holds something that strict mode cannot say: a mapping with free keys, any value at all,
            a tuple, a model within itself, or an answer that is no object.
    """
    raw = model.model_json_schema()
    defs = raw.pop("$defs", {})
    _refuse_recursion(model.__name__, defs)
    strict = _strict(raw, model.__name__)
    if strict.get("type") != "object":
        raise ValueError(f"{model.__name__}: an answer must be an object")
    named = {name: _strict(part, name) for name, part in defs.items()}
    for part in (strict, *named.values()):
        part.pop("description", None)
    return {**strict, "$defs": named} if named else strict


def _strict(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "$ref" in schema:
        # Nothing may stand beside a reference.
        return {"$ref": schema["$ref"]}
    parts = schema.get("allOf", ())
    if len(parts) == 1:
        return _strict({**schema, **parts[0], "allOf": ()}, where)
    if parts or "prefixItems" in schema:
        raise ValueError(f"{where}: strict mode knows neither tuples nor allOf")
    strict = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        strict["enum"] = [schema["const"]]
    if "enum" in strict and "type" not in strict:
        strict["type"] = _type_of(strict["enum"])
    variants = schema.get("anyOf") or schema.get("oneOf")
    if variants:
        strict["anyOf"] = [_strict(variant, where) for variant in variants]
    elif "type" not in strict:
        raise ValueError(f"{where}: strict mode needs a type for every value")
    if strict.get("type") == "array":
        strict["items"] = _strict(schema.get("items", {}), where)
    if strict.get("type") == "object":
        strict |= _object(schema, where)
    return strict


def _object(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    properties = schema.get("properties")
    if not properties or isinstance(schema.get("additionalProperties"), Mapping):
        raise ValueError(f"{where}: strict mode needs every key of an object by name")
    return {
        "properties": {name: _strict(part, f"{where}.{name}") for name, part in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _type_of(values: list[Any]) -> str | list[str]:
    names = {name for value in values for name in [next(name for kind, name in _TYPES if isinstance(value, kind))]}
    found = sorted(names)
    return found[0] if len(found) == 1 else found


def _refuse_recursion(root: str, defs: Mapping[str, Any]) -> None:
    uses = {name: _references(part) for name, part in defs.items()}
    reached = {name: set(used) for name, used in uses.items()}
    for _ in defs:
        for name in reached:
            reached[name] |= {further for near in reached[name] for further in reached.get(near, ())}
    within = sorted(name for name, used in reached.items() if name in used)
    if within:
        raise ValueError(f"{root}: {within[0]} holds itself, which strict mode does not know")


def _references(schema: Any) -> set[str]:
    if isinstance(schema, Mapping):
        own = {schema["$ref"].removeprefix(_REF)} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*(_references(part) for part in schema.values()))
    if isinstance(schema, list):
        return set().union(*(_references(part) for part in schema)) if schema else set()
    return set()
