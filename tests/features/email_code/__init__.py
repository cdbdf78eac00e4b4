"""Tests of the login by a code in an email."""
