"""stock_mentions: picks held against the symbol table and the captions, one by one.

Belongs here: the rules, in order, and what they make of a pick. Does not belong here: how names are compared
(`magpie/videos/symbols.py`) and how quotes are found (`magpie/videos/grounding.py`).

The first rule that turns a pick down is its reason: bad_symbol, not_a_pick, unknown_symbol, symbol_mismatch,
symbol_ambiguous, ungrounded_quote. Then picks of one analysis that agree in symbol, action and horizon are merged, and
what exceeds the most per video is over_limit. Nothing is thrown away and nothing corrected: every pick that is not
merged into another is a row, with whatever could be found out about it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from magpie.videos.grounding import Grounding, Transcript, ground
from magpie.videos.links import deep_link
from magpie.videos.naming import is_spelled_out
from magpie.videos.settings import Videos
from magpie.videos.symbols import SymbolTable, is_symbol, normal_symbol
from magpie.videos.tables import STOCK_MENTIONS

# The speaker's own view, looking ahead; the others repeat, suppose or remember.
OWN_CLAIMS = frozenset(("recommendation", "opinion", "own_trade"))
# Least conviction of the buckets 2 and 3; below is 1.
BUCKET_EDGES = (0.40, 0.70)
# 0.6 - 0.2 is 0.4 for whoever wrote it, and a little less in binary.
CONVICTION_DIGITS = 9
MENTION_ID_DIGITS = 24
# Asset type of what the table does not know.
UNKNOWN_TYPE = "other"


@dataclass(frozen=True)
class VerifyRules:
    """The bounds: ratios 0 to 100, seconds, picks."""

    quote_fuzzy_min: float = 90
    time_tolerance_s: int = 90
    name_match_min: float = 80
    suggest_min: float = 90
    max_picks_per_video: int = 15

    @classmethod
    def of(cls, settings: Videos) -> "VerifyRules":
        return cls(
            settings.quote_fuzzy_min,
            settings.time_tolerance_s,
            settings.name_match_min,
            settings.suggest_min,
            settings.max_picks_per_video,
        )


class RawPick(BaseModel):
    """A pick as `raw_picks` of video_analyses holds it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    seg_no: int | None = None
    symbol: str
    company_name: str | None
    action: Literal["buy", "sell", "hold", "watch", "avoid", "short", "mention"]
    conviction: float = Field(ge=0, le=1, allow_inf_nan=False)
    time_horizon: Literal["intraday", "short", "medium", "long", "unspecified"]
    claim_type: Literal["recommendation", "opinion", "own_trade", "news", "quoting_others", "hypothetical", "past"]
    rationale_quote: str
    video_timestamp_seconds: Annotated[int, Field(ge=0)] | None


_PICKS = TypeAdapter(list[RawPick])


@dataclass(frozen=True)
class Refusal:
    """Why a pick is turned down, with the value that decided and the bound, as text."""

    reason: str
    observed: str
    threshold: str | None = None


@dataclass(frozen=True)
class SymbolFinding:
    """What the table says of a pick's symbol. `check` is None where the symbol has no normal form."""

    symbol: str
    asset_type: str
    check: str | None
    suggested: str | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Judged:
    """A pick with all that was found out about it. `ordinal`: its place in the analysis."""

    pick: RawPick
    ordinal: int
    finding: SymbolFinding
    grounding: Grounding
    refusal: Refusal | None
    n_merged: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        return self.finding.symbol, self.pick.action, self.pick.time_horizon

    @property
    def order(self) -> tuple[float, float, int]:
        """The most convinced first, then the earliest in the video, then as given."""
        located = self.grounding.located_s
        return -self.pick.conviction, float("inf") if located is None else located, self.ordinal


@dataclass(frozen=True)
class Speech:
    """The captions of a video, prepared when first asked for."""

    lines: Sequence[tuple[float, float, str]]
    symbols: SymbolTable

    @cached_property
    def transcript(self) -> Transcript:
        return Transcript.of(self.lines)

    @cached_property
    def text(self) -> str:
        return "\n".join(text for _, _, text in self.lines)

    @cached_property
    def named(self) -> Mapping[str, str | None]:
        """By symbol that is named, None, or the words if it is named in a sound-alike spelling only."""
        found: dict[str, str | None] = {}
        for line in self.symbols.mentions([text for _, _, text in self.lines], flowing=True):
            for named in line:
                for symbol in (named.symbol, *named.others):
                    if not named.sound_alike:
                        found[symbol] = None
                    else:
                        found.setdefault(symbol, named.text)
        return found


