"""The whole life of a passkey in Chromium, with the functions that the documentation gives to pages."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page

from ninja_auth_kit.contrib.passkeys.models import Passkey
from tests.browser import chromium, served
from tests.conftest import Api
from tests.features.passkeys.test_browser import INTERNAL, SYNCED, U2F, USB, Device

__all__ = ["chromium"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGE = Path(__file__).parents[3] / "docs" / "features" / "passkeys.md"
HTML = '<title>Shop</title><input name="email" autocomplete="username webauthn">'


def functions() -> str:
    """Return the module of the documentation."""
    found = re.search(r"```js\n// passkeys\.js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


class Site(Device):
    """A page of the project, one virtual authenticator, and the API behind them."""

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the module, and return what it gives."""
        return self.page.evaluate(
            "async ([name, given]) => (await import('/passkeys.js'))[name](...given)", [function, list(arguments)]
        )

    def code_of(self, function: str, *arguments: Any) -> str:
        """Call a function that fails, and return the code of the problem."""
        code = self.page.evaluate(
            "async ([name, given]) => { const module = await import('/passkeys.js');"
            " try { await module[name](...given) } catch (error) { return error.code } }",
            [function, list(arguments)],
        )
        return str(code)


@pytest.fixture
def site(chromium: Browser, kit: Callable[..., None]) -> Iterator[Site]:
    with served() as url:
        kit(PASSKEYS={"ORIGINS": [url]})
        context = chromium.new_context()
        page: Page = context.new_page()
        page.route(f"{url}/", lambda route: route.fulfill(content_type="text/html", body=HTML))
        script = functions()
        page.route(f"{url}/passkeys.js", lambda route: route.fulfill(content_type="text/javascript", body=script))
        page.goto(f"{url}/")
        cdp = context.new_cdp_session(page)
        cdp.send("WebAuthn.enable", {"enableUI": False})
        yield Site(page, cdp)
        context.close()


@pytest.mark.security("PASS-01")
@pytest.mark.parametrize("kind", [INTERNAL, SYNCED])
def test_a_passkey_logs_in_completes_a_login_and_makes_a_step_up(
    site: Site, api: Api, user: Any, kind: dict[str, Any]
) -> None:
    site.plug_in(kind)
    added = site.call("addPasskey", api.pair()["access_token"], "my laptop")
    assert added["factor"]["name"] == "my laptop"
    assert len(added["recovery_codes"]) == 10
    assert api.post("logout", {"refresh_token": added["tokens"]["refresh_token"]}).status_code == 204

    alone = site.call("login")
    assert alone["acr"] == "aal2"
    assert api.is_in(alone["access_token"])
    raised = site.call("stepUp", alone["access_token"])
    assert raised["acr"] == "aal2"
    assert api.is_in(raised["access_token"])

    pending = api.login()
    assert pending.status_code == 202
    completed = site.call("completeLogin", pending.json()["challenge_token"])
    assert api.is_in(completed["access_token"])
    assert not api.is_in(alone["access_token"])
    assert Passkey.objects.get().backed_up == (kind is SYNCED)


@pytest.mark.security("PASS-03")
@pytest.mark.parametrize("kind", [USB, U2F])
def test_a_key_without_verification_completes_a_login_and_does_not_log_in_alone(
    site: Site, api: Api, user: Any, kind: dict[str, Any]
) -> None:
    site.plug_in(kind)
    added = site.call("addPasskey", api.pair()["access_token"])
    assert added["tokens"]["acr"] == "aal2"

    completed = site.call("completeLogin", api.login().json()["challenge_token"])
    assert completed["acr"] == "aal2"
    assert site.call("stepUp", completed["access_token"])["acr"] == "aal2"
    name = site.page.evaluate(
        """async () => {
            const { login } = await import("/passkeys.js");
            return login({ signal: AbortSignal.timeout(1000) }).then(() => "logged in", (error) => error.name);
        }"""
    )
    assert name in {"NotAllowedError", "TimeoutError"}


@pytest.mark.security("PASS-10")
def test_a_device_that_has_a_passkey_of_the_account_makes_no_other(site: Site, api: Api, user: Any) -> None:
    site.plug_in(INTERNAL)
    added = site.call("addPasskey", api.pair()["access_token"])
    with pytest.raises(Error, match="InvalidStateError"):
        site.call("addPasskey", added["tokens"]["access_token"])
    assert Passkey.objects.count() == 1


@pytest.mark.security("PASS-01")
def test_autofill_logs_in(site: Site, api: Api, user: Any) -> None:
    site.plug_in(INTERNAL)
    site.call("addPasskey", api.pair()["access_token"])
    assert site.page.evaluate("PublicKeyCredential.isConditionalMediationAvailable()")

    alone = site.call("login", {"mediation": "conditional"})

    assert api.is_in(alone["access_token"])


@pytest.mark.security("PASS-08")
def test_a_counter_that_was_set_back_does_not_log_in(site: Site, api: Api, user: Any) -> None:
    site.plug_in(INTERNAL)
    site.call("addPasskey", api.pair()["access_token"])
    assert site.call("login")["acr"] == "aal2"
    site.set_counter(0)
    assert site.code_of("login") == "invalid_factor"
    assert api.login().status_code == 202
