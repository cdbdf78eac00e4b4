"""Diagnosis: which users cannot log in or reset their password, and why.

PostgreSQL does the work, so that a million users can be examined: a few statements count the users of each reason and
return the primary keys of some. Only email addresses that need Python, such as those with an international domain,
are read one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, get_hashers
from django.db.models import Count, F, Q, QuerySet, TextField
from django.db.models.functions import Cast, Length, Upper

from ninja_auth_kit import features
from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.users import email_field

# Addresses that are certainly accepted are short, and match the first pattern and not the second. All others are
# examined in Python. One pattern with look-ahead and bounds took PostgreSQL fifty times as long.
_PLAIN = r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\.[A-Za-z][A-Za-z]+$"
_MISPLACED = r"^\.|\.@|@[.-]|[.-]\.|\.-"
_SHORT = 64  # characters, of which each part may have as many
_CHUNK = 2000


@dataclass(frozen=True)
class Reason:
    """Why users cannot log in or reset their password.

    Attributes:
        name: one word for programs.
        text: what is wrong, and what the users get.
        fix: what to do.
        is_problem: whether an operator must act. The others are as intended, or the users can help themselves.
    """

    name: str
    text: str
    fix: str
    is_problem: bool = True


@dataclass
class Finding:
    """The users of one reason.

    Attributes:
        reason: why they cannot log in or reset their password.
        count: how many there are.
        users: the primary keys of some.
        groups: the primary keys of some who share one email address.
    """

    reason: Reason
    count: int = 0
    users: list[Any] = field(default_factory=list)
    groups: list[list[Any]] = field(default_factory=list)

    def add(self, key: Any, *, limit: int) -> None:
        """Count a user, and keep the key of one of the first."""
        self.count += 1
        if len(self.users) < limit:
            self.users.append(key)


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        users: how many users the default manager shows.
        findings: those of each reason that applies to any user.
    """

    users: int
    findings: list[Finding]

    @property
    def is_healthy(self) -> bool:
        """Whether no user needs an operator."""
        return not any(finding.reason.is_problem for finding in self.findings)


NO_ADDRESS = Reason(
    "no_address",
    "They have no email address: a password reset is not possible, and a login is refused if the address must be "
    "verified.",
    "Give each an email address in the admin, then run authkit_verify with the addresses.",
)
ADDRESS_REFUSED = Reason(
    "address_refused",
    "The kit does not accept their email address, for example because it is quoted or not ASCII before the @.",
    "Give each another email address in the admin, then run authkit_verify with the addresses.",
)
ADDRESS_SHARED = Reason(
    "address_shared",
    "Other users have the same email address, in any case, and it is not verified for these: a login with it and a "
    "password reset are refused.",
    "Change email addresses until each user has another one, then run authkit_verify with those that you know.",
)
NEVER_VERIFIED = Reason(
    "never_verified",
    "They were not made by a registration, and their email address is not verified: a login is refused with "
    "email_not_verified.",
    "Run authkit_verify with the email addresses that you know to be theirs, or authkit_verify --all. They can also "
    "verify their address themselves, with a password reset, unless it is refused or shared.",
)
ADDRESS_CHANGED = Reason(
    "address_changed",
    "Their email address was changed outside the kit, so it is not the one that was verified: a login is refused with "
    "email_not_verified.",
    "Run authkit_verify with the new email addresses, or let the users verify them with a password reset.",
)
UNKNOWN_HASHER = Reason(
    "unknown_hasher",
    "Their password hash is of an algorithm that PASSWORD_HASHERS does not list, or is not a hash: every password is "
    "refused.",
    "Add the hasher to PASSWORD_HASHERS, below the first. Otherwise the users need a password reset.",
)
REMOVED_ROOT = Reason(
    "removed_root",
    "Their authenticator app, passkey, recovery codes, API keys or identities at providers depend on a root secret "
    "that the settings do not list any more: each use is refused.",
    "If the former secret has not leaked, list it again (see `authkit_keys rotate`) and run authkit_keys rewrap. "
    "Otherwise reset the factors of each user with authkit_factors reset, unlink their identities in the "
    "admin, and let the users create new API keys and link the identities again.",
)
NO_PASSWORD = Reason(
    "no_password",
    "They have no usable password, and USERS_SET_FIRST_PASSWORD is off: they can neither log in with a "
    "password nor reset it.",
    "Nothing, if they log in with something else, such as a directory. Otherwise turn the setting on, or set "
    "passwords.",
)
FIRST_PASSWORD = Reason(
    "no_password",
    "They have no usable password yet. A password reset sets their first one.",
    "Nothing, or tell them to reset their password.",
    is_problem=False,
)
PENDING = Reason(
    "pending",
    "They have registered, and have not opened the link in the email yet.",
    "Nothing: they can request another link, and another registration of the address replaces theirs.",
    is_problem=False,
)
DISABLED = Reason(
    "disabled",
    "They are disabled (is_active), so a login and a password reset are refused.",
    "Nothing, or enable them in the admin.",
    is_problem=False,
)


