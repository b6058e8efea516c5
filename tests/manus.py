"""The running program, from outside: starts it, speaks to it, ends it, reads what it logs."""
import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import tempfile
import time

import openapi
import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("MANUS_BINARY", ROOT / "build" / "manus")).resolve()
KEY = "kq3Vd8Zr1nW5xT7bLmY0cHf2GsJ9pQeA4uRi6oXv"
API = "/api/v1"
PORTS = range(10000, 30000)
SLOW = float(os.environ.get("MANUS_SLOW", "1"))  # how much slower a sanitized program is
LONG = float(os.environ.get("MANUS_LONG", "1"))  # how much more of it a test tries that could go on for hours

# A cheap password hash, so that tests spend their time on what they test.
DEFAULTS = {
    "SHUTDOWN_GRACE_SECONDS": "0",  # each test would wait for it
    "JWT_SECRET_KEY": KEY,
    "PASSWORD_ARGON2_MEMORY_KIB": "8192",
    "PASSWORD_ARGON2_PASSES": "1",
    "LOG_FORMAT": "json",
    "RATE_LIMIT_ENABLED": "false",  # tests/limit sets it
}


def environment(settings):
    kept = {name: value for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "TMPDIR") or name.endswith("SAN_OPTIONS")}
    kept.update({name: str(value) for name, value in settings.items() if value is not None})
    return kept


def run(*arguments, cwd, timeout=15, input=None, **settings):
    """One command of the program; only the given settings are in its environment."""
    return subprocess.run([str(BINARY), *arguments], cwd=cwd, env=environment(settings), text=True,
                          capture_output=True, timeout=timeout * SLOW, input=input)


def free_port():
    """One that the kernel gives to nobody by itself, and that no other run of these tests beside this one has."""
    with open(pathlib.Path(tempfile.gettempdir()) / "manus-test-port", "a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        port = int(shared.read() or PORTS[0])
        while True:
            port = port + 1 if port + 1 in PORTS else PORTS[0]
            with contextlib.suppress(OSError), socket.socket() as s:
                s.bind(("127.0.0.1", port))
                break
        shared.truncate(0)
        shared.write(str(port))
        return port


def wait_until(is_so, seconds=10):
    deadline = time.monotonic() + seconds * SLOW
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Manus:
    """A server in a folder of its own. start() returns when it answers."""

    def __init__(self, folder, **settings):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.settings = {**DEFAULTS, "PORT": self.port, "DATA_DIR": self.folder / "data", **settings}
        self.base = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.log_path = self.folder / "log"
        self.http = requests.Session()
        self.http.trust_env = False

    def start(self, wait=True, prefix=(), **popen):
        with open(self.log_path, "ab") as log, open(self.folder / "errors", "ab") as errors:
            self.process = subprocess.Popen([*prefix, str(BINARY), "serve"], cwd=self.folder,
                                            env=environment(self.settings), stdout=log,
                                            stderr=errors, **popen)
        if wait:
            self.wait()
        self.started = time.monotonic()
        return self

    def wait(self, seconds=10):
        deadline = time.monotonic() + seconds * SLOW
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.errors()}"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.005)
        raise AssertionError("it does not listen")

    def stop(self, number=signal.SIGTERM, seconds=30):
        """Ends it as a service manager does; returns the exit status."""
        # ThreadSanitizer loses signals that come before the main thread waits in its loop.
        if "TSAN_OPTIONS" in os.environ:
            time.sleep(max(0, self.started + 0.5 - time.monotonic()))
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(seconds * SLOW)
        self.http.close()
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()

    def errors(self):
        return (self.folder / "errors").read_text()

    def log(self):
        """The lines so far, as objects."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def wait_for_log(self, found, seconds=5):
        """The first line that `found` is true of."""
        deadline = time.monotonic() + seconds * SLOW
        while time.monotonic() < deadline:
            for line in self.log():
                if found(line):
                    return line
            time.sleep(0.01)
        raise AssertionError("no such line in the log:\n" + self.log_path.read_text()[-4000:])

    # Speaking to it

    def request(self, method, path, **options):
        options.setdefault("timeout", 30 * SLOW)
        options.setdefault("allow_redirects", False)
        reply = self.http.request(method, self.base + path, **options)
        openapi.check(BINARY, method, path, reply)
        return reply

    def get(self, path, token=None, **options):
        return self.request("GET", path, headers=self.headers(token, options), **options)

    def post(self, path, body=None, token=None, **options):
        return self.request("POST", path, json=body, headers=self.headers(token, options), **options)

    @staticmethod
    def headers(token, options):
        headers = options.pop("headers", {})
        return {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}

    def connect(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout * SLOW)

    def raw(self, data, timeout=10):
        """Everything that comes back for these bytes until the server closes or falls silent."""
        with self.connect(timeout) as s:
            s.sendall(data)
            with contextlib.suppress(ConnectionError):
                s.shutdown(socket.SHUT_WR)
            return read_all(s)

    # Accounts

    def register(self, email=None, password="password123", fullname="Ann Lee"):
        """A new account: the reply's data, with the address and password beside it."""
        email = email or f"{secrets.token_hex(6)}@example.com"
        reply = self.post(f"{API}/auth/register",
                          {"fullname": fullname, "email": email, "password": password})
        assert reply.status_code == 200, reply.text
        return {**reply.json()["data"], "email": email, "password": password}

    def me(self, token):
        return self.get(f"{API}/auth/me", token)

    def refresh(self, token):
        return self.post(f"{API}/auth/refresh", {"refresh_token": token})


def read_all(s):
    data = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while chunk := s.recv(65536):
            data += chunk
    return data


@contextlib.contextmanager
def small_disk(folder, size="8m"):
    """A file system of its own."""
    if os.geteuid() != 0:
        raise AssertionError("needs root to mount a small file system")
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def leave(disk, free):
    """Takes all of a file system but so many bytes."""
    there = os.statvfs(disk)
    with open(disk / "ballast", "ab") as ballast:
        ballast.write(bytes(there.f_bavail * there.f_frsize - free))


def check_no_reports(manus):
    """Nothing of a sanitizer, and no crash, in what the program said."""
    said = manus.errors()
    for word in ("Sanitizer", "runtime error:", "Assertion", "Aborted"):
        assert word not in said, said[-8000:]
