"""Memes with their ratings as a table that fits a terminal of usual width.

Belongs here: laying it out, for the commands that show it. Does not belong here: ratings (`magpie/memes/stats.py`).
"""

import polars as pl
from rich.table import Table

from magpie.cli.output import plain, table

# What a meme says, in the line below its id.
WORDS_CHARS = 46
COLUMNS = ("meme, and what it says", "likes", "dislikes", "rated", "engages")


def rated_memes(title: str, best: pl.DataFrame) -> Table:
    """The table.

    Args:
        best: latest rows of `meme_stats` with the column `words`.
    """
    rows = [
        (
            plain(row["meme_id"]) + (f"\n[dim]{plain(row['words'], WORDS_CHARS)}[/dim]" if row["words"] else ""),
            f"{row['nlikes']:,}",
            f"{row['ndislikes']:,}",
            f"{row['lr_smoothed']:.3f}",
            f"{row['engagement']:.3f}",
        )
        for row in best.iter_rows(named=True)
    ]
    return table(title, COLUMNS, rows, COLUMNS[1:], COLUMNS[:1])
