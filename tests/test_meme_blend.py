"""Blending and plans: draws from a seed, what comes before and after, who gets which plan."""

import random
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.memes.blend import blend, composed, seed_of
from magpie.memes.catalogue import Catalogue
from magpie.memes.engines import ENGINES, Ranked, Reach
from magpie.memes.people import Profile
from magpie.memes.plans import (
    COLD_ADAPT,
    COLD_EXPLORE,
    GROWING,
    MATURE,
    MODERATING,
    PLANS,
    WARMING,
    Plan,
    plan_of,
)
from magpie.memes.refills import refilled
from magpie.memes.tables import ENGINES as NAMES
from tests.recommend_world import RULES, meme, shelf, somebody

DAY = date(2026, 11, 20)
PROPOSED = {"lr_smoothed": ["m1", "m2", "m3", "m4"], "like_spread": ["m2", "m5", "m6"], "recently_liked": ["m3", "m7"]}
WEIGHTS = {"lr_smoothed": 0.3, "like_spread": 0.2, "recently_liked": 0.2}
FIRST = {0: "lr_smoothed"}


def test_the_seed_of_a_refill_is_of_its_person_day_and_number() -> None:
    seed = seed_of("u1", DAY, 0)
    assert seed == 2858852457076969949
    draws = random.Random(seed)
    assert (round(draws.random(), 6), round(draws.random(), 6)) == (0.500953, 0.026074)


def test_draws_follow_the_seed_and_the_place_of_its_own_takes_none() -> None:
    assert blend(PROPOSED, WEIGHTS, FIRST, 5, seed_of("u1", DAY, 0)) == [
        ("m1", "lr_smoothed"),
        ("m2", "like_spread"),
        ("m3", "lr_smoothed"),
        ("m5", "like_spread"),
        ("m7", "recently_liked"),
    ]
    assert blend(PROPOSED, WEIGHTS, FIRST, 5, seed_of("u1", DAY, 1)) == [
        *((name, "lr_smoothed") for name in ("m1", "m2", "m3", "m4")),
        ("m5", "like_spread"),
    ]


def test_engines_and_weights_must_be_the_same_ones() -> None:
    with pytest.raises(ValueError, match="goat is in one of them only"):
        blend({**PROPOSED, "goat": []}, WEIGHTS, FIRST, 5, 0)
    with pytest.raises(ValueError, match="goat is in one of them only"):
        blend(PROPOSED, {**WEIGHTS, "goat": 0.1}, FIRST, 5, 0)


def test_an_engine_of_weight_zero_is_drawn_once_all_others_are_empty() -> None:
    found = blend({"viral": ["v"], "goat": ["g"]}, {"viral": 0.0, "goat": 1.0}, {}, 5, 3)
    assert found == [("g", "goat"), ("v", "viral")]


def test_a_place_whose_own_engine_is_empty_is_drawn() -> None:
    assert blend({"viral": [], "goat": ["g"]}, {"viral": 1.0, "goat": 0.1}, {0: "viral"}, 5, 3) == [("g", "goat")]


proposals = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.integers(0, 12).map("m{}".format), max_size=8), min_size=1
)


@given(proposals, st.data(), st.integers(0, 2**64 - 1), st.integers(0, 20))
def test_a_blend_never_repeats_a_meme_loses_none_and_is_the_same_each_time(
    proposed: dict[str, list[str]], data: st.DataObject, seed: int, limit: int
) -> None:
    weights = {name: data.draw(st.floats(0, 2)) for name in proposed}
    fixed = data.draw(st.dictionaries(st.integers(0, 5), st.sampled_from(sorted(proposed))))
    found = blend(proposed, weights, fixed, limit, seed)
    memes = [meme_id for meme_id, _ in found]
    assert len(set(memes)) == len(memes) == min(limit, len({m for held in proposed.values() for m in held}))
    assert all(meme_id in proposed[name] for meme_id, name in found)
    assert found == blend(proposed, weights, fixed, limit, seed)


@given(proposals, st.sampled_from(sorted(PLANS)), st.integers(0, 100))
def test_no_plan_repeats_a_meme_or_exceeds_its_limit(proposed: dict[str, list[str]], name: str, seed: int) -> None:
    found = [meme_id for meme_id, _ in composed(PLANS[name], proposed, 15, seed)]
    assert len(set(found)) == len(found) <= 15


@pytest.mark.parametrize(
    ("nsent", "plan"),
    [
        (0, COLD_EXPLORE),
        (5, COLD_EXPLORE),
        (6, COLD_ADAPT),
        (15, COLD_ADAPT),
        (16, WARMING),
        (29, WARMING),
        (30, GROWING),
        (99, GROWING),
        (100, MATURE),
    ],
)
def test_the_plan_follows_what_a_person_was_sent(nsent: int, plan: Plan) -> None:
    assert plan_of(nsent, 1, "user") == plan
    assert plan_of(nsent, 2, "user") == (GROWING if nsent < 100 else MATURE)
    assert plan_of(nsent, 0, "moderator") == plan_of(nsent, 3, "admin") == MODERATING


