"""All tables of all products, by name.

Belongs here: the list, and nothing else. Does not belong here: declarations (beside each product's rules).
"""

from magpie.leads.tables import TABLES as LEADS
from magpie.llm.tables import TABLES as SPEND
from magpie.tables import Table
from magpie.videos.tables import TABLES as VIDEOS

TABLES: dict[str, Table] = {table.name: table for table in (*LEADS, *VIDEOS, *SPEND)}
