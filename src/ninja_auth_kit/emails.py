"""The kit's mails: rendering, links, and delivery after the answer.

A mail never goes out inside a transaction or inside a request: the answer must not take longer for an address that
somebody has (CVE-2024-45231), and a slow mail server must not hold a worker. So a job waits for the commit and then
runs in a thread, a moment after the answer has left.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, get_resolver, reverse
from django.utils import translation

from ninja_auth_kit.conf import settings

logger = logging.getLogger("ninja_auth_kit.emails")

MAXIMUM_WAITING = 1000
# Long enough for the answer to be on its way, so that the work for a known address does not slow its own answer.
HEAD_START = (0.1, 0.2)

OWN_NAMESPACE = "ninja_auth_kit"  # of `include("ninja_auth_kit.urls")`
# The namespaces of the NinjaAPIs that carry the kit's pages; `install` adds to them.
page_namespaces: list[str] = []


def send(template: str, *, to: str, context: Mapping[str, Any]) -> None:
    """Render `ninja_auth_kit/email/<template>_{subject.txt,message.txt,message.html}` and send it.

    Raises:
        Exception: whatever the mail backend raises.
    """
    path = f"ninja_auth_kit/email/{template}"
    subject = " ".join(render_to_string(f"{path}_subject.txt", context).split())
    message = mail.EmailMultiAlternatives(subject, render_to_string(f"{path}_message.txt", context), to=[to])
    message.attach_alternative(render_to_string(f"{path}_message.html", context), "text/html")
    message.send()


def page_url(page: str) -> str:
    """Return the address of a page that takes a mailed token: the host's front end, or the kit's own page.

    Never built from the request, whose Host header the caller writes (OWASP, Forgot Password).

    Raises:
        ImproperlyConfigured: there is no `BASE_URL`, or no URL of the kit in the host's URLconf.
    """
    configured = settings.FRONTEND_URLS.get(page)
    if configured is not None:
        return configured
    if settings.BASE_URL is None:
        raise ImproperlyConfigured("Set NINJA_AUTH_KIT['BASE_URL'], scheme and host of the links in mails.")
    _ = get_resolver().url_patterns  # importing the URLconf makes the APIs tell their namespaces
    for namespace in sorted(page_namespaces, key=OWN_NAMESPACE.__ne__):  # the kit's own mount comes first
        try:
            return settings.BASE_URL + reverse(f"{namespace}:auth_{page}_page")
        except NoReverseMatch:  # this API is installed but not in the URLconf
            continue
    raise ImproperlyConfigured(f"Mount the kit's URLs, or set NINJA_AUTH_KIT['FRONTEND_URLS']['{page}'].")


def site_context() -> dict[str, str]:
    """Return what every mail may want to say: `site_url` and `site_name`, from `BASE_URL`."""
    base = settings.BASE_URL or ""
    return {"site_url": base, "site_name": urlsplit(base).netloc}


def after_answer(job: Callable[[], None], *, using: str) -> None:
    """Run a job after the commit and after the answer. A failure is logged, without its text: it may name an address.

    In Django's test environment, the one that has a `mail.outbox`, the job runs right after the commit, so that the
    outbox is filled when the answer is there.
    """
    language = translation.get_language()

    def run() -> None:
        with translation.override(language):
            _attempt(job)

    transaction.on_commit(lambda: _start(run), using=using, robust=True)


def flush(timeout: float = 10) -> bool:
    """Wait until the jobs that wait now are done, `timeout` seconds at most; tell whether they are."""
    return _queue(os.getpid()).flush(timeout)


class _Queue:
    """The jobs of one process, in threads of their own; so many and no more."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ninja_auth_kit-mail")
        self._waiting: set[Future[None]] = set()
        self._lock = threading.Lock()

    def put(self, run: Callable[[], None]) -> None:
        """Run a job soon, unless too many wait."""
        with self._lock:
            if len(self._waiting) >= MAXIMUM_WAITING:
                logger.error("A mail was dropped: %d are waiting. Is the mail server down?", len(self._waiting))
                return
            future = self._executor.submit(_in_thread, run)
            self._waiting.add(future)
        future.add_done_callback(self._done)

    def flush(self, timeout: float) -> bool:
        with self._lock:
            waiting = set(self._waiting)
        return not wait(waiting, timeout).not_done

    def _done(self, future: "Future[None]") -> None:
        with self._lock:
            self._waiting.discard(future)


_queues: dict[int, _Queue] = {}


def _queue(process_id: int) -> _Queue:
    """Return this process's queue; a forked worker gets its own. Not a cache: two threads must not get two."""
    return _queues.get(process_id) or _queues.setdefault(process_id, _Queue())


def _start(run: Callable[[], None]) -> None:
    if hasattr(mail, "outbox"):
        run()
    else:
        _queue(os.getpid()).put(run)


def _in_thread(run: Callable[[], None]) -> None:
    time.sleep(random.uniform(*HEAD_START))  # noqa: S311  # jitter, not a secret
    try:
        run()
    finally:
        connections.close_all()


def _attempt(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception as error:
        kind = type(error).__name__
        logger.error("A mail could not be sent: %s. What it was about stands; it can be asked for again.", kind)