def test_plans_weigh_engines_as_decided_and_leave_viral_to_others() -> None:
    assert dict(WARMING.weights) == {"cold_adapt": 0.4, "best_uploaded": 0.3, "lr_light": 0.3}
    assert list(GROWING.weights.values()) == [0.1, 0.3, 0.2, 0.1, 0.1, 0.2]
    assert list(MATURE.weights.values()) == [0.3, 0.25, 0.35, 0.3, 0.1, 0.1]
    assert GROWING.fixed == MATURE.fixed == {0: "lr_smoothed"} and WARMING.fixed == {0: "cold_adapt"}
    assert all("viral" not in plan.engines for plan in PLANS.values())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"weights": {"best": 1.0}}, "no engine 'best'"),
        ({"weights": {"goat": -0.1}}, "must be 0 or more"),
        ({"weights": {"goat": float("nan")}}, "must be 0 or more"),
        ({"weights": {"goat": 1.0}, "fixed": {0: "viral"}}, "no weight"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Plan("mine", **wrong)  # type: ignore[arg-type]


def test_moderators_first_see_what_nobody_judged_and_last_the_newest() -> None:
    low = [f"low{n}" for n in range(15)]
    found = composed(MODERATING, {"low_sent": low, "goat": ["low0", "g"], "last_resort": ["g", "new", "newer"]}, 15, 1)
    assert found[:12] == [(name, "low_sent") for name in low[:12]]
    assert found[12:] == [("g", "goat"), ("new", "last_resort"), ("newer", "last_resort")]


def test_the_share_that_comes_first_is_rounded_up() -> None:
    plan = Plan("mine", {"goat": 1.0}, first=("low_sent", Fraction(3, 4)))
    found = composed(plan, {"low_sent": list("abcdef"), "goat": list("uvwxyz")}, 5, 1)
    assert [name for _, name in found] == ["low_sent"] * 4 + ["goat"]


RATED = {"nlikes": 30, "nsent": 40, "lr_smoothed": 0.2}


def test_newcomers_fall_back_on_tried_ratings_then_on_uploads() -> None:
    explored = shelf(meme("a", words=1, **RATED), meme("b", **RATED))
    assert refilled(explored, somebody(), 0, RULES).picks == (("a", "cold_explore"),)
    rated = shelf(meme("b", **RATED), meme("untried", nlikes=2, nsent=2), meme("u", platform="upload"))
    made = refilled(rated, somebody(), 0, RULES)
    assert made.picks == (("b", "lr_smoothed"),)
    assert {name: len(found) for name, found in made.offers.items()} == {"cold_explore": 0, "lr_smoothed": 1}
    uploads = shelf(meme("untried", nlikes=2, nsent=2), meme("u", platform="upload"))
    assert refilled(uploads, somebody(), 0, RULES).picks == (("u", "best_uploaded"),)
    assert refilled(uploads, somebody(nsessions=2), 0, RULES).plan == "growing"


def test_an_engine_that_fails_counts_as_empty_and_is_named() -> None:
    def broken(catalogue: Catalogue, reach: Reach) -> Ranked:
        raise ZeroDivisionError("nothing was sent")

    catalogue = shelf(meme("a", engagement=0.5, **RATED))
    made = refilled(catalogue, somebody(nsent=50), 0, RULES, engines={**ENGINES, "lr_smoothed": broken})
    assert made.picks == (("a", "es_ranked"),)
    assert made.failed == {"lr_smoothed": "ZeroDivisionError: nothing was sent"}


def test_a_plan_of_ones_own_may_use_any_engine() -> None:
    mine = Plan("mine", {"viral": 1.0})
    catalogue = shelf(meme("a", **RATED, invited=2))
    made = refilled(catalogue, somebody(), 0, RULES, plans=lambda nsent, nsessions, role: mine)
    assert (made.plan, made.picks) == ("mine", (("a", "viral"),))


def test_equal_inputs_give_equal_queues_and_another_number_another_draw() -> None:
    rows = [meme(f"m{n}", **RATED, engagement=n / 50, raw_rank=0) for n in range(40)]
    person = somebody(Profile("u7", frozenset({"en"})), nsent=120)
    first = refilled(shelf(*rows), person, 0, RULES)
    assert first == refilled(shelf(*reversed(rows)), person, 0, RULES)
    assert len(first.picks) == 15
    assert len({refilled(shelf(*rows), person, number, RULES).picks for number in range(4)}) > 1
