"""The extractor: what it finds in an answer, in which way, and what no answer can make it do."""

import json
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, ValidationError, field_validator

from magpie.llm.extractor import MAX_CHARS, MAX_PROBLEM_CHARS, MAX_PROBLEMS, extract, validation_message


class Anything(BaseModel):
    """Fits every object with an `a`."""

    a: Any


class Quoted(BaseModel):
    q: str
    n: list[int]


class Nested(BaseModel):
    a: dict[str, int]
    b: list[int]


class Free(RootModel[dict[str, Any]]):
    """Fits every object."""


class Listed(RootModel[list[int]]):
    """Fits every list of whole numbers."""


@pytest.mark.parametrize(
    ("text", "output", "strategy", "value"),
    [
        ('{"a":1}', Anything, "direct", {"a": 1}),
        (' \n{"a":1}\n', Anything, "direct", {"a": 1}),
        ('\ufeff{"a":1}', Anything, "direct", {"a": 1}),
        ('```json\n{"a":1}\n```', Anything, "fence", {"a": 1}),
        ('```\n{"a":"```"}\n```', Anything, "fence", {"a": "```"}),
        ('~~~json\n{"a":1}\n~~~', Anything, "fence", {"a": 1}),
        (
            r'Sure! Here it is: {"q":"use {x} and \"}\" ok","n":[1,2]} Hope {smile}',
            Quoted,
            "balanced",
            {"q": 'use {x} and "}" ok', "n": [1, 2]},
        ),
        ('{bad} then {"a":1}', Anything, "balanced", {"a": 1}),
        ('As [1] says: {"a":1}', Anything, "balanced", {"a": 1}),
        ('He said "it\'s {"a":1}', Anything, "balanced", {"a": 1}),
        ('Before\n```json\n{"a":1}\n```\nafter', Anything, "balanced", {"a": 1}),
        ('{"b":2} or rather {"a":1}', Anything, "balanced", {"a": 1}),
        ('{"a":1,}', Anything, "repair", {"a": 1}),
        ("{'a':'b'}", Anything, "repair", {"a": "b"}),
        ("{'a':'b'} and {'c':'d'}", Anything, "repair", {"a": "b"}),
        ("{'a':'b'}, as asked [sic", Anything, "repair", {"a": "b"}),
        ('{"a":{"x":1},"b":[1,2', Nested, "repair", {"a": {"x": 1}, "b": [1, 2]}),
        ('```json\n{"a":"cut o', Anything, "repair", {"a": "cut o"}),
        ('[note: {"a":1}', Anything, "balanced_inner", {"a": 1}),
        ('He said {"oops and then {"a":1}', Anything, "balanced_inner", {"a": 1}),
        ("[1, 2]", Listed, "direct", [1, 2]),
    ],
)
def test_an_answer_is_found_in_the_most_faithful_way_that_works(
    text: str, output: type[BaseModel], strategy: str, value: Any
) -> None:
    found = extract(text, output)
    assert found.value is not None
    assert (found.strategy, found.value.model_dump(), found.problem) == (strategy, value, "")


@pytest.mark.parametrize("text", ["", '"text"', "prose", "17", "null", "true", "{", "}{", "```json\n```", "\\", "{}"])
def test_scalars_prose_and_empty_shells_are_no_answer(text: str) -> None:
    found = extract(text, Anything)
    assert (found.value, found.strategy) == (None, "none")
    assert found.problem


def test_an_example_that_does_not_fit_the_schema_is_passed_over_for_the_answer_that_does() -> None:
    found = extract('For instance {"q": "x"} would be wrong. {"q": "y", "n": [1]}', Quoted)
    assert found.value == Quoted(q="y", n=[1])


def test_an_extra_field_is_ignored_and_a_missing_one_is_an_error() -> None:
    assert extract('{"q":"x","n":[1],"more":true}', Quoted).value == Quoted(q="x", n=[1])
    assert extract('{"q":"x"}', Quoted).problem == "n: Field required"


def test_what_a_schema_says_of_enums_and_tuples_means_their_json_forms() -> None:
    class Strictly(BaseModel, strict=True):
        pair: tuple[int, int]
        kind: Literal["a", "b"]

    assert extract('{"pair":[1,2],"kind":"a"}', Strictly).value == Strictly(pair=(1, 2), kind="a")
    assert extract('{"pair":["1",2],"kind":"a"}', Strictly).value is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"', '"inf"', "9" * 5000])
def test_a_number_that_is_none_reaches_no_table(number: str) -> None:
    class Scored(BaseModel):
        score: float

    found = extract(f'{{"score": {number}}}', Scored)
    assert found.value is None or found.value.score < float("inf")


def test_half_a_surrogate_pair_becomes_a_mark_that_can_be_stored() -> None:
    found = extract(r'{"a":"x\ud83d y \ud83d\ude00"}', Anything)
    assert found.value == Anything(a="x\ufffd y \U0001f600")


