"""Canonical spellings: write those again that another version, or your own code, has written in another way."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError

from ninja_auth_kit.conf import atomic
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.users import find_holders, lock_user

_BATCH = 2000


@dataclass(frozen=True)
class Respelling:
    """An address whose canonical spelling is not the one that it must have.

    Attributes:
        user_id: the primary key of the user.
        former: the stored canonical spelling.
        canonical: the right one; "" if the address is not valid.
        others: the primary keys of other users who have the right one already, or would get it too.
    """

    user_id: Any
    former: str
    canonical: str
    others: list[Any] = field(default_factory=list)


def find_respellings() -> list[Respelling]:
    """Return the addresses whose stored canonical spelling is not that of `canonical_email`, with all collisions."""
    found = list(_differing())
    wanted = Counter(one.canonical for one in found)
    return [
        Respelling(one.user_id, one.former, one.canonical, _others(one, found if wanted[one.canonical] > 1 else []))
        for one in found
    ]


def _differing() -> Iterator[Respelling]:
    rows = EmailAddress.objects.order_by("pk").values_list("user_id", "email", "canonical")
    for user_id, email, stored in rows.iterator(chunk_size=_BATCH):
        try:
            canonical = canonical_email(email)
        except InvalidEmailError:
            canonical = ""
        if canonical != stored:
            yield Respelling(user_id, stored, canonical)


def _others(one: Respelling, respelled: list[Respelling]) -> list[Any]:
    if not one.canonical:
        return []
    others = {user.pk for user in find_holders(one.canonical)}
    others |= set(EmailAddress.objects.filter(canonical=one.canonical).values_list("user_id", flat=True))
    others |= {other.user_id for other in respelled if other.canonical == one.canonical}
    return sorted(others - {one.user_id}, key=str)


def respell(one: Respelling) -> bool:
    """Store the right canonical spelling. Return False if the address has changed or has been taken meanwhile."""
    try:
        with atomic():
            lock_user(one.user_id)
            unchanged = EmailAddress.objects.filter(user=one.user_id, canonical=one.former)
            return unchanged.update(canonical=one.canonical) == 1
    except IntegrityError:
        return False
