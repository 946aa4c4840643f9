"""The socket that HTTP connections come through: so many at once, and of them so many from one network."""

from __future__ import annotations

import socket
from weakref import ref

from mimeportal import limits
from mimeportal_server.door import network_of


class Listener(socket.socket):
    """Bounds connections before TLS is spoken: whoever only connects, and says nothing, counts like all others."""

    __slots__ = ("_open",)

    def __init__(self, listening: socket.socket) -> None:
        """Take the place of a listening socket."""
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._open: list[tuple[str, ref[socket.socket]]] = []

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, peer = super().accept()
        network = network_of(peer[0])
        if not self._has_room(network):
            connection.close()
            raise ConnectionAbortedError  # for an event loop it never came
        self._open.append((network, ref(connection)))
        return connection, peer

    def _has_room(self, network: str) -> bool:
        if len(self._open) >= min(limits.HTTP_CONNECTIONS_FROM_ONE, limits.HTTP_CONNECTIONS):
            self._open = [entry for entry in self._open if _is_open(entry[1])]
        from_one = sum(known == network for known, _ in self._open)
        return len(self._open) < limits.HTTP_CONNECTIONS and from_one < limits.HTTP_CONNECTIONS_FROM_ONE


def _is_open(known: ref[socket.socket]) -> bool:
    connection = known()
    return connection is not None and connection.fileno() != -1
