"""`authkit_keys`: usable keys, a list without secrets, and plans that work step by step."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from pytest_django import Settings

from ninja_auth_kit.management.commands.authkit_keys import Command
from ninja_auth_kit.management.key_plans import JWKS_CACHE
from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS, spoken
from ninja_auth_kit.tokens import NewKey, check_keys, generate_key, key_ring
from tests.conftest import Api
from tests.keys import ASYMMETRIC_ALGORITHMS, entry, pem, public_pem
from tests.servers import ROOT
from tests.settings import JWT_SECRET_KEY, NINJA_AUTH_KIT
from tests.test_tokens import Forger

FORMER = JWT_SECRET_KEY[::-1]


def keys(*arguments: str) -> str:
    output = StringIO()
    call_command("authkit_keys", *arguments, stdout=output)
    return output.getvalue()


def printed_key(output: str) -> str:
    """Return the key that the command has printed: a PEM, or a secret on its own line."""
    found = re.search(r"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", output, re.DOTALL)
    return found[0] if found else output.split("\n\n")[1].strip()


def printed_settings(output: str, known: dict[str, str]) -> list[list[dict[str, str]]]:
    """Return each SIGNING_KEYS of the output, with its expressions replaced by the known keys."""
    found = []
    for block in re.findall(r'"SIGNING_KEYS": \[(.*?)\],\s+\}', output, re.DOTALL):
        text = re.sub(r'os\.environ\["(\w+)"\]', lambda match: repr(known[_kind(match[1])]), block)
        text = re.sub(
            r'("kid": "([\w-]+)".*?"key": )<unchanged>', lambda match: match[1] + repr(known[match[2]]), text
        )
        found.append(list(ast.literal_eval(f"[{text}]")))
    return found


def _kind(variable: str) -> str:
    return "former" if variable.endswith("FORMER") else "new"


@contextmanager
def configured(listed: list[dict[str, str]] | None, secret: str = JWT_SECRET_KEY, **kit: Any) -> Iterator[None]:
    """Run with these keys, which the start-up check must accept."""
    with override_settings(JWT_SECRET_KEY=secret, NINJA_AUTH_KIT={**NINJA_AUTH_KIT, **kit, "SIGNING_KEYS": listed}):
        check_keys()
        yield


@pytest.mark.parametrize("algorithm", [*ASYMMETRIC_ALGORITHMS, *HMAC_ALGORITHMS])
def test_a_new_key_and_the_lines_for_it_can_be_used_as_they_are_printed(algorithm: str) -> None:
    output = keys("generate", "--alg", algorithm)

    key = printed_key(output)
    if algorithm in HMAC_ALGORITHMS:
        with configured(None, secret=key, JWT_ALGORITHM=algorithm):
            assert key_ring().signing.kid in output
        assert f"rotate --alg {algorithm}" in output
        return
    (listed,) = printed_settings(output, {"new": key})
    with configured(listed):
        assert key_ring().signing.algorithm == algorithm
        assert f"kid {key_ring().signing.kid}." in output


def test_two_keys_are_two() -> None:
    for algorithm in ("ES256", "HS256"):
        assert printed_key(keys("generate", "--alg", algorithm)) != printed_key(keys("generate", "--alg", algorithm))


def test_beside_an_active_key_a_new_one_is_offered_verify_only(kit: Callable[..., None]) -> None:
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256"))])

    output = keys("generate")

    known = {"new": printed_key(output), key_ring().signing.kid: pem("ES256")}
    (listed,) = printed_settings(output, known)
    assert [one["state"] for one in listed] == ["active", "verify-only"]


@pytest.mark.parametrize("present", [entry("ES256", pem("ES256")), entry("HS256", FORMER, "verify-only")])
def test_what_is_printed_for_a_new_key_can_be_pasted_without_losing_one(
    kit: Callable[..., None], present: dict[str, str]
) -> None:
    kit(SIGNING_KEYS=[present])
    before = key_ring().keys[1]

    output = keys("generate")

    (listed,) = printed_settings(output, {"new": printed_key(output), before.kid: present["key"]})
    with configured(listed):
        assert [key.kid for key in key_ring().keys[1:]] == [before.kid, listed[1]["kid"]]


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
@pytest.mark.parametrize("listed", [[], [entry("RS256", pem("RS256"))]])
def test_the_plan_can_be_had_again_once_the_key_is_listed(
    kit: Callable[..., None], algorithm: str, listed: list[dict[str, str]]
) -> None:
    kit(SIGNING_KEYS=listed)
    first = keys("rotate", "--alg", algorithm)
    new = printed_key(first)
    action, option = re.findall(r"(rotate) (--to\S+)` prints this plan again", first)[0]

    kit(SIGNING_KEYS=[*listed, entry(algorithm, new, "verify-only")])
    again = keys(action, option)

    assert again[again.index("1. List") :] == first[first.index("1. List") :]
    assert not any(line in again for line in new.splitlines() if "-----" not in line)


def test_the_printed_command_takes_a_kid_that_begins_with_a_hyphen(
    kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (generate_key("ES256") for _ in range(5000))
    new = next(key for key in made if key.kid.startswith("-"))
    monkeypatch.setattr(f"{Command.__module__}.generate_key", lambda _: new)
    action, option = re.findall(r"(rotate) (--to\S+)` prints this plan again", keys("rotate", "--alg", "ES256"))[0]

    kit(SIGNING_KEYS=[entry("ES256", new.text, "verify-only")])

    assert f"The plan for the key {new.kid}" in keys(action, option)


def test_a_plan_is_for_a_key_that_can_sign_and_does_not_yet(kit: Callable[..., None]) -> None:
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256")), entry("RS256", public_pem(pem("RS256")), "verify-only")])
    active, public = (key.kid for key in key_ring().keys[1:])

    for kid, reason in (
        (active, "listed as verify-only"),
        ("none", "listed as verify-only"),
        (public, "public half only"),
    ):
        with pytest.raises(CommandError, match=reason):
            keys("rotate", f"--to={kid}")
    with pytest.raises(CommandError, match="not allowed with"):
        keys("rotate", f"--to={active}", "--alg", "ES256")


def test_the_list_says_what_each_key_is_good_for(kit: Callable[..., None]) -> None:
    assert "signs access tokens" in keys("show")
    kit(SIGNING_KEYS=[entry("RS256", public_pem(pem("RS256")), "verify-only"), entry("HS256", FORMER, "verify-only")])
    by_secret = json.loads(keys("show", "--json"))["keys"]
    kit(SIGNING_KEYS=[entry("RS256", pem("RS256")), entry("HS256", FORMER, "verify-only")])
    by_pair = json.loads(keys("show", "--json"))["keys"]

    root = ["makes refresh tokens, digests and pseudonyms (JWT_SECRET_KEY)"]
    checks = ["verifies refresh tokens, sessions and mailed links"]
    signs, verifies, published = ["signs access tokens"], ["verifies access tokens"], ["published in the JWKS"]
    assert [(key["alg"], key["state"], key["good_for"]) for key in by_secret] == [
        ("HS256", "active", signs + verifies + root + checks),
        ("RS256", "verify-only", published),
        ("HS256", "verify-only", verifies + checks),
    ]
    assert [(key["alg"], key["state"], key["good_for"]) for key in by_pair] == [
        ("HS256", "active", root + checks),
        ("RS256", "active", signs + verifies + published),
        ("HS256", "verify-only", checks),
    ]
    assert by_pair[1]["jwk"] == key_ring().signing.jwk
    assert all(key["kid"] in keys("show") for key in by_pair)


@pytest.mark.security("CFG-04")
def test_whoever_has_read_enough_may_leave() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-m", "django", "authkit_keys", "show"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert (process.stderr.read(), process.wait(30)) == ("", 0)


def test_no_configured_key_is_ever_printed(kit: Callable[..., None]) -> None:
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256")), entry("HS256", FORMER, "verify-only")])
    secrets = [JWT_SECRET_KEY, FORMER, *pem("ES256").splitlines()[1:-1]]

    outputs = [
        keys("show"),
        keys("show", "--json"),
        *(keys("rotate", "--alg", algorithm) for algorithm in ("ES256", "HS256")),
        keys("generate"),
    ]

    assert not any(secret in output for output in outputs for secret in secrets)
    assert NewKey("kid", "HS256", "secret").text not in repr(NewKey("kid", "HS256", "secret"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("JWT-27")
def test_the_plan_for_a_secret_logs_nobody_out_at_any_step(api: Api, user: Any) -> None:
    output = keys("rotate")

    new, former = printed_key(output), key_ring().signing.kid
    prepared, swapped = printed_settings(output, {"new": new, "former": JWT_SECRET_KEY})
    assert "JWT_ALGORITHM" not in output
    pair = api.pair()
    steps = [(None, JWT_SECRET_KEY), (prepared, JWT_SECRET_KEY), (swapped, new), (None, new)]
    for (before, secret), (after, next_secret) in pairwise(steps):
        # Workers with either settings, in turn.
        for listed, root in ((before, secret), (after, next_secret)) * 2:
            with configured(listed, secret=root):
                assert api.is_in(pair["access_token"])
                pair = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    assert Forger(pair["access_token"]).header["kid"] != former
    assert [one["kid"] for one in swapped] == [former]


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("JWT-27")
@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
def test_the_plan_for_a_pair_logs_nobody_out_and_publishes_before_it_signs(
    api: Api, user: Any, kit: Callable[..., None], algorithm: str
) -> None:
    present = [entry("ES256", pem("ES256")), entry("HS256", FORMER, "verify-only")]
    kit(SIGNING_KEYS=present)
    former, root = key_ring().signing.kid, key_ring().keys[2].kid

    output = keys("rotate", "--alg", algorithm)

    new = printed_key(output)
    steps = printed_settings(output, {"new": new, former: pem("ES256"), root: FORMER})
    assert len(steps) == 3
    pair = api.pair()
    for before, after in pairwise([present, *steps]):
        for listed in (before, after) * 2:
            with configured(listed):
                published = {key["kid"] for key in api.get(".well-known/jwks.json").json()["keys"]}
                assert api.is_in(pair["access_token"])
                assert Forger(pair["access_token"]).header["kid"] in published
                pair = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
                assert Forger(pair["access_token"]).header["kid"] in published
    assert Forger(pair["access_token"]).header == {"alg": algorithm, "typ": "at+jwt", "kid": steps[2][-1]["kid"]}
    assert former not in {one["kid"] for one in steps[2]}
    assert steps[2][0]["kid"] == root


@pytest.mark.django_db(transaction=True)
def test_the_plan_for_a_first_pair_publishes_it_and_then_lets_it_sign(api: Api, user: Any) -> None:
    output = keys("rotate", "--alg", "EdDSA")

    staged, active = printed_settings(output, {"new": printed_key(output)})
    pair = api.pair()
    with configured(staged):
        assert api.is_in(pair["access_token"])
        assert [key["kid"] for key in api.get(".well-known/jwks.json").json()["keys"]] == [staged[0]["kid"]]
    with configured(active):
        successor = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
        assert api.is_in(successor["access_token"])
        assert Forger(successor["access_token"]).header["alg"] == "EdDSA"
    assert "rotate --alg HS256" in output
    assert "stop all workers, then start them with these settings" in " ".join(output.split())


def test_the_waiting_times_are_those_of_the_settings(kit: Callable[..., None]) -> None:
    assert "Wait 7 days from" in keys("rotate")
    kit(REFRESH_TOKEN_LIFETIME=timedelta(days=90), SESSION_LIFETIME=timedelta(hours=36))
    assert "Wait 36 hours from" in keys("rotate")
    kit(REFRESH_TOKEN_LIFETIME=timedelta(minutes=10), EMAIL_VERIFICATION_LIFETIME=timedelta(days=1))
    assert "Wait 1 day from" in keys("rotate")
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256"))], ACCESS_TOKEN_LIFETIME=90)
    output = " ".join(keys("rotate").split())
    assert "Wait 90 seconds (ACCESS_TOKEN_LIFETIME)" in output
    assert "1 hour, or longer if a service caches the JWKS for longer" in output


def test_the_page_waits_as_long_as_the_plan() -> None:
    page = (ROOT / "docs" / "verifying-tokens.md").read_text()

    assert f"every service has fetched it: {spoken(JWKS_CACHE)}, or longer if a service caches the JWKS longer" in page


def test_a_plan_says_when_the_hash_changes_and_what_an_emergency_is(
    kit: Callable[..., None],
) -> None:
    assert '"JWT_ALGORITHM" to "HS512"' in " ".join(keys("rotate", "--alg", "HS512").split())
    revoke = "authkit_revoke --everyone --reason key_compromised"
    assert revoke in " ".join(keys("rotate").split())
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256"))])
    text = " ".join(keys("rotate").split())
    assert revoke in text
    assert "purge it there. Restart the services that verify by the JWKS: they hold the set" in text


def test_the_plan_for_the_first_key_pair_asks_for_an_issuer_that_leads_to_the_keys(kit: Callable[..., None]) -> None:
    advice = "set ISSUER to the URL that the kit is mounted at"
    assert advice in " ".join(keys("rotate", "--alg", "ES256").split())

    kit(ISSUER="https://auth.example.com/api/auth")

    assert advice not in " ".join(keys("rotate", "--alg", "ES256").split())


def test_it_works_while_other_settings_are_wrong(settings: Settings) -> None:
    settings.NINJA_AUTH_KIT = {"BASE_URL": None, "ISSUER": 7}

    assert "kid" in keys("show")


def test_its_help_says_how_to_make_the_first_key_and_what_it_does_not_know_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        call_command("authkit_keys", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert 'python -c "import secrets; print(secrets.token_urlsafe(64))"' in text
    for wrong in ([], ["steal"], ["generate", "--alg", "none"], ["generate", "--alg", "ES384"]):
        with pytest.raises(CommandError):
            keys(*wrong)


def test_a_generated_key_is_none_of_the_process() -> None:
    generate_key("ES256")

    assert key_ring().public == []
