"""Configure the Django project of a contender without files, and send requests to it."""

import io
import logging
import sys
import types
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.peers.contender import Contender, Request

HASHERS = {
    "cheap": "django.contrib.auth.hashers.MD5PasswordHasher",
    "default": "django.contrib.auth.hashers.PBKDF2PasswordHasher",
}
Call = Callable[[Request], tuple[int, bytes]]


def start(contender: Contender, *, database_url: str, hasher: str) -> Call:
    """Configure Django, migrate, create the user, and return a function that sends a request."""
    from django.core.management import call_command

    configure(contender, database_url=database_url, hasher=hasher)
    call_command("migrate", verbosity=0)
    contender.prepare()
    application = application_of(contender)
    return lambda request: call(application, request)


def configure(contender: Contender, *, database_url: str, hasher: str, **database: Any) -> None:
    """Configure Django for a contender.

    Args:
        contender: the contender.
        database_url: the URL of its database.
        hasher: a key of HASHERS.
        database: more settings of the database.
    """
    import django
    from django.conf import settings

    shared = common(database_url, hasher)
    shared["DATABASES"]["default"] |= database
    settings.configure(**{**shared, **own(contender)})
    django.setup()
    # allauth answers a logout with a 401.
    logging.getLogger("django.request").addHandler(logging.NullHandler())


def application_of(contender: Contender) -> Any:
    """Return the WSGI application of a contender. Django must be configured."""
    from django.core.wsgi import get_wsgi_application

    set_urls(contender)
    return get_wsgi_application()


def set_urls(contender: Contender) -> None:
    """Let ROOT_URLCONF have the URLs of a contender."""
    urls = types.ModuleType("benchmark_urls")
    urls.urlpatterns = contender.urlpatterns()  # type: ignore[attr-defined]
    sys.modules["benchmark_urls"] = urls


def common(database_url: str, hasher: str) -> dict[str, Any]:
    """Return the settings that all contenders share."""
    url = urlsplit(database_url)
    return {
        "SECRET_KEY": "of the benchmark, 0123456789abcdefghijklmnopqrstuvwxyz",
        "DEBUG": False,
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": "benchmark_urls",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "PASSWORD_HASHERS": [HASHERS[hasher]],
        "MIDDLEWARE": [],
        "LOGGING_CONFIG": None,
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.path.lstrip("/"),
                "USER": unquote(url.username or ""),
                "PASSWORD": unquote(url.password or ""),
                "HOST": parse_qs(url.query).get("host", [url.hostname or ""])[0],
                "PORT": url.port or "",
                "CONN_MAX_AGE": 600,
            }
        },
    }


def own(contender: Contender) -> dict[str, Any]:
    """Return the settings of one contender."""
    apps = ["django.contrib.auth", "django.contrib.contenttypes", *contender.apps]
    return {"INSTALLED_APPS": apps, **contender.settings}


def call(application: Any, request: Request) -> tuple[int, bytes]:
    """Send a request to a WSGI application as a server does, without a socket."""
    data, said = request.data, []
    environ = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7",
        "HTTP_USER_AGENT": "benchmark",
        "CONTENT_TYPE": request.content_type,
        "CONTENT_LENGTH": str(len(data)) if data else "",
        "wsgi.input": io.BytesIO(data),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    answer = application(environ, lambda status, headers, *_: said.append(status))
    body = b"".join(answer)
    answer.close()
    return int(said[0][:3]), body
