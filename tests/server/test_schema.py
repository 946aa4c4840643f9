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
        "aea04033f643631664f83ae4d0f4852d8e55aff0c6f0ca6af62e8d27842c42bb",
    )
