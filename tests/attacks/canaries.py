"""Canaries: put a unique marker in every secret, and search for it wherever it could leak."""

import base64
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection

from tests.conftest import Api

Places = dict[str, str]


def new_password(what: str) -> str:
    """Return a password that is accepted as strong and that cannot occur by chance."""
    return f"c4n4ry {what} {secrets.token_hex(12)}"


@dataclass
class Trail:
    """The secrets that a run has used, by description, and the responses it has received."""

    secrets: dict[str, str] = field(default_factory=dict)
    answers: Places = field(default_factory=dict)

    def password(self, what: str) -> str:
        """Create a password and remember it."""
        password = new_password(what)
        self.secrets[f"password {what}"] = password.rpartition(" ")[2]
        return password

    def token(self, what: str, token: str) -> str:
        """Remember a token, both whole and by its secret parts."""
        self.secrets[f"token {what}"] = token
        # The parts of a JWT; its header is the same for all.
        for number, part in enumerate(token.split(".")[1:]):
            self.secrets[f"token {what}, part {number}"] = part
        return token


class RecordingApi(Api):
    """A client that remembers every token, and every response without the tokens that it issues."""

    def __init__(self, trail: Trail) -> None:
        super().__init__()
        self.trail = trail

    def __call__(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Any:
        response = super().__call__(method, path, body, **kwargs)
        name = f"answer {len(self.trail.answers)}: {method} {path}"
        said = f"{response.status_code} {response.headers} {response.content.decode()}"
        if response.status_code == 200 and path in {"login", "refresh"}:
            for kind in ("access_token", "refresh_token"):
                token = self.trail.token(f"{kind} of {name}", response.json()[kind])
                assert said.count(token) == 1
                said = said.replace(token, "")
        self.trail.answers[name] = said
        return response


def spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, in hexadecimal, and in base64 at each of its three alignments."""
    yield secret
    data = secret.encode()
    yield data.hex()
    for lead in range(3):
        encoded = base64.b64encode(b"\x00" * lead + data).decode()
        yield encoded[4 if lead else 0 : len(encoded) // 4 * 4 - 4]


def leaks(places: Places, sought: dict[str, str]) -> list[str]:
    """Return which secret was found in which place."""
    needles = {spelling: what for what, secret in sought.items() for spelling in spellings(secret)}
    return [
        f"{what}, in {place}: {text[max(0, text.index(needle) - 200) : text.index(needle) + 60]!r}"
        for place, text in places.items()
        for needle, what in needles.items()
        if needle in text
    ]


def database() -> Places:
    """Return every row of every table as text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
        tables = [name for (name,) in cursor.fetchall()]
        places = {}
        for table in tables:
            cursor.execute(f"SELECT row_to_json(t)::text FROM {connection.ops.quote_name(table)} AS t")
            places |= {f"{table}, row {number}": row for number, (row,) in enumerate(cursor.fetchall())}
    return places


def digests() -> dict[str, str]:
    """Return the stored digests of passwords and tokens, which must not be disclosed either."""
    columns = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(f"{columns} AND column_name IN ('password', 'refresh_token', 'token', 'digest', 'auth_hash')")
        for table, column in cursor.fetchall():
            cursor.execute(f"SELECT {column} FROM {connection.ops.quote_name(table)}")
            for (value,) in cursor.fetchall():
                found[f"{value} of {table}.{column}"] = value
                found[f"{value} of {table}.{column}, the end"] = value.rpartition("$")[2]
    return found


def representations(*others: object) -> Places:
    """Return the `repr` of each row of the kit, of each user, and of other objects."""
    models = [*apps.get_app_config("ninja_auth_kit").get_models(), get_user_model()]
    rows = [row for model in models for row in model._base_manager.all()]
    return {f"{type(one)} {number}": f"{one!r} {one!s}" for number, one in enumerate([*rows, *others])}


def mails(sought: dict[str, str]) -> list[str]:
    """Return which secret was found in which email, except for the token that the email delivers."""
    found = []
    for number, message in enumerate(mail.outbox):
        text = message.message().as_string() + message.body + str(getattr(message, "alternatives", ""))
        carried = {token for token in sought.values() if token in text and token.startswith("nako_")}
        assert len(carried) <= 1
        found += leaks(
            {f"mail {number}": text}, {what: secret for what, secret in sought.items() if secret not in carried}
        )
    return found


class Log(logging.Handler):
    """Keep every record of every logger, with its arguments, exception and attributes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self._formatter = logging.Formatter("%(name)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self) -> Places:
        """Return what was logged."""
        return {
            f"log {number} of {record.name}": f"{self._formatter.format(record)} {record.args!r} {vars(record)!r}"
            for number, record in enumerate(self.records)
        }

    def __enter__(self) -> "Log":
        root = logging.getLogger()
        existing = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
        self._before = [(one, one.level, one.propagate) for one in [root, *existing]]
        for one, _, _ in self._before:
            one.setLevel(logging.DEBUG)
            one.propagate = True
        root.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        for one, level, propagate in self._before:
            one.setLevel(level)
            one.propagate = propagate
