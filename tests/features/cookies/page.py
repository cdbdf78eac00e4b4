"""A page that uses cookie mode, played by the test client."""

from http.cookies import Morsel
from typing import Any

from ninja_auth_kit.contrib.cookies.transport import COOKIES
from tests.conftest import EMAIL, PASSWORD, Api

REFRESH, DEVICE = COOKIES["refresh_token"], COOKIES["device_token"]
ORIGIN = "https://example.com"


class Page:
    """It sends the header, and its browser sends the origin and keeps the cookies."""

    def __init__(self, base: str = "/api/auth/", **headers: Any) -> None:
        self.api = Api(base)
        self.headers = {"HTTP_X_AUTHKIT_TRANSPORT": "cookie", "HTTP_ORIGIN": ORIGIN, **headers}

    def __call__(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        return self.api(method, path, body, secure=True, **{**self.headers, **extra})

    def login(self, **extra: Any) -> Any:
        return self("POST", "login", {"email": EMAIL, "password": PASSWORD}, **extra)

    @property
    def token(self) -> str | None:
        """Return the refresh token that the browser has, if any."""
        cookie = self.api.client.cookies.get(REFRESH)
        return cookie.value or None if cookie else None


def attributes(cookie: Morsel[str]) -> dict[str, Any]:
    """Return the attributes of a cookie that are set, without `expires`, which repeats `max-age`."""
    return {name: value for name, value in cookie.items() if value != "" and name != "expires"}
