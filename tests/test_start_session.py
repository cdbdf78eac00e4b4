"""Starting a session for a user whom the project has authenticated, such as by single sign-on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model, user_logged_in
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from ninja_auth_kit import services
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import (
    AuthKitError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    SessionLimitReachedError,
)
from ninja_auth_kit.models import UserSession
from tests.conftest import Api, event_names, events

pytestmark = pytest.mark.django_db(transaction=True)


def start(user: Any, **options: Any) -> services.TokenPair:
    request = RequestFactory().post("/sso/callback", HTTP_USER_AGENT="Lynx/2.9", REMOTE_ADDR="203.0.113.7")
    return services.start_session(user, request=request, **options)


def custom_claims(user: Any, session: UserSession) -> dict[str, Any]:
    return {"tenant": f"of {user.pk}"}


def test_the_session_is_like_that_of_a_login(api: Api, user: Any) -> None:
    pair = start(user)

    session = UserSession.objects.get()
    assert session.pk == pair.session_id
    assert (session.ip_address, session.user_agent) == ("203.0.113.7", "Lynx/2.9")
    assert api.get("me", token=pair.access_token).status_code == 200
    assert api.post("refresh", {"refresh_token": pair.refresh_token}).status_code == 200


def test_a_user_without_a_usable_password_gets_a_session(api: Api, make_user: Callable[..., Any]) -> None:
    pair = start(make_user(password=None))

    assert api.get("me", token=pair.access_token).status_code == 200


def test_the_client_can_be_given(user: Any) -> None:
    start(user, client=ClientInfo(ip_address="2001:db8::7", user_agent="import"))

    session = UserSession.objects.get()
    assert (session.ip_address, session.user_agent) == ("2001:db8::7", "import")


def test_an_earlier_session_is_replaced_and_both_are_recorded(api: Api, user: Any, audited: None) -> None:
    before = api.pair()

    start(user)

    assert api.get("me", token=before["access_token"]).json()["code"] == "session_ended"
    assert event_names() == ["session.logged_in", "session.revoked", "session.logged_in"]


def test_the_limit_can_reject_the_session_and_keep_the_earlier_one(
    api: Api, user: Any, kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    before = api.pair()

    with pytest.raises(SessionLimitReachedError):
        start(user)

    assert api.get("me", token=before["access_token"]).status_code == 200
    assert events()[-1]["data"]["reason"] == "session_limit_reached"


def disable(user: Any) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def delete(user: Any) -> None:
    type(user).objects.filter(pk=user.pk).delete()


def unverify(user: Any) -> None:
    user.authkit_email.verified_at = None
    user.authkit_email.save()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (disable, InvalidCredentialsError),
        (delete, InvalidCredentialsError),
        (unverify, EmailNotVerifiedError),
    ],
)
def test_a_user_who_may_not_log_in_gets_no_session_whatever_the_caller_has_in_memory(
    make_user: Callable[..., Any], audited: None, change: Callable[[Any], None], error: type[AuthKitError]
) -> None:
    stale = make_user()
    change(type(stale).objects.select_related("authkit_email").get(pk=stale.pk))

    with pytest.raises(error):
        start(stale)

    assert not UserSession.objects.exists()
    assert [event["data"]["reason"] for event in events()] == [error.code]


def test_an_unverified_address_is_no_hindrance_if_none_need_be_verified(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None]
) -> None:
    kit(EMAIL_VERIFICATION_REQUIRED=False)

    pair = start(make_user(verified=False))

    assert api.get("me", token=pair.access_token).status_code == 200


def test_the_token_has_the_custom_claims(user: Any, kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_CLAIMS="tests.test_start_session.custom_claims")

    from ninja_auth_kit.tokens import read_access_token

    assert read_access_token(start(user).access_token).extra == {"tenant": f"of {user.pk}"}


def test_django_hears_of_it_after_the_commit(user: Any) -> None:
    heard: list[tuple[Any, bool]] = []

    def hear(sender: Any, request: Any, user: Any, **_: Any) -> None:
        heard.append((user.pk, connection.in_atomic_block))

    user_logged_in.connect(hear)
    try:
        start(user)
    finally:
        user_logged_in.disconnect(hear)

    assert heard == [(user.pk, False)]
    user.refresh_from_db()
    assert user.last_login is not None
    assert user.last_login <= timezone.now()


@pytest.mark.race
def test_twenty_at_once_leave_one_session(user: Any) -> None:
    def start_one(_: int) -> services.TokenPair:
        try:
            return start(user)
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        pairs = list(threads.map(start_one, range(20)))

    assert len({pair.session_id for pair in pairs}) == 20
    assert UserSession.objects.filter(is_active=True).count() == 1


def test_a_wrong_password_elsewhere_does_not_lock_it(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"login_account": "1/h"})
    api.login(password="wrong password, and long enough")
    assert api.login().status_code == 429

    assert api.get("me", token=start(user).access_token).status_code == 200


def test_a_lazy_user_is_announced_to_django_under_its_own_model(user: Any) -> None:
    heard: list[Any] = []

    def hear(sender: Any, **_: Any) -> None:
        heard.append(sender)

    user_logged_in.connect(hear)
    try:
        start(SimpleLazyObject(lambda: user))
    finally:
        user_logged_in.disconnect(hear)

    assert heard == [type(user)]


def test_a_user_that_is_not_saved_is_a_mistake_of_the_caller(audited: None) -> None:
    with pytest.raises(ValueError, match="saved user"):
        start(get_user_model()(email="ada@example.com"))

    assert events() == []


def claims_of_level(user: Any, session: Any) -> dict[str, Any]:
    """Return claims for the tests below."""
    return {"level": session.aal}


def claims_of_login(user: Any, session: Any) -> dict[str, Any]:
    """Return claims for the tests below."""
    return {"by": list(session.authentication.methods)}


@pytest.mark.parametrize("claims", ["claims_of_level", "claims_of_login"])
def test_the_claims_of_a_project_can_read_how_the_session_began(
    user: Any, kit: Callable[..., None], claims: str
) -> None:
    kit(ACCESS_TOKEN_CLAIMS=f"{__name__}.{claims}")
    assert start(user).access_token
