"""A mail server that accepts every message and remembers the recipients."""

import socketserver
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

from tests.private_broker import free_port


class MailServer:
    """Listens on a port of its own. While it is down, connections are refused."""

    def __init__(self) -> None:
        self.port = free_port()
        self.accepted: Counter[str] = Counter()
        self._server: socketserver.ThreadingTCPServer | None = None

    def start(self) -> None:
        """Accept messages from now on."""
        accepted = self.accepted

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(ConnectionError):
                    _converse(self.rfile, self.wfile, accepted)

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Listener(("127.0.0.1", self.port), Session)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _converse(lines: Any, replies: Any, accepted: Counter[str]) -> None:
    """Speak SMTP (RFC 5321) until the client quits."""
    recipients: list[str] = []
    replies.write(b"220 ready\r\n")
    while line := lines.readline():
        command = line.decode("utf-8", "replace").strip()
        match command.partition(" ")[0].upper():
            case "RCPT":
                recipients.append(command.partition("<")[2].partition(">")[0])
            case "DATA":
                replies.write(b"354 go ahead\r\n")
                while lines.readline() != b".\r\n":
                    pass
                accepted.update(recipients)
                recipients = []
            case "QUIT":
                replies.write(b"221 bye\r\n")
                return
        replies.write(b"250 ok\r\n")
