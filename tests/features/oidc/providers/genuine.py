"""oidc-provider, the OpenID provider for Node.js that the OpenID Foundation has certified, with three accounts.

It is installed from npm. Without Node.js the test is skipped, or fails in CI.
"""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from tests.features.oidc.providers.hostile import ACCOUNTS, RefusedByProviderError
from tests.howto import install_from_npm, program
from tests.private_broker import free_port

PACKAGE = "oidc-provider@9.13.3"
HOPS = 12  # of a browser at most, from the authorization URL to the callback


class Provider:
    """A running oidc-provider, from `with` until its end.

    Attributes:
        accounts: the claims of each account.

    Args:
        folder: an empty directory.
        redirect_uris: those that the client has registered.
        conforms: whether the ID token has only what the standard requires, so that the address is elsewhere.
    """

    def __init__(self, folder: Path, *, redirect_uris: list[str], conforms: bool = False) -> None:
        install_from_npm(folder, PACKAGE)
        shutil.copy(Path(__file__).with_suffix(".mjs"), folder / "provider.mjs")
        self._folder, self._redirect_uris, self._conforms = folder, redirect_uris, conforms
        self.client_id, self.client_secret = "kit-client", "a secret of the client, with / and +"
        port = free_port()
        self.issuer = f"http://127.0.0.1:{port}"
        self.accounts = {name: dict(claims) for name, claims in ACCOUNTS.items()}
        self._save_accounts()

    def __enter__(self) -> Self:
        client = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uris": self._redirect_uris,
        }
        port = str(urlsplit(self.issuer).port)
        command = [
            program("node"),
            "provider.mjs",
            port,
            "accounts.json",
            json.dumps(client),
            json.dumps(self._conforms),
        ]
        self._process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        printed = ""
        for line in self._process.stdout:
            printed += line
            if line.strip() == "ready":
                return self
        self.__exit__()
        raise AssertionError(f"oidc-provider did not start:\n{printed}")

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)  # closes its standard input, and so ends it

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return an entry of OIDC["PROVIDERS"]."""
        config = {"issuer": self.issuer, "client_ids": [self.client_id], "client_secret": self.client_secret}
        return {**config, "name": "Company", **changes}

    def change_email(self, account: str, email: str, *, verified: bool = True) -> None:
        """Give an account another address."""
        self.accounts[account] |= {"email": email, "email_verified": verified}
        self._save_accounts()

    def authorize(self, url: str, *, account: str = "ada", consents: bool = True) -> dict[str, str]:
        """Log in and consent in the forms of the provider, in a new browser.

        Returns:
            The parameters of the callback.

        Raises:
            RefusedByProviderError: the browser stays at the provider.
        """
        browser = _Browser()
        answer = browser.open(url)
        for _ in range(HOPS):
            if answer.location is None:
                form = answer.form
                if form is None:
                    raise RefusedByProviderError(answer.text)
                address, fields = form
                if fields["prompt"] == "login":
                    fields |= {"login": self.accounts[account]["sub"], "password": "any"}
                elif not consents:
                    address, fields = f"{address}/abort", {}
                answer = browser.open(address, fields or None)
            elif answer.location.startswith(self.issuer):
                answer = browser.open(answer.location)
            else:  # the callback, which the browser would open now
                return dict(parse_qsl(urlsplit(str(answer.location)).query))
        raise AssertionError(f"no callback after {HOPS} hops")

    def _save_accounts(self) -> None:
        (self._folder / "accounts.json").write_text(json.dumps(self.accounts))


class _Page:
    """What the provider answers to a browser.

    Attributes:
        location: where it redirects to, if it does.
    """

    def __init__(self, url: str, text: str, location: str | None) -> None:
        self.url, self.text = url, text
        self.location = None if location is None else urljoin(url, location)

    @property
    def form(self) -> tuple[str, dict[str, str]] | None:
        """The address of the form on the page, and its hidden fields."""
        found = re.search(r'<form[^>]* action="([^"]+)"', self.text)
        if found is None:
            return None
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)"', self.text)
        return urljoin(self.url, found[1]), dict(hidden)


class _Browser:
    """A browser that keeps cookies and does not follow redirects by itself."""

    def __init__(self) -> None:
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                return None

        # Plain http on loopback counts as secure, as in browsers.
        policy = DefaultCookiePolicy(secure_protocols=("http", "https"))
        cookies = urllib.request.HTTPCookieProcessor(CookieJar(policy))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay, cookies)

    def open(self, url: str, form: dict[str, str] | None = None) -> _Page:
        data = None if form is None else urlencode(form).encode()
        try:
            with self._opener.open(url, data, timeout=20) as answer:
                return _Page(url, answer.read().decode(), None)
        except urllib.error.HTTPError as error:
            with error:
                return _Page(url, error.read().decode(), error.headers.get("Location"))
