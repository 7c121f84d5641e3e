"""Embeddings through the gateway: many texts in one request, each journalled by itself.

Belongs here: batching, and an embedder that may be refused. Does not belong here: embedders that cost nothing
(`magpie/text`), calls (`gateway.py`).

Batch size changes neither result nor cost: the journal's key is one text, and a batch asks only for texts that nobody
has or is about to get.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import sqlalchemy as sa

from magpie.llm import journal, ledger
from magpie.llm.gateway import SWEEP_AFTER_S, Answered, Gateway, Waits
from magpie.llm.models import Model
from magpie.llm.purpose import Purpose
from magpie.llm.refusal import INVALID_S, Refused, after
from magpie.llm.request import Ask, Request
from magpie.llm.store import LedgerUnavailable
from magpie.text.embedder import Embedded, Wait

# As leads.md asks: one request carries this many texts at most.
BATCH = 128


class _Texts:
    """The distinct texts that have content, each with the request that is its key."""

    def __init__(self, gateway: Gateway, model: Model, texts: Sequence[str], row_refs: Sequence[str] | None) -> None:
        # Of equal texts the first row counts: it is asked about once.
        self.refs: dict[str, str] = dict(reversed(list(zip(texts, row_refs, strict=True)))) if row_refs else {}
        self.keyed: dict[str, tuple[str, Request]] = {}
        self.refused: Refused | None = None
        for text in dict.fromkeys(text for text in texts if text.strip()):
            request = gateway.request(ask_for(model, (text,)), model)
            if isinstance(request, Refused):
                self.refused = request
                return
            self.keyed[request.key] = (text, request)


class GatewayEmbedder:
    """Embeds with one model for one purpose.

    Args:
        row: the model, of kind embedding, with its dims.
        purpose: recorded with every call.
        batch: texts per request.
    """

    def __init__(self, gateway: Gateway, row: Model, purpose: Purpose, *, batch: int = BATCH) -> None:
        if row.dims is None:
            raise ValueError(f"{row.name} has no dims in the registry of models")
        self._gateway, self._model, self._purpose, self._batch = gateway, row, purpose, batch
        self.model, self.provider, self.dims = row.model_id, row.provider, row.dims

    def embed_or_wait(self, texts: Sequence[str], row_refs: Sequence[str] | None = None) -> Embedded:
        """Return unit vectors; a text without content has a zero vector, a refused one a reason to wait."""
        asked = _Texts(self._gateway, self._model, texts, row_refs)
        found: dict[str, np.ndarray] = {}
        refused: dict[str, Refused] = {}
        if asked.refused:
            refused = {text: asked.refused for text in texts if text.strip()}
        else:
            try:
                self._answer(asked, found, refused)
            except LedgerUnavailable as error:
                away = self._gateway.unavailable(error)
                refused |= {text: away for text, _ in asked.keyed.values() if text not in found}
        vectors = np.zeros((len(texts), self.dims), dtype=np.float32)
        for n, text in enumerate(texts):
            if text in found:
                vectors[n] = found[text]
        waiting = {n: Wait(refused[t].reason, refused[t].not_before) for n, t in enumerate(texts) if t in refused}
        return Embedded(vectors, waiting)

    def _answer(self, asked: _Texts, found: dict[str, np.ndarray], refused: dict[str, Refused]) -> None:
        waits = Waits(self._gateway.sleep)
        while True:
            open_ = [key for key, (text, _) in asked.keyed.items() if text not in found and text not in refused]
            self._from_journal(asked, open_, found)
            open_ = [key for key in open_ if asked.keyed[key][0] not in found]
            if not open_:
                return
            taken: set[str] = set()
            for start in range(0, len(open_), self._batch):
                taken |= self._buy(asked, open_[start : start + self._batch], found, refused)
            if taken and taken >= {k for k in open_ if asked.keyed[k][0] not in found | refused.keys()}:
                # What is left is on its way to others.
                waits.look()
                if waits.waited > SWEEP_AFTER_S:
                    self._gateway.sweep()

    def _from_journal(self, asked: _Texts, keys: Sequence[str], found: dict[str, np.ndarray]) -> None:
        gateway = self._gateway
        entries = gateway.store.read(lambda c: journal.find(c, keys))
        hits = []
        for key, entry in entries.items():
            text, request = asked.keyed[key]
            found[text] = unit(entry.exchange.body)
            purpose = replace(self._purpose, row_ref=asked.refs.get(text))
            hits.append((gateway.booking(request, purpose, 0, "journal", claims=()), entry.cost_nano, None))
        if hits:
            rows = ledger.hit_rows(hits, gateway.clock())
            gateway.store.write(lambda c: ledger.record_hits(c, rows))

    def _buy(
        self,
        asked: _Texts,
        keys: Sequence[str],
        found: dict[str, np.ndarray],
        refused: dict[str, Refused],
    ) -> frozenset[str]:
        """Buy one batch; return the keys that others have asked for, after buying the rest."""
        gateway, texts = self._gateway, [asked.keyed[key][0] for key in keys]
        request = gateway.request(ask_for(self._model, tuple(texts)), self._model)
        outcome = request if isinstance(request, Refused) else gateway.buy(request, self._purpose, tuple(keys))
        if isinstance(outcome, ledger.Taken):
            rest = [key for key in keys if key not in outcome.keys]
            return outcome.keys | (self._buy(asked, rest, found, refused) if rest else frozenset())
        if isinstance(outcome, Answered):
            vectors, call_id = outcome.reply.vectors, outcome.call_id
            if [len(raw) for raw in vectors] == [4 * self.dims] * len(keys):
                found |= {text: unit(raw) for text, raw in zip(texts, vectors, strict=True)}
                refs = {key: asked.refs[text] for key, text in zip(keys, texts, strict=True) if text in asked.refs}
                gateway.store.write(lambda c: _accept(c, call_id, refs))
                return frozenset()
            gateway.store.write(lambda c: journal.discard(c, [call_id]))
            got = f"{len(vectors)} vectors for {len(keys)} texts, or not of length {self.dims}"
            outcome = Refused("invalid_output", got, after(gateway.clock(), INVALID_S[0]))
        if outcome.reason == "unknown_outcome" and len(keys) > 1:
            # One text that may have been paid holds up its batch; the others are found by halves.
            middle = len(keys) // 2
            first = self._buy(asked, keys[:middle], found, refused)
            return first | self._buy(asked, keys[middle:], found, refused)
        refused |= dict.fromkeys(texts, outcome)
        return frozenset()


def _accept(connection: sa.Connection, call_id: str, refs: Mapping[str, str]) -> None:
    journal.judge(connection, [journal.Verdict(call_id, "accepted")])
    journal.name_rows(connection, refs)


def ask_for(model: Model, texts: tuple[str, ...]) -> Ask:
    """What is asked about some texts; about one text alone it is the key of that text in the journal."""
    return Ask("embedding", texts=texts, dims=model.dims)


def unit(raw: bytes) -> np.ndarray:
    """A vector of the journal, of length 1."""
    vector = np.frombuffer(raw, dtype="<f4").astype(np.float64)
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float32)
