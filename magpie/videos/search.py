"""Full-text search over what was said in videos.

Belongs here: how passages are ranked for a query, as a macro of the lake's SQL and as a function. Does not belong
here: cutting transcripts into passages, folding words (`magpie/text/tokens.py`), and how macros get into a session or
into the warehouse (`magpie/warehouse.py`).

The macro is plain SQL: the engine's own full-text search is an extension that would have to be fetched, and would make
an index that every new video puts out of date. The formula is that of `magpie/text/bm25.py`, without its floor: a word
that every passage holds counts for next to nothing.
"""

import re

import polars as pl

from magpie.errors import UserError
from magpie.lake import Lake
from magpie.text.tokens import tokenise
from magpie.videos.tables import TRANSCRIPT_PASSAGES, VIDEOS
from magpie.warehouse import SCHEMA, Macro, open_in_memory

# The usual values, as leads ranks with by default: passages are of like length, so little depends on them.
K1, B = 1.2, 0.75
DEFAULT_MOST = 20
# Pasted text must not compare a transcript's worth of words with every passage.
MOST_WORDS = 64
QUOTES = '"“”'

_LETTERS = r"[\p{L}\p{N}]+"
_WRAPPED_WORD = "' ' || word || ' '"
_KEY = "channel_id, day, video_id, passage_no"
_SQL = rf"""(query, most := {DEFAULT_MOST}, channel := NULL) AS TABLE
WITH asked AS (
    SELECT regexp_replace(lower(translate(nfc_normalize(query::VARCHAR), '“”', '""')), '[''’]', '', 'g') AS said
),
words AS (
    SELECT DISTINCT unnest(regexp_extract_all(said, '{_LETTERS}')) AS word FROM asked
),
quoted AS (
    SELECT regexp_extract_all(unnest(regexp_extract_all(said, '"([^"]*)"', 1)), '{_LETTERS}') AS parts FROM asked
),
phrases AS (
    SELECT ' ' || array_to_string(parts, '  ') || ' ' AS phrase FROM quoted WHERE len(parts) > 0
),
corpus AS (
    SELECT count(*) AS n, avg(token_count) AS mean_length FROM {SCHEMA}.transcript_passages
),
found AS MATERIALIZED (
    SELECT
        {_KEY}, token_count, word,
        (strlen(tokens) - strlen(replace(tokens, {_WRAPPED_WORD}, ''))) / strlen({_WRAPPED_WORD}) AS tf
    FROM {SCHEMA}.transcript_passages JOIN words ON contains(tokens, {_WRAPPED_WORD})
),
weights AS (
    SELECT word, ln(1 + (any_value(n) - count(*) + 0.5::DOUBLE) / (count(*) + 0.5::DOUBLE)) AS weight
    FROM found CROSS JOIN corpus
    GROUP BY word
),
scored AS (
    SELECT
        {_KEY},
        -- Added in the order of the words, so that a score is the same to the last bit however the rows arrive.
        sum(
            weight * tf * ({K1}::DOUBLE + 1)
            / (tf + {K1}::DOUBLE * (1 - {B}::DOUBLE + {B}::DOUBLE * token_count / mean_length))
            ORDER BY word
        ) AS score
    FROM found JOIN weights USING (word) CROSS JOIN corpus
    WHERE channel IS NULL OR channel_id = channel
    GROUP BY {_KEY}
),
ranked AS (
    SELECT {_KEY}, start_s, score, text, deep_link
    FROM {SCHEMA}.transcript_passages JOIN scored USING ({_KEY})
    ANTI JOIN phrases ON NOT contains(tokens, phrase)
    ORDER BY score DESC, video_id, passage_no, day, channel_id
    LIMIT most
)
SELECT ranked.video_id, channel_id, day, start_s, score, text, deep_link, videos.title
FROM ranked LEFT JOIN {SCHEMA}.videos AS videos USING (channel_id, day, video_id)
ORDER BY score DESC, ranked.video_id, passage_no, day, channel_id
"""

SEARCH_TRANSCRIPTS = Macro(
    "search_transcripts",
    _SQL,
    'The passages that answer a query best, by BM25; "words in quotes" must stand so. most: how many (NULL: all); '
    "channel: of this channel_id alone.",
    (TRANSCRIPT_PASSAGES.name, VIDEOS.name),
)
MACROS = (SEARCH_TRANSCRIPTS,)


def search(lake: Lake, query: str, most: int = DEFAULT_MOST, channel: str | None = None) -> pl.DataFrame:
    """Return the best passages for a query, the best first.

    Args:
        query: words, of which a passage need not hold all; what stands in double quotes it must hold word for word.
        most: how many, from 1.
        channel: a channel_id; the others still say how rare a word is.

    Returns:
        video_id, channel_id, day, start_s, score, text, deep_link, title; no rows for a query without words.

    Raises:
        UserError: `most` is below 1, or the query has too many words.
    """
    if most < 1:
        raise UserError(f"cannot show {most} passages; ask for 1 or more")
    with open_in_memory(lake, (TRANSCRIPT_PASSAGES, VIDEOS), macros=MACROS) as session:
        asked = {"query": _folded(query), "most": most, "channel": channel}
        called = f"FROM {SEARCH_TRANSCRIPTS.name}($query, most := $most, channel := $channel)"
        return session.sql(called, params=asked).pl()


def _folded(query: str) -> str:
    """Fold a query exactly as passages are folded, which SQL alone does for almost all letters; keep the phrases."""
    # Odd pieces stand between two quotes; a last quote without its other half opens no phrase.
    pieces = [tokenise(piece) for piece in re.split(f"[{QUOTES}]", query)]
    count = sum(map(len, pieces))
    if count > MOST_WORDS:
        raise UserError(f"the query has {count} words; search for {MOST_WORDS} or fewer")
    phrases = range(1, len(pieces) - 1, 2)
    said = (" ".join(piece) for piece in pieces)
    return " ".join(f'"{words}"' if n in phrases else words for n, words in enumerate(said))
