"""Tests of the apps in `ninja_auth_kit.contrib`."""
