"""Import the identities of another package into accounts of the kit, for `authkit_identities import`.

Each batch of users is read without a lock. Then its users are locked, in the order of their keys, and what is left to
do is decided and stored in one transaction. So two runs at the same time, or a user who links an identity meanwhile,
lead to no identity twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from ninja_auth_kit.conf import atomic
from ninja_auth_kit.contrib.oidc import signals
from ninja_auth_kit.contrib.oidc.former_identities import FormerIdentity, Outcome, RefusedError, Source
from ninja_auth_kit.contrib.oidc.models import LENGTH, Identity
from ninja_auth_kit.contrib.oidc.providers import TENANT, Provider, providers
from ninja_auth_kit.models import SpentTicket
from ninja_auth_kit.models.users import is_pending, may_authenticate, users_by_pk
from ninja_auth_kit.tokens.digests import digest, digests
from ninja_auth_kit.tokens.id_tokens import is_subject

# How long an import is remembered after its user has unlinked the identity. Without that, another run would link it
# again.
REMEMBERED = timedelta(days=366)
_LABEL = "imported identity"


@dataclass(frozen=True)
class Imported:
    """What became of an identity."""

    outcome: Outcome
    former: FormerIdentity


@dataclass(frozen=True)
class _Prepared:
    """An identity that is ready to be stored.

    Attributes:
        memory: what the database remembers of the import, under a keyed digest.
    """

    former: FormerIdentity
    row: Identity
    memory: str


def import_identities(
    source: Source, *, names: Mapping[str, str] | None = None, dry_run: bool = False, include_disabled: bool = False
) -> Iterator[Imported]:
    """Import the identities of all users, and yield what became of each.

    Each batch is committed. If you stop, what is done stays done, and another call does the rest. The owners get no
    email, because nothing changes for them.

    Args:
        source: where the identities are.
        names: the id in `OIDC["PROVIDERS"]` for what the other package calls a provider. Needed only if the other
            package does not know the issuer.
        dry_run: whether to find out only what would be done.
        include_disabled: whether to import the identities of disabled users.
    """
    for batch in source.batches():
        yield from _import_batch(batch, names or {}, dry_run=dry_run, include_disabled=include_disabled)


def _import_batch(
    batch: Sequence[FormerIdentity], names: Mapping[str, str], *, dry_run: bool, include_disabled: bool
) -> Iterator[Imported]:
    users = {user.pk: user for user in users_by_pk({former.user_id for former in batch})}
    prepared: list[_Prepared] = []
    for former in batch:
        user = users.get(former.user_id)
        try:
            _require_importable(user, include_disabled=include_disabled)
            prepared.append(_prepared(former, user, names))
        except RefusedError as refused:
            yield Imported(refused.outcome, former)
    if not prepared:
        return
    if dry_run:
        outcomes = _decide(prepared, users, include_disabled=include_disabled)
    else:
        outcomes = _import_prepared(prepared, include_disabled=include_disabled)
    for item in prepared:
        yield Imported(outcomes[item.row.pk], item.former)


def _require_importable(user: Any | None, *, include_disabled: bool) -> None:
    if user is None:
        raise RefusedError(Outcome.NO_USER)
    if not include_disabled and not may_authenticate(user):
        raise RefusedError(Outcome.DISABLED)
    if is_pending(user):  # the identity may be that of a stranger, who has registered the address
        raise RefusedError(Outcome.PENDING)


def _prepared(former: FormerIdentity, user: Any, names: Mapping[str, str]) -> _Prepared:
    if former.refusal is not None:
        raise RefusedError(former.refusal)
    provider, issuer = _provider_of(former, names)
    if former.subject is None or not is_subject(former.subject) or len(issuer) > LENGTH:
        raise RefusedError(Outcome.NOT_SUBJECT)
    row = Identity.sealed(user=user, provider=provider.id, issuer=issuer, subject=former.subject, email=former.email)
    return _Prepared(former, row, f"{user.pk} {issuer} {former.subject}")


def _provider_of(former: FormerIdentity, names: Mapping[str, str]) -> tuple[Provider, str]:
    """Return the provider of an identity and its issuer."""
    known = providers()
    named = known.get(names.get(former.provider, ""))
    if named is not None:
        if former.issuer is None and TENANT not in named.issuer:
            return named, named.issuer
        if former.issuer is None or not _has_issuer(named, former.issuer):
            raise RefusedError(Outcome.OTHER_ISSUER)
    elif former.issuer is not None:
        named = next((one for one in known.values() if _has_issuer(one, str(former.issuer))), None)
    if named is None:
        raise RefusedError(Outcome.NO_PROVIDER)
    return named, str(former.issuer) if TENANT in named.issuer else named.issuer


def _has_issuer(provider: Provider, issuer: str) -> bool:
    """Return whether an issuer is that of a provider. A package may have it with or without a slash at the end."""
    return any(provider.is_issuer(one) for one in (issuer, f"{issuer}/"))


def _import_prepared(prepared: Sequence[_Prepared], *, include_disabled: bool) -> dict[UUID, Outcome]:
    with atomic():
        users = {user.pk: user for user in users_by_pk({item.row.user_id for item in prepared}, lock=True)}
        outcomes = _decide(prepared, users, include_disabled=include_disabled)
        # In one order in all transactions, so that two do not wait for each other.
        ready = sorted(
            (item for item in prepared if outcomes[item.row.pk] is Outcome.DONE),
            key=lambda item: (item.row.issuer, item.row.subject),
        )
        Identity.objects.bulk_create([item.row for item in ready], ignore_conflicts=True)
        stored = set(Identity.objects.filter(pk__in=[item.row.pk for item in ready]).values_list("pk", flat=True))
        outcomes |= {item.row.pk: Outcome.LINKED for item in ready if item.row.pk not in stored}
        done = [item for item in ready if item.row.pk in stored]
        expires_at = timezone.now() + REMEMBERED
        SpentTicket.objects.bulk_create(
            [SpentTicket(digest=digest(_LABEL, item.memory), expires_at=expires_at) for item in done],
            ignore_conflicts=True,
        )
        for item in done:
            signals.identity_linked.announce(
                user=users[item.row.user_id], client=None, provider=item.row.provider, by="system"
            )
    return outcomes


def _decide(prepared: Sequence[_Prepared], users: Mapping[Any, Any], *, include_disabled: bool) -> dict[UUID, Outcome]:
    """Return what is to become of each identity, by the id of its row. A dry run calls this without locks."""
    subjects = [item.row.subject for item in prepared]
    rows = Identity.objects.filter(Q(user__in=list(users)) | Q(subject__in=subjects))
    owners = {(issuer, subject): owner for issuer, subject, owner in rows.values_list("issuer", "subject", "user_id")}
    issuers = {(owner, issuer) for (issuer, _), owner in owners.items()}
    remembered = _imported_before(prepared)
    outcomes: dict[UUID, Outcome] = {}
    for item in prepared:
        row = item.row
        key, own = (row.issuer, row.subject), (row.user_id, row.issuer)
        try:
            _require_importable(users.get(row.user_id), include_disabled=include_disabled)
        except RefusedError as refused:
            outcomes[row.pk] = refused.outcome
            continue
        if key in owners:
            outcomes[row.pk] = Outcome.KNOWN if owners[key] == row.user_id else Outcome.LINKED
        elif item.memory in remembered:
            outcomes[row.pk] = Outcome.KNOWN
        elif own in issuers:
            outcomes[row.pk] = Outcome.SECOND
        else:
            outcomes[row.pk] = Outcome.DONE
            owners[key] = row.user_id
            issuers.add(own)
    return outcomes


def _imported_before(prepared: Sequence[_Prepared]) -> set[str]:
    """Return which of the identities were imported before, even if their users have unlinked them since."""
    values = {found: item.memory for item in prepared for found in digests(_LABEL, item.memory)}
    rows = SpentTicket.objects.filter(digest__in=list(values)).values_list("digest", flat=True)
    return {values[row] for row in rows}
