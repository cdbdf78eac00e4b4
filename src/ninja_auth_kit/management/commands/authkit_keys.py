"""`manage.py authkit_keys`: make a key, show the keys, and say how to rotate them."""

import json
from argparse import ArgumentParser
from textwrap import fill, indent
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.management.cli import ignore_broken_pipe
from ninja_auth_kit.management.key_plans import (
    emergency,
    entry,
    plan,
    present_entries,
    signing_keys,
    variable,
    without,
)
from ninja_auth_kit.setting_rules import ASYMMETRIC_ALGORITHMS, HMAC_ALGORITHMS
from ninja_auth_kit.tokens import (
    ACTIVE,
    VERIFY_ONLY,
    AccessKey,
    KeyRing,
    NewKey,
    UnusableKeyError,
    generate_key,
    key_ring,
)

_ALGORITHMS = (*ASYMMETRIC_ALGORITHMS, *HMAC_ALGORITHMS)


class Command(BaseCommand):
    """Generate, show, rotate."""

    help = (
        "Make a key, show the configured ones, or print what to do, and when, to rotate one without logging anybody "
        "out. Nothing is written anywhere: keys come from your settings, and new ones are printed once. A first "
        "JWT_SECRET_KEY, without which nothing starts: "
        'python -c "import secrets; print(secrets.token_urlsafe(64))"'
    )
    # Making a key must not wait until the other settings are right.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take one of generate, show and rotate, with --alg or --json."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="generate | show | rotate")
        generate = actions.add_parser("generate", help="print a new key, its kid, and the lines for the settings")
        generate.add_argument("--alg", choices=_ALGORITHMS, default="ES256", help="default: %(default)s")
        show = actions.add_parser("show", help="list the configured keys and what each is good for; no secrets")
        show.add_argument("--json", action="store_true", help="print one JSON object, with the public keys as JWKs")
        rotate = actions.add_parser("rotate", help="print a new key and the plan of its rotation, with waiting times")
        which = rotate.add_mutually_exclusive_group()
        which.add_argument(
            "--to",
            metavar="KID",
            help="make no key, and print the plan again for this one, which is listed verify-only already",
        )
        which.add_argument(
            "--alg",
            choices=_ALGORITHMS,
            help="default: that of the key that signs now. An HS algorithm rotates JWT_SECRET_KEY, any other the "
            "active key of SIGNING_KEYS",
        )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Do what was asked for."""
        with ignore_broken_pipe(self.stdout):
            self._do(action, options)

    def _do(self, action: str, options: dict[str, Any]) -> None:
        ring = key_ring()
        if action == "show":
            self._show(ring, as_json=options["json"])
            return
        if options.get("to"):
            self._print_plan_again(options["to"], ring)
            return
        new = _generated(options["alg"] or ring.signing.algorithm)
        self._print_key(new)
        if action == "generate":
            self._print_use(new, ring)
            return
        # With the equals sign, for a kid may begin with a hyphen: it is base64url.
        self.stdout.write(f"Once it is listed, `manage.py authkit_keys rotate --to={new.kid}` prints this again:\n\n")
        self._print_plan(new, ring)

    def _show(self, ring: KeyRing, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"keys": [_described(key, ring) for key in ring.keys]}))
            return
        width = max(len(key.kid) for key in ring.keys)
        self.stdout.write(f"{'kid':{width}}  alg    state        good for")
        for key in ring.keys:
            uses = ", ".join(_uses(key, ring)) or "nothing at present"
            self.stdout.write(f"{key.kid:{width}}  {key.algorithm:5}  {key.state:11}  {uses}")

    def _print_key(self, new: NewKey) -> None:
        self.stdout.write(
            f"A new key for {new.algorithm}, kid {new.kid}. Whoever has it can log in as anybody: put it into your "
            "secret store. It is kept nowhere.\n\n"
        )
        self.stdout.write(f"{new.text.strip()}\n\n")

    def _print_use(self, new: NewKey, ring: KeyRing) -> None:
        if new.algorithm in HMAC_ALGORITHMS:
            self.stdout.write(
                "It can be a JWT_SECRET_KEY. The present one must not simply be replaced, for that logs everybody "
                f"out: `manage.py authkit_keys rotate --alg {new.algorithm}` says how to do it."
            )
            return
        is_first = ring.signing.jwk is None
        state = ACTIVE if is_first else VERIFY_ONLY
        line = entry(new.kid, new.algorithm, state, variable(new))
        lines = signing_keys(*present_entries(ring), line)
        self.stdout.write(f"In the settings, where the environment has the key:\n\n{lines}\n\n")
        self.stdout.write(
            "It then signs access tokens in the place of JWT_SECRET_KEY, which everything else still needs."
            if is_first
            else "It then verifies beside the present one; `manage.py authkit_keys rotate` says how to let it sign."
        )

    def _print_plan_again(self, kid: str, ring: KeyRing) -> None:
        key = next((key for key in ring.keys if key.kid == kid and key.state == VERIFY_ONLY), None)
        if key is None:
            raise CommandError(
                f"No key {kid} is listed verify-only. `manage.py authkit_keys show` has those that are."
            )
        if not key.can_sign:
            raise CommandError(f"The key {kid} is listed by its public half alone: list the private key.")
        self.stdout.write(f"The plan for the key {kid}, for {key.algorithm}, from its beginning:\n\n")
        self._print_plan(NewKey(kid, key.algorithm, ""), without(ring, key))

    def _print_plan(self, new: NewKey, ring: KeyRing) -> None:
        for number, step in enumerate(plan(new, ring), start=1):
            text, _, lines = step.partition("\n\n")
            self.stdout.write(_filled(f"{number}. {text}", subsequent_indent="   "))
            self.stdout.write(f"\n{indent(lines, ' ' * 7)}\n\n" if lines else "\n")
        self.stdout.write(_filled(emergency(new, ring)))


def _generated(algorithm: str) -> NewKey:
    try:
        return generate_key(algorithm)
    except UnusableKeyError as error:
        raise CommandError(f"A key for {algorithm} {error.fault} {error.remedy}") from error


def _filled(text: str, **options: Any) -> str:
    return fill(text, width=100, break_on_hyphens=False, break_long_words=False, **options)


def _described(key: AccessKey, ring: KeyRing) -> dict[str, Any]:
    described = {"kid": key.kid, "alg": key.algorithm, "state": key.state, "good_for": list(_uses(key, ring))}
    return described if key.jwk is None else {**described, "jwk": key.jwk}


def _uses(key: AccessKey, ring: KeyRing) -> list[str]:
    uses = {
        "signs access tokens": key is ring.signing,
        "verifies access tokens": key.kid in ring.verifying,
        "published in the JWKS": key.jwk is not None,
        "makes refresh tokens, digests and pseudonyms (JWT_SECRET_KEY)": key is ring.keys[0],
        "verifies refresh tokens, sessions and mailed links": key.jwk is None,
    }
    return [use for use, is_so in uses.items() if is_so]
