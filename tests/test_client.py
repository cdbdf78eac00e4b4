"""The client's address and user agent."""

from collections.abc import Callable
from io import BytesIO

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncRequestFactory, RequestFactory

from ninja_auth_kit.client import ClientInfo


def of(**meta: str) -> ClientInfo:
    return ClientInfo.of(RequestFactory().get("/", **meta))


@pytest.mark.security("BF-06")
@pytest.mark.parametrize(
    "header",
    ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_CF_CONNECTING_IP", "HTTP_TRUE_CLIENT_IP"],
)
def test_forwarded_headers_count_for_nothing_by_default(header: str) -> None:
    assert of(REMOTE_ADDR="203.0.113.7", **{header: "198.51.100.1"}).ip_address == "203.0.113.7"


@pytest.mark.security("BF-06")
@pytest.mark.parametrize("name", ["x_forwarded_for", "x-forwarded_for", "forwarded", "x_real_ip"])
def test_nor_do_other_spellings_of_them_under_asgi(kit: Callable[..., None], name: str) -> None:
    """Do not trust a header with an underscore, which bypasses a proxy's filter (CVE-2026-3902)."""
    request = AsyncRequestFactory().get("/")
    scope = {**request.scope, "client": ("203.0.113.7", 1), "headers": [(name.encode(), b"198.51.100.1")]}

    for trusted in (0, 1):
        kit(TRUSTED_PROXY_COUNT=trusted)
        assert ClientInfo.of(ASGIRequest(scope, BytesIO())).ip_address == "203.0.113.7"


@pytest.mark.security("BF-06")
@pytest.mark.parametrize(
    ("count", "chain", "expected"),
    [
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (2, "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (2, "198.51.100.1", "203.0.113.7"),
        (1, "", "203.0.113.7"),
        (1, "nonsense", "203.0.113.7"),
        (1, "198.51.100.1:443", "198.51.100.1"),
        (1, "[2001:db8::7]:443", "2001:db8::7"),
        (1, "198.51.100.1:x", "203.0.113.7"),
        (1, "'; DROP TABLE", "203.0.113.7"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_with_trusted_proxies_the_hop_that_they_saw_counts(
    kit: Callable[..., None], count: int, chain: str, expected: str
) -> None:
    kit(TRUSTED_PROXY_COUNT=count)

    assert of(REMOTE_ADDR="203.0.113.7", HTTP_X_FORWARDED_FOR=chain).ip_address == expected


@pytest.mark.parametrize(
    ("peer", "expected"), [("", None), ("unix:", None), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")]
)
def test_a_peer_without_a_plain_address_is_no_error(peer: str, expected: str | None) -> None:
    assert of(REMOTE_ADDR=peer).ip_address == expected


@pytest.mark.security("AUD-10")
def test_a_browser_name_is_cut_and_cleaned() -> None:
    assert of(HTTP_USER_AGENT="a\r\nb\x00\x1b[31m\u2028c").user_agent == "a b [31m c"
    assert len(of(HTTP_USER_AGENT="x" * 1000).user_agent) == 256


@pytest.mark.security("AUD-10")
def test_a_request_id_is_taken_if_it_is_a_plain_word_and_made_otherwise() -> None:
    assert of(HTTP_X_REQUEST_ID="req-7.a_B").request_id == "req-7.a_B"
    for forged in ("two words", "new\nline", "x" * 65, ""):
        made = of(HTTP_X_REQUEST_ID=forged).request_id
        assert made != forged
        assert len(made) == 32


def test_a_trace_is_passed_on_if_it_is_one() -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"

    assert of(HTTP_TRACEPARENT=trace).traceparent == trace
    assert of(HTTP_TRACEPARENT="00-nonsense").traceparent == ""
