"""What all tables are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, ForeignKey, Integer, MetaData, Text

metadata = MetaData()

# Rows of these tables are deleted, and people hold ids of them: an id must never come to name another row.
NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}


def id_() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def text_(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, default="")


def number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, default=0)


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=False)


def to(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, Integer, ForeignKey(target), nullable=nullable)
