"""Work whose only purpose is that response times and query counts do not reveal who has an account.

Each function does work that the other outcome of the same request does, and discards the result. So a call looks
unused. Do not remove it: the docstring of the function names the attack that it prevents, and a test that fails
without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models import OneTimeToken, ShadowRegistration, ThrottleBucket
from ninja_auth_kit.models.one_time_tokens import Purpose, new_one_time_token
from ninja_auth_kit.models.throttling import Bucket
from ninja_auth_kit.models.users import lock_user
from ninja_auth_kit.services.internal.password_hashing import discard_hash, spellings
from ninja_auth_kit.short_transaction import short_atomic


@sensitive_variables()
def burn_hash(password: str) -> None:
    """Hash a password, in each of its spellings, and discard the hashes.

    Attack: a failed login that hashes less often answers faster. An attacker learns which accounts exist, or whether
    an address that the attacker has registered was free.

    Tests:
    tests/test_login.py::test_every_refusal_costs_two_hashes_and_as_many_queries
    tests/test_enumeration.py::test_a_username_that_a_backend_cannot_look_up_costs_a_login_as_many_hashes
    """
    for spelling in spellings(password):
        discard_hash(spelling)


def burn_shadow_lookup(*, canonical: str = "", username: str = "") -> None:
    """Look up the shadow registration of an address or a username and discard it.

    Attack: an attacker registers an address and logs in. The login with the password of a pending account would need
    one query less than the login with the password of a shadow registration, and so reveal that the address is free.

    Test:
    tests/test_registration.py::test_the_password_of_a_registration_asks_the_database_as_often_whoever_has_the_address
    """
    ShadowRegistration.objects.find(canonical=canonical, username=username)


def burn_lock(user_id: Any) -> None:
    """Lock a user's row in a transaction of its own, and change nothing.

    Attack: the same as for `burn_shadow_lookup`. The login to a pending account locks the user before it is answered
    with "not verified". The login to a shadow registration would get the same answer without a lock, and faster.

    Test:
    tests/test_registration.py::test_the_password_of_a_registration_asks_the_database_as_often_whoever_has_the_address
    """
    with short_atomic():
        lock_user(user_id)
        # Not a commit, which would wait for the disk: the login to a pending account is rolled back.
        transaction.set_rollback(True, using=accounts_database())


def burn_bucket_lookup(buckets: Sequence[Bucket]) -> None:
    """Look up rate limit buckets and discard them.

    Attack: a request for a link to an unknown address counts no email to the recipient. The background job would make
    one query less, and an attacker who keeps a connection to the process open can measure how long it works.

    Test:
    tests/test_enumeration.py::test_a_link_for_an_unknown_address_asks_the_same_tables
    """
    ThrottleBucket.objects.full(buckets)


def burn_token_lookup(purpose: Purpose) -> None:
    """Look up a one-time token that does not exist.

    Attack: the same as for `burn_bucket_lookup`. A request for a link to an unknown address stores no token.

    Test:
    tests/test_enumeration.py::test_a_link_for_an_unknown_address_asks_the_same_tables
    """
    OneTimeToken.objects.find(purpose=purpose, token=new_one_time_token())


def render_unsent(template: str, context: Mapping[str, Any]) -> None:
    """Render an email and discard it.

    Attack: the same as for `burn_bucket_lookup`. Rendering is most of the work of such a job.

    Test:
    tests/test_emails.py::test_a_job_about_nobody_does_as_much_work
    """
    emails.render(template, to="", context=context)
