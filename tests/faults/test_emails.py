"""Faults between the response that promises an email, and the email."""

import json
import time
from collections.abc import Iterator

import pytest

from ninja_auth_kit.models import PromisedEmail
from tests.faults.case import Case
from tests.faults.mail_server import MailServer
from tests.faults.processes import AnyServer

pytestmark = [pytest.mark.private_broker, pytest.mark.one_django, pytest.mark.one_user_model]

EMAILS = 5
SERVERS = {
    "uvicorn": "uvicorn --port {port} tests.asgi:application",
    "uvicorn --workers 2": "uvicorn --workers 2 --port {port} tests.asgi:application",
    "gunicorn": "gunicorn --workers 2 --bind 127.0.0.1:{port} --no-control-socket tests.wsgi",
    "gunicorn with UvicornWorker": (
        "gunicorn --workers 2 -k uvicorn_worker.UvicornWorker --bind 127.0.0.1:{port} --no-control-socket "
        "tests.asgi:application"
    ),
    "granian": "granian --interface asgi --workers 2 --port {port} tests.asgi:application",
}


@pytest.fixture
def mail_server(case: Case) -> Iterator[MailServer]:
    server = MailServer()
    server.start()
    case.variables["TEST_MAIL_PORT"] = str(server.port)
    yield server
    server.stop()


def register(web: AnyServer, *, first: int = 0) -> list[str]:
    """Register some addresses, and return them when the last response is there."""
    addresses = [f"newcomer{number}@example.com" for number in range(first, first + EMAILS)]
    for address in addresses:
        body = {"email": address, "password": "correct horse battery staple", "username": address.partition("@")[0]}
        assert web.request("POST", "/api/auth/register", json.dumps(body).encode()) == 202
    return addresses


def expect(case: Case, mail_server: MailServer, addresses: list[str]) -> None:
    """Wait until each address has its email, and assert that none arrives twice and no row remains."""
    table = PromisedEmail._meta.db_table
    case.until(lambda: set(mail_server.accepted) == set(addresses), "each email has arrived")
    case.until(lambda: case.ledger.sql(f"SELECT count(*) FROM {table}") == [(0,)], "no email waits")
    time.sleep(2)  # for an email that is sent twice
    received = sum(mail_server.accepted.values())
    figures = {"events": len(addresses), "received": len(mail_server.accepted), "lost": 0, "remaining": 0}
    figures["duplicates"] = received - len(addresses)
    case.row.figures = {name: f"{figure:,}" for name, figure in figures.items()}
    case.row.figures["seconds"] = f"{time.monotonic() - case.row.begun:.0f}"
    assert received == len(addresses), mail_server.accepted


def stop_and_expect(case: Case, mail_server: MailServer, server: str, *, kill: bool) -> None:
    case.start_relay()
    web = case.serve(SERVERS[server])
    addresses = register(web)
    if kill:
        web.kill()
    else:
        web.terminate()
    before = sum(mail_server.accepted.values())
    # After SIGTERM, a server that lets Python end normally sends its emails itself.
    assert before < EMAILS or not kill, "each email left before the server was killed, so this shows nothing"
    expect(case, mail_server, addresses)
    case.note(f"{server}: the relay sent {EMAILS - before} of {EMAILS} emails")


@pytest.mark.fault(33, "Web server killed (kill -9) right after its response", short=True)
def test_a_killed_server_loses_no_email(case: Case, mail_server: MailServer) -> None:
    stop_and_expect(case, mail_server, "uvicorn", kill=True)


@pytest.mark.fault(33, "The same for each server that the deployment page names")
@pytest.mark.parametrize("server", [server for server in SERVERS if server != "uvicorn"])
def test_no_server_loses_an_email_when_it_is_killed(case: Case, mail_server: MailServer, server: str) -> None:
    stop_and_expect(case, mail_server, server, kill=True)


@pytest.mark.fault(34, "SIGTERM right after the response")
@pytest.mark.parametrize("server", SERVERS)
def test_no_server_loses_an_email_when_it_is_stopped(case: Case, mail_server: MailServer, server: str) -> None:
    stop_and_expect(case, mail_server, server, kill=False)


@pytest.mark.fault(35, "Web server killed; no relay runs, and the next web server sends its emails")
@pytest.mark.parametrize("server", SERVERS)
def test_the_next_web_server_sends_what_the_last_has_promised(
    case: Case, mail_server: MailServer, server: str
) -> None:
    web = case.serve(SERVERS[server])
    addresses = register(web)
    web.kill()
    case.serve(SERVERS[server])
    expect(case, mail_server, addresses)


@pytest.mark.fault(36, "Mail server down for a minute, with three processes that send")
def test_an_outage_of_the_mail_server_delays_emails(case: Case, mail_server: MailServer) -> None:
    for _ in range(2):
        case.start_relay()
    web = case.serve(SERVERS["gunicorn"])
    mail_server.stop()
    addresses = register(web)
    time.sleep(60)
    addresses += register(web, first=EMAILS)
    time.sleep(5)
    mail_server.start()
    expect(case, mail_server, addresses)


@pytest.mark.fault(37, "SIGTERM to a relay that sends promised emails, and another relay beside it")
def test_two_relays_send_each_email_once(case: Case, mail_server: MailServer) -> None:
    web = case.serve(SERVERS["uvicorn"])
    addresses = [address for round in range(4) for address in register(web, first=round * EMAILS)]
    web.kill()
    relays = [case.start_relay() for _ in range(2)]
    case.until(lambda: len(mail_server.accepted) > EMAILS, "some emails have arrived")
    relays[0].terminate()
    expect(case, mail_server, addresses)
