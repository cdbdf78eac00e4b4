"""Unique values of users other than the email address, such as a username or a handle.

They are public: the answer to a registration says which are in use. A registration of an address that is in use
creates no user, but it must hold its values as a new user would; see `ShadowRegistration`. So every set of values that
must be unique has a key, which tables other than that of the users can store.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    CheckConstraint,
    F,
    Func,
    Q,
    TextField,
    UniqueConstraint,
    Value,
    When,
)
from django.db.models.functions import Cast, Collate
from django.db.models.lookups import Exact, IsNull
from django.db.models.sql import Query
from django.db.models.sql.constants import SINGLE

from ninja_auth_kit.conf import accounts_database

# The first half of the key of an advisory lock; the second is a part of the key of a value. An arbitrary constant.
_LOCKS = 0x4E414B32


def user_models(model: Any = None) -> tuple[type[Any], ...]:
    """Return the user model, or a model that may become it, and the models that it inherits columns from."""
    model = model or get_user_model()
    return (model, *model._meta.all_parents)


def names_in(expression: Any) -> Iterator[str]:
    """Yield the names of the fields that an expression of a constraint mentions."""
    parts = expression.flatten() if hasattr(expression, "flatten") else [expression]
    for part in parts:
        if isinstance(part, F | str):
            yield str(getattr(part, "name", part)).partition("__")[0]


@dataclass(frozen=True)
class UniqueRule:
    """A rule of the user model that no two users have the same values.

    Attributes:
        name: the name of the constraint, or of the fields.
        expressions: what must be unique together.
        fields: the names of the fields that the expressions mention.
        concerned: these, and the fields that the condition mentions.
        condition: which users the rule applies to, or None for all.
        nulls_distinct: whether any number of users may have NULL.
    """

    name: str
    expressions: tuple[Any, ...]
    fields: frozenset[str]
    concerned: frozenset[str]
    condition: Q | None = None
    nulls_distinct: bool = True

    def key(self) -> Any:
        """Return an expression for the key of these values: equal values have the same key. It is NULL without one.

        PostgreSQL hashes the row, because only the database knows which texts are equal: a column may have a collation
        that ignores case.
        """
        key = Func(
            Func(Cast(Value(self.name), TextField()), *self.expressions, function="ROW"),
            Value(0),
            function="hash_record_extended",
            output_field=BigIntegerField(),
        )
        conditions = [] if self.condition is None else [self.condition]
        if self.nulls_distinct:
            conditions += [Q(IsNull(expression, False)) for expression in self.expressions]
        return Case(When(_all(conditions), then=key)) if conditions else key

    def matches(self, values: dict[F, Any]) -> Q:
        """Return the condition for users who have these values.

        Args:
            values: expressions by field.
        """
        equal = []
        for expression in self.expressions:
            value = expression.replace_expressions(values)
            same = Q(Exact(expression, value))
            equal.append(same if self.nulls_distinct else same | Q(IsNull(expression, True), IsNull(value, True)))
        return _all([*equal, *([] if self.condition is None else [self.condition])])


def _all(conditions: Iterable[Q]) -> Q:
    return Q(*conditions)


def unique_rules(model: Any = None) -> list[UniqueRule]:
    """Return the rules of the user model, without those about the primary key or the email address.

    The kit has its own rules for addresses, which do not disclose who has one.

    Args:
        model: another model, or None for the user model.
    """
    model = model or get_user_model()
    apart = {model.get_email_field_name(), model._meta.pk.name}
    return [rule for part in user_models(model) for rule in _rules_of(part) if apart.isdisjoint(rule.fields)]


def is_in_exclusion_constraint(field: Any) -> bool:
    """Return whether a field is in a constraint that compares users by other operators than equality."""
    others = [
        constraint
        for model in user_models()
        for constraint in model._meta.constraints
        if not isinstance(constraint, CheckConstraint | UniqueConstraint)
    ]
    # The expressions of an exclusion constraint are pairs.
    parts = [
        part[0] if isinstance(part, tuple) else part for one in others for part in getattr(one, "expressions", ())
    ]
    return any(field.name in names_in(part) for part in parts)


def _rules_of(model: Any) -> Iterator[UniqueRule]:
    for field in model._meta.local_concrete_fields:
        if field.unique:
            yield _rule(model, field.column, [field.name])
    for names in model._meta.unique_together:
        yield _rule(model, " ".join(names), names)
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield _rule(
                model,
                constraint.name,
                constraint.fields or constraint.expressions,
                condition=constraint.condition,
                nulls_distinct=constraint.nulls_distinct is not False,
            )


def _rule(model: Any, name: str, parts: Iterable[Any], *, condition: Q | None = None, **more: Any) -> UniqueRule:
    expressions = tuple(F(part) if isinstance(part, str) else _without_index_options(part) for part in parts)
    mentioned = [model._meta.get_field(name) for part in expressions for name in names_in(part) if name != "pk"]
    fields = frozenset(name for field in mentioned for name in base_fields(field))
    return UniqueRule(
        name=f"{model._meta.db_table} {name}",
        expressions=expressions,
        fields=fields,
        concerned=fields | (condition.referenced_base_fields if condition is not None else set()),
        condition=condition,
        **more,
    )


def _without_index_options(expression: Any) -> Any:
    """Return an expression without its order or operator class, which only an index has."""
    has_options = hasattr(expression, "get_expression_for_validation")
    return expression.get_expression_for_validation() if has_options else expression


def base_fields(field: Any) -> list[str]:
    """Return the name of a field, or the names of the fields that a generated field is computed from."""
    return list(names_in(field.expression)) if field.generated else [field.name]


class UniqueValues:
    """The values of one user that no other user may have.

    Attributes:
        user: the user, who may be unsaved.
        keys: the key of each rule that applies to the user.
    """

    def __init__(self, user: Any, fields: Collection[str]) -> None:
        """Compute the keys by one query, or by none if no rule concerns the fields.

        Args:
            user: the user.
            fields: the names of the fields that were set. Rules about other fields are ignored: the value that a user
                will have may not be known before it is saved.
        """
        self.user = user
        rules = [rule for rule in unique_rules() if not rule.concerned.isdisjoint(fields)]
        keys = _keys(user, rules) if rules else []
        self.keys = {rule: str(key) for rule, key in zip(rules, keys, strict=True) if key is not None}

    def lock(self) -> None:
        """Let only one transaction with these values proceed at a time, until the transaction ends.

        Acquire it before any other lock. The order is: unique values, user, sessions, outbox. A unique constraint
        cannot replace it: the values of shadow registrations are in another table.
        """
        if not self.keys:
            return
        locks = sorted({int(key) >> 32 for key in self.keys.values()})  # in one order, so that two cannot deadlock
        with connections[accounts_database()].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, key) FROM unnest(%s::int[]) AS key", [_LOCKS, locks])

    def holders(self) -> Iterator[tuple[UniqueRule, Any]]:
        """Yield each rule and each user who has its values, with `authkit_email` loaded, by one query."""
        if not self.keys:
            return
        tests = {f"authkit_rule_{number}": self.matches(rule) for number, rule in enumerate(self.keys)}
        users = get_user_model()._base_manager.using(accounts_database()).select_related("authkit_email")
        flags = {
            name: Case(When(test, then=True), default=False, output_field=BooleanField())
            for name, test in tests.items()
        }
        any_test = Q(*tests.values(), _connector=Q.OR)
        for holder in users.filter(any_test).annotate(**flags):
            yield from ((rule, holder) for rule, name in zip(self.keys, tests, strict=True) if getattr(holder, name))

    def matches(self, rule: UniqueRule) -> Q:
        """Return the condition for users who have the values of a rule."""
        return rule.matches({F(name): value for name, value in _values(self.user, typed=False).items()})

    def held(self) -> dict[str, list[str]]:
        """Return the names of the fields that each rule is about, by the key of its values: what a shadow stores."""
        return {key: sorted(rule.fields) for rule, key in self.keys.items()}

    def rules_of(self, held: Collection[str]) -> list[UniqueRule]:
        """Return the rules whose key is among these keys."""
        return [rule for rule, key in self.keys.items() if key in held]


def _keys(user: Any, rules: list[UniqueRule]) -> tuple[int | None, ...]:
    """Return the keys of a user's values. The database computes them from constants, without reading a table."""
    query: Any = Query(None)  # as `Q.check` does
    for name, value in _values(user, typed=True).items():
        query.add_annotation(value, name, select=False)
    for number, rule in enumerate(rules):
        query.add_annotation(rule.key(), f"authkit_key_{number}")
    row: tuple[int | None, ...] = query.get_compiler(using=accounts_database()).execute_sql(SINGLE)
    return row


def _values(user: Any, *, typed: bool) -> dict[str, Any]:
    """Return an expression for each column of a user, by name.

    Args:
        user: the user.
        typed: whether the expressions have the type and the collation of the column.
    """
    fields = user._meta.concrete_fields
    values = {field.name: _value(user, field, typed=typed) for field in fields if not field.generated}
    replaced = {F(name): value for name, value in values.items()}
    for field in fields:
        if field.generated:
            values[field.name] = field.expression.replace_expressions(replaced)
    return values


def _value(user: Any, field: Any, *, typed: bool) -> Any:
    value = getattr(user, field.attname)
    # A default of the database is an expression. It is a keyword only in an INSERT.
    value = getattr(value, "expression", value) if hasattr(value, "resolve_expression") else Value(value, field)
    if not typed:
        return value
    cast = Cast(value, field)
    collation = getattr(field, "db_collation", None)
    return Collate(cast, collation) if collation else cast
