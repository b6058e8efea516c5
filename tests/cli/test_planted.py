"""Planted faults: manus check, and the start or its log, name each with its mend, and none says that all is well."""
import contextlib
import http.server
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time

import pytest

from manus import API, BINARY, DEFAULTS, ROOT, SLOW, Manus, environment, free_port, run, small_disk

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

    def young_store(self):
        """One whose pages are all in its log, left by a server that was killed."""
        manus = Manus(self.folder).start()
        manus.register()
        manus.kill()
        for name in ("log", "errors"):
            (self.folder / name).unlink()
        return self.folder / "data"

    def certificate(self):
        for_localhost = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-keyout", self.folder / "key.pem", "-out",
                        self.folder / "certificate.pem", *for_localhost], check=True, capture_output=True)
        return self.folder / "certificate.pem", self.folder / "key.pem"

    def redis_of_tls(self, **settings):
        certificate, key = self.certificate()
        port = free_port()
        self.redis("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port, "RATE_LIMIT_ENABLED": "true", **settings}

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


def env_file(text, encoding="utf-8"):
    def write(plant):
        (plant.folder / ".env").write_text(text, encoding=encoding)
        (plant.folder / ".env").chmod(0o600)
        return {}
    return write


def under_limits(*limits):
    return lambda plant: {"limits": limits}


def clock_set_back(plant):
    ahead = time.time() + 400 * 86400
    os.utime(plant.store() / "manus.sqlite", (ahead, ahead))
    return {}


def disk_without_inodes(plant):
    disk = plant.ends.enter_context(small_disk(plant.folder))
    subprocess.run(["mount", "-o", "remount,nr_inodes=6", disk], check=True)
    for i in range(4):
        (disk / str(i)).touch()
    return {"DATA_DIR": disk / "data"}


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


def self_signed_mail_server(plant):
    """Mailpit, with a certificate that nobody vouches for."""
    certificate, key = plant.certificate()
    port, program = free_port(), ROOT / "build-tools" / "bin" / "mailpit"
    assert program.is_file(), "mailpit is missing: run scripts/test-tools"
    server = subprocess.Popen([program, "--smtp", f"127.0.0.1:{port}", "--listen", f"127.0.0.1:{free_port()}", "--smtp-tls-cert", certificate, "--smtp-tls-key", key],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    plant.ends.callback(server.wait)
    plant.ends.callback(server.kill)
    wait_for_port(port)
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port, "EMAIL_FROM": "a@example.com", "EMAIL_VERIFICATION": "true"}


def wait_for_port(port):
    deadline = time.monotonic() + 10 * SLOW
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), 1).close()
        time.sleep(0.05)
    raise AssertionError("nothing listens")


def database_of_another_program(plant):
    data = plant.store()
    for path in data.glob("manus.sqlite*"):
        path.unlink()
    with contextlib.closing(sqlite3.connect(data / "manus.sqlite")) as db:
        db.execute("CREATE TABLE notes (text)")
    return {}


def without_the_log(plant):
    data = plant.young_store()
    for name in ("manus.sqlite-wal", "manus.sqlite-shm"):
        (data / name).unlink()
    return {}


def garbage_in_the_log(plant):
    path = plant.young_store() / "manus.sqlite-wal"
    with open(path, "r+b") as log:
        log.seek(5000)
        log.write(os.urandom(3000))
    return {}


def store_elsewhere(plant):
    data = plant.store()
    (data / "manus.sqlite").rename(plant.folder / "elsewhere")
    (data / "manus.sqlite").symlink_to(plant.folder / "unmounted")
    return {}


