"""Work whose only purpose is that response times and query counts do not reveal who has an account.

Each function repeats work that the other outcome does. A call looks unused, because its result is discarded. Do not
remove one: each closes the attack in its docstring, and the named test fails without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.hashers import make_password
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.models import OneTimeToken, ShadowRegistration, ThrottleBucket
from ninja_auth_kit.models.one_time_tokens import Purpose, new_one_time_token
from ninja_auth_kit.models.throttling import Bucket
from ninja_auth_kit.models.users import lock_user


@sensitive_variables()
def burn_hash(password: str) -> None:
    """Hash a password and discard the hash.

    Attack: a login that is rejected without a hash answers faster, so an attacker learns that the account is unknown.
    """
    make_password(password)


def burn_shadow_lookup(*, canonical: str = "", username: str = "") -> None:
    """Look up the shadow registration of an address or a username and discard it.

    Attack: a login that skips this query answers faster, so an attacker who has registered an address learns whether
    the registration waits for its verification or was turned away.
    """
    ShadowRegistration.objects.find(canonical=canonical, username=username)


def burn_lock(user_id: Any) -> None:
    """Lock a user's row in a transaction of its own, and change nothing.

    Attack: a login to a pending registration locks the user before it answers "not verified". A login to a shadow
    registration would answer the same without the lock, and faster.
    """
    with atomic():
        lock_user(user_id)


def burn_bucket_lookup(buckets: Sequence[Bucket]) -> None:
    """Look up rate limit buckets and discard them.

    Attack: a request for an unknown address counts no email, so it would take one query less.
    """
    ThrottleBucket.objects.full(buckets)


def burn_token_lookup(purpose: Purpose) -> None:
    """Look up a one-time token that does not exist.

    Attack: a request for an unknown address stores no token. The background job would be shorter, and an attacker who
    keeps a connection to the process open measures its work.
    """
    OneTimeToken.objects.find(purpose=purpose, token=new_one_time_token())


def render_unsent(template: str, context: Mapping[str, Any]) -> None:
    """Render an email and discard it.

    Attack: the same as for `burn_token_lookup`; rendering is most of the work of such a job.
    """
    emails.render(template, to="", context=context)
