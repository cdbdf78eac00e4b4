"""`manage.py authkit_tail`: print the audit events as they arrive."""

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
from ninja_auth_kit.management.cli import ignore_broken_pipe, positive_integer, positive_seconds


class Command(BaseCommand):
    """Print the events as they arrive."""

    help = (
        "Print the audit events as they arrive from RabbitMQ, one line for each: time, routing key, user, reason and "
        "IP address. It reads from a temporary queue of its own, so consumers still receive every event. End it with "
        "Ctrl-C. --no-color or the environment variable NO_COLOR turns colors off."
    )
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the pattern, --json, --count and --timeout."""
        parser.add_argument(
            "pattern",
            nargs="?",
            default="auth.#",
            help="pattern of routing keys, in which * matches one word and # any number of words, such as "
            "'auth.session.#' or 'auth.*.*.failure' (default: %(default)s)",
        )
        parser.add_argument(
            "--json", action="store_true", help="print each event as it was sent, one JSON object per line"
        )
        parser.add_argument("--count", type=positive_integer, metavar="N", help="end after this number of events")
        parser.add_argument("--timeout", type=positive_seconds, metavar="SECONDS", help="end after this time")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print events until one of the limits is reached."""
        configured = broker()
        if configured is None:
            raise CommandError(
                "No broker is configured to read from. Set RABBITMQ_HOST. Until then, events are only logged."
            )
        if os.environ.get("NO_COLOR"):
            self.style = no_style()
        try:
            with ignore_broken_pipe(self.stdout):
                self._show(configured, options)
        except KeyboardInterrupt:
            self.stdout.write("")
        except BrokerError as error:
            is_missing = f"the exchange {settings.AUDIT_EXCHANGE!r} does not exist" in str(error)
            hint = " A relay declares it when it connects." if is_missing else ""
            raise CommandError(f"{error}{hint}") from error

    def _show(self, configured: Broker, options: dict[str, Any]) -> None:
        shown, end = 0, time.monotonic() + (options["timeout"] or float("inf"))
        arriving = tail(
            _urls(configured),
            options["pattern"],
            exchange=settings.AUDIT_EXCHANGE,
            pause=0.2,
            timeout=options["timeout"],
            tls=configured.tls,
        )
        for arrived in arriving:
            if arrived is not None:
                self.stdout.write(arrived[1].decode(errors="replace") if options["json"] else self._line(*arrived))
                self.stdout.flush()
                shown += 1
            if shown == options["count"] or time.monotonic() > end:
                return

    def _line(self, key: str, body: bytes) -> str:
        """Return an event as one line. A message that is not an event gets a line too."""
        try:
            event = json.loads(body)
            data = event["data"]
            words = [event["time"][11:23], f"{key:<38}", event.get("subject") or "unknown user"]
            words += [data.get("reason"), data["client"].get("ip"), data.get("count") and f"{data['count']} times"]
        except (ValueError, TypeError, LookupError, AttributeError):
            return _printable(f"{key}: not an event of the kit, {len(body)} bytes")
        paint = self.style.ERROR if key.endswith(".failure") else self.style.SUCCESS
        time_of_day, routing_key, *rest = filter(None, (_printable(str(word or "")) for word in words))
        return "  ".join([time_of_day, paint(routing_key), *rest])


def _printable(text: str) -> str:
    """Replace control characters, which a terminal would execute."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _urls(configured: Broker) -> list[str]:
    scheme = "amqps" if configured.tls else "amqp"
    user, password, vhost = (quote(text, safe="") for text in (configured.user, configured.password, configured.vhost))
    return [f"{scheme}://{user}:{password}@{address}/{vhost}" for address in configured.addresses]
