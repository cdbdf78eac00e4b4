"""Requests to providers. A provider may be dead, slow or hostile, so each has a limit of time and of size.

Redirects are not followed, proxies of the environment are not used, and an answer is not decompressed.
"""

import contextlib
import logging
import socket
import threading
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from django.views.decorators.debug import sensitive_variables
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout
from urllib3.util.ssl_ import create_urllib3_context

from ninja_auth_kit.contrib.oidc.exceptions import ProviderUnavailableError
from ninja_auth_kit.contrib.oidc.providers import is_safe_url

SECONDS = 9.0  # for all requests to a provider in one request of a client
MAXIMUM_SIZE = 256 * 1024

# A slow provider must not hold all threads of a process, nor one thread all the time: the rest of the site needs them.
AT_ONCE = 4  # requests to one host
WAIT = 2.0  # seconds for one of them to end
PAUSE = 20.0  # seconds in which nothing is sent to a host that has not answered in time

_CONNECT = 3.0  # seconds for each address of the host

logger = logging.getLogger("ninja_auth_kit.oidc")


class Deadline:
    """The time until which a provider must have answered."""

    def __init__(self) -> None:
        self._until = time.monotonic() + SECONDS

    def left(self) -> float:
        """Return how many seconds are left."""
        return self._until - time.monotonic()


@dataclass(frozen=True)
class ProviderRequest:
    """A request to a provider: a POST with the fields of a form, or a GET without.

    Attributes:
        url: an address that `providers.is_safe_url` accepts.
        fields: the fields of a form, or None for a GET.
        credentials: the client id and the secret for HTTP Basic (RFC 6749 section 2.3.1), or None.
        bearer: an access token of the provider, or None.
        ca_file: the certificate authorities, or None for those of the system.
    """

    url: str
    fields: Mapping[str, str] | None = field(default=None, repr=False)
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers. Without `Accept`, GitHub answers with a form."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "django-ninja-auth-kit"}
        if self.fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if self.credentials is not None:
            pair = ":".join(quote(part, safe="") for part in self.credentials)
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        if self.bearer is not None:
            headers["Authorization"] = f"Bearer {self.bearer}"
        return headers


@dataclass(frozen=True)
class ProviderAnswer:
    """The status and the body of an answer."""

    status: int
    body: bytes = field(repr=False)


class _UnusableAnswerError(Exception):
    """The answer is too large or compressed."""


class _Host:
    """What is known about a host: how many requests to it are running, and until when it has a pause."""

    def __init__(self) -> None:
        self.free = threading.BoundedSemaphore(AT_ONCE)
        self.paused_until = 0.0

    @contextmanager
    def slot(self, deadline: Deadline) -> Iterator[None]:
        """Hold one of the few requests that may run at the same time."""
        wait = min(WAIT, deadline.left())
        if wait <= 0 or time.monotonic() < self.paused_until or not self.free.acquire(timeout=wait):
            raise ProviderUnavailableError
        try:
            # A request that has waited knows what has happened meanwhile.
            if time.monotonic() < self.paused_until:
                raise ProviderUnavailableError
            yield
        finally:
            self.free.release()


_hosts: defaultdict[str, _Host] = defaultdict(_Host)


def end_pauses() -> None:
    """Send to all providers again. Tests call this."""
    _hosts.clear()


@sensitive_variables()
def send(request: ProviderRequest, deadline: Deadline) -> ProviderAnswer:
    """Return the answer to a request.

    It is sent in a thread of its own. The time-outs of a socket begin anew with each byte, and looking a name up has
    none. So when the time is over, the caller goes on, and the connection is closed.

    Raises:
        ProviderUnavailableError: the address is not safe; there is no answer in time, or there was none to a request
            shortly before; too many requests are waiting for one; or it is a redirect, an error of the server, or too
            large.
    """
    if not is_safe_url(request.url):  # it would show the secret of the client
        logger.error("The address of the provider at %s is not https.", urlsplit(request.url).hostname)
        raise ProviderUnavailableError
    host = _hosts[urlsplit(request.url).netloc]
    exchange = _Exchange(request, deadline)
    thread = threading.Thread(target=exchange.run, name="ninja_auth_kit-provider", daemon=True)
    with host.slot(deadline):
        thread.start()
        thread.join(max(0.0, deadline.left()))
        if thread.is_alive():
            exchange.abort()
            host.paused_until = time.monotonic() + PAUSE
    answer, failure = exchange.answer, exchange.failure
    if answer is None or not (answer.status == 200 or 400 <= answer.status < 500) or answer.status == 429:
        what = failure or ("no answer in time" if answer is None else f"status {answer.status}")
        logger.error("The provider %s did not answer as expected: %s.", urlsplit(request.url).hostname, what)
        raise ProviderUnavailableError
    return answer


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: ProviderRequest, deadline: Deadline) -> None:
        self._request, self._deadline = request, deadline
        self._sockets: list[socket.socket] = []
        self._is_aborted = False
        self.answer: ProviderAnswer | None = None
        self.failure = ""

    def run(self) -> None:
        """Send the request. Only the kind of a failure is kept: its text may have the address of a query."""
        try:
            self.answer = self._send()
        except Exception as error:
            self.failure = type(error).__name__
        finally:
            for one in self._sockets:
                one.close()

    def abort(self) -> None:
        """Close the connection, so that the thread ends."""
        self._is_aborted = True
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def watch(self, opened: socket.socket) -> None:
        """Keep a second handle of a connection: after a TLS handshake has begun, the first one is not its own."""
        self._sockets.append(opened.dup())
        if self._is_aborted:
            self.abort()

    def _send(self) -> ProviderAnswer:
        request, parts = self._request, urlsplit(self._request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        body = None if request.fields is None else urlencode(request.fields)
        with _pool(parts, request.ca_file, self) as pool:
            response = pool.urlopen(
                "GET" if body is None else "POST",
                target,
                body=body,
                headers=request.headers(),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=min(_CONNECT, self._left()), read=self._left()),
            )
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise _UnusableAnswerError
            data = response.read(MAXIMUM_SIZE + 1)
            if len(data) > MAXIMUM_SIZE:
                raise _UnusableAnswerError
            return ProviderAnswer(response.status, data)

    def _left(self) -> float:
        return max(0.1, self._deadline.left())


def _pool(parts: Any, ca_file: str | None, exchange: _Exchange) -> urllib3.HTTPConnectionPool:
    if parts.scheme == "https":
        secure = urllib3.HTTPSConnectionPool(parts.hostname, parts.port, ssl_context=_context(ca_file))
        secure.ConnectionCls = _watched(HTTPSConnection, exchange)
        return secure
    pool = urllib3.HTTPConnectionPool(parts.hostname, parts.port)
    pool.ConnectionCls = _watched(HTTPConnection, exchange)
    return pool


def _watched(kind: Any, exchange: _Exchange) -> Any:
    class Watched(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            opened: socket.socket = super()._new_conn()
            exchange.watch(opened)
            return opened

    return Watched


@lru_cache(maxsize=16)
def _context(ca_file: str | None) -> Any:
    """Return the TLS context for some certificate authorities. Loading those of the system takes a while."""
    context = create_urllib3_context()
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context
