"""A real Redis for tests: started, stopped, paused, killed, spoken to."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

from manus import SLOW, free_port


class Redis:
    def __init__(self, folder, *options, port=None, binary="redis-server", environment=None, **client):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.options = options
        self.binary = shutil.which(binary)
        assert self.binary, f"{binary} is missing: run scripts/deps test"
        self.environment = {**os.environ, **(environment or {})}
        self.client = client
        self.process = None

    def start(self):
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, *self.options, "--port", str(self.port), "--dir", str(self.folder), "--save", "", "--bind", "127.0.0.1"],
                stdout=log, stderr=log, env=self.environment)
        deadline = time.monotonic() + 10 * SLOW
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            time.sleep(0.01)
        raise AssertionError((self.folder / "redis.log").read_text())

    def settings(self):
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": self.port}

    def command(self, *words):
        """What redis-cli says."""
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, words)], capture_output=True, text=True, timeout=10 * SLOW)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def info(self, section, name):
        for line in self.command("info", section).splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
        return None

    def script_calls(self):
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in self.command("info", "commandstats").splitlines()
                   if line.startswith("cmdstat_evalsha:"))

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class Wire:
    """A connection that asks more quickly than redis-cli starts. Answers are one line."""

    def __init__(self, redis):
        self.socket = socket.create_connection(("127.0.0.1", redis.port), 10 * SLOW)
        self.lines = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.lines.close()
        self.socket.close()

    def ask(self, *words):
        self.socket.sendall(" ".join(map(str, words)).encode() + b"\r\n")
        line = self.lines.readline().decode().strip()
        assert line[:1] in ("+", ":"), line
        return line[1:]
