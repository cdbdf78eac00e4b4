"""The project that `benchmarks.hops` measures: settings, a temporary database, URLs, a broker."""

import os
import socket
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import count
from queue import SimpleQueue
from typing import Any
from unittest.mock import patch

import django
import pika
from django.test import override_settings
from django.test.utils import setup_databases, teardown_databases
from pika.frame import Method
from pika.spec import Basic

import ninja_auth_kit

BROKER = (os.environ.get("RABBITMQ_HOST", "127.0.0.1"), int(os.environ.get("RABBITMQ_PORT", "5672")))
NAME = f"hops-{os.getpid()}"  # of the database, the URLconf and the exchange
EXCHANGE = f"{NAME}.events"
EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"


@contextmanager
def project() -> Iterator[None]:
    """Set up Django, a database with one user, and the URLs."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = f"test_{NAME}"
    sys.modules[NAME] = urls()
    kit = {"BASE_URL": "https://example.com", "AUDIT_EXCHANGE": EXCHANGE}
    settings = {"ROOT_URLCONF": NAME, "RABBITMQ_HOST": BROKER[0], "RABBITMQ_PORT": BROKER[1], "NINJA_AUTH_KIT": kit}
    without_jobs = patch.object(import_module("ninja_auth_kit.emails.background"), "_start", lambda _: None)
    with override_settings(**settings), without_jobs:
        databases = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
        try:
            create_user()
            yield
        finally:
            teardown_databases(databases, verbosity=0)


def urls() -> types.ModuleType:
    """Return a URLconf with the kit and with an API that has a guarded route."""
    from django.urls import include, path
    from ninja import NinjaAPI

    api = NinjaAPI(urls_namespace=NAME)

    @api.get("/guarded", auth=ninja_auth_kit.JWTAuth())
    def guarded(request: Any) -> dict[str, str]:
        return {"user": str(request.user.pk)}

    module = types.ModuleType(NAME)
    module.urlpatterns = [path("auth/", include("ninja_auth_kit.urls")), path("", api.urls)]  # type: ignore[attr-defined]
    return module


def create_user() -> None:
    """Create a user with a verified address."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from ninja_auth_kit.models import EmailAddress

    user = User.objects.create_user("ada", EMAIL, PASSWORD)
    EmailAddress.objects.create(user=user, email=EMAIL, canonical=EMAIL, verified_at=timezone.now())


@contextmanager
def broker() -> Iterator[None]:
    """Delete what the relay declares at the broker, or replace a broker that does not respond."""
    try:
        socket.create_connection(BROKER, timeout=5).close()
    except OSError:
        print("{}:{} does not answer; the relay uses a substitute.".format(*BROKER), file=sys.stderr)
        with _replaced():
            yield
        return
    try:
        yield
    finally:
        connection = pika.BlockingConnection(pika.ConnectionParameters(*BROKER))
        connection.channel().queue_delete(f"{NAME}.audit")
        connection.channel().exchange_delete(EXCHANGE)
        connection.close()


@contextmanager
def _replaced() -> Iterator[None]:
    """Replace pika's connection in each module of the kit that has imported it."""
    import_module("ninja_auth_kit.management.commands.authkit_relay")
    modules = [module for name, module in sys.modules.items() if name.startswith("ninja_auth_kit.")]
    with ExitStack() as stack:
        for module in modules:
            if "SelectConnection" in vars(module):
                stack.enter_context(patch.object(module, "SelectConnection", Substitute))
        yield


class Substitute:
    """A connection, channel and I/O loop that accepts declarations and confirms every message."""

    is_open = True

    def __init__(self, _: object, *, on_open_callback: Any, on_close_callback: Any, **__: object) -> None:
        self.ioloop = self
        self._on_close = on_close_callback
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._tags = count(1)
        self._answered: Callable[[Any], None]
        self.add_callback_threadsafe(lambda: on_open_callback(self))

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method that succeeds at once, for declarations and for unused callbacks."""
        return lambda *_, callback=None, **__: callback(None) if callback else None

    def add_callback_threadsafe(self, callback: Callable[[], object] | None) -> None:
        self._calls.put(callback)

    def start(self) -> None:
        while call := self._calls.get():
            call()

    def stop(self) -> None:
        self._calls.put(None)

    def channel(self, *, on_open_callback: Any) -> None:
        on_open_callback(self)

    def confirm_delivery(self, answered: Any, *, callback: Any) -> None:
        self._answered = answered
        callback(None)

    def basic_publish(self, *_: object, **__: object) -> None:
        confirm = Method(1, Basic.Ack(next(self._tags)))
        self._calls.put(lambda: self._answered(confirm))

    def close(self) -> None:
        self._on_close(self, ConnectionError("closed"))
