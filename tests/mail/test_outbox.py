"""Mails: each arrives, whatever happens to the server or to us meanwhile. With a real SMTP server."""
import contextlib
import email
import email.policy
import sqlite3
import ssl
import subprocess
import time

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from manus import API, SLOW, free_port


class Inbox:
    """Keeps what comes; refuses what it is told to."""

    def __init__(self):
        self.letters, self.refusals, self.tls = [], [], []

    async def handle_DATA(self, server, session, envelope):
        if self.refusals:
            return self.refusals.pop(0)
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        self.tls.append(session.ssl is not None)
        return "250 OK"


@contextlib.contextmanager
def mail_server(inbox, port, **options):
    controller = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


def settings(port, **more):
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port, "EMAIL_FROM": "noreply@example.com", "ENVIRONMENT": "production", **more}


def ask(manus, count=1):
    """So many people who ask for a code."""
    accounts = [manus.register() for _ in range(count)]
    for account in accounts:
        assert manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]}).status_code == 200
    return {account["email"] for account in accounts}


def wait_until(found, seconds=15):
    deadline = time.monotonic() + seconds * SLOW
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def waiting(manus):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        return db.execute("SELECT attempts, error FROM mails").fetchall()


def hasten(manus):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", timeout=10) as db:
        db.execute("UPDATE mails SET next_at = 0")


def test_a_mail_is_handed_over_whole(start):
    inbox, port = Inbox(), free_port()
    manus = start(**settings(port))
    with mail_server(inbox, port):
        (address,) = ask(manus)
        wait_until(lambda: inbox.letters)
    sender, recipients, content = inbox.letters[0]
    letter = email.message_from_bytes(content, policy=email.policy.default)
    assert (sender, recipients) == ("noreply@example.com", [address])
    assert (letter["From"], letter["To"]) == ("noreply@example.com", address)
    assert letter["Message-ID"].endswith("@example.com>")
    wait_until(lambda: waiting(manus) == [])


def test_a_mail_waits_for_a_server_that_is_away_and_for_one_that_says_later(start):
    inbox, port = Inbox(), free_port()
    manus = start(**settings(port))
    (address,) = ask(manus)
    wait_until(lambda: waiting(manus) == [(1, "the mail server does not accept connections")])
    inbox.refusals = ["451 later"]
    with mail_server(inbox, port):
        hasten(manus)
        wait_until(lambda: waiting(manus) == [(2, "the mail server refuses the mail")])
        hasten(manus)
        wait_until(lambda: inbox.letters)
    assert inbox.letters[0][1] == [address]
    wait_until(lambda: waiting(manus) == [])


def test_a_mail_that_is_refused_for_good_is_given_up_and_told(start):
    inbox, port = Inbox(), free_port()
    inbox.refusals = ["550 no such user"]
    manus = start(**settings(port))
    with mail_server(inbox, port):
        ask(manus)
        manus.wait_for_log(lambda line: line["msg"] == "a mail was given up", 15)
    assert waiting(manus) == [] and inbox.letters == []


def test_mails_survive_a_kill_and_doubles_have_the_same_message_id(start):
    inbox, port = Inbox(), free_port()
    manus = start(**settings(port))
    addresses = ask(manus, 60)
    with mail_server(inbox, port):
        hasten(manus)
        wait_until(lambda: len(inbox.letters) > 5)
        manus.kill()
        manus.start()
        hasten(manus)
        wait_until(lambda: {to for _, (to,), _ in inbox.letters} == addresses)
        wait_until(lambda: waiting(manus) == [])
    ids = {}
    for _, (to,), content in inbox.letters:
        ids.setdefault(to, set()).add(email.message_from_bytes(content)["Message-ID"])
    assert all(len(one) == 1 for one in ids.values())
    assert len(inbox.letters) <= 61


@pytest.fixture
def certificate(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    return context, tmp_path / "cert"


def test_a_server_with_a_wrong_certificate_gets_nothing(start, certificate):
    inbox, port = Inbox(), free_port()
    manus = start(**settings(port))
    with mail_server(inbox, port, tls_context=certificate[0], require_starttls=True):
        ask(manus)
        wait_until(lambda: [error for _, error in waiting(manus) if error])
    assert waiting(manus)[0][1] == "the mail server has no TLS, or no right certificate"
    assert inbox.letters == []


def test_starttls_and_a_login_are_used_where_the_server_has_them(start, certificate):
    inbox, port = Inbox(), free_port()
    users = lambda server, session, envelope, mechanism, data: AuthResult(success=(data.login, data.password) == (b"user", b"pass word"))
    manus = start(**settings(port, EMAIL_USERNAME="user", EMAIL_PASSWORD="pass word", SSL_CERT_FILE=certificate[1]))
    with mail_server(inbox, port, tls_context=certificate[0], require_starttls=True, authenticator=users, auth_required=True):
        ask(manus)
        wait_until(lambda: inbox.letters or any(error for _, error in waiting(manus)))
    assert inbox.tls == [True], waiting(manus)