def diagnose(*, limit: int) -> Diagnosis:
    """Return which users cannot log in or reset their password, and why.

    A disabled user is only counted as such.

    Args:
        limit: how many primary keys to return for each reason, at most.
    """
    users = get_user_model()._default_manager.using(accounts_database()).order_by()
    total, findings = _count(users, limit=limit)
    finders = (_refused_addresses, _changed_addresses, _shared_addresses, _locked_out)
    findings += [find(users, limit=limit) for find in finders]
    return Diagnosis(total, [finding for finding in findings if finding.count])


def _can_be_disabled() -> bool:
    return any(column.name == "is_active" for column in get_user_model()._meta.concrete_fields)


def _enabled() -> Q:
    return Q(is_active=True) if _can_be_disabled() else Q()


def _has_address() -> Q:
    return ~_is_empty(email_field())


def _is_empty(name: str) -> Q:
    return Q(**{name: ""}) | Q(**{f"{name}__isnull": True})


def _has_row_of_address() -> Q:
    """Return the condition that the row of `EmailAddress` has the present address of the user, in any case."""
    name = f"{email_field()}__iexact"
    return Q(**{name: F("authkit_email__canonical")}) | Q(**{name: F("authkit_email__email")})


def _conditions() -> dict[Reason, Q]:
    """Return the reasons that are a condition in SQL."""
    enabled, unusable = _enabled(), Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    no_password = FIRST_PASSWORD if settings.USERS_SET_FIRST_PASSWORD else NO_PASSWORD
    found = {
        NO_ADDRESS: enabled & _is_empty(email_field()),
        UNKNOWN_HASHER: enabled & ~unusable & ~_has_known_hash(),
        no_password: enabled & unusable,
    }
    if _can_be_disabled():
        found[DISABLED] = ~enabled
    if settings.EMAIL_VERIFICATION_REQUIRED:
        waits = Q(authkit_email__isnull=False, authkit_email__verified_at=None)
        found[NEVER_VERIFIED] = enabled & _has_address() & Q(authkit_email=None)
        found[PENDING] = enabled & waits & _has_row_of_address()
    return found


def _has_known_hash() -> Q:
    """Return the condition that a hasher of `PASSWORD_HASHERS` knows the hash, as `identify_hasher` decides."""
    names = {hasher.algorithm for hasher in get_hashers()}
    known = Q(pk__in=[])
    for name in names:
        known |= Q(password__startswith=f"{name}$")
    # Without a salt, the hashes of two hashers look different.
    for name, prefix in (("unsalted_md5", "md5$$"), ("unsalted_sha1", "sha1$$")):
        is_unsalted = Q(password__startswith=prefix)
        known = known | is_unsalted if name in names else known & ~is_unsalted
    if "unsalted_md5" in names:
        known |= Q(password__regex=r"^[^$]{32}$")  # noqa: S106  # a pattern
    return known


def _count(users: QuerySet[Any], *, limit: int) -> tuple[int, list[Finding]]:
    """Return the number of all users and the findings of `_conditions`, with one scan for all of the counts."""
    conditions = _conditions()
    wanted = {f"reason{number}": Count("pk", filter=one) for number, one in enumerate(conditions.values())}
    counts = users.aggregate(total=Count("pk"), **wanted)
    findings = []
    for number, (reason, condition) in enumerate(conditions.items()):
        count = counts[f"reason{number}"]
        keys = list(users.filter(condition).order_by("pk").values_list("pk", flat=True)[:limit]) if count else []
        findings.append(Finding(reason, count, keys))
    return counts["total"], findings


