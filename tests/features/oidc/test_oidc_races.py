"""Flows in several processes at once: what counts once has one winner, and an identity gets one user."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.models import EmailAddress, SpentTicket, UserSession
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.tokens import password_fingerprint
from tests.certificates import Authority
from tests.conftest import EMAIL, PASSWORD, Api
from tests.features.oidc.conftest import REDIRECT_URI, link
from tests.features.oidc.providers.hostile import Provider
from tests.features.passkeys.conftest import new_passkey, register
from tests.features.test_factor_races import ROUNDS, Call, outcomes
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

UNLIMITED = {"oidc_network": ""}
FINISH = "/api/auth/oidc/test/finish"
PROFILE = "/api/auth/me"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    """Return a provider with https, whose authority only its `ca_file` names."""
    authority = Authority(tmp_path)
    with Provider(certificate=authority.issue("provider")) as running:
        running.ca_file = str(authority.cafile)  # type: ignore[attr-defined]
        yield running


def oidc(provider: Any, **changes: Any) -> dict[str, Any]:
    config = provider.config(ca_file=provider.ca_file, email_trusted=True, **changes)
    return {"PROVIDERS": {"test": config}, "REDIRECT_URIS": [REDIRECT_URI]}


@pytest.fixture
def server(servers: Callable[..., Server], provider: Provider, kit: Callable[..., None]) -> Server:
    kit(OIDC=oidc(provider))
    return servers(THROTTLES=UNLIMITED, SESSION_LIMIT=None, OIDC=oidc(provider), EMAIL_CODE={})


def begin(server: Server, purpose: str = "login", token: str | None = None) -> dict[str, Any]:
    body = {"purpose": purpose, "redirect_uri": REDIRECT_URI}
    status, started = server.request("POST", "/api/auth/oidc/test/start", body, token=token)
    assert status == 200, started
    return dict(started)


def returned(provider: Provider, started: dict[str, Any], account: str = "ada") -> Call:
    answer = provider.authorize(started["authorization_url"], account=account)
    return ("POST", FINISH, {"flow_token": started["flow_token"], **answer})


@pytest.mark.security("OIDC-01", "OIDC-02")
def test_one_code_and_one_flow_log_in_once(user: Any, provider: Provider, server: Server) -> None:
    link(user, subject="1001", issuer=provider.issuer, provider="test")
    for number in range(1, ROUNDS + 1):
        started = begin(server)
        one = returned(provider, started)

        answers = outcomes(server.race(*[one] * 20))

        assert answers == {(200, None): 1, (400, "provider_refused"): 19}  # a code counts once at the provider

        started = begin(server)
        codes = [returned(provider, started) for _ in range(20)]  # of one flow
        answers = outcomes(server.race(*codes))

        assert answers == {(200, None): 1, (400, "invalid_challenge"): 19}
        assert UserSession.objects.count() == SpentTicket.objects.count() == 2 * number


@pytest.mark.security("OIDC-05", "OIDC-07")
def test_many_first_logins_of_one_identity_make_one_user(provider: Provider, server: Server) -> None:
    for number in range(ROUNDS):
        email = f"new{number}@example.com"
        provider.accounts["new"] = {"sub": f"200{number}", "email": email, "email_verified": True}
        calls = [returned(provider, begin(server), "new") for _ in range(10)]
        if has_username():
            answers = server.race(*calls)
            assert outcomes(answers) == {(202, None): 10}
            path = "/api/auth/oidc/signup"
            calls = [
                ("POST", path, {"signup_token": body["signup_token"], "username": f"name{number}{index}"})
                for index, (_, body) in enumerate(answers)
            ]

        answers = server.race(*calls)

        assert get_user_model().objects.count() == EmailAddress.objects.count() == number + 1
        assert Identity.objects.count() == number + 1
        found = outcomes(answers)
        if has_username():  # the others have proved an identity that registers, and is registered by now
            assert found == {(200, None): 1, (401, "invalid_challenge"): 9}
        else:
            assert found == {(200, None): 10}  # the others log in
        for status, pair in answers:
            if status == 200:
                assert server.request("GET", PROFILE, token=pair["access_token"])[1]["email"] == email


@pytest.mark.security("OIDC-07")
def test_a_registration_by_a_provider_and_one_by_password_leave_the_account_to_the_provider(
    provider: Provider, server: Server
) -> None:
    for number in range(ROUNDS):
        email = f"new{number}@example.com"
        provider.accounts["new"] = {"sub": f"300{number}", "email": email, "email_verified": True}
        by_provider = returned(provider, begin(server), "new")
        if has_username():
            ((_, body),) = server.race(by_provider)
            signup = {"signup_token": body["signup_token"], "username": f"owner{number}"}
            by_provider = ("POST", "/api/auth/oidc/signup", signup)
        names = [{"username": f"stranger{number}{one}"} if has_username() else {} for one in range(4)]
        strangers: list[Call] = [
            ("POST", "/api/auth/register", {"email": email, "password": PASSWORD, **name}) for name in names
        ]

        answers = server.race(*strangers[:2], by_provider, *strangers[2:])

        assert [status for status, _ in answers] == [202, 202, 200, 202, 202]
        user = get_user_model().objects.get(email=email)
        assert not user.has_usable_password()
        assert EmailAddress.objects.get(user=user).verified_at is not None


def test_one_identity_is_linked_to_one_of_two_accounts(
    api: Api, user: Any, make_user: Callable[..., Any], provider: Provider, server: Server
) -> None:
    make_user("grace@example.com")
    tokens = [api.pair(email)["access_token"] for email in (EMAIL, "grace@example.com")]
    for _ in range(ROUNDS):
        calls = [(*returned(provider, begin(server, "link", token)), token) for token in tokens * 3]

        answers = server.race(*calls)

        # Those of the winner find what the first has linked.
        assert outcomes(answers) == {(201, None): 3, (409, "identity_taken"): 3}
        assert Identity.objects.count() == 1
        Identity.objects.all().delete()


@pytest.mark.security("OIDC-11")
@pytest.mark.parametrize("other", ["identity", "passkey"])
def test_of_two_last_ways_in_one_stays(
    api: Api, user: Any, provider: Provider, servers: Callable[..., Server], kit: Any, other: str
) -> None:
    second = {**provider.config(), "issuer": "https://second.example.com"}
    config = oidc(provider)
    config["PROVIDERS"]["second"] = second
    kit(OIDC=config, SESSION_LIMIT=None)
    environment = {"TEST_WITHOUT_APP": "ninja_auth_kit.contrib.email_code"}
    server = servers(THROTTLES=UNLIMITED, SESSION_LIMIT=None, OIDC=config, environment=environment)
    for _ in range(ROUNDS):
        Identity.objects.all().delete()
        user.set_password(PASSWORD)
        user.save()
        row = link(user, subject="1001", issuer=provider.issuer, provider="test")
        token = str(api.pair()["access_token"])
        if other == "passkey":
            done = register(api, token, new_passkey()).json()
            token, path = done["tokens"]["access_token"], f"/api/auth/factors/{done['factor']['id']}"
        else:
            extra = link(user, issuer="https://second.example.com", provider="second")
            path = f"/api/auth/identities/{extra.pk}"
        _without_password(user)
        calls: list[Call] = [("DELETE", f"/api/auth/identities/{row.pk}", None), ("DELETE", path, None)]

        answers = outcomes(server.race(*calls, token=token))

        assert answers == {(204, None): 1, (409, "last_way_in"): 1}
        Factor.objects.all().delete()


def _without_password(user: Any) -> None:
    """Take the password away, and keep the sessions: their fingerprint is that of the new hash."""
    type(user).objects.filter(pk=user.pk).update(password="!unusable")
    UserSession.objects.update(auth_hash=password_fingerprint("!unusable"))


class TwoWorkers(Server):
    """The usual server of a small site."""

    command = ("gunicorn", "--workers", "2", "--worker-class", "gthread", "--threads", "8", "--no-control-socket")


@pytest.mark.security("OIDC-09")
def test_a_slow_provider_leaves_the_workers_to_the_rest_of_the_site(
    api: Api, user: Any, provider: Provider, servers: Callable[..., Server], kit: Callable[..., None]
) -> None:
    kit(OIDC=oidc(provider))
    server = servers(TwoWorkers, THROTTLES=UNLIMITED, SESSION_LIMIT=None, OIDC=oidc(provider))
    token = api.pair()["access_token"]
    flows = [returned(provider, begin(server)) for _ in range(24)]
    provider.fault, provider.fault_at = "slow", "/token"

    with ThreadPoolExecutor(24) as pool:
        running = [pool.submit(server.request, *one) for one in flows]
        served = 0
        while not all(one.done() for one in running):
            assert server.request("GET", PROFILE, token=token)[0] == 200
            served += 1
        answers = [one.result() for one in running]

    assert outcomes(answers) == {(503, "provider_unavailable"): 24}
    assert served > 20  # if the threads waited for the provider, it would be one or two
    asked = provider.paths().count("/token")
    assert asked <= 8
    # Now it is known, and no request waits.
    again = [server.request(*one) for one in flows[:10]]
    assert outcomes(again) == {(503, "provider_unavailable"): 10}
    assert provider.paths().count("/token") == asked
