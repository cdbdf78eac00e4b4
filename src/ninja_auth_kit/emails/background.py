"""Jobs that run in a thread, after the commit and a random time after the response.

A job is the first attempt to send a promised email. The email is a row in the database: if the process ends before the
job has run, another process sends it (see `services/promised_emails.py`).

A job must not reveal whether an account exists. An attacker who sends requests to the same process can measure when
the process is busy. So each job starts after a random delay, and a job for an address without an account does as much
work as one for an address that has an account.
"""

import atexit
import heapq
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count

from django.core import mail
from django.db import connections, transaction

from ninja_auth_kit.connection_state import in_this_thread, in_thread

logger = logging.getLogger("ninja_auth_kit.emails")

Job = Callable[[], None]

THREADS = 2
MAXIMUM_WAITING = 10_000  # jobs
DELAY = (0.1, 1.5)  # seconds, at least and at most

# Not that of the module `random`: tests of your project may seed it, and other threads must not use its numbers up.
_jitter = random.Random()  # noqa: S311  # not a secret


def after_answer(job: Job, *, using: str) -> None:
    """Run a job after the commit and after the response.

    Its connection has the state that the connection of this thread has now, such as the schema of a tenant.

    In tests, which are recognized by `mail.outbox`, the job runs immediately after the commit, so that the outbox is
    complete when the response arrives.

    Args:
        job: a callable without arguments.
        using: the alias of the database whose commit starts the job.
    """
    # Now and not after the commit, which ends what was set for the transaction.
    with_state = in_this_thread if _is_test_run() else in_thread
    run = with_state(job, using=using)
    transaction.on_commit(lambda: _start(partial(_run_and_log, run)), using=using, robust=True)


def flush(timeout: float = 10) -> bool:
    """Run all waiting jobs without their delay. Return whether they are done within `timeout` seconds."""
    return _queue(os.getpid()).flush(timeout)


class _Queue:
    """The jobs of one process, each with the time at which it starts, and the threads that run them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Job]] = []  # a heap: the next job comes first
        self._numbers = count()
        self._running = 0
        self._is_flushing = False
        self._is_started = False

    def put(self, run: Job) -> None:
        """Add a job that starts after a random delay. If too many jobs are waiting, leave the email to its row."""
        with self._changed:
            if len(self._waiting) >= MAXIMUM_WAITING:
                return
            start = time.monotonic() + _jitter.uniform(*DELAY)
            heapq.heappush(self._waiting, (start, next(self._numbers), run))
            self._start_threads()
            self._changed.notify()

    def flush(self, timeout: float) -> bool:
        with self._changed:
            self._is_flushing = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._waiting and not self._running, timeout)
            finally:
                self._is_flushing = False

    def _start_threads(self) -> None:
        if self._is_started:
            return
        self._is_started = True
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
                if pause is not None and (pause <= 0 or self._is_flushing):
                    self._running += 1
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(pause)


_queues: dict[int, _Queue] = {}  # by process id, because a forked worker needs threads of its own


def _queue(process_id: int) -> _Queue:
    """Return the queue of a process. `functools.cache` could return two queues to two threads."""
    return _queues.get(process_id) or _queues.setdefault(process_id, _Queue())


def _start(run: Job) -> None:
    if _is_test_run():
        run()
    else:
        _queue(os.getpid()).put(run)


def _is_test_run() -> bool:
    return hasattr(mail, "outbox")


def _run_and_log(job: Job) -> None:
    """Run a job. Only the class of an exception is logged, because its text can contain an email address."""
    try:
        job()
    except Exception as error:  # the database did not answer, for example
        logger.error(
            "A promised email could not be processed: %s. It stays in the database, and is sent later.",
            type(error).__name__,
        )
