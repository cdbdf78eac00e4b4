"""Imports at the same time as each other, and as users who add and remove factors."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from ninja_auth_kit.contrib.factors import former_factors, importing
from ninja_auth_kit.contrib.factors.former_factors import SOURCES, FormerFactor, Outcome, Source
from ninja_auth_kit.contrib.factors.importing import import_factors
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.oidc import former_identities
from ninja_auth_kit.contrib.oidc.former_identities import SOURCES as IDENTITY_SOURCES
from ninja_auth_kit.contrib.oidc.former_identities import Outcome as IdentityOutcome
from ninja_auth_kit.contrib.oidc.importing import import_identities
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.passkeys.models import Passkey
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.models import UserSession
from tests.conftest import Api, event_names
from tests.features.conftest import Authenticator
from tests.features.importing.conftest import allauth_passkey, allauth_totp, authenticators, otp_device

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race, pytest.mark.one_user_model]


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run actions in threads that begin together, and return their results or exceptions."""
    barrier, results = threading.Barrier(len(actions)), [None] * len(actions)

    def run(index: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=20)
            results[index] = actions[index]()
        except Exception as error:
            results[index] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[index]) for index in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def import_all(source: str) -> Counter[Outcome]:
    return Counter(one.outcome for one in import_factors(SOURCES[source]))


def test_four_runs_at_once_import_each_factor_once(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch, audited: None
) -> None:
    monkeypatch.setattr(former_factors, "BATCH", 3)
    for user in make_users(10):
        allauth_totp(user)
        allauth_passkey(user)

    results = at_once(*[lambda: import_all("allauth")] * 4)

    total: Counter[Outcome] = sum(results, Counter())
    assert total == {Outcome.DONE: 20, Outcome.KNOWN: 60}
    assert (Factor.objects.count(), TotpSecret.objects.count(), Passkey.objects.count()) == (20, 10, 10)
    assert event_names().count("factor.added") == 20


