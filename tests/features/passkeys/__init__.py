"""Tests of `ninja_auth_kit.contrib.passkeys`."""
