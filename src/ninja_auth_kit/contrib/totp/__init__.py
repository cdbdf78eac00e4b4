"""Authenticator apps: one-time codes by time (RFC 6238), as a second factor. Needs the extra `[totp]`."""
