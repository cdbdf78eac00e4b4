"""`manage.py authkit_keys`: generate a key, show the configured keys, and print a plan for their rotation."""

import json
from argparse import ArgumentParser
from textwrap import fill, indent
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit import features
from ninja_auth_kit.conf import root_secret_name
from ninja_auth_kit.management.cli import database_errors_as_command_errors, ignore_broken_pipe
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
    """Generate a key, show the configured keys, or print a plan for a rotation."""

    help = (
        "Generate a key, show the configured keys, or print a plan for rotating a key without logging users out. The "
        "command stores nothing: keys are read from your settings, and a new key is printed once. Without a "
        "JWT_SECRET_KEY this command does not start. Create the first one with: "
        'python -c "import secrets; print(secrets.token_urlsafe(64))"'
    )
    # Generating a key must work even if other settings are wrong.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the actions generate, show, rotate and rewrap with their options."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="generate | show | rotate | rewrap")
        generate = actions.add_parser("generate", help="print a new key, its kid, and the lines for your settings")
        generate.add_argument("--alg", choices=_ALGORITHMS, default="ES256", help="default: %(default)s")
        show = actions.add_parser("show", help="list the configured keys and their uses, without secrets")
        show.add_argument("--json", action="store_true", help="print one JSON object, with the public keys as JWKs")
        rewrap = actions.add_parser(
            "rewrap",
            help="encrypt what optional apps keep under a former root secret again, and count what depends on it",
        )
        rewrap.add_argument("--json", action="store_true", help="print one JSON object")
        rotate = actions.add_parser("rotate", help="print a new key and a plan for the rotation, with waiting times")
        which = rotate.add_mutually_exclusive_group()
        which.add_argument(
            "--to",
            metavar="KID",
            help="generate no key; print the plan again for this key, which must be listed as verify-only",
        )
        which.add_argument(
            "--alg",
            choices=_ALGORITHMS,
            help="an HS algorithm rotates JWT_SECRET_KEY, any other the active key of SIGNING_KEYS (default: the "
            "algorithm of the key that signs now)",
        )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Run the chosen action."""
        with ignore_broken_pipe(self.stdout):
            self._run_action(action, options)

    def _run_action(self, action: str, options: dict[str, Any]) -> None:
        if action == "rewrap":
            self._rewrap(as_json=options["json"])
            return
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
        # With the equals sign, because a kid is base64url and may begin with a hyphen.
        self.stdout.write(
            f"Once the key is listed, `manage.py authkit_keys rotate --to={new.kid}` prints this plan again:\n\n"
        )
        self._print_plan(new, ring)

    def _show(self, ring: KeyRing, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"keys": [_describe(key, ring) for key in ring.keys]}))
            return
        width = max(len(key.kid) for key in ring.keys)
        self.stdout.write(f"{'kid':{width}}  alg    state        uses")
        for key in ring.keys:
            uses = ", ".join(_uses(key, ring)) or "none at present"
            self.stdout.write(f"{key.kid:{width}}  {key.algorithm:5}  {key.state:11}  {uses}")

    def _rewrap(self, *, as_json: bool) -> None:
        with database_errors_as_command_errors():
            found = features.rewrap()
        if as_json:
            self.stdout.write(json.dumps({one.rows: {"done": one.done, "remaining": one.remaining} for one in found}))
            return
        if not found:
            self.stdout.write("No optional app keeps anything under a root secret.")
        for one in found:
            self.stdout.write(f"{one.rows}: {one.done} sealed again, {one.remaining} depend on a former secret")

    def _print_key(self, new: NewKey) -> None:
        self.stdout.write(
            f"A new key for {new.algorithm}, kid {new.kid}. Anyone who has it can log in as any user. Put it into "
            "your secret store. It is not stored anywhere else.\n\n"
        )
        self.stdout.write(f"{new.text.strip()}\n\n")

    def _print_use(self, new: NewKey, ring: KeyRing) -> None:
        if new.algorithm in HMAC_ALGORITHMS:
            self.stdout.write(
                f"You can use it as {root_secret_name()}. Do not simply replace the current secret, because that logs "
                f"out all users: `manage.py authkit_keys rotate --alg {new.algorithm}` prints a plan for replacing it."
            )
            return
        is_first = ring.signing.jwk is None
        state = ACTIVE if is_first else VERIFY_ONLY
        line = entry(new.kid, new.algorithm, state, variable(new))
        lines = signing_keys(*present_entries(ring), line)
        self.stdout.write(f"Put the key into the environment, and these lines into your settings:\n\n{lines}\n\n")
        self.stdout.write(
            f"The key then signs access tokens instead of {root_secret_name()}, which is still needed for everything "
            "else."
            if is_first
            else "The key then verifies access tokens, like the current one. `manage.py authkit_keys rotate` prints a "
            "plan for letting it sign."
        )

    def _print_plan_again(self, kid: str, ring: KeyRing) -> None:
        key = next((key for key in ring.keys if key.kid == kid and key.state == VERIFY_ONLY), None)
        if key is None:
            raise CommandError(
                f"No key with the kid {kid} is listed as verify-only. `manage.py authkit_keys show` lists the keys."
            )
        if not key.can_sign:
            raise CommandError(f"The key {kid} is listed with its public half only. List the private key.")
        self.stdout.write(f"The plan for the key {kid} ({key.algorithm}), from the beginning:\n\n")
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


def _describe(key: AccessKey, ring: KeyRing) -> dict[str, Any]:
    description = {"kid": key.kid, "alg": key.algorithm, "state": key.state, "good_for": list(_uses(key, ring))}
    return description if key.jwk is None else {**description, "jwk": key.jwk}


def _uses(key: AccessKey, ring: KeyRing) -> list[str]:
    uses = {
        "signs access tokens": key is ring.signing,
        "verifies access tokens": key.kid in ring.verifying,
        "published in the JWKS": key.jwk is not None,
        f"makes refresh tokens, digests and pseudonyms ({root_secret_name()})": key is ring.keys[0],
        "verifies refresh tokens, sessions and mailed links": key.jwk is None,
    }
    return [use for use, applies in uses.items() if applies]
