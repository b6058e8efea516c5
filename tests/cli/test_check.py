"""manus check under planted faults: each is named with what to do about it, and none is "all well"; serve says the same."""
import contextlib
import http.server
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading

import pytest

from manus import BINARY, DEFAULTS, ROOT, SLOW, Manus, environment, free_port, leave, run, small_disk

sys.path.insert(0, str(ROOT / "tests" / "limit"))
from redis_server import Redis


def check(folder, **settings):
    return run("check", cwd=folder, timeout=30, **{**DEFAULTS, "PORT": free_port(), **settings})


def wrong(done, part, *said):
    """The line of the part that is at fault."""
    assert done.returncode == 69 and "all is well" not in done.stdout and "some checks failed" in done.stdout, done
    (line,) = re.findall(rf"^{part} +(.+)$", done.stdout, re.M)
    for words in said:
        assert words in line, line
    return line


def refused(folder, **settings):
    done = run("serve", cwd=folder, **{**DEFAULTS, "PORT": free_port(), **settings})
    assert done.returncode == 69 and done.stderr.count("\n") == 1, done
    return done.stderr.removeprefix("manus serve: ").strip()


def test_a_taken_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = wrong(check(tmp_path, PORT=port), "listen", f"port {port} is in use", "PORT")
        assert refused(tmp_path, PORT=port) in line


