"""Stopping, reading settings again, and what a service manager hears."""
import concurrent.futures
import http.client
import os
import secrets
import signal
import socket
import subprocess
import time

import pytest
from wire import HEALTH, Wire, request

from manus import API, BINARY, DEFAULTS, SLOW, Manus, check_no_reports

# So long a hash that a signal comes while it is computed.
LONG = {"PASSWORD_ARGON2_MEMORY_KIB": 65536, "PASSWORD_ARGON2_PASSES": 12}
UNUSED = "Zp8Qw3Lx6Vn1Bk4Hm7Jd0Sf2Gc5Ty9RuAeIoXzNq"


def sign_up(email):
    body = b'{"fullname":"Ann Lee","email":"%s","password":"password123"}' % email
    return request(f"{API}/auth/register", f"Content-Length: {len(body)}", method="POST", body=body)


def test_with_nothing_to_do_it_ends_within_a_second(start):
    for number in (signal.SIGTERM, signal.SIGINT):
        manus = start()
        idle, kept = Wire(manus), Wire(manus)
        kept.send(HEALTH)
        kept.reply()
        began = time.monotonic()
        assert manus.stop(number) == 0
        assert time.monotonic() - began < 1 * SLOW
        assert idle.is_closed() and kept.is_closed()
        said = [line["msg"] for line in manus.log()]
        assert said[-1] == "stopped" and "stopping" in said


def test_a_request_under_way_ends_and_says_that_the_connection_does(start):
    manus = start(**LONG)
    with Wire(manus, 60) as wire:
        wire.send(sign_up(b"last@example.com") + HEALTH)
        time.sleep(0.1)
        manus.process.send_signal(signal.SIGTERM)
        reply = wire.reply()
        assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert wire.is_closed()
    assert manus.process.wait(20 * SLOW) == 0
    manus.start()
    assert manus.post(f"{API}/auth/login", {"email": "last@example.com", "password": "password123"}).status_code == 200


def test_a_request_that_has_begun_to_come_is_still_read(start):
    manus = start()
    with Wire(manus) as wire:
        wire.send(HEALTH[:20])
        time.sleep(0.1)
        manus.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        wire.send(HEALTH[20:])
        reply = wire.reply()
        assert (reply.status, reply.headers["Connection"]) == (200, "close")
    assert manus.process.wait(10 * SLOW) == 0


def test_after_the_time_out_what_is_left_is_cut(start):
    manus = start(SHUTDOWN_TIMEOUT_SECONDS=1)
    with Wire(manus, 20) as wire:
        wire.send(HEALTH[:20])
        time.sleep(0.3 * SLOW)  # it has been read
        began = time.monotonic()
        manus.process.send_signal(signal.SIGTERM)
        assert wire.is_closed()
        assert manus.process.wait(10 * SLOW) == 0
        assert 0.9 < time.monotonic() - began < 3 * SLOW


def test_sigterm_and_sigint_may_come_often_without_cutting_what_is_under_way(start):
    manus = start(**LONG)
    with Wire(manus, 60 * SLOW) as wire:
        wire.send(sign_up(b"whole@example.com"))
        time.sleep(0.2)
        for _ in range(10):
            for number in (signal.SIGTERM, signal.SIGINT):
                manus.process.send_signal(number)
                time.sleep(0.01)
        assert wire.reply().status == 200
    assert manus.process.wait(10 * SLOW) == 0


def test_a_stop_costs_nobody_on_a_kept_connection_a_request(tmp_path):
    manus = Manus(tmp_path)
    del manus.settings["SHUTDOWN_GRACE_SECONDS"]  # the default is what is tried
    manus.start()

    def client(_):
        served, connection = 0, http.client.HTTPConnection("127.0.0.1", manus.port, timeout=20 * SLOW)
        while True:
            connection.request("GET", f"{API}/health")
            reply = connection.getresponse()
            assert reply.status == 200 and reply.read()
            served += 1
            if reply.getheader("Connection") == "close":
                return served

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(client, i) for i in range(16)]
        time.sleep(0.5)
        manus.process.send_signal(signal.SIGTERM)
        assert min(one.result(60 * SLOW) for one in clients) > 0
    assert manus.process.wait(30 * SLOW) == 0


def sign_ups():
    return b"".join(sign_up(b"%s@example.com" % secrets.token_hex(8).encode()) for _ in range(4))


