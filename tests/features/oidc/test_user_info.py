"""The UserInfo endpoint: it names the address of the user whom the ID token proves, and proves nothing itself."""

from collections.abc import Callable
from typing import Any

import pytest

from ninja_auth_kit.contrib.oidc.models import Identity
from tests.conftest import Api
from tests.features.oidc.conftest import answer, begin, link, sign_up
from tests.features.oidc.providers.hostile import TOKEN, USERINFO, Provider

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

ADDRESS = frozenset({"email", "email_verified"})
NOT_VERIFIED = (403, "email_not_verified")


def flow(api: Api, provider: Provider, account: str = "ada") -> Any:
    started = begin(api, "company")
    returned = provider.authorize(started["authorization_url"], account=account)
    return api.post("oidc/company/finish", {"flow_token": started["flow_token"], **returned})


@pytest.mark.parametrize("thin", [ADDRESS, {"email"}, {"email_verified"}])
def test_an_address_that_the_id_token_lacks_is_read(
    api: Api, on_loopback: Callable[..., None], thin: frozenset[str]
) -> None:
    with Provider(thin=frozenset(thin)) as provider:
        on_loopback(company=provider.config(email_trusted=True))

        assert answer(flow(api, provider, "bob")) == NOT_VERIFIED
        assert sign_up(api, flow(api, provider)).status_code == 200

    assert Identity.objects.get().email == "ada@example.com"


def test_an_id_token_with_the_address_is_enough(api: Api, on_loopback: Callable[..., None]) -> None:
    with Provider(thin=frozenset({"name"})) as provider:
        on_loopback(company=provider.config(email_trusted=True))

        assert sign_up(api, flow(api, provider)).status_code == 200
        assert USERINFO not in provider.paths()
        assert TOKEN in provider.paths()


def test_what_is_said_of_another_subject_is_not_used(api: Api, on_loopback: Callable[..., None], user: Any) -> None:
    with Provider("userinfo_sub", thin=ADDRESS) as provider:
        on_loopback(company=provider.config(email_trusted=True))

        assert answer(flow(api, provider)) == NOT_VERIFIED
        link(user, subject="1001", issuer=provider.issuer, provider="company")
        assert flow(api, provider).status_code == 200
        assert USERINFO in provider.paths()


@pytest.mark.parametrize("value", ["true", 1, None, False])
def test_only_true_means_that_the_address_is_verified(api: Api, on_loopback: Callable[..., None], value: Any) -> None:
    with Provider(thin=ADDRESS) as provider:
        on_loopback(company=provider.config(email_trusted=True))
        provider.accounts["ada"]["email_verified"] = value

        assert answer(flow(api, provider)) == NOT_VERIFIED


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("html", NOT_VERIFIED),
        ("list", NOT_VERIFIED),
        ("redirecting", (503, "provider_unavailable")),
        ("error", (503, "provider_unavailable")),
        ("5mb", (503, "provider_unavailable")),
        ("down", (503, "provider_unavailable")),
    ],
)
def test_a_broken_endpoint_registers_nothing(
    api: Api, on_loopback: Callable[..., None], fault: str, expected: tuple[int, str]
) -> None:
    with Provider(fault, at=USERINFO, thin=ADDRESS) as provider:
        on_loopback(company=provider.config(email_trusted=True))

        assert answer(flow(api, provider)) == expected

    assert Identity.objects.count() == 0


def test_an_endpoint_that_is_not_safe_is_not_asked(
    api: Api, on_loopback: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Provider(thin=ADDRESS) as provider:
        on_loopback(company=provider.config(email_trusted=True))
        metadata = {**provider.metadata(), "userinfo_endpoint": "http://other.example.com/userinfo"}
        monkeypatch.setattr(provider, "metadata", lambda: metadata)

        assert answer(flow(api, provider)) == NOT_VERIFIED
        assert USERINFO not in provider.paths()


def test_the_presets_have_all_they_need_in_the_id_token(api: Api, on_loopback: Callable[..., None]) -> None:
    with Provider(thin=ADDRESS, promises_iss=False) as provider:
        on_loopback(company=provider.config(preset="google"))

        assert answer(flow(api, provider)) == NOT_VERIFIED
        assert USERINFO not in provider.paths()
