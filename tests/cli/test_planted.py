"""Planted faults: manus check, and the start or its log, name each with its mend, and none says that all is well."""
import contextlib
import http.server
import os
import socket
import sqlite3
import sys
import threading
import time

import pytest

from manus import API, DEFAULTS, ROOT, SLOW, Manus, free_port, run

sys.path.insert(0, str(ROOT / "tests" / "limit"))
from redis_server import Redis

RESTORE = "restore a backup: manus restore FILE"


def of(**settings):
    return lambda plant: settings


class Plant:
    """The folder that a fault is put into, and what has to be ended afterwards."""

    def __init__(self, folder, ends):
        self.folder, self.ends = folder, ends

    def store(self):
        manus = Manus(self.folder).start()
        manus.register()
        assert manus.stop() == 0
        for name in ("log", "errors"):
            (self.folder / name).unlink()
        return self.folder / "data"

    def redis(self, *options, **settings):
        redis = Redis(self.folder / "redis", *options).start()
        self.ends.callback(redis.stop)
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": redis.port, "RATE_LIMIT_ENABLED": "true", **settings}

    def stripe(self, status, body):
        class Answering(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.ends.callback(server.server_close)
        self.ends.callback(server.shutdown)
        return {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_API_BASE": f"http://127.0.0.1:{server.server_port}"}

    def mail_server(self, answer, **settings):
        server = self.ends.enter_context(socket.create_server(("127.0.0.1", 0)))

        def talk(peer):
            with contextlib.suppress(OSError), peer:
                peer.sendall(b"220 x ESMTP\r\n")
                for line in peer.makefile("rb"):
                    peer.sendall(answer(line.upper()))

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": server.getsockname()[1], "EMAIL_FROM": "a@example.com", **settings}


def broken_plans(plant):
    (plant.folder / "plans.json").write_text("{")
    return {"PLANS_FILE": plant.folder / "plans.json"}


def outbox_that_is_a_file(plant):
    (plant.store() / "outbox").write_text("")
    return {"EMAIL_VERIFICATION": "true"}


def folder_in_place_of(name):
    def put(plant):
        path = plant.store() / name
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "something").write_text("")
        return {}
    return put


def link_to_nothing(plant):
    (plant.folder / "data").symlink_to(plant.folder / "unmounted")
    return {}


def answers(**replies):
    """A mail server's: by the command; 250 to any other."""
    return lambda line: replies.get(line[:4].decode(), b"250 ok\r\n")


def refused_login(line):
    return b"250-x\r\n250 AUTH PLAIN LOGIN\r\n" if line.startswith(b"EHLO") else b"535 no\r\n"


def text(plant):
    (plant.store() / "manus.sqlite").write_text("no database\n" * 1000)
    return {}


def half(plant):
    path = plant.store() / "manus.sqlite"
    os.truncate(path, path.stat().st_size // 2)
    return {}


def without(*statements):
    def change(plant):
        with contextlib.closing(sqlite3.connect(plant.store() / "manus.sqlite", isolation_level=None)) as db:
            for statement in statements:
                db.execute(statement)
        return {}
    return change


FAULTS = {
    # of settings
    "a network with bits of a host": (of(TRUSTED_PROXIES="10.0.0.1/8"), "TRUSTED_PROXIES", "give one such as 10.0.0.0/8"),
    "an address without a scheme": (of(PUBLIC_URL="example.com"), "PUBLIC_URL", "give scheme, host and port only"),
    "a sender that is none": (of(EMAIL_FROM="nobody", EMAIL_HOST="mail.example.com"), "EMAIL_FROM", "write it like ann@example.com"),
    "a limit of a route that is none": (of(RATE_LIMIT_LOGIN="5/minute"), "RATE_LIMIT_LOGIN", "see `manus routes`"),
    "plans that are no JSON": (broken_plans, "PLANS_FILE", "is not JSON (byte 1"),
    # of the machine
    "a file in place of the outbox": (outbox_that_is_a_file, "outbox", "make DATA_DIR/outbox a folder"),
    "a folder in place of the socket": (folder_in_place_of("admin.sock"), "admin", "move"),
    "a folder in place of the lock": (folder_in_place_of("lock"), "data/lock is not a file", "move it away"),
    "a folder that is not mounted": (link_to_nothing, "is a link to a folder that does not exist", "mount or create that folder"),
    "an address that lacks its interface": (of(HOST="fe80::1"), "fe80::1", "correct HOST"),
    # of peers
    "a replica of Redis": (lambda plant: plant.redis("--replicaof", "127.0.0.1", "1"), "Is a replica", "set REDIS_HOST and REDIS_PORT to the primary"),
    "a full Redis": (lambda plant: plant.redis("--maxmemory", "1"), "Out of memory", "raise its maxmemory"),
    "a database that Redis lacks": (lambda plant: plant.redis(REDIS_DB="99"), "Has no such database", "correct REDIS_DB"),
    "a Stripe that fails": (lambda plant: plant.stripe(500, b"oops"), "Unexpected answer", "STRIPE_API_BASE"),
    "a page that answers in place of Stripe": (lambda plant: plant.stripe(200, b"<html>Log in</html>"), "Is not Stripe", "correct STRIPE_API_BASE"),
    "JSON of another API in place of Stripe": (lambda plant: plant.stripe(200, b'{"object":"list"}'), "Is not Stripe", "correct STRIPE_API_BASE"),
    "a mail server without a login": (
        lambda plant: plant.mail_server(answers(EHLO=b"250-auth.example.com\r\n250 8BITMIME\r\n", MAIL=b"530 Authentication required\r\n"),
                                        EMAIL_USERNAME="u@example.com", EMAIL_PASSWORD="any", EMAIL_VERIFICATION="true"),
        "offers no login (AUTH), but EMAIL_USERNAME is set", "set EMAIL_PORT to the port for submission"),
    "a mail server that takes mails without the login": (
        lambda plant: plant.mail_server(answers(RCPT=b"550 no relaying\r\n"), EMAIL_USERNAME="u@example.com", EMAIL_PASSWORD="any", EMAIL_VERIFICATION="true"),
        "offers no login (AUTH), but EMAIL_USERNAME is set", "or leave EMAIL_USERNAME empty"),
    "a sender that the mail server refuses": (
        lambda plant: plant.mail_server(answers(MAIL=b"550 5.7.1 not your address\r\n"), EMAIL_VERIFICATION="true"),
        "550 5.7.1 not your address", "set EMAIL_FROM to an address that this server sends for"),
    "a sender that the mail server calls no mailbox": (
        lambda plant: plant.mail_server(answers(MAIL=b"553 no such sender\r\n"), EMAIL_VERIFICATION="true"),
        "553 no such sender", "set EMAIL_FROM to an address that this server sends for"),
    "a mail server that refuses the password": (
        lambda plant: plant.mail_server(refused_login, EMAIL_USERNAME="u@example.com", EMAIL_PASSWORD="wrong", EMAIL_VERIFICATION="true"),
        "refuses the user or the password", "correct EMAIL_USERNAME and EMAIL_PASSWORD"),
    # of data
    "text in place of the store": (text, "the store is damaged", RESTORE),
    "half a store": (half, "the store is damaged", RESTORE),
    "a store without a table": (without("DROP TABLE sessions"), "the store is damaged (no such table: ", RESTORE),
    "a store without a column": (without("ALTER TABLE mails DROP COLUMN error"), "the store is damaged (no such column: ", RESTORE),
    "a folder in place of the bans": (folder_in_place_of("bans"), "data/bans is not a file", "move it away"),
}


def wait_for_end_or_answer(manus):
    deadline = time.monotonic() + 20 * SLOW
    while manus.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            manus.connect(1).close()
            return
        time.sleep(0.02)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_with_its_mend(tmp_path, name):
    fault, what, mend = FAULTS[name]
    with contextlib.ExitStack() as ends:
        settings = fault(Plant(tmp_path, ends))
        checked = run("check", cwd=tmp_path, timeout=40, **{**DEFAULTS, "PORT": free_port(), "DATA_DIR": tmp_path / "data", **settings})
        assert checked.returncode in (69, 78) and "all is well" not in checked.stdout, checked
        (line,) = {line for line in (checked.stdout + checked.stderr).splitlines() if mend in line}
        assert what in line, checked
        manus = Manus(tmp_path, **settings).start(wait=False)
        ends.callback(manus.stop)
        wait_for_end_or_answer(manus)
        if manus.process.poll() is not None:
            assert manus.process.returncode == checked.returncode and what in manus.errors() and mend in manus.errors(), manus.errors()
            return
        manus.get(f"{API}/ready")
        manus.register()
        assert what in str(manus.wait_for_log(lambda line: mend in line.get("mend", ""), 20))
