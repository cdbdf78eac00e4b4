"""The emails of the kit: templates, links, and sending after the response."""

from ninja_auth_kit.emails.background import after_answer, flush
from ninja_auth_kit.emails.rendering import (
    OWN_NAMESPACE,
    own_url,
    page_namespaces,
    page_url,
    render,
    send,
    site_context,
)

__all__ = [
    "OWN_NAMESPACE",
    "after_answer",
    "flush",
    "own_url",
    "page_namespaces",
    "page_url",
    "render",
    "send",
    "site_context",
]
