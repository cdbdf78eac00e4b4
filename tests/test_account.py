"""Who am I."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from ninja_auth_kit.models import EmailAddress, has_username
from tests.conftest import EMAIL, Api

pytestmark = pytest.mark.django_db(transaction=True)


def test_me_is_the_user_of_the_token(api: Api, user: Any) -> None:
    response = api.get("me", token=api.pair()["access_token"])

    user.refresh_from_db()
    assert response.status_code == 200
    me = response.json()
    assert set(me) == {"id", "username", "email", "email_verified", "date_joined", "last_login"}
    assert me["id"] == str(user.pk)
    assert me["username"] == (user.get_username() if has_username() else None)
    assert (me["email"], me["email_verified"]) == (EMAIL, True)
    assert me["last_login"] is not None


@pytest.mark.security("SES-21")
def test_me_costs_one_query(api: Api, user: Any, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    token = api.pair()["access_token"]

    with django_assert_num_queries(1):
        api.get("me", token=token)


def test_me_knows_an_address_that_is_not_verified(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(EMAIL_VERIFICATION_REQUIRED=False)
    token = api.pair()["access_token"]

    EmailAddress.objects.update(verified_at=None)
    assert api.get("me", token=token).json()["email_verified"] is False

    EmailAddress.objects.all().delete()
    assert api.get("me", token=token).json()["email_verified"] is False
