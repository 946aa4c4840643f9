"""The tables and their number belong together."""

from __future__ import annotations

import hashlib

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from mimeportal_server.store.schema import SCHEMA, WORDS, metadata


def test_other_tables_have_another_number() -> None:
    """When this fails: raise SCHEMA, so that homes with the earlier tables are refused, and pin both anew."""
    dialect = sqlite.dialect()
    statements = [WORDS]
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    tables = "\n".join(" ".join(statement.split()) for statement in statements)
    assert (SCHEMA, hashlib.sha256(tables.encode()).hexdigest()) == (
        4,
        "0aebc512d1a6f14e117debed080e17c49365f597675b707b13280d834b03bfc7",
    )
