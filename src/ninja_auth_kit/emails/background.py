"""Jobs that wait for the commit and then run in a thread, some time after the answer has left.

When a job runs must not tell what it is about: whoever keeps a connection to this process sees its work as slowness.
So the moment is random, and a job about nobody does as much work as one about somebody.
"""

import atexit
import heapq
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from itertools import count

from django.core import mail
from django.db import connections, transaction
from django.utils import translation

logger = logging.getLogger("ninja_auth_kit.emails")

Job = Callable[[], None]

THREADS = 2
MAXIMUM_WAITING = 10_000
DELAY = (0.1, 1.5)  # seconds


def after_answer(job: Job, *, using: str) -> None:
    """Run a job after the commit and after the answer. A failure is logged, without its text: it may name an address.

    In Django's test environment, the one that has a `mail.outbox`, the job runs right after the commit, so that the
    outbox is filled when the answer is there.

    Args:
        job: takes nothing, and may fail.
        using: the alias of the database whose commit counts.
    """
    language = translation.get_language()

    def run() -> None:
        with translation.override(language):
            _attempt(job)

    transaction.on_commit(lambda: _start(run), using=using, robust=True)


def flush(timeout: float = 10) -> bool:
    """Run what waits without waiting for its moment, `timeout` seconds at most; tell whether all is done."""
    return _queue(os.getpid()).flush(timeout)


class _Queue:
    """The jobs of one process, each with its moment, and the threads that run them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Job]] = []  # a heap: the next to run comes first
        self._numbers = count()
        self._running = 0
        self._hurry = False
        self._started = False

    def put(self, run: Job) -> None:
        """Run a job at a random moment soon, unless too many wait."""
        with self._changed:
            if len(self._waiting) >= MAXIMUM_WAITING:
                logger.error("A mail was dropped: %d are waiting. Is the mail server down?", len(self._waiting))
                return
            moment = time.monotonic() + random.uniform(*DELAY)  # noqa: S311  # jitter, not a secret
            heapq.heappush(self._waiting, (moment, next(self._numbers), run))
            self._start_threads()
            self._changed.notify()

    def flush(self, timeout: float) -> bool:
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._waiting and not self._running, timeout)
            finally:
                self._hurry = False

    def _start_threads(self) -> None:
        if self._started:
            return
        self._started = True
        atexit.register(self.flush, 10)
        for number in range(THREADS):
            threading.Thread(target=self._work, name=f"ninja_auth_kit-mail-{number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            run = self._next()
            try:
                run()
            finally:
                connections.close_all()
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> Job:
        with self._changed:
            while True:
                pause = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if pause is not None and (pause <= 0 or self._hurry):
                    self._running += 1
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(pause)


_queues: dict[int, _Queue] = {}


def _queue(process_id: int) -> _Queue:
    """Return this process's queue; a forked worker gets its own. Not a cache: two threads must not get two."""
    return _queues.get(process_id) or _queues.setdefault(process_id, _Queue())


def _start(run: Job) -> None:
    if hasattr(mail, "outbox"):
        run()
    else:
        _queue(os.getpid()).put(run)


def _attempt(job: Job) -> None:
    try:
        job()
    except Exception as error:
        kind = type(error).__name__
        logger.error(
            "A mail could not be sent: %s. What it was about stands; it can be asked for again. "
            "Is the mail server of Django's settings there?",
            kind,
        )
