"""Embeddings of a provider: batched, journalled per text, bounded by the caps like every other call."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from magpie.leads import ranking
from magpie.leads.keywords import compile_keyword
from magpie.llm import journal
from magpie.llm.embedding import GatewayEmbedder
from magpie.llm.fake_provider import FakeProvider
from magpie.llm.purpose import Limit, Limits, Purpose
from magpie.llm.schema import llm_response
from tests.gateway_world import Desk, desk
from tests.ledger_world import FakeClock, assert_books_balance

PURPOSE = Purpose("leads", "embed", "post_embeddings", scopes=("campaign:a",))


@pytest.fixture
def at(url: str, tmp_path: Path, fake: FakeProvider, clock: FakeClock) -> Iterator[Desk]:
    with desk(url, tmp_path, fake, clock=clock, sleep=clock.sleep, timeout_s=2) as made:
        yield made
        assert_books_balance(made.store)


def embedder(at: Desk, batch: int = 4) -> GatewayEmbedder:
    return GatewayEmbedder(at.gateway, at.models.candidates("embed")[0], PURPOSE, batch=batch)


TEXTS = [f"text number {n}" for n in range(10)]


def test_vectors_are_of_unit_length_and_the_same_for_every_batch_size(at: Desk) -> None:
    first = embedder(at, 4).embed_or_wait(TEXTS)
    assert first.vectors.shape == (10, 1536)
    np.testing.assert_allclose(np.linalg.norm(first.vectors, axis=1), 1, atol=1e-5)
    assert at.fake.attempts == 3
    second = embedder(at, 7).embed_or_wait(list(reversed(TEXTS)))
    assert at.fake.attempts == 3, "every text is in the journal, whatever the batches"
    np.testing.assert_array_equal(second.vectors[::-1], first.vectors)


def test_a_batch_asks_only_for_texts_that_are_new(at: Desk) -> None:
    embedder(at).embed_or_wait(TEXTS[:4])
    spent = sum(call.cost_nano for call in at.calls())
    embedder(at).embed_or_wait([*TEXTS[:4], "one more"])
    assert at.fake.attempts == 2
    (last,) = [call for call in at.calls() if call.cost_nano < spent]
    assert last.tokens_in < 10
    assert sum(hit.saved_nano for hit in at.calls("hit")) == spent


def test_texts_without_content_have_a_zero_vector_and_equal_texts_are_asked_about_once(at: Desk) -> None:
    found = embedder(at).embed_or_wait(["", "same", "  ", "same"])
    assert found.waiting == {}
    assert not found.vectors[[0, 2]].any()
    np.testing.assert_array_equal(found.vectors[1], found.vectors[3])
    assert at.fake.attempts == 1
    assert at.calls()[0].images == 0


def test_over_the_cap_the_rest_waits_and_what_was_bought_is_there(at: Desk, clock: FakeClock) -> None:
    at.fake.misbehave("usage_missing", times=None)
    embedder(at).embed_or_wait(TEXTS[:4])
    (first,) = at.calls()
    at.gateway.limits = Limits({"campaign:a": (Limit("D", first.cost_nano + first.est_nano + 1),)})
    found = embedder(at).embed_or_wait(TEXTS)
    assert set(found.waiting) == {8, 9}
    assert {wait.reason for wait in found.waiting.values()} == {"cap_exhausted"}
    clock.now += timedelta(days=1)
    at.gateway.limits = Limits()
    assert embedder(at).embed_or_wait(TEXTS).waiting == {}
    assert at.fake.answered_twice == []


def test_vectors_of_the_wrong_number_or_length_are_paid_and_used_by_nobody(at: Desk) -> None:
    short = replace(at.models.candidates("embed")[0], dims=1536)
    at.fake.misbehave("missing_choices")
    found = GatewayEmbedder(at.gateway, short, PURPOSE).embed_or_wait(["a text"])
    assert list(found.waiting) == [0]
    assert not found.vectors.any()


def test_a_deleted_post_takes_its_vector_out_of_the_journal(at: Desk) -> None:
    embedder(at).embed_or_wait(["about a", "about b"], ["t3_a", "t3_b"])
    assert at.store.write(lambda c: journal.purge(c, ["t3_a"])) == 1
    rows = at.store.read(lambda c: c.execute(sa.select(llm_response).order_by(llm_response.c.row_ref)).all())
    assert [(row.row_ref, row.body is None) for row in rows] == [("t3_a", True), ("t3_b", False)]


def test_keywords_without_vectors_are_pending_and_so_is_everything_that_is_compared_with_them(at: Desk) -> None:
    at.gateway.limits = Limits({"all": (Limit("D", 1),)})
    words = [compile_keyword("crm"), compile_keyword("invoic*")]
    rows = ranking.campaign_keywords("a", words, embedder(at))
    assert rows["status"].to_list() == ["pending"] * 2
    assert rows["vector"].null_count() == 2
    towards = ranking.direction(rows)
    assert towards.wait is not None
    assert towards.wait.reason == "request_too_large"
    at.gateway.limits = Limits()
    ready = ranking.campaign_keywords("a", words, embedder(at))
    assert ready["status"].to_list() == ["ok"] * 2
    assert ranking.direction(ready).wait is None
    assert ready.filter(pl.col("provider") == "openai").height == 2


def test_texts_of_a_batch_that_was_cut_off_are_not_bought_again_in_another_batch(at: Desk) -> None:
    at.fake.misbehave("cut_before_headers")
    cut = embedder(at).embed_or_wait(TEXTS[:4])
    assert {wait.reason for wait in cut.waiting.values()} == {"unknown_outcome"}
    mixed = embedder(at).embed_or_wait(["new one", TEXTS[2], "new two", TEXTS[9]])
    assert list(mixed.waiting) == [1]
    assert mixed.vectors[[0, 2, 3]].any(axis=1).all()
    at.gateway.settings = replace(at.gateway.settings, allow_double_payment=True)
    assert embedder(at).embed_or_wait(TEXTS[:4]).waiting == {}
