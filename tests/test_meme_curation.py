"""Curation: one medium a post, people who look at it, clean captions, and ads by name."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie.lake import conform
from magpie.memes.ads import CATEGORIES, stop_words
from magpie.memes.captions import cleaned, displayed, language_of
from magpie.memes.curation import CurationRules, memes
from magpie.memes.settings import Memes
from magpie.memes.tables import MEME_POSTS, MEME_SOURCES, MEMES

RULES = CurationRules.of(Memes())
DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=3)
PHOTO = {"kind": "photo", "url": "https://cdn.example/1.jpg"}
TOLD = ("status", "reason", "observed", "threshold")
MEDIAN_300 = (100, 200, 300, 400, 1000)


def a_post(post_id: str = "1", at: datetime = NOON, **given: Any) -> dict[str, Any]:
    source_id = given.pop("source_id", "tg:cats")
    platform = given.pop("platform", "telegram")
    name = source_id.partition(":")[2]
    row = {
        "source_id": source_id,
        "post_id": post_id,
        "platform": platform,
        "day": at.date(),
        "meme_id": f"{platform}:{name}:{post_id}",
        "published_at": at,
        "fetched_at": at,
        "media": [PHOTO],
        "out_links": [],
        "mentions": [],
        "hashtags": [],
        "is_ad": False,
        "payload_sha256": "0" * 64,
        "source_file": "a.html",
        "status": "ok",
    }
    return row | given


def frame(posts: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(posts, schema=MEME_POSTS.dtypes)


def sources_of(posts: pl.DataFrame, state: str = "enabled", language: str = "ru") -> pl.DataFrame:
    known = posts.select("source_id", "platform").unique().with_columns(state=pl.lit(state), language=pl.lit(language))
    return pl.concat([MEME_SOURCES.empty(), known], how="diagonal")


def curated(
    posts: list[dict[str, Any]],
    history: list[dict[str, Any]] | None = None,
    *,
    rules: CurationRules = RULES,
    now: datetime = NOW,
    **source: str,
) -> dict[str, dict[str, Any]]:
    asked, before = frame(posts), frame(history or [])
    found = memes(asked, pl.concat([before, asked]), sources_of(asked, **source), rules, now)
    return {row["post_id"]: row for row in conform(MEMES, found).iter_rows(named=True)}


def one(post: dict[str, Any], history: list[dict[str, Any]] | None = None, **given: Any) -> dict[str, Any]:
    return curated([post], history, **given)[post["post_id"]]


def fate(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in TOLD)


def viewed(*views: int, at: datetime = NOON - timedelta(days=1), **given: Any) -> list[dict[str, Any]]:
    return [a_post(f"h{n}", at, views=count, **given) for n, count in enumerate(views)]


def beside() -> list[dict[str, Any]]:
    return viewed(*MEDIAN_300)


def test_a_post_with_one_picture_is_a_meme() -> None:
    row = one(a_post(text="  hi \n", views=7, url="https://t.me/cats/1"))
    assert fate(row) == ("ok", None, None, None)
    assert (row["type"], row["caption"], row["caption_raw"], row["language"]) == ("image", "hi", "hi", "ru")
    assert (row["views"], row["views_median"], row["ad_flag"], row["ad_reason"]) == (7, None, False, None)


def test_posts_that_are_turned_down_already_get_no_row() -> None:
    failed = {"status": "failed", "reason": "parse_error"}
    assert list(curated([a_post("1"), a_post("2", **failed), a_post("3", status="rejected", reason="vk_ad")])) == ["1"]


def test_posts_of_no_days_make_no_rows() -> None:
    assert curated([]) == {}


@pytest.mark.parametrize(
    ("media", "told"),
    [
        ([], ("rejected", "no_media", "0", "1")),
        ([PHOTO, PHOTO], ("rejected", "carousel", "2", "1")),
        ([{"kind": "poll"}], ("rejected", "no_media", "poll", "image, video or animation")),
        ([{"kind": "sticker", "mime": "image/webp"}], ("rejected", "no_media", "sticker", "image, video or animation")),
        ([{"kind": "document"}], ("rejected", "no_media", "document", "image, video or animation")),
        ([{"kind": "document", "mime": "image/png"}], ("ok", None, None, None)),
    ],
)
def test_a_meme_has_exactly_one_picture_or_video(media: list[dict[str, Any]], told: tuple[Any, ...]) -> None:
    assert fate(one(a_post(media=media))) == told


@pytest.mark.parametrize(
    ("medium", "platform", "type_"),
    [
        ({"kind": "photo"}, "telegram", "image"),
        ({"kind": "video", "duration_s": 3.0}, "telegram", "video"),
        ({"kind": "animation"}, "telegram", "animation"),
        ({"kind": "photo", "url": "https://x.example/a.MP4?t=1"}, "instagram", "animation"),
        ({"kind": "photo", "url": "https://x.example/a.mp4.jpg"}, "instagram", "image"),
        ({"kind": "document", "mime": "video/mp4"}, "telegram", "animation"),
        ({"kind": "document", "mime": "video/mp4", "duration_s": 9.0}, "telegram", "video"),
        ({"kind": "photo", "duration_s": 3.0}, "vk", "image"),
    ],
)
def test_what_has_a_duration_is_a_video_and_what_moves_without_one_an_animation(
    medium: dict[str, Any], platform: str, type_: str
) -> None:
    assert one(a_post(media=[medium], platform=platform, source_id=f"{platform[:2]}:cats"))["type"] == type_


def test_a_source_in_moderation_shows_nothing_on_any_platform_and_an_unknown_one_neither() -> None:
    told = ("rejected", "source_in_moderation", "in_moderation", None)
    assert fate(one(a_post(media=[]), state="in_moderation")) == told
    assert fate(one(a_post(platform="vk", source_id="vk:cats"), state="in_moderation")) == told
    unknown = memes(frame([a_post()]), frame([]), MEME_SOURCES.empty(), RULES, NOW).row(0, named=True)
    assert (unknown["reason"], unknown["observed"]) == ("source_in_moderation", "unknown")
    assert fate(one(a_post(), state="snoozed"))[0] == "ok"


def test_of_posts_that_forward_one_post_the_earliest_is_kept() -> None:
    link = {"forwarded_url": "https://t.me/origin/5"}
    rows = curated(
        [
            a_post("3", NOON - timedelta(hours=2), media=[], **link),
            a_post("2", NOON - timedelta(hours=1), **link),
            a_post("1", NOON - timedelta(hours=1), source_id="tg:dogs", **link),
            a_post("4", NOON, **link),
            a_post("5", NOON, forwarded_from="origin"),
            a_post("6", NOON, forwarded_from="origin"),
        ]
    )
    kept = ("rejected", "repost", "https://t.me/origin/5", "kept telegram:cats:2")
    assert {post_id: row["reason"] for post_id, row in rows.items()} == {
        **dict.fromkeys("14", "repost"),
        **dict.fromkeys("256"),
        "3": "no_media",
    }
    assert fate(rows["1"]) == kept


def test_a_forward_of_another_day_or_platform_is_no_repost() -> None:
    link = {"forwarded_url": "https://t.me/origin/5"}
    rows = curated(
        [
            a_post("1", **link),
            a_post("2", NOON + timedelta(days=1), **link),
            a_post("3", platform="vk", source_id="vk:cats", **link),
        ]
    )
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_a_post_that_few_look_at_is_dropped_below_three_tenths_of_the_median() -> None:
    old = beside()
    # The judged post counts too; one far above it leaves the median where it was.
    low = curated([a_post("a", views=89), a_post("b", views=2000)], old)
    assert low["a"]["views_median"] == 300.0
    assert fate(low["a"]) == ("rejected", "low_engagement", "89", "0.3 x median 300.0")
    kept = curated([a_post("a", views=90), a_post("b", views=2000)], old)["a"]
    assert (kept["status"], kept["views_median"]) == ("ok", 300.0)


def test_a_young_post_waits_for_its_views() -> None:
    posts = [a_post("a", views=89), a_post("b", views=2000)]
    ripe = NOON + timedelta(hours=24)
    young = curated(posts, beside(), now=ripe - timedelta(microseconds=1))["a"]
    assert (young["status"], young["reason"], young["not_before"]) == ("pending", "views_settling", ripe)
    settled = curated(posts, beside(), now=ripe)["a"]
    assert (settled["status"], settled["reason"], settled["not_before"]) == ("rejected", "low_engagement", None)


@pytest.mark.parametrize("views", [None, 0])
def test_unknown_views_drop_nobody(views: int | None) -> None:
    assert curated([a_post("a", views=views)], beside())["a"]["status"] == "ok"


def test_a_median_needs_five_posts_with_views_of_the_same_source_within_a_week() -> None:
    four, day = viewed(300, 300, 300, 300), timedelta(days=1)
    for more, median in (
        ([], None),
        (viewed(300, at=NOON - 6 * day), 300.0),
        (viewed(300, at=NOON - 7 * day), None),
        (viewed(300, source_id="tg:dogs"), None),
        (viewed(0), None),
        (viewed(300, status="rejected", reason="vk_ad"), 300.0),
    ):
        row = curated([a_post("a", views=None)], four + more)["a"]
        assert row["views_median"] == median


def test_a_link_beside_few_views_makes_an_ad_below_half_the_median() -> None:
    link = {"out_links": ["https://shop.example"]}
    for views, reason in ((149, "link_few_views"), (150, None)):
        rows = curated([a_post("a", views=views, **link), a_post("b", views=2000)], beside())
        assert (rows["a"]["views_median"], rows["a"]["ad_reason"], rows["a"]["status"]) == (300.0, reason, "ok")
    assert curated([a_post("a", views=149), a_post("b", views=2000)], beside())["a"]["ad_flag"] is False


def test_a_caption_of_more_than_two_hundred_characters_makes_an_ad() -> None:
    assert one(a_post(text="ы" * 200))["ad_flag"] is False
    row = one(a_post(text="ы" * 201))
    assert (row["ad_flag"], row["ad_reason"], row["status"]) == (True, "long_caption", "ok")
    assert one(a_post(text="ы" * 190 + " https://example.org/a-very-long-address"))["ad_flag"] is False


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({"is_ad": True, "text": "x" * 300}, "marked_by_platform"),
        ({"text": "казино " + "ы" * 300}, "long_caption"),
        ({"text": "Лучшее КАЗИНО города", "out_links": ["https://x.example/?erid=1"]}, "stop_word_gambling"),
        ({"text": "мем", "out_links": ["https://y.example", "https://x.example/?a=1&ERID=2Vt"]}, "tracked_link"),
        ({"text": "мем https://x.example/?utm_campaign=may"}, "tracked_link"),
        ({"text": "про erid=1 и utm_campaign=2"}, "stop_word_ads"),
        ({"text": "мем", "out_links": ["https://x.example/grid=1"]}, None),
        ({"text": None, "out_links": ["https://x.example"]}, None),
    ],
)
def test_the_first_sign_of_an_ad_is_told(given_: dict[str, Any], reason: str | None) -> None:
    row = one(a_post(**given_))
    assert (row["ad_reason"], row["ad_flag"]) == (reason, reason is not None)


def test_a_long_caption_beside_a_link_makes_an_ad_only_if_the_settings_say_so() -> None:
    post = a_post(text="ы" * 101, out_links=["https://x.example"])
    strict = CurationRules.of(Memes(ad_long_link_caption=True))
    assert one(post)["ad_reason"] is None
    assert one(post, rules=strict)["ad_reason"] == "long_link_caption"
    assert one(post | {"text": "ы" * 100}, rules=strict)["ad_reason"] is None
    assert one(post | {"out_links": []}, rules=strict)["ad_reason"] is None


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("ru", "ИНН: 7700000000", "tax_id"),
        ("ru", "длинный конец года, и птица упорно кружит", None),
        ("ru", "взаймы не дам, займусь делом", None),
        ("ru", "оформи КРЕДИТНУЮ\n карту", "bank"),
        ("ru", "ещё одна ставка", None),
        ("uk", "знижки на все", "ads"),
        ("uk", "промокод CAT", "ads"),
        ("uk", "ФОП Петренко", "tax_id"),
        ("uk", "оформить карту", "bank"),
        ("en", "Use code CAT now", "ads"),
        ("en", "an ICO near you", "crypto"),
        ("en", "such a nICOtine mood", None),
        ("en", "torrential rain", None),
        ("en", "the torrent, free", "piracy"),
        ("es", "el circuito de la cifra", None),
        ("es", "CIF B12345678", "tax_id"),
        ("es", "apuestas deportivas", "gambling"),
        ("ar", "كازينو جديد", "gambling"),
        ("ar", "قطة على السرير", None),
        ("uz", "kanalimizga obuna bo‘ling", "ads"),
        ("uz", "mening reaksiyam, uyatti", None),
        ("fa", "join 1xBet today", "gambling"),
        ("pt-br", "onlyfans", "adult"),
        ("../any", "onlyfans", "adult"),
    ],
)
def test_stop_words_count_in_the_language_of_the_caption_and_short_ones_as_whole_words(
    language: str, text: str, reason: str | None
) -> None:
    told = one(a_post(text=text, language=language))["ad_reason"]
    assert told == (f"stop_word_{reason}" if reason else None)


@pytest.mark.parametrize("language", ["ru", "uk", "en", "es", "ar", "uz"])
def test_every_language_has_words_of_every_category_in_the_form_that_captions_are_brought_to(language: str) -> None:
    words = stop_words(language)
    assert tuple(words) == CATEGORIES
    assert all(words.values())
    assert all(
        word == word.lower() and "ё" not in word and word.strip("= ") for part in words.values() for word in part
    )


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("lol https://x.y @foo_bar nice", "lol nice"),
        ("@foo_bar", None),
        ("", None),
        (None, None),
        (" \n\t\u200b ", None),
        ("t.me/cats", None),
        ("see t.me/cats/5 and www.example.org, ok", "see and , ok"),
        ("(https://x.y/z).", "( )."),
        ("mail me at ann@example.org", "mail me at ann@example.org"),
        ("@ 5 pm", "@ 5 pm"),
        ("@anna.maria: hi", ": hi"),
        ("one   two\n\n\n three \n@x\nfour", "one two\nthree\nfour"),
        ("tg://resolve?domain=cats hi", "hi"),
        ("at.me/x is kept", "at.me/x is kept"),
    ],
)
def test_captions_lose_addresses_and_handles_and_nothing_else(text: str | None, caption: str | None) -> None:
    assert cleaned(text) == caption


def test_english_captions_lose_links_to_reddit_and_lines_of_one_token() -> None:
    text = "When it compiles\nabc123XYZ\nreddit.com/r/cats/comments/1\nhttps://redd.it/1a\ntwo words\nno-token"
    assert cleaned(text, english=True) == "When it compiles\ntwo words\nno-token"
    assert cleaned("abc123XYZ\nhm") == "abc123XYZ\nhm"
    assert cleaned("a" * 31, english=True) == "a" * 31
    assert cleaned("a" * 30, english=True) is None
    assert one(a_post(text="abc123\nfine, so"), language="en")["caption"] == "fine, so"


@given(st.text(alphabet="ab @._/:?w\n\u200btme.htps#1", max_size=80), st.booleans())
def test_cleaning_never_adds_anything(text: str, english: bool) -> None:
    caption = cleaned(text, english=english) or ""
    rest = iter(text)
    assert all(letter in rest for letter in caption if not letter.isspace())
    assert "  " not in caption
    assert "://" not in caption or "://" in text


def test_what_is_shown_is_cut_at_a_thousand_characters_and_the_raw_text_is_kept() -> None:
    assert len(displayed("x" * 1001) or "") == 1000
    row = one(a_post(text="x" * 3000))
    assert (len(row["caption"]), len(row["caption_raw"])) == (1000, 3000)


def test_a_channel_in_english_that_writes_cyrillic_is_taken_for_russian() -> None:
    assert [language_of("en", text) for text in ("hi", "hi привет", None)] == ["en", "ru", "en"]
    assert [language_of("en", "\u0400"), language_of("en", "\u04ff"), language_of("en", "\u0500")] == ["ru", "ru", "en"]
    assert language_of("uk", "привет") == "uk"
    assert one(a_post(text="привет", language="en"))["language"] == "en"
    assert one(a_post(text="привет"), language="en")["language"] == "ru"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-9, 2),
            st.sampled_from(["tg:cats", "tg:dogs"]),
            st.one_of(st.none(), st.integers(0, 50)),
            st.sampled_from([None, "https://t.me/o/1", "https://t.me/o/2"]),
            st.sampled_from([[], [PHOTO], [PHOTO, PHOTO]]),
        ),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_days_made_together_in_any_order_of_rows_give_the_rows_of_days_made_alone(
    told: list[tuple[int, str, int | None, str | None, list[dict[str, Any]]]], rng: random.Random
) -> None:
    posts = [
        a_post(f"p{n}", NOON + timedelta(days=day), source_id=source, views=views, forwarded_url=url, media=media)
        for n, (day, source, views, url, media) in enumerate(told)
    ]
    everything = frame(posts)
    days = [DAY + timedelta(days=n) for n in range(3)]

    def made(*wanted: date) -> pl.DataFrame:
        asked = everything.filter(pl.col("day").is_in(wanted))
        before = everything.filter(pl.col("day").is_between(min(wanted) - timedelta(days=6), max(wanted)))
        return conform(MEMES, memes(asked, before, sources_of(everything), RULES, NOW))

    whole = made(*days)
    everything = everything.sample(fraction=1, shuffle=True, seed=rng.randrange(99)) if posts else everything
    assert pl.concat([made(day) for day in days]).equals(whole)
