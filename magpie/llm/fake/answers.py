"""What the fake provider answers: always the same to the same request, and valid by the request's own schema.

Belongs here: texts, instances of schemas, vectors, images. Does not belong here: the wire formats around them
(`apis.py`).
"""

import base64
import hashlib
import io
import json
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

OPENING, CLOSING = "<untrusted>", "</untrusted>"
UNTRUSTED = re.compile(re.escape(OPENING) + r"(.*?)" + re.escape(CLOSING), re.DOTALL)
# Long enough to be a quote worth checking, short enough for any field.
EXCERPT_CHARS = 80
# What a number is where the schema leaves it open: the middle of a score of 100, or of a share of 1.
OPEN_INTEGER, OPEN_NUMBER = 50, 0.5
# A part that is labelled so is there to be understood, not to be quoted.
BACKGROUND = ("context", "parent")
# A schema that contains itself ends here.
MOST_DEPTH = 12
DEFAULT_DIMS = 1536
IMAGE_SIDE = 8
SUBJECTS = ("The post", "The author", "A reader", "The thread", "This message")
VERBS = ("describes", "asks about", "mentions", "weighs", "looks for")
OBJECTS = ("a plain need", "a common problem", "several options", "a small budget", "a better tool")


def text_for(prompt: str, schema: Mapping[str, Any] | None) -> str:
    """The answer to a prompt: the smallest instance of its schema as JSON, else a sentence."""
    if schema is None:
        return sentence(prompt)
    return json.dumps(instance(schema, excerpt(prompt)), ensure_ascii=False)


def sentence(prompt: str) -> str:
    """A sentence chosen by the prompt's hash."""
    digest = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()
    words = [options[byte % len(options)] for options, byte in zip((SUBJECTS, VERBS, OBJECTS), digest, strict=False)]
    return f"{' '.join(words)} ({digest.hex()[:8]})."


def excerpt(prompt: str) -> str:
    """Words that stand in the prompt: the beginning of its longest untrusted part, so that a quote is a quote."""
    parts = [(_label(prompt, found.start()), found[1].strip()) for found in UNTRUSTED.finditer(prompt)]
    quotable = [text for label, text in parts if not any(word in label for word in BACKGROUND)]
    source = (
        max(quotable, key=len, default="") or max((text for _, text in parts), key=len, default="") or prompt.strip()
    )
    # One line, since a quote that spans lines is seldom found again.
    line = max(source.splitlines() or [""], key=len).strip()
    if len(line) <= EXCERPT_CHARS:
        return line
    head = line[:EXCERPT_CHARS]
    return head.rpartition(" ")[0] or head


def _label(prompt: str, start: int) -> str:
    """What stands on the line before a part."""
    return prompt[prompt.rfind("\n", 0, start) + 1 : start].lower()


def instance(schema: Mapping[str, Any], quote: str) -> Any:
    """The smallest value that fits a JSON schema, its strings taken from `quote`."""
    return _value(schema, schema, quote, 0)


def _value(schema: Any, root: Mapping[str, Any], quote: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > MOST_DEPTH:
        return None
    if "$ref" in schema:
        return _value(_resolved(schema["$ref"], root), root, quote, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return None if None in schema["enum"] else schema["enum"][0]
    branches = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if branches:
        nullable = any(isinstance(branch, Mapping) and branch.get("type") == "null" for branch in branches)
        return None if nullable else _value(branches[0], root, quote, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        return None if "null" in kind else _value({**schema, "type": kind[0]}, root, quote, depth + 1)
    return _plain(str(kind), schema, root, quote, depth)


def _plain(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], quote: str, depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        wanted = schema.get("required", list(properties))
        return {name: _value(properties.get(name, {}), root, quote, depth + 1) for name in wanted}
    if kind == "array":
        least = int(schema.get("minItems", 0))
        return [_value(schema.get("items", {}), root, quote, depth + 1) for _ in range(least)]
    if kind == "string":
        text = quote.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema.get("maxLength", len(text)))]
    if kind in ("integer", "number"):
        return _number(kind, schema)
    return True if kind == "boolean" else None


def _number(kind: str, schema: Mapping[str, Any]) -> int | float:
    """The least that is allowed; without a bound below, a middling value within the one above."""
    if "minimum" in schema:
        least: int | float = schema["minimum"]
        return math.ceil(least) if kind == "integer" else least
    if "exclusiveMinimum" in schema:
        return math.floor(schema["exclusiveMinimum"]) + 1
    middling = OPEN_INTEGER if kind == "integer" else OPEN_NUMBER
    if "exclusiveMaximum" in schema:
        return min(middling, math.ceil(schema["exclusiveMaximum"]) - 1)
    most: int | float = schema.get("maximum", middling)
    return min(middling, math.floor(most) if kind == "integer" else most)


def _resolved(reference: Any, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def vector(text: str, dims: int) -> list[float]:
    """A unit vector from a text's hash, as float32 numbers."""
    digest = hashlib.shake_256(text.encode("utf-8", "replace")).digest(2 * dims)
    raw = [value / 32768 for value in struct.unpack(f"<{dims}h", digest)]
    norm = math.sqrt(sum(value * value for value in raw)) or 1.0
    return [float(value) for value in struct.unpack(f"<{dims}f", struct.pack(f"<{dims}f", *(v / norm for v in raw)))]


def packed(values: Sequence[float]) -> str:
    """A vector as base64 of float32, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def png(prompt: str) -> bytes:
    """A small image of one colour, chosen by the prompt's hash."""
    colour = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[:3]
    rows = (b"\0" + colour * IMAGE_SIDE) * IMAGE_SIDE
    header = struct.pack(">IIBBBBB", IMAGE_SIDE, IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def picture(prompt: str, width: int, height: int, form: str) -> bytes:
    """An image of one colour in a size and a format (png, webp, jpeg), chosen by the prompt's hash."""
    from PIL import Image  # only pictures of a real size need it

    colour = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[:3]
    out = io.BytesIO()
    options: dict[str, Any] = {"webp": {"lossless": True, "method": 0}, "png": {"compress_level": 1}}.get(form, {})
    Image.new("RGB", (width, height), tuple(colour)).save(out, form.upper(), **options)
    return out.getvalue()


def declined(prompt: str) -> bool:
    """Whether a prompt is against the rules of those who make images: so it is if it says so."""
    return "refuse-me" in prompt.lower()


def flagged(text: str) -> bool:
    """Whether moderation flags a text: so it does if the text says so."""
    return "flag-me" in text.lower()


def misshapen(kind: str, text: str, schema: Mapping[str, Any] | None) -> str:
    """An answer as models give it that were asked for plain JSON."""
    if kind == "fenced":
        return f"```json\n{text}\n```"
    if kind == "prose":
        return f"Here is the result you asked for:\n\n{text}\n\nTell me if {{anything}} is missing."
    if kind in ("truncated", "length"):
        return text[: max(len(text) // 2, 1)]
    if kind == "schema_violation":
        return json.dumps({"unexpected": True}) if schema else ""
    return "" if kind == "empty" else text
