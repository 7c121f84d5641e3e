"""Engines: each score by hand, who is kept from what, ties, modifiers, and any order of the catalogue."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie.memes.catalogue import Catalogue
from magpie.memes.engines import ENGINES, Engine, EngineRules, Reach, adapt, affinity, best, offers, scale
from magpie.memes.people import Person, Profile
from magpie.memes.tables import ENGINES as NAMES
from tests.recommend_world import NOW, OLD, RULES, Row, meme, shelf, somebody

MODERATOR = somebody(Profile("m1", frozenset({"en"}), "moderator"))


def proposed(
    name: str, catalogue: Catalogue, person: Person | None = None, rules: EngineRules = RULES, **more: Any
) -> dict[str, float]:
    reach = Reach(catalogue, person or somebody(), rules, **more)
    return {offer.meme_id: offer.score for offer in offers(ENGINES[name], reach)}


def test_every_declared_engine_exists_and_no_other() -> None:
    assert tuple(ENGINES) == NAMES


def test_affinity_falls_with_dislikes_and_an_unmet_source_is_in_the_middle() -> None:
    assert affinity(0, 0) == 1.0
    assert affinity(2, 8) == pytest.approx(0.272727, abs=1e-6)
    reach = Reach(shelf(meme("a"), meme("b", source_id="tg:two")), somebody(sources={"tg:two": (2, 8)}), RULES)
    assert reach.affinity.tolist() == [0.5, pytest.approx(3 / 11)]


def test_a_penalty_never_lifts_a_negative_score() -> None:
    assert scale(np.array([-0.2, 0.2, 0.0]), 0.15).tolist() == pytest.approx([-1.333333, 0.03, 0.0], abs=1e-6)


def test_best_uploaded_is_the_like_rate_of_an_upload_times_affinity() -> None:
    catalogue = shelf(
        meme("upload:a:1", platform="upload", source_id="up:a", nlikes=9, ndislikes=3),
        meme("telegram:one:1", nlikes=90),
    )
    found = proposed("best_uploaded", catalogue, somebody(sources={"up:a": (2, 8)}), replace(RULES, soft_demote=False))
    assert found == {"upload:a:1": pytest.approx(0.209790, abs=1e-6)}


def test_like_spread_takes_liked_memes_of_the_highest_rank_alone() -> None:
    catalogue = shelf(
        meme("a", nlikes=30, ndislikes=10, nsent=80, raw_rank=0),
        meme("lower", nlikes=30, ndislikes=10, nsent=80, raw_rank=1),
        meme("unranked", nlikes=30, ndislikes=10, nsent=80),
        meme("even", nlikes=10, ndislikes=10, nsent=80, raw_rank=0),
    )
    assert proposed("like_spread", catalogue) == {"a": pytest.approx(0.246914, abs=1e-6)}


def goat(**told: Any) -> Row:
    usual = {"nlikes": 40, "ndislikes": 10, "nsent": 100, "lr_smoothed": 0.25, "sec_to_react": 5.0, "raw_rank": 0}
    return meme("g", **{**usual, **told})


GOAT_SOURCES = {"tg:one": (300, 100, 900)}
FAN = somebody(sources={"tg:one": (5, 1)})


def test_goat_multiplies_all_that_speaks_for_a_meme() -> None:
    assert proposed("goat", shelf(goat(), sources=GOAT_SOURCES), FAN) == {"g": pytest.approx(0.011191, abs=1e-6)}


@pytest.mark.parametrize(
    ("told", "factor"),
    [
        ({"invited": 1}, 1 / 0.8),
        ({"raw_rank": 1}, 0.8),
        ({"raw_rank": None}, 0.8),
        ({"sec_to_react": 10.5}, 0.6),
        ({"sec_to_react": 1.9}, 0.6),
        ({"sec_to_react": None}, 0.6),
        ({"sec_to_react": 2.0}, 1.0),
    ],
)
def test_each_shortcoming_costs_a_goat_its_share(told: Row, factor: float) -> None:
    usual = proposed("goat", shelf(goat(), sources=GOAT_SOURCES), FAN)["g"]
    assert proposed("goat", shelf(goat(**told), sources=GOAT_SOURCES), FAN)["g"] == pytest.approx(usual * factor)


@pytest.mark.parametrize(
    ("told", "person"),
    [
        ({"nlikes": 7, "ndislikes": 2}, FAN),
        ({"lr_smoothed": 0.19}, FAN),
        ({"published_at": NOW - timedelta(days=3) + timedelta(microseconds=1)}, FAN),
        ({}, somebody()),
        ({}, replace(FAN, seen=frozenset({"g"}), seen_lately=frozenset({"g"}))),
        ({}, replace(FAN, queued=frozenset({"g"}))),
    ],
)
def test_what_is_unproven_young_of_an_unmet_source_or_was_sent_lately_is_no_goat(told: Row, person: Person) -> None:
    assert proposed("goat", shelf(goat(**told)), person) == {}


def test_a_goat_seen_long_ago_may_come_again_and_nothing_else_may() -> None:
    person = replace(FAN, seen=frozenset({"g"}))
    catalogue = shelf(goat(platform="upload", published_at=NOW - timedelta(days=3), engagement=1.0, words=1))
    assert list(proposed("goat", catalogue, person)) == ["g"]
    others = set(ENGINES) - {"goat"}
    moderator = replace(person, profile=MODERATOR.profile)
    assert all(proposed(name, catalogue, moderator) == {} for name in others)


def test_lr_smoothed_wants_two_likes_and_from_newcomers_memes_that_were_tried() -> None:
    catalogue = shelf(
        meme("good", nlikes=2, nsent=10, lr_smoothed=0.2),
        meme("untried", nlikes=2, nsent=9, lr_smoothed=0.4),
        meme("bad", nlikes=2, nsent=10, lr_smoothed=-0.2),
        meme("unliked", nlikes=1, nsent=10, lr_smoothed=0.9),
    )
    assert proposed("lr_smoothed", catalogue) == {"untried": 0.2, "good": 0.1, "bad": -0.4}
    assert list(proposed("lr_smoothed", catalogue, cold=True)) == ["good", "bad"]


def test_lr_light_wants_few_words_and_to_know_how_many() -> None:
    rated = {"nlikes": 2, "lr_smoothed": 0.2}
    catalogue = shelf(
        meme("none", words=0, **rated),
        meme("few", words=30, **rated),
        meme("many", words=31, **rated),
        meme("unread", **rated),
    )
    assert set(proposed("lr_light", catalogue)) == {"none", "few"}


def test_es_ranked_is_engagement_times_affinity() -> None:
    catalogue = shelf(meme("a", engagement=0.4), meme("b", engagement=0.0), meme("c", engagement=-1.0))
    assert proposed("es_ranked", catalogue) == {"a": 0.2}


def test_recently_liked_counts_people_not_taps_and_copies_with_their_original() -> None:
    catalogue = shelf(
        meme("a"),
        meme("b"),
        meme("copy", canonical_id="b", servable=False),
        recent=[("a", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("copy", "z"), ("copy", "x"), ("gone", "x")],
    )
    assert proposed("recently_liked", catalogue) == {"b": 3.0}


def test_cold_explore_prefers_the_best_rated_then_the_most_judged() -> None:
    usual = {"words": 3, "lr_smoothed": 0.1}
    catalogue = shelf(
        meme("less", nlikes=20, ndislikes=5, **usual),
        meme("more", nlikes=20, ndislikes=6, **usual),
        meme("half", nlikes=13, ndislikes=13, **{**usual, "lr_smoothed": 0.3}),
        meme("few", nlikes=24, **usual),
        meme("disliked", nlikes=13, ndislikes=14, **usual),
        meme("weak", nlikes=30, **{**usual, "lr_smoothed": 0.09}),
        meme("wordy", nlikes=30, **{**usual, "words": 31}),
    )
    assert list(proposed("cold_explore", catalogue)) == ["half", "more", "less"]


def test_cold_adapt_follows_the_latest_sends_of_each_source() -> None:
    assert adapt([True, True, True, False, False]) == 2.5
    assert adapt([False, False, False]) == 0.1
    rated = {"nlikes": 2, "nsent": 10, "lr_smoothed": 0.2}
    catalogue = shelf(
        meme("liked", source_id="tg:two", **rated),
        meme("new", source_id="tg:three", **rated),
        meme("shunned", **rated),
        meme("untried", **{**rated, "nsent": 9}),
    )
    sends = (("tg:two", True), ("tg:one", False), ("tg:two", False), ("tg:one", False))
    found = proposed("cold_adapt", catalogue, somebody(last_sends=sends))
    assert found == {"liked": pytest.approx(0.2), "new": 0.1, "shunned": pytest.approx(0.02)}


def test_low_sent_shows_moderators_what_nobody_judged_and_spares_them_the_bad() -> None:
    catalogue = shelf(
        meme("fresh", nsent=1),
        meme("fresher"),
        meme("judged", nlikes=5),
        meme("bad", nlikes=1, ndislikes=9),
        meme("not_so_bad", nlikes=3, ndislikes=17),
    )
    assert proposed("low_sent", catalogue) == {}
    assert list(proposed("low_sent", catalogue, MODERATOR)) == ["fresher", "fresh", "judged", "not_so_bad"]


def test_viral_divides_newcomers_by_the_logarithm_of_sends() -> None:
    usual = {"invited": 4, "nsent": 120, "lr_smoothed": 0.05}
    catalogue = shelf(
        meme("a", **usual),
        meme("alone", **{**usual, "invited": 0}),
        meme("rare", **{**usual, "nsent": 19}),
        meme("weak", **{**usual, "lr_smoothed": 0.04}),
    )
    assert proposed("viral", catalogue) == {"a": pytest.approx(0.831620, abs=1e-6)}


def test_last_resort_is_the_newest_and_for_moderators() -> None:
    catalogue = shelf(meme("old"), meme("new", published_at=NOW))
    assert proposed("last_resort", catalogue) == {}
    assert list(proposed("last_resort", catalogue, MODERATOR)) == ["new", "old"]


def test_equal_scores_rank_by_newness_and_then_by_id() -> None:
    rows = [meme("b"), meme("a"), meme("c", published_at=OLD + timedelta(days=1))]
    assert list(proposed("low_sent", shelf(*rows), MODERATOR)) == ["c", "a", "b"]


def test_nobody_is_offered_what_they_saw_wait_for_cannot_read_or_what_is_not_served() -> None:
    catalogue = shelf(
        meme("a", engagement=1.0),
        meme("seen", engagement=1.0),
        meme("queued", engagement=1.0),
        meme("russian", engagement=1.0, language="ru"),
        meme("snoozed", engagement=1.0, servable=False),
        meme("loud", engagement=1.0, language="EN"),
    )
    person = somebody(seen=frozenset({"seen", "unknown"}), queued=frozenset({"queued"}))
    assert set(proposed("es_ranked", catalogue, person)) == {"a", "loud"}


def test_a_source_that_is_disliked_sinks_below_equals_and_can_be_blocked() -> None:
    catalogue = shelf(meme("a", engagement=1.0), meme("b", engagement=0.2, source_id="tg:two"))
    person = somebody(sources={"tg:one": (3, 12)})
    aff = affinity(3, 12)
    assert proposed("es_ranked", catalogue, person) == {"b": 0.1, "a": pytest.approx(aff * 0.15)}
    undemoted = replace(RULES, soft_demote=False)
    assert proposed("es_ranked", catalogue, person, undemoted)["a"] == pytest.approx(aff)
    assert set(proposed("es_ranked", catalogue, person, replace(RULES, hard_block=True))) == {"b"}
    fewer = somebody(sources={"tg:one": (3, 11)})
    assert set(proposed("es_ranked", catalogue, fewer, replace(RULES, hard_block=True))) == {"a", "b"}


@pytest.mark.parametrize(("counts", "demoted"), [((2, 3), True), ((2, 2), False), ((1, 3), False), ((3, 3), False)])
def test_a_source_is_demoted_by_more_dislikes_than_likes_of_five(counts: tuple[int, int], demoted: bool) -> None:
    reach = Reach(shelf(meme("a")), somebody(sources={"tg:one": counts}), RULES)
    assert reach.demoted.tolist() == [demoted]


def test_diversity_brings_the_first_meme_of_each_source_to_the_front() -> None:
    rows = [
        meme("a1", engagement=0.9),
        meme("a2", engagement=0.8),
        meme("b1", engagement=0.7, source_id="tg:two"),
        meme("a3", engagement=0.6),
        meme("c1", engagement=0.5, source_id="tg:three"),
    ]
    assert list(proposed("es_ranked", shelf(*rows))) == ["a1", "a2", "b1", "a3", "c1"]
    spread = replace(RULES, source_diversity=True)
    assert list(proposed("es_ranked", shelf(*rows), rules=spread)) == ["a1", "b1", "c1", "a2", "a3"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40),
    st.integers(1, 20),
)
def test_the_best_are_those_of_a_full_stable_sort(rows: list[tuple[int, int]], limit: int) -> None:
    first, second = (np.array([row[n] for row in rows], dtype=np.float64) for n in (0, 1))
    ordered = sorted(range(len(rows)), key=lambda place: (-rows[place][0], -rows[place][1], place))
    assert best((first, second), limit).tolist() == ordered[:limit]
    alone = sorted(range(len(rows)), key=lambda place: (-rows[place][0], place))
    assert best((first,), limit).tolist() == alone[:limit]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
def test_proposals_do_not_depend_on_the_order_of_rows(engine: Engine) -> None:
    dice = random.Random(5)
    rows = [
        meme(
            f"m{n}",
            platform=dice.choice(["telegram", "upload"]),
            source_id=dice.choice(["tg:one", "tg:two", "up:x"]),
            published_at=OLD + timedelta(days=dice.randrange(3)),
            nlikes=dice.randrange(60),
            ndislikes=dice.randrange(20),
            nsent=dice.randrange(100),
            raw_rank=dice.choice([None, 0, 1]),
            invited=dice.randrange(3),
            lr_smoothed=dice.choice([-0.1, 0.2, 0.3]),
            engagement=dice.choice([0.0, 0.1]),
            words=dice.choice([None, 5, 50]),
        )
        for n in range(80)
    ]
    person = somebody(MODERATOR.profile, sources={"tg:one": (5, 1), "tg:two": (1, 6)}, last_sends=(("tg:one", True),))
    recent = [(f"m{n % 7}", f"u{n}") for n in range(30)]
    found = []
    for _ in range(3):
        found.append(offers(engine, Reach(shelf(*rows, recent=recent), person, RULES)))
        dice.shuffle(rows)
    assert found[0] == found[1] == found[2]
    assert 0 < len(found[0]) <= RULES.limit
    assert len({offer.meme_id for offer in found[0]}) == len(found[0])


def test_an_empty_catalogue_offers_nothing() -> None:
    assert all(proposed(name, shelf(), MODERATOR) == {} for name in ENGINES)