# With warnings alone nothing that the main thread writes puts it in step with the others.
@pytest.mark.parametrize("settings, requests", [({}, lambda: HEALTH * 20), ({"LOG_LEVEL": "WARNING", "PASSWORD_COMMON": "warn"}, sign_ups)],
                         ids=["every line", "warnings"])
@pytest.mark.parametrize("number, expected", [(signal.SIGTERM, 0), (signal.SIGQUIT, 128 + signal.SIGQUIT)])
def test_a_stop_under_load_is_a_stop_like_any_other(start, number, expected, settings, requests):
    """Six clients fill the log to the last moment; under ThreadSanitizer whoever touches what another one has shows."""
    def client(manus):
        served = 0
        while True:
            try:
                with Wire(manus) as wire:
                    while True:
                        several = requests()
                        wire.send(several)
                        for _ in range(several.count(b"HTTP/1.1")):
                            served += wire.reply().status == 200
            except (OSError, EOFError):
                if manus.process.poll() is not None:
                    return served
                time.sleep(0.01)

    for _ in range(4):
        manus = start(SHUTDOWN_TIMEOUT_SECONDS=1, **settings)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            clients = [pool.submit(client, manus) for _ in range(6)]
            time.sleep(0.3 * SLOW)
            manus.process.send_signal(number)
            status = manus.process.wait(20 * SLOW)
            assert min(one.result(60 * SLOW) for one in clients) > 0
        assert status == expected, manus.errors()[-8000:]
        check_no_reports(manus)
        lines = manus.log_path.read_text().splitlines()
        assert all(line.startswith("{") and line.endswith("}") for line in lines) and len(lines) > 5
        assert settings or any('"stopp' in line for line in lines[-1000:])


def test_an_idle_connection_is_kept_as_long_as_the_setting_says(start):
    manus = start(KEEP_ALIVE_SECONDS=2)
    with Wire(manus, 30 * SLOW) as wire:
        wire.send(HEALTH)
        assert wire.reply().status == 200
        began = time.monotonic()
        assert wire.is_closed()
        assert 1.5 < time.monotonic() - began < 2 + 3 * SLOW


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGQUIT), (signal.SIGQUIT,)])
def test_who_insists_ends_it_at_once(start, numbers):
    manus = start(**{**LONG, "PASSWORD_ARGON2_PASSES": 64, "PASSWORD_ARGON2_MEMORY_KIB": 262144})
    with Wire(manus, 60) as wire:
        wire.send(sign_up(b"cut@example.com"))
        time.sleep(0.2)
        for number in numbers[:-1]:
            manus.process.send_signal(number)
            time.sleep(1.2)
        began = time.monotonic()
        manus.process.send_signal(numbers[-1])
        assert manus.process.wait(10 * SLOW) != 0
        assert time.monotonic() - began < 1 * SLOW


def test_in_the_grace_it_is_not_ready_and_still_answers(start):
    manus = start(SHUTDOWN_GRACE_SECONDS=1)
    assert manus.get(f"{API}/ready").status_code == 200
    manus.process.send_signal(signal.SIGTERM)
    manus.wait_for_log(lambda line: line["msg"] == "stopping")
    reply = manus.get(f"{API}/ready")
    assert (reply.status_code, reply.json()["status"], reply.headers["Connection"]) == (503, "not_ready", "close")
    assert manus.get(f"{API}/live").status_code == 200
    assert manus.process.wait(10 * SLOW) == 0


def test_requests_that_wait_in_the_listening_queue_are_answered_before_it_ends(start):
    manus = start()
    manus.process.send_signal(signal.SIGSTOP)
    wires = [Wire(manus) for _ in range(40)]
    for wire in wires:
        wire.send(HEALTH)
    manus.process.send_signal(signal.SIGTERM)
    manus.process.send_signal(signal.SIGCONT)
    for wire in wires:
        assert wire.reply().status == 200
        wire.socket.close()
    assert manus.process.wait(10 * SLOW) == 0