def test_users_who_share_a_credential_id_do_not_let_two_runs_wait_for_each_other_for_ever(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(former_factors, "BATCH", 4)
    users = make_users(8)
    for user in users[:4]:
        allauth_passkey(user)
    for former, other in zip(list(authenticators().order_by("pk")), reversed(users[4:]), strict=True):
        authenticators().create(user=other, type="webauthn", data=former.data)

    results = at_once(*[lambda: import_all("allauth")] * 4)

    assert sum(results, Counter()) == {Outcome.DONE: 4, Outcome.KNOWN: 12, Outcome.REGISTERED: 16}
    assert Factor.objects.count() == Passkey.objects.count() == 4


def other_run(key: int, user: Any) -> list[Any]:
    """Give the row of allauth to another user, and import it there."""
    authenticators().filter(pk=key).update(user=user)
    return list(import_factors(OfOne(user)))


class OfOne(Source):
    """What allauth has for one user."""

    def __init__(self, user: Any) -> None:
        self.user = user

    def batches(self) -> Iterator[list[FormerFactor]]:
        yield [one for batch in SOURCES["allauth"].batches() for one in batch if one.user_id == self.user.pk]


def test_a_credential_that_is_registered_between_the_look_and_the_insertion_is_listed(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch, audited: None
) -> None:
    one, other = make_users(2)
    allauth_passkey(one)
    allauth_totp(one)
    taken = authenticators().get(type="webauthn")
    decide = importing._decide

    def slow(prepared: Any, users: Any, **options: Any) -> Any:
        decision = decide(prepared, users, **options)
        if not Passkey.objects.exists():
            monkeypatch.setattr(importing, "_decide", decide)
            (results,) = at_once(lambda: other_run(taken.pk, other))
            assert [one.outcome for one in results] == [Outcome.DONE]
        return decision

    monkeypatch.setattr(importing, "_decide", slow)

    found = {(found.former.user_id, found.former.kind): found.outcome for found in import_factors(SOURCES["allauth"])}

    assert found == {
        (one.pk, "totp"): Outcome.DONE,
        (one.pk, "passkey"): Outcome.REGISTERED,
        (other.pk, "passkey"): Outcome.KNOWN,
    }
    assert {(factor.user_id, factor.kind) for factor in Factor.objects.all()} == {
        (one.pk, "totp"),
        (other.pk, "passkey"),
    }
    assert event_names().count("factor.added") == 2


def test_a_user_who_adds_an_app_during_the_run_is_within_the_limit_and_has_one_kind_of_session(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(TOTP={"LIMIT": 1})
    seen = set()
    for _ in range(12):
        device = otp_device(user)
        token = api.pair()["access_token"]
        begun = api.post("factors/totp", {}, token=token).json()
        app = Authenticator(begun["secret"])

        def confirm(begun: Any = begun, app: Authenticator = app, token: str = token) -> Any:
            body = {"code": app.code()}
            return Api().post(f"factors/totp/{begun['id']}/confirm", body, token=token)

        confirmed, found = at_once(confirm, lambda: import_all("django-otp"))

        factors = Factor.objects.filter(confirmed_at__isnull=False)
        seen.add((confirmed.status_code, *found))
        if confirmed.status_code == 200:
            assert found == {Outcome.LIMIT: 1}
            assert api.is_in(confirmed.json()["tokens"]["access_token"])
        else:
            assert (confirmed.status_code, found) == (401, {Outcome.DONE: 1})
            assert not UserSession.objects.filter(is_active=True).exists()
        assert factors.count() == 1
        Factor.objects.all().delete()
        UserSession.objects.all().delete()
        device.delete()
    assert seen <= {(200, Outcome.LIMIT), (401, Outcome.DONE)}


def test_no_session_that_begins_during_the_run_is_without_the_factor(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=None)
    for _ in range(6):
        device = otp_device(user)

        *logins, found = at_once(*[lambda: Api().login()] * 3, lambda: import_all("django-otp"))

        assert found == {Outcome.DONE: 1}
        assert {answer.status_code for answer in logins} <= {200, 202}
        assert not UserSession.objects.filter(is_active=True).exists()
        assert api.login().status_code == 202
        Factor.objects.all().delete()
        device.delete()


# Identities


def import_all_identities(source: str) -> Counter[IdentityOutcome]:
    return Counter(one.outcome for one in import_identities(IDENTITY_SOURCES[source]))


def test_four_runs_at_once_import_each_identity_once(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch, audited: None
) -> None:
    from allauth.socialaccount.models import SocialAccount

    monkeypatch.setattr(former_identities, "BATCH", 3)
    for number, user in enumerate(make_users(10), 100):
        for provider in ("google", "github"):
            SocialAccount.objects.create(user=user, provider=provider, uid=str(number))

    results = at_once(*[lambda: import_all_identities("allauth")] * 4)

    total: Counter[IdentityOutcome] = sum(results, Counter())
    assert total == {IdentityOutcome.DONE: 20, IdentityOutcome.KNOWN: 60}
    assert Identity.objects.count() == 20
    assert event_names().count("identity.linked") == 20


def test_two_packages_that_give_one_identity_to_two_users_do_not_wait_for_each_other_for_ever(
    make_users: Callable[[int], list[Any]],
) -> None:
    """The users have the same subjects in opposite orders."""
    from allauth.socialaccount.models import SocialAccount
    from social_django.models import UserSocialAuth

    users = make_users(8)
    for number, user in enumerate(users, 100):
        SocialAccount.objects.create(user=user, provider="google", uid=str(number))
        UserSocialAuth.objects.create(user=user, provider="google-oauth2", uid=str(207 - number), id_key="sub")

    results = at_once(*[lambda: import_all_identities("allauth"), lambda: import_all_identities("social-auth")] * 2)

    assert not [one for one in results if isinstance(one, Exception)]
    assert Identity.objects.count() == 8
    assert len(set(Identity.objects.values_list("user", flat=True))) == 8