def test_a_port_that_systemd_holds_for_the_socket_is_no_fault(tmp_path):
    python = tmp_path / "systemd"
    python.write_bytes(open(os.path.realpath(sys.executable), "rb").read())
    python.chmod(0o755)
    port = free_port()
    holder = subprocess.Popen([python, "-c", f"import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\nprint(flush=True)\ntime.sleep(300)"],
                              stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        done = check(tmp_path, PORT=port)
        assert done.returncode == 0 and f":{port}: in use by systemd: correct if this is the socket of manus.socket" in done.stdout, done
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("host, said", [("192.0.2.1", "is not an address of this machine: correct HOST"), ("no-such-host.invalid", "HOST no-such-host.invalid is not known")])
def test_a_wrong_host(tmp_path, host, said):
    line = wrong(check(tmp_path, HOST=host), "listen", said)
    assert refused(tmp_path, HOST=host) in line


def as_nobody(folder, command, data):
    for parent in [folder, *folder.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    binary = folder / "manus"
    binary.write_bytes(BINARY.read_bytes())
    binary.chmod(0o755)
    return subprocess.run([binary, command], cwd="/", capture_output=True, text=True, user=65534, group=65534, extra_groups=[],
                          env=environment({**DEFAULTS, "PORT": free_port(), "DATA_DIR": data}), timeout=20 * SLOW)


@pytest.mark.parametrize("has_store", [False, True])
def test_a_folder_that_cannot_be_written(tmp_path, has_store):
    data = tmp_path / "data"
    if has_store:
        Manus(tmp_path).start().stop()
        for path in data.iterdir():
            path.chmod(0o666)
    else:
        data.mkdir()
    data.chmod(0o555)
    line = wrong(as_nobody(tmp_path, "check", data), "store", f"cannot write to {data}: Permission denied", "DATA_DIR")
    assert line


def test_a_file_system_that_is_mounted_for_reading(tmp_path):
    with small_disk(tmp_path) as disk:
        assert Manus(tmp_path, DATA_DIR=disk / "data").start().stop() == 0
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        wrong(check(tmp_path, DATA_DIR=disk / "data"), "store", "Read-only file system")


@pytest.mark.parametrize("has_store", [False, True])
def test_a_full_disk(tmp_path, has_store):
    with small_disk(tmp_path) as disk:
        data = disk / "data"
        if has_store:
            assert Manus(tmp_path, DATA_DIR=data).start().stop() == 0
        leave(disk, 100_000)
        wrong(check(tmp_path, DATA_DIR=data), "store", "is full: free some space")


@pytest.mark.parametrize("name", ["lock", "manus.sqlite", "bans"])
def test_a_file_of_another_user(tmp_path, name):
    assert Manus(tmp_path).start().stop() == 0
    data = tmp_path / "data"
    (data / "bans").write_text("")
    for path in [data, *data.iterdir()]:
        os.chown(path, 65534, 65534)
    os.chown(data / name, 0, 0)
    (data / name).chmod(0o600)
    said = f"cannot write to {data}/{name} (Permission denied): make the user of manus the owner of all files"
    wrong(as_nobody(tmp_path, "check", data), "store", said)
    assert said in as_nobody(tmp_path, "serve", data).stderr


def test_a_store_with_a_damaged_page_has_one_line(tmp_path):
    assert Manus(tmp_path).start().stop() == 0
    path = tmp_path / "data" / "manus.sqlite"
    data = bytearray(path.read_bytes())
    data[5 * 4096:5 * 4096 + 60] = b"\xff" * 60
    path.write_bytes(data)
    wrong(check(tmp_path, DATA_DIR=tmp_path / "data"), "store", "damaged:", "Page 6", "restore a backup")


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "data").write_text("")
    wrong(check(tmp_path, DATA_DIR=tmp_path / "data"), "store", f"{tmp_path}/data is not a folder: set DATA_DIR to one")


def test_a_key_of_stripe_that_is_none(tmp_path):
    done = check(tmp_path, STRIPE_SECRET_KEY="pk_test_public")
    wrong(done, "stripe", "is not a secret key", "nothing is billed", "copy one from Stripe's dashboard")
    assert "STRIPE_SECRET_KEY: begins neither with sk_ nor with rk_" in done.stderr and "pk_test" not in done.stdout + done.stderr


def test_a_newer_store(tmp_path):
    assert Manus(tmp_path).start().stop() == 0
    path = tmp_path / "data" / "manus.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    wrong(check(tmp_path, DATA_DIR=tmp_path / "data"), "store", "a newer manus has written this store (schema 999", "run that version")


@contextlib.contextmanager
def listener(greeting):
    """A server of one line, which may be no mail server at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def greet():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    peer.sendall(greeting)
                    peer.close()

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()[1]


def test_a_wrong_mail_server(tmp_path):
    settings = {"EMAIL_FROM": "a@example.com", "EMAIL_HOST": "127.0.0.1"}
    port = free_port()
    wrong(check(tmp_path, EMAIL_PORT=port, **settings), "mail", f"smtp://127.0.0.1:{port}: the mail server does not accept connections (", "EMAIL_PORT")
    wrong(check(tmp_path, **{**settings, "EMAIL_HOST": "no-such-host.invalid"}), "mail", "name is not known", "correct EMAIL_HOST")
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        wrong(check(tmp_path, EMAIL_PORT=port, **settings), "mail", f":{port}: ", "correct EMAIL_HOST and EMAIL_PORT")
    with listener(b"554 go away\r\n") as port:
        wrong(check(tmp_path, EMAIL_PORT=port, **settings), "mail", "rejects this machine", "ask its operator")


@pytest.mark.parametrize("sender, said", [("Ann <ann@bücher.example>", b"MAIL FROM:<ann@xn--bcher-kva.example>"), ("ünal@example.com", "MAIL FROM:<ünal@example.com> SMTPUTF8".encode())])
def test_the_mail_server_hears_of_a_sender_beyond_ascii_what_it_will_hear_with_a_mail(tmp_path, sender, said):
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def talk():
            with server.accept()[0] as peer:
                peer.sendall(b"220 x\r\n")
                for line in peer.makefile("rb"):
                    heard.append(line.strip())
                    peer.sendall(b"250-x\r\n250 SMTPUTF8\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")

        threading.Thread(target=talk, daemon=True).start()
        done = check(tmp_path, EMAIL_FROM=sender, EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.getsockname()[1], EMAIL_PLAIN="true")
    assert done.returncode == 0 and said in heard, (done, heard)


def test_a_wrong_redis(tmp_path):
    port = free_port()
    wrong(check(tmp_path, REDIS_HOST="127.0.0.1", REDIS_PORT=port), "redis", f"127.0.0.1:{port}: Cannot connect (", "start it, or correct REDIS_HOST and REDIS_PORT")
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        wrong(check(tmp_path, REDIS_HOST="127.0.0.1", REDIS_PORT=port), "redis", "Is not Redis", "correct REDIS_HOST and REDIS_PORT")
    redis = Redis(tmp_path / "redis", "--requirepass", "a-good-password").start()
    try:
        for settings in ({}, {"REDIS_PASSWORD": "another"}):
            wrong(check(tmp_path, REDIS_HOST="127.0.0.1", REDIS_PORT=redis.port, **settings), "redis", "set REDIS_PASSWORD")
    finally:
        redis.stop()


def test_the_log_names_what_a_peer_lacks_with_its_mend(start):
    manus = start(REDIS_HOST="127.0.0.1", REDIS_PORT=free_port(), RATE_LIMIT_ENABLED="true", STRIPE_SECRET_KEY="sk_test_x", STRIPE_API_BASE=f"http://127.0.0.1:{free_port()}",
                  EMAIL_HOST="127.0.0.1", EMAIL_PORT=free_port(), EMAIL_FROM="a@example.com", EMAIL_VERIFICATION="true")
    manus.register()
    for _ in range(2):
        manus.get("/api/v1/ready")
    for message, mend in (("Redis is down", "correct REDIS_HOST"), ("Stripe cannot be used", "firewall"), ("a mail was not accepted", "EMAIL_PORT")):
        line = manus.wait_for_log(lambda line: line["msg"].startswith(message))
        assert mend in line["mend"], line
    assert len([line for line in manus.log() if line["msg"] == "Stripe cannot be used"]) == 1


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"error":{"message":"Invalid API Key provided: sk_test_****","type":"invalid_request_error"}}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_refused_key_of_stripe(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        line = wrong(check(tmp_path, STRIPE_SECRET_KEY="sk_test_refused", STRIPE_API_BASE=base), "stripe", f"{base}: API key refused (", "set STRIPE_SECRET_KEY")
        assert "sk_test" not in line
        server.shutdown()
