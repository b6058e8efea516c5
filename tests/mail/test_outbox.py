"""Mails: each arrives, whatever happens to the server or to us meanwhile. With a real mail server."""
import concurrent.futures
import contextlib
import functools
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from mailpit import Mailpit
from manus import API, DEFAULTS, SLOW, free_port, run, wait_until


def settings(port, **more):
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port, "EMAIL_FROM": "noreply@example.com", "ENVIRONMENT": "production", **more}


def ask(manus, count=1):
    """So many people who ask for a code."""
    def one(_):
        account = manus.register()
        assert manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]}).status_code == 200
        return account["email"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return set(pool.map(one, range(count)))


wait_until = functools.partial(wait_until, seconds=15)


def waiting(manus):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        return db.execute("SELECT attempts, error FROM mails").fetchall()


def hasten(manus):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", timeout=20) as db:
        db.execute("UPDATE mails SET next_at = 0")


def test_a_mail_is_handed_over_whole(start, tmp_path):
    with Mailpit(tmp_path) as server:
        manus = start(**settings(server.port))
        (address,) = ask(manus)
        wait_until(lambda: server.count() == 1)
        (letter,) = server.letters()
        assert (letter["From"], letter["To"], letter["Return-Path"]) == ("noreply@example.com", address, "<noreply@example.com>")
        assert letter["Message-ID"].endswith("@example.com>") and letter["Auto-Submitted"] == "auto-generated"
        assert [part.get_content_type() for part in letter.walk()] == ["multipart/alternative", "text/plain", "text/html"]
        wait_until(lambda: waiting(manus) == [])


def test_a_sender_may_have_a_name(start, tmp_path):
    with Mailpit(tmp_path) as server:
        manus = start(**settings(server.port, EMAIL_FROM='"Ünï, Shop" <shop@example.com>'))
        ask(manus)
        wait_until(lambda: server.count() == 1)
        (letter,) = server.letters()
        sender = letter["From"].addresses[0]
        assert (sender.display_name, sender.addr_spec, letter["Return-Path"]) == ("Ünï, Shop", "shop@example.com", "<shop@example.com>")


@pytest.mark.parametrize("sender", ["nothing", "Ann <a@b.cd", "a@b.cd>", "Ann <a b@c.de>", "<>", "a@b.cd\nBcc: x@y.zz", "@", "Ann <a@b.cd> x"])
def test_a_sender_that_is_none_is_refused_at_the_start(tmp_path, sender):
    done = run("serve", cwd=tmp_path, **{**DEFAULTS, "EMAIL_HOST": "127.0.0.1", "EMAIL_FROM": sender})
    assert done.returncode == 78 and "EMAIL_FROM: " in done.stderr


def test_a_mail_waits_for_a_server_that_is_away_and_for_one_that_says_later(start, tmp_path):
    server = Mailpit(tmp_path, "--enable-chaos")
    manus = start(**settings(server.port))
    (address,) = ask(manus)
    wait_until(lambda: waiting(manus) == [(1, "the mail server does not accept connections")])
    with server:
        server.refuse(451)
        hasten(manus)
        wait_until(lambda: waiting(manus) [0][1].startswith("the mail server refuses the mail to @example.com: 451 "))
        server.refuse(0)
        hasten(manus)
        wait_until(lambda: server.count() == 1)
        assert server.recipients_and_ids()[0][0] == address
    wait_until(lambda: waiting(manus) == [])


def test_what_the_server_says_of_the_sender_keeps_the_mail(start, tmp_path):
    """An operator mends it."""
    with Mailpit(tmp_path, "--enable-chaos") as server:
        server.refuse(550, "Sender")
        manus = start(**settings(server.port))
        (address,) = ask(manus)
        wait_until(lambda: waiting(manus)[0][1].startswith("the mail server refuses the sender of a mail to @example.com: 550 "))
        server.refuse(0, "Sender")
        hasten(manus)
        wait_until(lambda: server.count() == 1)


@pytest.mark.parametrize("stage, answer, kept", [
    ("greeting", b"554 no service here", True), ("EHLO", b"550 go away", True), ("MAIL", b"530 log in first", True), ("MAIL", b"550 who are you", True),
    ("MAIL", b"550 5.1.8 bad sender", True), ("RCPT", b"550 5.1.1 no such user", False), ("RCPT", b"553 5.1.3 what is that", False),
    ("RCPT", b"550 no such user", True), ("RCPT", b"554 5.7.1 Relay access denied", True), ("RCPT", b"550 5.7.1 relaying denied, authenticate first", True),
    ("RCPT", b"550 5.1.8 bad sender", True), ("RCPT", b"530 log in first", True), ("RCPT", b"450 busy", True), ("DATA", b"554 no", True),
    ("end", b"554 5.7.1 spam", True), ("end", b"550-5.1.1 gone\r\n550 5.1.1 for ever", False), ("end", b"452 full", True)])
def test_only_a_mailbox_that_does_not_exist_gives_a_mail_up(start, stage, answer, kept):
    listener = socket.create_server(("127.0.0.1", 0))
    said = threading.Event()

    def serve():
        while not said.is_set():
            with listener.accept()[0] as peer, peer.makefile("rb") as lines:
                reply = lambda name, text: peer.sendall((answer if name == stage else text) + b"\r\n") or (name == stage and said.set())
                reply("greeting", b"220 mail")
                for line in lines:
                    word = line[:4].decode().strip()
                    reply("EHLO" if word == "HELO" else word, b"354 go on" if word == "DATA" else b"250 yes")
                    if word == "DATA" and stage != "DATA":
                        while lines.readline() not in (b".\r\n", b""):
                            pass
                        reply("end", b"250 taken")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    manus = start(**settings(listener.getsockname()[1]))
    ask(manus)
    assert said.wait(15 * SLOW)
    wait_until(lambda: bool(waiting(manus)) == kept and (not kept or waiting(manus)[0][1] != ""))
    if stage in ("RCPT", "end"):  # told to the operator, without the person
        line = manus.wait_for_log(lambda line: "mail" in line["msg"] and "refuses" in line.get("detail", ""))
        assert "@example.com" in line["detail"] and answer.decode().split("\n")[-1] in line["detail"]
    listener.close()


def test_a_refused_mail_does_not_take_the_next_one_along(start, tmp_path):
    with Mailpit(tmp_path, "--smtp-allowed-recipients", "^good") as server:
        manus = start(**settings(server.port))
        for name in ("good1", "bad1", "good2", "bad2", "good3"):
            manus.register(f"{name}@example.com")
            manus.post(f"{API}/auth/send-verification-code", {"email": f"{name}@example.com"})
        wait_until(lambda: server.count() == 3)
        assert {to for to, _ in server.recipients_and_ids()} == {f"good{i}@example.com" for i in (1, 2, 3)}


def test_a_thousand_mails_survive_kills_and_a_restart_of_the_mail_server(start, tmp_path):
    """Each arrives; doubles only with the same Message-ID."""
    server = Mailpit(tmp_path)
    manus = start(**settings(server.port))
    addresses = ask(manus, 1000)
    with server:
        hasten(manus)
        for part in (100, 300):
            wait_until(lambda: server.count() >= part, seconds=60)
            manus.kill()
            manus.start()
            hasten(manus)
        wait_until(lambda: server.count() >= 500, seconds=60)
        server.stop()
        time.sleep(0.5)
        server.start()
        while waiting(manus) and server.process.poll() is None:
            hasten(manus)
            time.sleep(0.5)
        came = server.recipients_and_ids()
        assert {to for to, _ in came} == addresses
        assert len(set(came)) == 1000, "a double with another Message-ID"
        assert len(came) <= 1012  # each of three at work has one under way


def test_stopping_while_mails_go_out_loses_none(start, tmp_path):
    with Mailpit(tmp_path) as server:
        manus = start(**settings(free_port()))
        addresses = ask(manus, 60)
        manus.settings["EMAIL_PORT"] = server.port
        for _ in range(3):
            assert manus.stop() == 0
            hasten(manus)
            manus.start()
            wait_until(lambda: server.count() > 0)
        wait_until(lambda: {to for to, _ in server.recipients_and_ids()} == addresses)


def test_a_server_that_hangs_up_half_way_is_tried_again(start, tmp_path):
    """A listener that closes behind each of the first lines that it is told, then a real server."""
    port, cuts = free_port(), [0, 1, 2, 3, 4]
    listener = socket.create_server(("127.0.0.1", port))

    def hang_up():
        while cuts:
            with listener.accept()[0] as peer, peer.makefile("rb") as lines:
                left = cuts.pop()
                peer.sendall(b"220 mail\r\n")
                for _ in range(left):
                    line = lines.readline()
                    peer.sendall(b"354 go on\r\n" if line.startswith(b"DATA") else b"250 yes\r\n")
        listener.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    manus = start(**settings(port))
    (address,) = ask(manus)
    while thread.is_alive():
        hasten(manus)
        thread.join(0.2)
    server = Mailpit(tmp_path)
    server.port = port
    with server:
        deadline = time.monotonic() + 15 * SLOW
        while waiting(manus) and time.monotonic() < deadline:
            hasten(manus)
            time.sleep(0.2)
        assert server.recipients_and_ids()[0][0] == address


def test_a_mail_server_that_never_answers_keeps_nobody_from_registering_or_stopping(start):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        manus = start(**settings(silent.getsockname()[1], EMAIL_VERIFICATION="true"))
        ask(manus)
        begun = time.monotonic()
        assert manus.me(manus.register()["access_token"]).status_code == 200
        assert manus.stop(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 8 * SLOW
        assert len(waiting(manus)) == 3
        assert [line["part"] for line in manus.log() if line["msg"].startswith("a part does not end")] == ["jobs"]


@pytest.fixture
def certificate(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
                   check=True, capture_output=True)
    return ("--smtp-tls-cert", tmp_path / "cert", "--smtp-tls-key", tmp_path / "key")


def test_a_server_with_a_wrong_certificate_gets_nothing(start, tmp_path, certificate):
    with Mailpit(tmp_path, *certificate, "--smtp-require-starttls") as server:
        manus = start(**settings(server.port))
        ask(manus)
        wait_until(lambda: [error for _, error in waiting(manus) if error])
        assert waiting(manus)[0][1] == "the certificate of the mail server cannot be verified"
        assert server.count() == 0


def test_starttls_and_a_login_are_used_where_the_server_has_them(start, tmp_path, certificate):
    (tmp_path / "users").write_text("user:a-good-password\n")
    with Mailpit(tmp_path, *certificate, "--smtp-require-starttls", "--smtp-auth-file", tmp_path / "users") as server:
        manus = start(**settings(server.port, EMAIL_USERNAME="user", EMAIL_PASSWORD="a-good-password", SSL_CERT_FILE=tmp_path / "cert"))
        ask(manus)
        wait_until(lambda: server.count() == 1 or any(error for _, error in waiting(manus)))
        assert server.count() == 1, waiting(manus)


def test_a_login_that_is_refused_keeps_the_mail(start, tmp_path, certificate):
    (tmp_path / "users").write_text("user:a-good-password\n")
    with Mailpit(tmp_path, *certificate, "--smtp-require-starttls", "--smtp-auth-file", tmp_path / "users") as server:
        manus = start(**settings(server.port, EMAIL_USERNAME="user", EMAIL_PASSWORD="another", SSL_CERT_FILE=tmp_path / "cert"))
        ask(manus)
        wait_until(lambda: waiting(manus) and waiting(manus)[0][1] != "")
        assert waiting(manus) == [(1, "the mail server refuses the user or the password")]
        assert "another" not in manus.log_path.read_text()


class Server:
    """A mail server that says what it is told to say, and notes what it was told."""

    def __init__(self, offers=(), hangs_for=None):
        self.offers, self.hangs_for, self.heard, self.letters = offers, hangs_for, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=[self.listener.accept()[0]], daemon=True).start()

    def serve(self, peer):
        with contextlib.suppress(OSError), peer, peer.makefile("rb") as lines:
            peer.sendall(b"220 mail\r\n")
            for line in lines:
                self.heard.append(line)
                word = line[:4].strip().upper()
                if word == b"RCPT" and self.hangs_for and self.hangs_for in line:
                    time.sleep(60)
                if word == b"EHLO":
                    peer.sendall(b"".join(b"250-" + offer + b"\r\n" for offer in (b"mail", *self.offers)) + b"250 8BITMIME\r\n")
                elif word == b"DATA":
                    peer.sendall(b"354 go on\r\n")
                    self.letters.append(b"".join(iter(lines.readline, b".\r\n")))
                    peer.sendall(b"250 taken\r\n")
                else:
                    peer.sendall(b"250 yes\r\n")


def ask_as(manus, address):
    manus.register(address)
    assert manus.post(f"{API}/auth/send-verification-code", {"email": address}).status_code == 200


@pytest.mark.parametrize("offers, arrives", [((), False), ((b"SMTPUTF8",), True)])
def test_a_name_beyond_ascii_needs_a_server_that_takes_it_and_a_domain_does_not(start, offers, arrives):
    server = Server(offers)
    manus = start(**settings(server.port))
    ask_as(manus, "ann@b\u00fccher.example")
    wait_until(lambda: len(server.letters) == 1)
    assert any(b"<ann@xn--bcher-kva.example>" in line for line in server.heard) and b"To: ann@xn--bcher-kva.example\r\n" in server.letters[0]
    ask_as(manus, "ren\u00e9@example.com")
    if arrives:
        wait_until(lambda: len(server.letters) == 2)
    else:
        line = manus.wait_for_log(lambda line: line["msg"] == "a mail was given up", 15)
        assert "SMTPUTF8" in line["detail"] and not any(line[:4] == b"RCPT" and max(line) > 127 for line in server.heard)
    wait_until(lambda: waiting(manus) == [])


def test_one_recipient_that_hangs_does_not_hold_up_the_others(start):
    server = Server(hangs_for=b"slow@")
    manus = start(**settings(server.port))
    ask_as(manus, "slow@example.com")
    wait_until(lambda: any(b"slow@" in line for line in server.heard))
    ask_as(manus, "quick@example.com")
    wait_until(lambda: len(server.letters) == 1, seconds=10)
    manus.kill()


def test_a_mail_whose_code_has_expired_is_dropped(start):
    server = Server()
    manus = start(**settings(free_port()))
    ask_as(manus, "late@example.com")
    wait_until(lambda: waiting(manus) and waiting(manus)[0][1] != "")
    manus.stop()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("UPDATE mails SET expires_at = created_at, next_at = 0")
    manus = start(manus.folder, **settings(server.port))
    wait_until(lambda: waiting(manus) == [])
    assert server.letters == [] and manus.wait_for_log(lambda line: line["msg"] == "a mail was given up")


def test_an_address_that_would_end_a_command_goes_to_no_server(start):
    server = Server()
    manus = start(**settings(server.port))
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", timeout=20) as db:
        for evil in ("a@example.com>\r\nRCPT TO:<eve@example.com", "a@example.com>", "a\n@example.com", "<a@example.com", "a\x7f@example.com"):
            db.execute("INSERT INTO mails(recipient, content, created_at, next_at) VALUES(?, 'x', ?, 0)", [evil, int(time.time() * 1000)])
    wait_until(lambda: waiting(manus) == [])
    assert not any(line[:4] == b"RCPT" for line in server.heard)
    wait_until(lambda: len([line for line in manus.log() if line.get("detail") == "the address is not valid in mails"]) == 5)
