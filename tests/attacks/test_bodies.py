"""Arbitrary bodies, paths and headers: every response is documented and does not echo the input."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.attacks.conftest import Operation, bounded, genuine_values, operations, undone
from tests.conftest import Api

pytestmark = [pytest.mark.django_db, pytest.mark.attack]

CANARY = "c4n4ry!"  # it does not look like the name of a member, which an error may repeat
GENUINE = "genuine"  # a placeholder for a valid value

# Any code point, including surrogates, and characters that are known to break parsers, databases,
# emails and logs.
HOSTILE = "\x00\x1b\r\n\x7f\x85\u2028\u202e\u200b\ufeff\ud800\udfff\u0130\u0131\u212a\ufb00{}%'\""
letters = st.characters() | st.sampled_from(HOSTILE)
texts = st.builds(
    "".join, st.tuples(st.text(letters, max_size=30), st.sampled_from([CANARY, "", "@example.com"]), st.text(letters))
)
long_texts = st.builds(
    lambda piece, times: CANARY + piece * times,
    st.text(letters, min_size=1, max_size=3),
    st.sampled_from([300, 1100, 9000]),
)
numbers = (
    st.integers().map(str) | st.floats().map(json.dumps) | st.sampled_from(["1e400", "-0", "9" * 4000, "9" * 5000])
)
nested = st.recursive(
    st.none() | st.booleans() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
deep = st.sampled_from([10, 500, 9000]).map(lambda depth: "[" * depth + "]" * depth)
# JSON as text, which can express what a Python value cannot: a repeated member, or a number of
# 5,000 digits.
strings = (texts | long_texts).map(json.dumps)
raw_strings = texts.map(lambda text: json.dumps(text, ensure_ascii=False))
values = strings | raw_strings | numbers | nested.map(json.dumps) | deep


def bodies(operation: Operation) -> st.SearchStrategy[list[tuple[str, str]] | bytes]:
    """Return bodies of an operation, most of which are valid except for a member or two.

    A body is raw bytes, or a list of pairs of name and JSON, in which a member is valid, wrong,
    missing or unknown.
    """
    missing = st.sets(st.sampled_from(operation.members), max_size=1)
    wrong = st.dictionaries(st.sampled_from(operation.members), values, max_size=2)
    more = st.just([]) | st.lists(st.tuples(texts | st.sampled_from(operation.members), values), max_size=2)

    def pairs(missing: set[str], wrong: dict[str, str], more: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, wrong.get(name, GENUINE)) for name in operation.members if name not in missing] + more

    broken = st.builds(pairs, missing, wrong, more)
    return st.one_of(broken, broken, broken, st.binary(max_size=200), values.map(_bytes))


def right(operation: Operation) -> list[tuple[str, str]]:
    """Return a body with every member valid."""
    return [(name, GENUINE) for name in operation.members]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _written(body: list[tuple[str, str]] | bytes, genuine: dict[str, Any]) -> bytes:
    """Return a body as bytes."""
    if isinstance(body, bytes):
        return body
    members = [
        f"{json.dumps(name)}:{json.dumps(genuine[name]) if value == GENUINE else value}" for name, value in body
    ]
    return _bytes("{" + ",".join(members) + "}")


def _assert_says_nothing(response: Any) -> None:
    named = {"auth_create_api_key", "auth_rename_factor", "auth_register_passkey"}
    if getattr(response.resolver_match, "url_name", None) in named and response.status_code < 300:
        return  # it has the name
    assert CANARY not in response.content.decode() + str(response.headers)


@pytest.mark.security("CRED-10", "CRED-11", "CRED-18", "CRED-19", "DOS-02", "HTTP-01", "HTTP-04")
@pytest.mark.parametrize("operation", [one for one in operations() if one.members], ids=str)
def test_whatever_the_body_the_answer_is_a_documented_one_and_repeats_nothing(operation: Operation, user: Any) -> None:
    genuine = genuine_values(user, operation)
    seen = set()

    @bounded(80)
    @example(body=right(operation), is_logged_in=True)
    @given(body=bodies(operation), is_logged_in=st.sampled_from([True, True, True, False]))
    def attack(body: list[tuple[str, str]] | bytes, is_logged_in: bool) -> None:
        token = genuine["access_token"] if is_logged_in else None

        with undone():
            response = Api()(operation.method, operation.path_of(genuine), _written(body, genuine), token=token)

        operation.assert_documented(response)
        _assert_says_nothing(response)
        seen.add(response.status_code)

    attack()
    assert any(status < 300 for status in seen), "no example was successful"


@pytest.mark.security("CRED-11", "CRED-19")
@pytest.mark.parametrize("operation", [one for one in operations() if one.members], ids=str)
def test_one_hostile_letter_in_one_member_is_no_failure_of_ours(operation: Operation, user: Any) -> None:
    genuine = genuine_values(user, operation)
    for name in operation.members:
        for letter in HOSTILE:
            for text in (f"{CANARY}{letter}", f"{CANARY}{letter}@example.com"):
                # Members that are not required are left out, because a login with two identifiers
                # is rejected early.
                body = [(one, GENUINE) for one in operation.required if one != name] + [(name, json.dumps(text))]
                with undone():
                    response = Api()(
                        operation.method,
                        operation.path_of(genuine),
                        _written(body, genuine),
                        token=genuine["access_token"],
                    )
                operation.assert_documented(response)
                _assert_says_nothing(response)


header_texts = st.text(st.characters(max_codepoint=255), max_size=60).map(lambda text: CANARY + text)
authorizations = st.one_of(
    header_texts,
    header_texts.map(lambda text: f"Bearer {text}"),
    st.text("abcXYZ019-_.=~+/ ", max_size=60).map(lambda text: f"bearer {text}"),
    st.text("ey.", max_size=5000).map(lambda text: f"Bearer {text}"),
    st.just(GENUINE),
)
HEADERS = (
    "COOKIE",
    "USER_AGENT",
    "X_REQUEST_ID",
    "TRACEPARENT",
    "X_FORWARDED_FOR",
    "ACCEPT",
    "TRANSFER_ENCODING",
    "ORIGIN",
)
headers = st.dictionaries(st.sampled_from([f"HTTP_{name}" for name in HEADERS]), header_texts, max_size=3)


@pytest.mark.security("CRED-11", "CRED-19", "JWT-25", "HTTP-01", "HTTP-02", "AUD-10")
@pytest.mark.parametrize("operation", operations(), ids=str)
def test_whatever_the_headers_and_the_path_the_answer_is_a_documented_one(operation: Operation, user: Any) -> None:
    genuine = genuine_values(user, operation)

    @bounded(40)
    @given(
        authorization=authorizations,
        segment=texts | st.just(GENUINE),
        content_type=st.sampled_from(["application/json", "application/json; charset=\xe9", ""]) | header_texts,
        more=headers,
    )
    def attack(authorization: str, segment: str, content_type: str, more: dict[str, str]) -> None:
        is_genuine = authorization == GENUINE
        value = f"Bearer {genuine['access_token']}" if is_genuine else authorization
        path = operation.path_of(genuine)
        if segment != GENUINE:
            path = re.sub(r"{\w+}", lambda _: quote(segment, safe="", errors="surrogatepass"), operation.path)
        body = _written(right(operation), genuine) if operation.members else None

        more |= {"content_type": content_type, "HTTP_AUTHORIZATION": value}
        with undone():
            response = Api()(operation.method, path, body, **more)

        operation.assert_documented(response)
        _assert_says_nothing(response)
        if operation.is_protected and not is_genuine:
            assert response.status_code >= 400

    attack()
