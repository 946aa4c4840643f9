"""Answers that go on for ever, a few octets at a time: they end, as silence does, by the timeout."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

from requests.adapters import HTTPAdapter

from mimeportal import limits


class _Steady(io.RawIOBase):
    """What comes from a socket. From its first octet on it is waited for the timeout in all, and longer as more come.

    A socket's own timeout begins anew with every octet. Only waiting counts, not what a reader does in between.
    """

    _begun = False

    def __init__(self, raw: Any, seconds: float | None) -> None:
        self._raw = raw
        self._left = seconds

    def readinto(self, buffer: Any) -> int | None:
        asked = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        if self._left is not None and self._begun:
            self._left += (count or 0) / limits.SLOWEST - (time.monotonic() - asked)
            if self._left < 0:
                raise TimeoutError("timed out")
        self._begun = True
        return count

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = io.BufferedReader(_Steady(self.fp.detach(), sock.gettimeout()))


class SteadyAdapter(HTTPAdapter):
    """The adapter of requests over such connections, through a proxy too."""

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        _use(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **named: Any) -> Any:
        manager = super().proxy_manager_for(*args, **named)
        _use(manager)
        return manager


def _use(manager: Any) -> None:
    manager.pool_classes_by_scheme = {
        scheme: pool if pool.ConnectionCls.response_class is _Answer else _steady(pool)
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _steady(pool: Any) -> Any:
    """A class of connection pools as this one is, whose connections answer so."""
    connection = type("SteadyConnection", (pool.ConnectionCls,), {"response_class": _Answer})
    return type("SteadyPool", (pool,), {"ConnectionCls": connection})
