"""Count the round trips of a connection to PostgreSQL, by a proxy that sees what is sent."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections


class CountingProxy:
    """A local port that forwards to PostgreSQL, and counts how often a client waited for an answer.

    Attributes:
        port: the port.
        round_trips: how often the client has sent something after it had got an answer.
        loses_answer_to: what a client sends when its connection ends before the answer arrives, once.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._host, self._server_port = str(settings["HOST"]), int(settings["PORT"] or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        self.loses_answer_to: bytes | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close the port and every connection."""
        _close(*self._ends)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                self._ends += [client, server]
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host or "127.0.0.1", self._server_port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._server_port}")
        return server

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        is_answered, is_lost = True, False
        with contextlib.suppress(OSError, ValueError):
            while not is_lost:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    if not (data := source.recv(65_536)):
                        is_lost = True
                    elif source is client:
                        self.round_trips += is_answered
                        is_answered = False
                        server.sendall(data)
                        if self.loses_answer_to is not None and self.loses_answer_to in data:
                            self.loses_answer_to = None
                            server.recv(65_536)
                            is_lost = True
                    else:
                        is_answered = True
                        client.sendall(data)
        _close(client, server)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextlib.contextmanager
def counted(alias: str, **options: Any) -> Iterator[CountingProxy]:
    """Let this thread use a kept connection through a counting proxy.

    Args:
        alias: the alias of the database.
        options: `OPTIONS` of the connection.
    """
    usual, ends = connections[alias], (request_started, request_finished)
    proxy = CountingProxy(usual.settings_dict)
    through = usual.copy()
    through.settings_dict |= {"HOST": "127.0.0.1", "PORT": proxy.port}
    through.settings_dict["OPTIONS"] |= options
    connections[alias] = through
    for end in ends:
        end.disconnect(close_old_connections)
    try:
        through.ensure_connection()
        yield proxy
    finally:
        for end in ends:
            end.connect(close_old_connections)
        connections[alias] = usual
        with contextlib.suppress(Exception):
            through.close()
        proxy.cut()
