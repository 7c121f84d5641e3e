"""The dbt sources, derived from the catalogue of tables.

Belongs here: the text of `models/sources.yml`. Does not belong here: what the tables are (`magpie/catalog.py`).
`python -m dbt_project.sources` writes the file; it is kept in the repository, because dbt reads it and people do.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from magpie.catalog import TABLES
from magpie.tables import Table
from magpie.warehouse import SCHEMA, sql_type

SOURCES_FILE = Path(__file__).parent / "models" / "sources.yml"
HEADER = "# Written by `python -m dbt_project.sources` from magpie/catalog.py; change the tables there.\n"


def sources_yaml(tables: Iterable[Table]) -> str:
    """Return the sources file: one source, the schema of the lake's views, with every table and column."""
    source = {
        "name": SCHEMA,
        "schema": SCHEMA,
        "description": "Views over the newest snapshot of each table of the lake.",
        "tables": [_table(table) for table in tables],
    }
    body = yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=110)
    return HEADER + body


def _table(table: Table) -> dict[str, Any]:
    types = table.dtypes
    columns = [
        {"name": column["name"], "data_type": sql_type(types[column["name"]])}
        | ({"description": column["description"]} if column["description"] else {})
        for column in table.describe()
    ]
    return {"name": table.name, "description": table.description, "columns": columns}


def main() -> None:
    SOURCES_FILE.write_text(sources_yaml(TABLES.values()), "utf-8")
    sys.stdout.write(f"wrote {SOURCES_FILE.relative_to(Path(__file__).parent.parent)}: {len(TABLES)} tables\n")


if __name__ == "__main__":
    main()
