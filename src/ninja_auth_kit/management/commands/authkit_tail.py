"""`manage.py authkit_tail`: the audit events, as they arrive."""

import json
import os
import time
from argparse import ArgumentParser
from typing import Any
from urllib.parse import quote

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import no_style

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.conf import Broker, broker, settings
from ninja_auth_kit.consumer import tail
from ninja_auth_kit.management.cli import count, ignore_broken_pipe, seconds


class Command(BaseCommand):
    """Show the events."""

    help = (
        "Show the audit events as they arrive from RabbitMQ, a line each: when, what, of whom, why, from where. It "
        "reads through a queue of its own, which is gone with it, so it takes nothing away from anybody. Ctrl-C ends "
        "it. NO_COLOR and --no-color leave the colours out."
    )
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to show, how, and how much of it."""
        parser.add_argument(
            "pattern",
            nargs="?",
            default="auth.#",
            help="which routing keys: * is one word, # any number of them, such as 'auth.session.#' or "
            "'auth.*.*.failure' (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print each event as it is, one JSON object a line")
        parser.add_argument("--count", type=count, metavar="N", help="end after so many events")
        parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="end after so long")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show until told to stop."""
        configured = broker()
        if configured is None:
            raise CommandError("There is no broker to read from: set RABBITMQ_HOST. Events are on the logger for now.")
        if os.environ.get("NO_COLOR"):
            self.style = no_style()
        try:
            with ignore_broken_pipe(self.stdout):
                self._show(configured, options)
        except KeyboardInterrupt:
            self.stdout.write("")
        except BrokerError as error:
            is_missing = f"the exchange {settings.AUDIT_EXCHANGE!r} does not exist" in str(error)
            hint = " The exchange is there once a relay has declared it." if is_missing else ""
            raise CommandError(f"{error}{hint}") from error

    def _show(self, configured: Broker, options: dict[str, Any]) -> None:
        shown, end = 0, time.monotonic() + (options["timeout"] or float("inf"))
        arriving = tail(
            _urls(configured),
            options["pattern"],
            exchange=settings.AUDIT_EXCHANGE,
            pause=0.2,
            timeout=options["timeout"],
        )
        for arrived in arriving:
            if arrived is not None:
                self.stdout.write(arrived[1].decode(errors="replace") if options["json"] else self._line(*arrived))
                self.stdout.flush()
                shown += 1
            if shown == options["count"] or time.monotonic() > end:
                return

    def _line(self, key: str, body: bytes) -> str:
        """Return an event in one line; what is none is shown as one, too."""
        try:
            event = json.loads(body)
            data = event["data"]
            words = [event["time"][11:23], f"{key:<38}", event.get("subject") or "nobody known"]
            words += [data.get("reason"), data["client"].get("ip"), data.get("count") and f"{data['count']} times"]
        except (ValueError, TypeError, LookupError, AttributeError):
            return _harmless(f"{key}: no event of the kit, {len(body)} bytes")
        paint = self.style.ERROR if key.endswith(".failure") else self.style.SUCCESS
        when, what, *rest = filter(None, (_harmless(str(word or "")) for word in words))
        return "  ".join([when, paint(what), *rest])


def _harmless(text: str) -> str:
    """Leave out what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _urls(configured: Broker) -> list[str]:
    scheme = "amqps" if configured.tls else "amqp"
    user, password, vhost = (quote(text, safe="") for text in (configured.user, configured.password, configured.vhost))
    hosts = (f"[{host}]" if ":" in host else host for host in configured.hosts)
    return [f"{scheme}://{user}:{password}@{host}:{configured.port}/{vhost}" for host in hosts]
