"""Import the second factors of another package into accounts of the kit, for `authkit_factors import`.

Each batch of users is read, decrypted and verified without a lock. Then its users are locked, in the order of their
keys, and what is left to do is decided and stored in one transaction. So two runs at the same time, or a user who adds
a factor meanwhile, lead to no factor twice and to no factor above the limit.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from django.db.models import Model, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import atomic
from ninja_auth_kit.contrib.factors import signals
from ninja_auth_kit.contrib.factors.former_factors import FormerFactor, Outcome, RefusedError, Source
from ninja_auth_kit.contrib.factors.kinds import begin_to_ask, importer_of
from ninja_auth_kit.contrib.factors.models import NAME_LENGTH, Factor
from ninja_auth_kit.models import SpentTicket, UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import is_pending, may_authenticate, users_by_pk
from ninja_auth_kit.services.internal.finish_login import announce_end
from ninja_auth_kit.tokens.digests import digest, digests

# How long an import is remembered after its user has removed the factor. Without that, another run would bring an app
# back that its user has removed because the phone was stolen.
REMEMBERED = timedelta(days=366)
_LABEL = "imported factor"


@dataclass(frozen=True)
class Prepared:
    """A factor that is ready to be stored.

    Attributes:
        row: the row of the app of its kind.
        identity: what no other factor may have.
        imported: what the database remembers of the import, under a keyed digest.
    """

    former: FormerFactor
    importer: "Importer"
    factor: Factor
    row: Model = field(repr=False)
    identity: Hashable = field(repr=False)
    imported: str = field(repr=False)


class Owned(NamedTuple):
    """A factor that a user has already."""

    user_id: Any
    factor_id: UUID


class Importer(Protocol):
    """What the app of a kind of factor does for an import."""

    @property
    def limit(self) -> int:
        """How many factors of this kind a user may have."""

    def prepare(self, found: Any, factor: Factor) -> tuple[Model, Hashable, bytes]:
        """Return the row of a factor, its identity, and the secret or id that an import is remembered by.

        Raises:
            RefusedError: the kit does not accept it.
        """

    def owned(self, items: Sequence[Prepared]) -> Mapping[Hashable, Owned]:
        """Return the factors that have these identities already, by identity."""

    def store(self, rows: Sequence[Any]) -> Collection[UUID]:
        """Store the rows, and return the ids of those factors whose identity another transaction has taken."""

    def catch_up(self, factor_id: UUID, row: Any) -> None:
        """Note in the row of a factor that was imported before what the other package has counted since."""


@dataclass(frozen=True)
class Imported:
    """What became of a factor.

    Attributes:
        error: the name of the exception if its data could not be read. Its text may have a secret.
    """

    outcome: Outcome
    former: FormerFactor
    error: str = ""


def import_factors(source: Source, *, dry_run: bool = False, include_disabled: bool = False) -> Iterator[Imported]:
    """Import the factors of all users, and yield what became of each.

    Each batch is committed. If you stop, what is done stays done, and another call does the rest.

    The owners get no email, because nothing changes for them. If it is the first factor of a user, or the first that
    is asked for, all sessions of the user end: they were started without it.

    Args:
        source: where the factors are.
        dry_run: whether to find out only what would be done.
        include_disabled: whether to import the factors of disabled users.
    """
    for batch in source.batches():
        yield from _import_batch(batch, dry_run=dry_run, include_disabled=include_disabled)


def _import_batch(batch: Sequence[FormerFactor], *, dry_run: bool, include_disabled: bool) -> Iterator[Imported]:
    users = {user.pk: user for user in users_by_pk({former.user_id for former in batch})}
    prepared: list[Prepared] = []
    for former in batch:
        user = users.get(former.user_id)
        try:
            _require_importable(user, include_disabled=include_disabled)
            prepared.append(_prepared(former, user))
        except RefusedError as refused:
            cause = refused.__cause__
            yield Imported(refused.outcome, former, "" if cause is None else type(cause).__name__)
    if not prepared:
        return
    if dry_run:
        outcomes = _decide(prepared, users, include_disabled=include_disabled).outcomes
    else:
        outcomes = _import_prepared(prepared, include_disabled=include_disabled)
    for item in prepared:
        yield Imported(outcomes[item.factor.pk], item.former)


def _require_importable(user: Any | None, *, include_disabled: bool) -> None:
    if user is None:
        raise RefusedError(Outcome.NO_USER)
    if not include_disabled and not may_authenticate(user):
        raise RefusedError(Outcome.DISABLED)
    if is_pending(user):  # the factor may be that of a stranger, who has registered the address
        raise RefusedError(Outcome.PENDING)


@sensitive_variables()
def _prepared(former: FormerFactor, user: Any) -> Prepared:
    now = timezone.now()
    factor = Factor(
        id=uuid4(),
        user_id=user.pk,
        kind=former.kind,
        name=former.label.strip()[:NAME_LENGTH],
        created_at=former.created_at or now,
        confirmed_at=former.created_at or now,
        last_used_at=former.last_used_at,
    )
    try:
        found = former.read(user)
        importer: Importer | None = importer_of(former.kind)
        if importer is None:
            raise RefusedError(Outcome.NOT_INSTALLED)
        row, identity, secret = importer.prepare(found, factor)
    except RefusedError:
        raise
    except Exception as error:  # of the other package, its adapter, or a parser
        raise RefusedError(Outcome.UNREADABLE) from error
    return Prepared(former, importer, factor, row, identity, f"{former.kind} {user.pk} {secret.hex()}")


def _import_prepared(prepared: Sequence[Prepared], *, include_disabled: bool) -> dict[UUID, Outcome]:
    with atomic():
        users = {user.pk: user for user in users_by_pk({item.factor.user_id for item in prepared}, lock=True)}
        decision = _decide(prepared, users, include_disabled=include_disabled)
        outcomes = decision.outcomes
        before: dict[Any, list[str]] = defaultdict(list)
        for key, kind in _confirmed(users).values_list("user_id", "kind"):
            before[key].append(kind)
        ready = [item for item in prepared if outcomes[item.factor.pk] is Outcome.DONE]
        taken = _store(ready)
        outcomes |= dict.fromkeys(taken, Outcome.REGISTERED)
        stored = [item for item in ready if item.factor.pk not in taken]
        for item in prepared:
            if item.factor.pk in decision.known:
                item.importer.catch_up(decision.known[item.factor.pk], item.row)
        added: dict[Any, list[str]] = defaultdict(list)
        for item in stored:
            added[item.factor.user_id].append(item.factor.kind)
        Factor.objects.begin_set(*added)
        _end_sessions([key for key, kinds in added.items() if begin_to_ask(before[key], kinds)], users)
        for item in stored:
            user, factor = users[item.factor.user_id], item.factor
            signals.factor_added.announce(
                user=user, client=None, factor_id=str(factor.pk), kind=factor.kind, by="system"
            )
    return outcomes


def _confirmed(users: Collection[Any]) -> QuerySet[Factor]:
    return Factor.objects.filter(user__in=users, confirmed_at__isnull=False)


class _Decision(NamedTuple):
    """What is to become of each factor, by its id.

    Attributes:
        known: the id of the factor that the user has already, if there is one.
    """

    outcomes: dict[UUID, Outcome]
    known: dict[UUID, UUID]


@sensitive_variables()
def _decide(prepared: Sequence[Prepared], users: Mapping[Any, Any], *, include_disabled: bool) -> _Decision:
    """Return what is to become of each factor. A dry run calls this without locks."""
    numbers = Counter(_confirmed(users).values_list("user_id", "kind"))
    owned = {importer: dict(importer.owned(items)) for importer, items in _by_importer(prepared).items()}
    imported = _imported_before(prepared)
    decision = _Decision({}, {})
    for item in prepared:
        factor, own = item.factor, owned[item.importer]
        key = (factor.user_id, factor.kind)
        outcome = _refusal(item, users, own, include_disabled=include_disabled)
        if outcome is Outcome.KNOWN:
            decision.known[factor.pk] = own[item.identity].factor_id
        if outcome is None and item.imported in imported:
            outcome = Outcome.KNOWN
        if outcome is None and numbers[key] >= item.importer.limit:
            outcome = Outcome.LIMIT
        decision.outcomes[factor.pk] = outcome or Outcome.DONE
        if outcome is None:
            numbers[key] += 1
            own[item.identity] = Owned(factor.user_id, factor.pk)
    return decision


def _refusal(
    item: Prepared, users: Mapping[Any, Any], owned: Mapping[Hashable, Owned], *, include_disabled: bool
) -> Outcome | None:
    try:
        _require_importable(users.get(item.factor.user_id), include_disabled=include_disabled)
    except RefusedError as refused:
        return refused.outcome
    if item.identity not in owned:
        return None
    return Outcome.KNOWN if owned[item.identity].user_id == item.factor.user_id else Outcome.REGISTERED


def _by_importer(prepared: Sequence[Prepared]) -> dict[Importer, list[Prepared]]:
    items: dict[Importer, list[Prepared]] = defaultdict(list)
    for item in prepared:
        items[item.importer].append(item)
    return items


def _imported_before(prepared: Sequence[Prepared]) -> set[str]:
    """Return which of the factors were imported before, even if their users have removed them since."""
    values = {found: item.imported for item in prepared for found in digests(_LABEL, item.imported)}
    rows = SpentTicket.objects.filter(digest__in=list(values)).values_list("digest", flat=True)
    return {values[row] for row in rows}


def _store(ready: Sequence[Prepared]) -> set[UUID]:
    """Store factors, and return the ids of those that could not be stored."""
    Factor.objects.bulk_create([item.factor for item in ready])
    taken: set[UUID] = set()
    for importer, items in _by_importer(ready).items():
        taken |= set(importer.store([item.row for item in items]))
    if taken:
        Factor.objects.filter(pk__in=taken).delete()
    expires_at = timezone.now() + REMEMBERED
    SpentTicket.objects.bulk_create(
        [
            SpentTicket(digest=digest(_LABEL, item.imported), expires_at=expires_at)
            for item in ready
            if item.factor.pk not in taken
        ],
        ignore_conflicts=True,
    )
    return taken


def _end_sessions(keys: Collection[Any], users: Mapping[Any, Any]) -> None:
    """End the sessions of users who are asked for a factor from now on."""
    active = UserSession.objects.filter(user__in=keys, is_active=True).order_by("user_id")
    for key in active.values_list("user_id", flat=True).distinct():
        for ended in UserSession.objects.end(reason=EndReason.REVOKED, user_id=key):
            announce_end(users[key], ended.id, EndReason.REVOKED, by="system", client=None)