def test_the_message_is_about_the_largest_object_and_not_about_an_example_before_it() -> None:
    found = extract('like {"n":[]} but {"q":"a longer answer than the example","n":["one"]}', Quoted)
    assert found.problem.startswith("n.0: Input should be a valid integer")


def test_a_cut_answer_is_told_apart_from_none_at_all() -> None:
    assert "cut off" in extract("I begin: [", Quoted).problem
    assert "no JSON object" in extract("I refuse.", Quoted).problem


def test_the_message_for_the_model_names_fields_is_bounded_and_quotes_nothing() -> None:
    class Answer(BaseModel):
        score: int = Field(ge=0, le=100)
        tags: list[Literal["x", "y"]]
        quote: str

        @field_validator("quote")
        @classmethod
        def _short(cls, value: str) -> str:
            raise ValueError("is too\nlong " + "." * 1000)

    given_ = {"score": 101, "tags": ["SECRET"] * 40, "quote": "SECRET"}
    with pytest.raises(ValidationError) as caught:
        Answer.model_validate(given_)
    message = validation_message(caught.value)
    assert message.startswith("score: Input should be less than or equal to 100; tags.0: Input should be 'x' or 'y'; ")
    assert "SECRET" not in message
    assert "\n" not in message
    assert message.endswith(f"and {42 - MAX_PROBLEMS} more")
    assert len(message) < (MAX_PROBLEMS + 1) * 2 * MAX_PROBLEM_CHARS
    alone = extract(json.dumps({**given_, "score": 1, "tags": []}), Answer).problem
    assert alone.startswith("quote: is too long ...")
    assert len(alone) < 2 * MAX_PROBLEM_CHARS


# Keys and texts are full of what an extractor looks for.
tricky = st.text(st.sampled_from("ab{}[]\"'\\`,:\n <>/é😀\x00"), max_size=12) | st.text(max_size=12)
leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves | tricky,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(tricky, values, min_size=1, max_size=4)
# Prose without brackets: those have vectors of their own.
prose = st.text(st.sampled_from("ab \n.,!\"'`\\:é"), max_size=30)


def written(value: Any, spaced: bool, ascii_only: bool) -> str:
    return json.dumps(value, indent=2 if spaced else None, ensure_ascii=ascii_only)


@settings(deadline=None)
@given(objects, st.booleans(), st.booleans())
def test_any_object_comes_back_equal_as_it_is_and_in_a_fence(value: dict[str, Any], spaced: bool, ascii: bool) -> None:
    text = written(value, spaced, ascii)
    for whole, strategy in ((text, "direct"), (f"```json\n{text}\n```", "fence")):
        found = extract(whole, Free)
        assert found.value is not None
        assert (found.strategy, found.value.root) == (strategy, value)


@settings(deadline=None)
@given(objects, prose, prose, st.booleans())
def test_any_object_comes_back_equal_from_within_prose(
    value: dict[str, Any], before: str, after: str, spaced: bool
) -> None:
    found = extract(f"{before} so: {written(value, spaced, False)} so {after}", Free)
    assert found.value is not None
    assert (found.strategy, found.value.root) == ("balanced", value)


@settings(deadline=None)
@given(objects, st.data())
def test_a_cut_object_never_turns_into_one_with_other_keys_first(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps({"first": 1, **value})
    cut = text[: data.draw(st.integers(len('{"first": 1,'), len(text) - 1))]
    found = extract(cut, Free)
    assert found.value is not None
    assert found.strategy == "repair"
    assert next(iter(found.value.root.items())) == ("first", 1)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(st.sampled_from("ab{}[]\"'\\`,:\n-1(/*#“”"), max_size=200))
@example('{"a":"[' * 40)
@example("[" * 2000)
def test_no_text_makes_it_raise(text: str) -> None:
    for output in (Anything, Free, Listed):
        found = extract(text, output)
        assert (found.value is None) == (found.strategy == "none") == bool(found.problem)


@pytest.mark.parametrize(
    "piece", ["{", "[", '{"', '{"a":', "{1}", '[{"x":"', "“]{", '{"a":"b,', '"', "\\", "{}", '"\\', "({]", '{"a":"{"']
)
def test_a_hundred_thousand_broken_brackets_end_without_an_answer_and_without_a_deep_stack(piece: str) -> None:
    # Work that grows with the square of the length would take hours here.
    text = (piece * 100_000)[:100_000]
    assert extract(text, Quoted).value is None


def test_a_value_that_nests_deeper_than_any_schema_is_no_answer() -> None:
    deep = "[" * 500 + "]" * 500
    assert extract(f'{{"a": {deep}}}', Anything).value is None
    assert extract('{"a": [[[1]]]}', Anything).value == Anything(a=[[[1]]])


def test_an_answer_beyond_all_bounds_is_not_read() -> None:
    found = extract(json.dumps({"a": "x" * MAX_CHARS}), Anything)
    assert found.value is None
    assert str(MAX_CHARS) in found.problem
