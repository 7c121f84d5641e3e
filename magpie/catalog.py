"""All tables of all products, by name, and the macros that SQL over them knows.

Belongs here: the lists, and nothing else. Does not belong here: declarations (beside each product's rules).
"""

from magpie.content.tables import TABLES as CONTENT
from magpie.leads.tables import TABLES as LEADS
from magpie.llm.tables import TABLES as SPEND
from magpie.memes.tables import TABLES as MEMES
from magpie.persona.tables import TABLES as PERSONA
from magpie.tables import Table
from magpie.videos.search import MACROS as VIDEO_MACROS
from magpie.videos.tables import TABLES as VIDEOS
from magpie.warehouse import Macro

TABLES: dict[str, Table] = {table.name: table for table in (*LEADS, *VIDEOS, *MEMES, *CONTENT, *PERSONA, *SPEND)}
MACROS: tuple[Macro, ...] = VIDEO_MACROS