def verify(
    analyses: pl.DataFrame, transcripts: pl.DataFrame, videos: pl.DataFrame, symbols: SymbolTable, rules: VerifyRules
) -> pl.DataFrame:
    """Return every pick of the analyses as rows of `stock_mentions`.

    Args:
        analyses: rows of video_analyses; those that are ok count, of all versions.
        transcripts: rows of transcripts, among them the ok ones that the analyses read.
        videos: rows of videos, among them those of the analyses.
        symbols: the reference table; without rows every symbol is unknown.

    Raises:
        ValueError: an analysis has picks that are no picks, or the video or captions that it read are not there.
    """
    told = videos.select("video_id", "published_at", "date_precision").unique("video_id")
    read = analyses.filter(pl.col("status") == "ok").join(told, on="video_id", how="left", maintain_order="left")
    speeches: dict[tuple[str, str], Speech] = {}
    lines = _lines_of(transcripts, read)
    rows: list[dict[str, Any]] = []
    for analysis in read.iter_rows(named=True):
        picks = _picks(analysis)
        if not picks:
            continue
        captions = analysis["video_id"], analysis["transcript_hash"]
        if captions not in lines or analysis["date_precision"] is None:
            raise ValueError(f"analysis {analysis['analysis_id']}: its video or captions are not among those given")
        speech = speeches.setdefault(captions, Speech(lines[captions], symbols))
        judged = [_judged(number, pick, speech, rules) for number, pick in enumerate(picks)]
        rows += _rows(analysis, _settled(judged, rules.max_picks_per_video), rules)
    return STOCK_MENTIONS.shaped(pl.DataFrame(rows, schema=STOCK_MENTIONS.dtypes))


def _lines_of(
    transcripts: pl.DataFrame, analyses: pl.DataFrame
) -> dict[tuple[str, str], list[tuple[float, float, str]]]:
    ok = transcripts.filter(pl.col("status") == "ok")
    wanted = ok.join(analyses.filter(pl.col("raw_picks") != "[]"), on=["video_id", "transcript_hash"], how="semi")
    held = pl.element().struct
    columns = [pl.col("segments").list.eval(held.field(name)).alias(name) for name in ("start_s", "end_s", "text")]
    return {
        (video, digest): list(zip(starts, ends, texts, strict=True))
        for video, digest, starts, ends, texts in wanted.select("video_id", "transcript_hash", *columns).iter_rows()
    }


def _picks(analysis: Mapping[str, Any]) -> list[RawPick]:
    try:
        return _PICKS.validate_json(analysis["raw_picks"] or "")
    except ValidationError as error:
        raise ValueError(f"analysis {analysis['analysis_id']}: raw_picks holds no picks: {error}") from error


def _judged(ordinal: int, pick: RawPick, speech: Speech, rules: VerifyRules) -> Judged:
    finding = check_symbol(pick.symbol, pick.company_name, speech, rules)
    said = ground(
        pick.rationale_quote,
        speech.transcript,
        fuzzy_min=rules.quote_fuzzy_min,
        near_s=pick.video_timestamp_seconds,
    )
    return Judged(pick, ordinal, finding, said, _refusal(pick, finding, said, rules))


def _refusal(pick: RawPick, finding: SymbolFinding, said: Grounding, rules: VerifyRules) -> Refusal | None:
    """The first of the rules that turns the pick down."""
    if finding.refusal and finding.check is None:
        return finding.refusal
    if pick.action == "mention" or pick.claim_type not in OWN_CLAIMS:
        observed = pick.action if pick.action == "mention" else pick.claim_type
        return Refusal("not_a_pick", observed, "an action, as the speaker's own view")
    if finding.refusal:
        return finding.refusal
    if said.match == "none":
        return Refusal("ungrounded_quote", said.observed, f"{rules.quote_fuzzy_min:g}")
    return None


def check_symbol(raw: str, company_name: str | None, speech: Speech, rules: VerifyRules) -> SymbolFinding:
    """Hold a pick's symbol, and its company's name if given, against the table.

    A name that has no letter or digit counts as not given.
    """
    table = speech.symbols
    symbol = normal_symbol(raw)
    name = company_name if company_name and any(map(str.isalnum, company_name)) else None
    if not is_symbol(symbol):
        refusal = Refusal("bad_symbol", raw, "up to five letters, as NVDA, BRK.B or BTC-USD")
        return SymbolFinding(symbol, UNKNOWN_TYPE, None, _suggested(name, symbol, table, rules), refusal)
    symbol = table.resolve(symbol)
    security = table.securities.get(symbol)
    if security is None:
        refusal = Refusal("unknown_symbol", symbol)
        return SymbolFinding(symbol, UNKNOWN_TYPE, "unknown", _suggested(name, symbol, table, rules), refusal)
    if name is None:
        refused = _unnamed(symbol, speech)
        return SymbolFinding(symbol, security.asset_type, "ambiguous" if refused else "verified", None, refused)
    ratio = table.match(name, symbol)
    if ratio >= rules.name_match_min:
        return SymbolFinding(symbol, security.asset_type, "verified")
    refusal = Refusal("symbol_mismatch", f"{ratio:.1f}", f"{rules.name_match_min:g}")
    return SymbolFinding(symbol, security.asset_type, "mismatch", _suggested(name, symbol, table, rules), refusal)