def without_its_end(plant):
    path = plant.store() / "manus.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(path, path.stat().st_size - 4096)
    return {}


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
    "a scheme that is misspelt": (of(PUBLIC_URL="htps://app.example.com"), "is not an origin", "such as https://app.example.com"),
    "a name that is set twice": (env_file("LOG_LEVEL=INFO\n\nLOG_LEVEL=DEBUG\n"), ".env line 3: LOG_LEVEL is set again, so .env line 1 has no effect", "remove one of the two"),
    "a file in UTF-16": (env_file("LOG_LEVEL=INFO\n", "utf-16"), ".env line 1: the file is UTF-16", "save it as UTF-8"),
    "a no-break space behind a value": (env_file("EMAIL_HOST=smtp.example.com\u00a0\n"), "EMAIL_HOST: has a character that cannot be seen", "delete the value and type it"),
    "a zero-width space in a secret": (of(EMAIL_PASSWORD="secret\u200bword"), "EMAIL_PASSWORD: has a character that cannot be seen", "delete the value and type it"),
    "a folder by a tilde": (env_file("PLANS_FILE=~/plans.json\n"), "begins with ~, which only a shell replaces", "write the whole path"),
    "a protocol for proxies without proxies": (of(PROXY_PROTOCOL="true"), "every connection would be closed", "set TRUSTED_PROXIES to the addresses of your proxies"),
    "the id of an endpoint as its secret": (of(STRIPE_WEBHOOK_SECRET="we_1Abcdefghijklmn"), "does not begin with whsec_", "copy the signing secret from the endpoint's page"),
    "a product in place of a price": (of(STRIPE_PRICE_ID_BASIC="prod_Abc"), "is the id of a product", "give that of its price"),
    "a test key in production": (of(ENVIRONMENT="production", STRIPE_SECRET_KEY="sk_test_x", STRIPE_API_BASE="http://127.0.0.1:9"), "is a test key, but ENVIRONMENT is production", "give a live key"),
    "authorities that are not there": (of(SSL_CERT_FILE="/nowhere/ca.pem"), "/nowhere/ca.pem cannot be read", "correct the path, or remove the setting"),
    # of the machine
    "few open files": (under_limits("--nofile=64"), "the limit of open files is 64", "raise it (ulimit -n"),
    "little address space": (under_limits("--as=1900000000"), "the limit of address space is 1811 MiB", "remove it (ulimit -v"),
    "a limit on the size of files": (under_limits("--fsize=50000000"), "the limit of a file's size is 47 MiB", "remove it (ulimit -f"),
    "a clock that was set back": (clock_set_back, "but the store was last written at", "set the clock"),
    "a file in place of the outbox": (outbox_that_is_a_file, "outbox", "make DATA_DIR/outbox a folder"),
    "a folder in place of the socket": (folder_in_place_of("admin.sock"), "admin", "move"),
    "a folder in place of the lock": (folder_in_place_of("lock"), "data/lock is not a file", "move it away"),
    "a folder that is not mounted": (link_to_nothing, "is a link to a folder that does not exist", "mount or create that folder"),
    "an address that lacks its interface": (of(HOST="fe80::1"), "fe80::1", "correct HOST"),
    # of peers
    "a Redis that speaks TLS": (lambda plant: plant.redis_of_tls(), "Connection lost", "set REDIS_TLS=true if this port speaks TLS"),
    "a Redis without its replicas": (lambda plant: plant.redis("--min-replicas-to-write", "1"), "Has too few replicas", "start its replicas"),
    "a Redis without scripts": (lambda plant: plant.redis("--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""), "Lacks a command", "that its configuration renames"),
    "a key of Stripe without permissions": (lambda plant: plant.stripe(403, b'{"error":{}}'), "API key lacks a permission", "give the key the permissions that docs/billing.md lists"),
    "networks without Stripe's": (lambda plant: {**plant.stripe(200, b'{"object":"balance"}'), "OUTBOUND_NETWORKS": "10.0.0.0/8"}, "OUTBOUND_NETWORKS does not have its address",
                                  "add the network of its address"),
    "a mail server that is its own authority": (self_signed_mail_server, "the certificate of the mail server cannot be verified", "SSL_CERT_FILE to the authority"),
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
    "a database of another program": (database_of_another_program, "it is a database of another program", "move it away, or set DATA_DIR"),
    "a young store without its log": (without_the_log, "it was in use and holds nothing now", "manus restore FILE"),
    "garbage in the log of a young store": (garbage_in_the_log, "it was in use and holds nothing now", "manus restore FILE"),
    "a link in place of the store": (store_elsewhere, "is a link to a file that does not exist", "mount or restore that file"),
    "a store without its end": (without_its_end, "the store is damaged", RESTORE),
    "a folder in place of the seal": (folder_in_place_of("manus.sqlite-seal"), "data/manus.sqlite-seal is not a file", "move it away"),
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
        limits = settings.pop("limits", ())
        if SLOW > 1 and any(limit.startswith("--as=") for limit in limits):
            pytest.skip("sanitizers reserve address space of their own")
        prefix = ["prlimit", *limits] if limits else []
        given = {**DEFAULTS, "PORT": free_port(), "DATA_DIR": tmp_path / "data", **settings}
        checked = subprocess.run([*prefix, BINARY, "check"], cwd=tmp_path, env=environment(given), text=True, capture_output=True, timeout=40 * SLOW)
        doubted = "all checks passed, but see the warnings above" in checked.stdout
        assert checked.returncode == 0 if doubted else checked.returncode in (69, 78), checked
        assert "all is well" not in checked.stdout
        (line,) = {line for line in (checked.stdout + checked.stderr).splitlines() if mend in line}
        assert what in line, checked
        manus = Manus(tmp_path, **settings).start(wait=False, prefix=prefix)
        ends.callback(manus.stop)
        wait_for_end_or_answer(manus)
        if manus.process.poll() is not None:
            assert manus.process.returncode == checked.returncode and what in manus.errors() and mend in manus.errors(), manus.errors()
            return
        if mend in manus.errors():
            assert what in manus.errors()
            return
        manus.get(f"{API}/ready")
        manus.register()
        assert what in str(manus.wait_for_log(lambda line: mend in line.get("mend", ""), 20))


def test_a_full_disk_of_inodes_is_named(tmp_path):
    """What the start says is of the file that it could not make."""
    with contextlib.ExitStack() as ends:
        settings = disk_without_inodes(Plant(tmp_path, ends))
        checked = run("check", cwd=tmp_path, **{**DEFAULTS, "PORT": free_port(), **settings})
        assert checked.returncode == 69 and "no room for more files (inodes): remove some files" in checked.stdout, checked
        served = run("serve", cwd=tmp_path, **{**DEFAULTS, "PORT": free_port(), **settings})
        assert served.returncode == 69 and "No space left on device" in served.stderr, served


@pytest.mark.parametrize("name", ["ENVIRONMENT", "STRIPE_API_BASE", "DATA_DIR", "HOST", "EMAIL_USERNAME"])
def test_a_value_that_is_too_long_is_told_like_any_other(tmp_path, name):
    done = run("check", cwd=tmp_path, **{**DEFAULTS, "STRIPE_SECRET_KEY": "sk_live_x", name: "x" * 5000})
    assert done.returncode == 78 and f"{name}: is 5000 bytes long" in done.stderr, done


def test_a_price_of_the_other_mode_is_named(tmp_path):
    class Stripe(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path == "/v1/balance"
            body = b'{"object":"balance"}' if known else b'{"error":{"code":"resource_missing"}}'
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stripe) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        checked = run("check", cwd=tmp_path, **{**DEFAULTS, "PORT": free_port(), "STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_API_BASE": f"http://127.0.0.1:{server.server_port}",
                                                "STRIPE_PRICE_ID_BASIC": "price_live"})
        server.shutdown()
    assert checked.returncode == 69 and "Knows no price price_live" in checked.stdout and "the mode (test or live) that has the price" in checked.stdout, checked