def test_settings_that_may_change_are_read_again_and_the_rest_is_named(start):
    manus = Manus(start().folder)
    manus.folder = manus.folder / "own"
    manus.folder.mkdir()
    manus.log_path = manus.folder / "log"
    env = manus.folder / ".env"
    env.write_text("LOG_LEVEL=INFO\nCORS_ORIGINS=http://one.example\nSERVICE_NAME=one\n")
    manus.settings["DATA_DIR"] = manus.folder / "data"
    manus.start()
    origin = {"Origin": "http://two.example"}
    assert "Access-Control-Allow-Origin" not in manus.get(f"{API}/health", headers=origin).headers
    env.write_text("LOG_LEVEL=INFO\nCORS_ORIGINS=http://two.example\nSERVICE_NAME=two\n")
    manus.process.send_signal(signal.SIGHUP)
    assert "SERVICE_NAME" in manus.wait_for_log(lambda line: "next start" in line.get("detail", ""))["detail"]
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    reply = manus.get(f"{API}/health", headers=origin)
    assert reply.headers["Access-Control-Allow-Origin"] == "http://two.example"
    assert reply.json()["service"] == "one"
    env.write_text("LOG_LEVEL=LOUD\nCORS_ORIGINS=http://three.example\n")
    manus.process.send_signal(signal.SIGHUP)
    assert "LOG_LEVEL" in manus.wait_for_log(lambda line: line["msg"] == "a setting is wrong")["detail"]
    manus.wait_for_log(lambda line: line["msg"] == "the settings are unchanged")
    assert manus.get(f"{API}/health", headers=origin).headers["Access-Control-Allow-Origin"] == "http://two.example"
    assert manus.stop() == 0


def test_a_key_in_a_file_is_rolled_by_a_signal(start, tmp_path):
    from tokens import KEY

    key, previous = tmp_path / "key", tmp_path / "previous"
    key.write_text(KEY + "\n")
    previous.write_text(UNUSED)
    manus = start(JWT_SECRET_KEY=None, JWT_SECRET_KEY_FILE=key, JWT_SECRET_KEY_PREVIOUS_FILE=previous)
    old = manus.register()
    key.write_text("nE3xTk7Ey5Wq9Lz1Pc4Vb8Mh2Jf6Ds0GaUoIrXtY")
    previous.write_text(KEY)
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    assert manus.me(old["access_token"]).status_code == 200
    new = manus.register()
    previous.write_text(UNUSED)
    manus.process.send_signal(signal.SIGHUP)
    time.sleep(0.5 * SLOW)
    assert manus.me(old["access_token"]).status_code == 401
    assert manus.me(new["access_token"]).status_code == 200


class Notified:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(10 * SLOW)

    def wait_for(self, text):
        while text not in (said := self.socket.recv(4096).decode()):
            pass
        return said


def test_a_service_manager_hears_of_start_life_reload_and_stop(tmp_path):
    heard = Notified(tmp_path)
    manus = Manus(tmp_path, NOTIFY_SOCKET=heard.path, WATCHDOG_USEC=600000)
    manus.start()
    heard.wait_for("READY=1")
    for _ in range(3):
        heard.wait_for("WATCHDOG=1")
    manus.process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in heard.wait_for("RELOADING=1")
    heard.wait_for("READY=1")
    manus.process.send_signal(signal.SIGTERM)
    heard.wait_for("STOPPING=1")
    assert manus.process.wait(10 * SLOW) == 0


def test_it_serves_on_a_socket_that_a_service_manager_opened(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        manus = Manus(tmp_path)
        manus.port = listener.getsockname()[1]
        manus.base = f"http://127.0.0.1:{manus.port}"

        def hand_over():
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ.update(LISTEN_FDS="1")

        manus.settings["LISTEN_FDS"] = "1"
        # LISTEN_PID is the program's own, which only a shell between can know.
        manus.start(prefix=("sh", "-c", 'export LISTEN_PID=$$; exec "$0" "$@"'), preexec_fn=hand_over, close_fds=False)
        assert manus.get(f"{API}/health").status_code == 200
        assert manus.stop() == 0
        # The socket is the manager's: who comes now waits for the next start.
        with Wire(manus) as wire:
            wire.send(HEALTH)
            manus.start(prefix=("sh", "-c", 'export LISTEN_PID=$$; exec "$0" "$@"'), preexec_fn=hand_over, close_fds=False)
            assert wire.reply().status == 200
        assert manus.stop() == 0


def test_a_unix_socket_of_a_service_manager_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        done = subprocess.run(["sh", "-c", 'export LISTEN_PID=$$; exec "$0" serve', BINARY], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                              env={**os.environ, **{name: str(value) for name, value in DEFAULTS.items()}, "LISTEN_FDS": "1"}, preexec_fn=lambda: os.dup2(listener.fileno(), 3), close_fds=False)
    assert done.returncode == 69 and "an address and a port" in done.stderr, done.stderr
