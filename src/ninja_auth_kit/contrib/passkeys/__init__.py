"""Passkeys: a login without a password, or a second factor behind one (WebAuthn Level 3)."""