def _refused_addresses(users: QuerySet[Any], *, limit: int) -> Finding:
    """Find addresses that the kit does not accept."""
    name, refused = email_field(), Finding(ADDRESS_REFUSED)
    has_plain_letters = Q(**{f"{name}__regex": _PLAIN}) & ~Q(**{f"{name}__regex": _MISPLACED})
    is_plain = has_plain_letters & Q(authkit_length__lte=_SHORT) & ~_is_international()
    measured = users.filter(_enabled(), _has_address()).annotate(authkit_length=Length(name))
    odd = measured.exclude(is_plain).order_by("pk").values_list("pk", name)
    for key, email in odd.iterator(chunk_size=_CHUNK):
        if _canonical(email) is None:
            refused.add(key, limit=limit)
    return refused


def _changed_addresses(users: QuerySet[Any], *, limit: int) -> Finding:
    """Find users whose address is not the one of their row. Two spellings of an international domain are the same."""
    changed = Finding(ADDRESS_CHANGED)
    if not settings.EMAIL_VERIFICATION_REQUIRED:
        return changed
    others = users.filter(_enabled(), _has_address(), authkit_email__isnull=False).exclude(_has_row_of_address())
    rows = others.order_by("pk").values_list("pk", email_field(), "authkit_email__canonical")
    for key, email, canonical in rows.iterator(chunk_size=_CHUNK):
        if _canonical(email) not in (None, canonical):
            changed.add(key, limit=limit)
    return changed


def _shared_addresses(users: QuerySet[Any], *, limit: int) -> Finding:
    """Find users whose address others have, too, unless it is verified for them."""
    shared = Finding(ADDRESS_SHARED)
    for members in chain(_same_in_upper_case(users), _same_international(users)):
        first = next(members)
        group, is_listed = [first.key], len(shared.users) < limit
        for member in members:  # there is a second one
            if len(group) < limit:
                group.append(member.key)
            if member.is_stuck:
                shared.add(member.key, limit=limit)
        if first.is_stuck and len(group) > 1:
            shared.add(first.key, limit=limit)
        if is_listed and len(group) > 1:
            shared.groups.append(group)
    return shared


def _locked_out(users: QuerySet[Any], *, limit: int) -> Finding:
    """Find users whose factors, API keys or identities depend on a root secret that is listed no more."""
    condition = Q(pk__in=[])
    queries = features.locked_out()
    if not queries:
        return Finding(REMOVED_ROOT)
    for keys in queries:
        condition |= Q(pk__in=keys)
    found = users.filter(_enabled(), condition)
    return Finding(REMOVED_ROOT, found.count(), list(found.order_by("pk").values_list("pk", flat=True)[:limit]))


class _Holder(NamedTuple):
    """A user who has an address, and whether the address is verified for this user or the user is disabled."""

    key: Any
    canonical: str
    is_stuck: bool


def _holders(users: QuerySet[Any], *order: str) -> Iterator[_Holder]:
    """Yield the users who have an address that the kit accepts, in this order."""
    columns = ["pk", email_field(), "authkit_email__canonical", "authkit_email__verified_at"]
    columns += ["is_active"] if _can_be_disabled() else []
    for key, email, row, verified_at, *is_active in (
        users.order_by(*order, "pk").values_list(*columns).iterator(_CHUNK)
    ):
        canonical = _canonical(email)
        if canonical is not None:
            yield _Holder(key, canonical, all(is_active) and not (verified_at and row == canonical))


def _is_international() -> Q:
    return Q(**{f"{email_field()}__icontains": "xn--"}) | Q(**{f"{email_field()}__regex": "[^\x01-\x7f]"})


def _same_in_upper_case(users: QuerySet[Any]) -> Iterator[Iterator[_Holder]]:
    """Yield the holders of each address that several users have, one group after the other."""
    upper = users.filter(_has_address()).annotate(authkit_upper=Upper(Cast(email_field(), TextField())))
    several = upper.values("authkit_upper").annotate(number=Count("pk")).filter(number__gt=1).values("authkit_upper")
    holders = _holders(upper.filter(authkit_upper__in=several).exclude(_is_international()), "authkit_upper")
    for _address, members in groupby(holders, key=lambda holder: holder.canonical):
        yield members


def _same_international(users: QuerySet[Any]) -> Iterator[Iterator[_Holder]]:
    """Yield the same for international domains, which are written in two ways. Their users are few."""
    holders = sorted(_holders(users.filter(_has_address() & _is_international())), key=lambda holder: holder.canonical)
    for _address, members in groupby(holders, key=lambda holder: holder.canonical):
        yield members


def _canonical(email: str) -> str | None:
    try:
        return canonical_email(email)
    except InvalidEmailError:
        return None
