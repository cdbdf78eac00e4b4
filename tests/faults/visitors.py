"""A process of visitors who log in and refresh repeatedly: `python -m tests.faults.visitors <port>`.

The visitors have a process of their own, so that their latencies are those of the server. SIGTERM
ends it. It then prints the number of requests, the number of failures, and the latencies in
milliseconds.
"""

import http.client
import json
import signal
import sys
import threading
import time

from tests.faults.seed import PASSWORD, VISITORS, address

PAUSE = 0.2  # seconds between two requests of a visitor


class Visitor(threading.Thread):
    """A user with one client."""

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.port, self.stop = port, stop
        self.credentials = {"email": address(number), "password": PASSWORD}
        self.token = ""
        self.took: list[float] = []
        self.failed = 0

    def run(self) -> None:
        """Log in, refresh repeatedly, and log in again after a failed refresh."""
        while not self.stop.is_set():
            body = {"refresh_token": self.token} if self.token else self.credentials
            begun = time.monotonic()
            try:
                status, answer = self._post("refresh" if self.token else "login", body)
            except OSError:
                status, answer = 0, {}
            self.took.append(1000 * (time.monotonic() - begun))
            self.failed += status != 200
            self.token = answer.get("refresh_token", "") if status in {0, 200, 401} else self.token
            self.stop.wait(PAUSE)

    def _post(self, path: str, body: dict[str, str]) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", f"/api/auth/{path}", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or "{}") if answer.status == 200 else {}
        finally:
            connection.close()


def main(port: int) -> dict[str, float]:
    """Run the visitors until SIGTERM and return the figures."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    visitors = [Visitor(port, number, stop) for number in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    took = sorted(each for visitor in visitors for each in visitor.took) or [0.0]
    failed = sum(visitor.failed for visitor in visitors)
    return {"requests": len(took), "failed": failed, "p99": took[int(0.99 * (len(took) - 1))], "worst": took[-1]}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
