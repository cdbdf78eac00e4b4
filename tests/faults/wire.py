"""A proxy between a process and a server, whose connections can be cut and blocked."""

import contextlib
import socket
import threading

from tests.private_broker import free_port


class Wire:
    """A local port that forwards to a server.

    Args:
        target: the path of a Unix socket, or a local port.
    """

    def __init__(self, target: str | int) -> None:
        self.target = target
        self.port = free_port()
        self._flowing = threading.Event()
        self._flowing.set()
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None

    def mend(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def block(self) -> None:
        """Forward nothing and close nothing, like a firewall that has lost its connections."""
        self._flowing.clear()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        if self._listener and self._accepting:
            _close(self._listener)
            self._accepting.join()  # or a connection that it has just accepted would survive
        for end in self._ends:
            _close(end)
        self._ends.clear()
        self._listener = None
        self._flowing.set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = self._connect()
                self._ends += [client, server]
                for source, goal in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, goal), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self.target, int):
            return socket.create_connection(("127.0.0.1", self.target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.target)
        return server

    def _pump(self, source: socket.socket, goal: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flowing.wait()
                goal.sendall(data)
        _close(source)
        _close(goal)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
