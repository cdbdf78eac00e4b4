"""An attacker who announces failed logins from one address: `python -m tests.faults.spray 5000`."""

import sys

import django


def main(failures: int) -> int:
    """Announce this many failed logins and return the number."""
    from ninja_auth_kit import signals
    from ninja_auth_kit.client import ClientInfo

    attacker = ClientInfo(ip_address="203.0.113.7", user_agent="a spray of the fault suite")
    for number in range(failures):
        signals.login_failed.announce(
            using="default",
            user=None,
            client=attacker,
            identifier=f"victim{number}@example.com",
            reason="invalid_credentials",
        )
    return failures


if __name__ == "__main__":
    django.setup()
    print(main(int(sys.argv[1])))
