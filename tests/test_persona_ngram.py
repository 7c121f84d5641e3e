"""The offline writer: it says what the blog has said, in another order, and the same again for the same seed."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.persona.ngram import MAX_TAGS, Ngram
from magpie.persona.rng import rng

POSTS = [
    ("the kettle sings in the kitchen all morning", ["kettles", "mornings"]),
    ("the kettle waits in the hall all evening", ["kettles", "evenings"]),
    ("a snail crosses the garden in the rain", ["snails"]),
    ("a snail sleeps in the rain all morning", ["snails", "mornings"]),
    ("in the kitchen a snail dreams of the garden.\n\nnobody minds", ["snails"]),
]
WORDS = {word for body, _ in POSTS for word in body.split()}
texts = st.text("abc <>/b#@=\n\u00e9\u200d", max_size=60)


def written(seed: int, cue: str | None = None, **more: int) -> tuple[str, list[str]]:
    return Ngram.trained(POSTS).write(random.Random(seed), cue, **more)


def test_a_text_is_made_of_the_blogs_own_words_and_steps() -> None:
    pairs = {pair for body, _ in POSTS for pair in pairwise(body.split())}
    for seed in range(40):
        body, tags = written(seed)
        said = body.split()
        assert said and set(said) <= WORDS
        assert set(pairwise(said)) <= pairs
        assert len(tags) <= MAX_TAGS and set(tags) <= {tag for _, given in POSTS for tag in given}


def test_texts_are_new_and_no_mere_copies() -> None:
    made = {written(seed)[0] for seed in range(60)}
    assert len(made) > 20
    assert len(made - {body for body, _ in POSTS}) > 20


def test_the_same_seed_gives_the_same_text_and_a_draw_of_its_own_another() -> None:
    def draw(k: int) -> tuple[str, list[str]]:
        return Ngram.trained(POSTS).write(rng("gen", "demo-blog", "ask:1", 1, k), "tell me of the garden")

    assert draw(0) == draw(0)
    assert len({draw(k)[0] for k in range(10)}) > 3


def test_the_order_in_which_posts_are_read_makes_no_difference() -> None:
    backwards = Ngram.trained(POSTS[::-1])
    for seed in range(20):
        assert backwards.write(random.Random(seed), "snail") == written(seed, "snail")


def test_half_of_the_answers_begin_with_the_longest_known_word_of_the_question() -> None:
    cue = "Is a KITCHEN no place for extraordinary snails, in a garden?"
    begun = [written(seed, cue)[0].split()[0] for seed in range(200)]
    assert 80 < begun.count("kitchen") < 120
    assert set(begun) <= {"kitchen", "the", "a", "in"}


def test_a_word_is_known_again_without_case_signs_and_markup() -> None:
    writer = Ngram.trained([("Marmalade! is <b>good</b>", ()), ("marmalade, again", ()), ("Marmalade! twice", ())])
    begun = {writer.write(random.Random(seed), "what of <i>MARMALADE</i>?")[0].split()[0] for seed in range(30)}
    assert begun == {"Marmalade!", "marmalade,"}
    assert "good" in {word for seed in range(30) for word in writer.write(random.Random(seed), "good")[0].split()}


def test_a_question_of_which_no_word_is_known_is_no_beginning() -> None:
    assert {written(seed, "Xyzzy? 12!")[0].split()[0] for seed in range(30)} <= {"the", "a", "in"}


def test_a_text_ends_at_its_bound_and_not_before_its_least_words() -> None:
    for seed in range(20):
        assert len(written(seed, "garden", max_tokens=5)[0].split()) <= 5
        assert len(written(seed, min_words=75, max_tokens=400)[0].split()) >= 75


def test_a_word_that_only_ever_ended_posts_goes_on_with_any_word_if_the_text_must() -> None:
    writer = Ngram.trained([("one two", ()), ("one two", ())])
    body, _ = writer.write(random.Random(3), None, 30, min_words=10)
    assert len(body.split()) >= 10 and set(body.split()) == {"one", "two"}
    assert writer.write(random.Random(3), None)[0] == "one two"


def test_line_breaks_stand_where_they_stood() -> None:
    made = {body for seed in range(200) if "\n" in (body := written(seed)[0])}
    assert made and all("garden.\n\nnobody minds" in body for body in made)


def test_words_of_images_are_not_the_authors() -> None:
    body = "look\n\n=======\n=======\na caption\n=======\nSTOP\n=======\n\nfine\n\n=======\nGO\n=======\n\nbye"
    writer = Ngram.trained([(body, ())])
    made = {word for seed in range(30) for word in writer.write(random.Random(seed), None)[0].split()}
    assert made == {"look", "fine", "bye"}


def test_tags_go_with_the_words_of_a_text() -> None:
    many = [(f"kettle steam number {n}", ["tea"]) for n in range(20)]
    many += [(f"snail shell number {n}", ["slow"]) for n in range(20)]
    writer = Ngram.trained(many)
    counts = {"tea": 0, "slow": 0}
    for seed in range(100):
        body, tags = writer.write(random.Random(seed), None)
        own = "tea" if "kettle" in body else "slow"
        counts[own] += own in tags
        counts[own] -= own not in tags and bool(tags)
    assert min(counts.values()) > 25
    assert Ngram.trained([("no tags here", ())]).write(random.Random(1), None)[1] == []


def test_posts_without_words_are_not_counted_and_none_at_all_give_nothing() -> None:
    assert Ngram.trained(POSTS).size == 5
    assert Ngram.trained([("", ["x"]), (" \n <b></b>", ()), ("word", ())]).size == 1
    assert Ngram.trained([]).write(random.Random(1), "hello") == ("", [])


@given(st.lists(st.tuples(texts, st.lists(st.text(max_size=5), max_size=4)), max_size=6), texts, st.integers(0, 99))
def test_whatever_it_has_read_it_writes_within_bounds(posts: list[tuple[str, list[str]]], cue: str, seed: int) -> None:
    writer = Ngram.trained(posts)
    body, tags = writer.write(random.Random(seed), cue, max_tokens=30)
    assert bool(body) == bool(writer.size)
    assert len(body.split()) <= 30 and len(tags) <= MAX_TAGS
    assert body == body.strip() and "  " not in body


@pytest.mark.parametrize("number", [0.0, 0.999_999_999])
def test_the_ends_of_the_dice_are_no_faults(number: float) -> None:
    class Fixed(random.Random):
        def random(self) -> float:
            return number

    body, _ = Ngram.trained(POSTS).write(Fixed(), "garden", 50)
    assert body
