"""A small SMTP server for the tests: it keeps the envelopes of what it gets."""

import socketserver
import threading
from typing import Any

import django
from pytest_django import Settings


class SMTPServer:
    """Accept mails on a port of 127.0.0.1 in a thread, and keep the recipients of each."""

    def __init__(self) -> None:
        self.recipients: list[str] = []
        self.messages: list[str] = []
        keep = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                keep._talk(self.rfile, self.wfile)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _talk(self, lines: Any, answers: Any) -> None:
        """Speak as much of RFC 5321 as Python's smtplib needs."""
        answers.write(b"220 tests\r\n")
        for line in lines:
            command = line.decode().strip()
            verb = command[:4].upper()
            if verb == "RCPT":
                self.recipients.append(command.partition(":")[2].strip("<> "))
            if verb == "DATA":
                answers.write(b"354 go on\r\n")
                self.messages.append(b"".join(iter(lines.readline, b".\r\n")).decode())
            answers.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")

    def use(self, settings: Settings) -> None:
        """Make Django send its emails to this server."""
        backend = "django.core.mail.backends.smtp.EmailBackend"
        if django.VERSION >= (6, 1):
            options = {"host": "127.0.0.1", "port": self.port}
            settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
            return
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", self.port

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
