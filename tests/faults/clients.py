"""A process of clients that note what was acknowledged: `python -m tests.faults.clients <port>`.

Each client is a user. It logs in, refreshes a few times, logs out and begins again. A request that fails without an
answer, or with a 503, is sent again, as clients do. SIGTERM ends the process, which then prints what it was promised
and what it was refused, as JSON.
"""

import base64
import http.client
import json
import signal
import sys
import threading
from collections import Counter
from typing import Any

from tests.faults.seed import PASSWORD, VISITORS, address

PAUSE = 0.05  # seconds between two requests of a client
REFRESHES = 12  # of each session
RETRY = {0, 500, 502, 503, 504}


class Client(threading.Thread):
    """A user with one client.

    Attributes:
        generations: the last generation that was acknowledged, by the id of the session.
        ended: the tokens of the sessions whose logout was acknowledged, by their ids.
        refusals: the codes of refused refreshes.
        statuses: how often each status code was answered; 0 is no answer.
    """

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.port, self.stop, self.email = port, stop, address(number)
        self.generations: dict[str, int] = {}
        self.ended: dict[str, list[str]] = {}
        self.refusals: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.pair: dict[str, Any] = {}

    def run(self) -> None:
        """Log in, refresh and log out until the stop."""
        while not self.stop.is_set():
            self._log_in()
            for _ in range(REFRESHES):
                if self.stop.is_set() or not self._refresh():
                    break
            else:
                self._log_out()

    def _log_in(self) -> None:
        status, self.pair = self._until_answered("login", {"email": self.email, "password": PASSWORD})
        if status == 200:
            self.generations[self.pair["session_id"]] = 0

    def _refresh(self) -> bool:
        """Refresh, and return whether the session goes on."""
        status, answer = self._until_answered("refresh", {"refresh_token": self.pair.get("refresh_token", "")})
        if status == 200:
            self.pair = answer
            self.generations[answer["session_id"]] = _generation(answer["refresh_token"])
        elif status:
            self.refusals.append(answer.get("code", ""))
        return status == 200

    def _log_out(self) -> None:
        token = self.pair["refresh_token"]
        if self._until_answered("logout", {"refresh_token": token})[0] == 204:
            self.ended[self.pair["session_id"]] = [self.pair["access_token"], token]

    def _until_answered(self, path: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Send a request until it is answered. Return 0 if the stop came first."""
        while True:
            try:
                status, answer = self._post(path, body)
            except (OSError, http.client.HTTPException):
                status, answer = 0, {}
            self.statuses[status] += 1
            self.stop.wait(PAUSE)
            if status not in RETRY or self.stop.is_set():
                return (0 if status in RETRY else status), answer

    def _post(self, path: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", f"/api/auth/{path}", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or "{}")
        finally:
            connection.close()


def _generation(token: str) -> int:
    """Return the generation that a refresh token carries: see `tokens/refresh.py`."""
    return int.from_bytes(base64.urlsafe_b64decode(token.removeprefix("nakr_") + "==")[16:20])


def main(port: int) -> dict[str, Any]:
    """Run the clients until SIGTERM and return what they know."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clients = [Client(port, number, stop) for number in range(VISITORS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return {
        "generations": {session: number for client in clients for session, number in client.generations.items()},
        "ended": {session: tokens for client in clients for session, tokens in client.ended.items()},
        "live": [client.pair["refresh_token"] for client in clients if "refresh_token" in client.pair],
        "refusals": [code for client in clients for code in client.refusals],
        "statuses": dict(sum((client.statuses for client in clients), Counter())),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