def _suggested(name: str | None, symbol: str, table: SymbolTable, rules: VerifyRules) -> str | None:
    """Another symbol that the name belongs to by all appearance."""
    found = table.suggest(name, rules.suggest_min) if name else None
    return found if found != symbol else None


def _unnamed(symbol: str, speech: Speech) -> Refusal | None:
    """Why a symbol without a company's name may mean something else; None if the captions name it."""
    heard = speech.named.get(symbol, "")
    if heard is None or is_spelled_out(symbol, speech.text):
        return None
    observed = f"only as it sounds: {heard}" if heard else "not named"
    return Refusal("symbol_ambiguous", observed, "symbol, name or alias in the captions")


def _settled(judged: Sequence[Judged], most: int) -> list[Judged]:
    """Merge what agrees, then turn down what is too many; those turned down already stay as they are."""
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for one in judged:
        if one.refusal is None:
            groups.setdefault(one.key, []).append(one)
    merged = sorted(
        (replace(min(group, key=lambda one: one.order), n_merged=len(group)) for group in groups.values()),
        key=lambda one: one.order,
    )
    over = [
        replace(one, refusal=Refusal("over_limit", str(rank), str(most)))
        for rank, one in enumerate(merged[most:], start=most + 1)
    ]
    return [*merged[:most], *over, *(one for one in judged if one.refusal)]


def _rows(analysis: Mapping[str, Any], judged: Sequence[Judged], rules: VerifyRules) -> Iterator[dict[str, Any]]:
    actions: dict[str, set[str]] = {}
    for one in judged:
        if one.refusal is None:
            actions.setdefault(one.finding.symbol, set()).add(one.pick.action)
    common = {
        name: analysis[name]
        for name in ("video_id", "channel_id", "day", "published_at", "date_precision", "analysis_id", "is_active")
    }
    for one in judged:
        conflict = one.refusal is None and len(actions[one.finding.symbol]) > 1
        yield common | _row(one, analysis, rules) | {"conflict": conflict}


def _row(one: Judged, analysis: Mapping[str, Any], rules: VerifyRules) -> dict[str, Any]:
    pick, finding, said, refusal = one.pick, one.finding, one.grounding, one.refusal
    claimed, located = pick.video_timestamp_seconds, said.located_s
    near = None if claimed is None or located is None else abs(located - claimed) <= rules.time_tolerance_s
    return {
        "status": "rejected" if refusal else "ok",
        "reason": refusal.reason if refusal else None,
        "observed": refusal.observed if refusal else None,
        "threshold": refusal.threshold if refusal else None,
        "not_before": None,
        "mention_id": mention_id(analysis["analysis_id"], one),
        "seg_no": pick.seg_no,
        "symbol": finding.symbol,
        "symbol_raw": pick.symbol,
        "company_name": pick.company_name,
        "asset_type": finding.asset_type,
        "action": pick.action,
        "conviction": pick.conviction,
        "conviction_bucket": bucket(pick.conviction),
        "time_horizon": pick.time_horizon,
        "claim_type": pick.claim_type,
        "rationale_quote": pick.rationale_quote,
        "quote_match": said.match,
        "quote_score": said.score,
        "llm_time_s": claimed,
        "located_s": located,
        "time_ok": near,
        "deep_link": deep_link(analysis["video_id"], claimed if located is None else located),
        "symbol_check": finding.check,
        "suggested_symbol": finding.suggested,
        "n_merged": one.n_merged,
    }


def bucket(conviction: float) -> int:
    """Return 1, 2 or 3 for a conviction from 0 to 1."""
    return 1 + sum(round(conviction, CONVICTION_DIGITS) >= edge for edge in BUCKET_EDGES)


def mention_id(analysis_id: str, one: Judged) -> str:
    """Return the row's key: of what the pick says, and of a rejected one also why and which it is.

    So an accepted pick keeps its id whatever else the analysis holds, and rejected ones never share one.
    """
    parts: list[str | int | None] = [analysis_id, *one.key]
    if one.refusal:
        parts += [one.refusal.reason, one.pick.seg_no, one.ordinal]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:MENTION_ID_DIGITS]
