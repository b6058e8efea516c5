"""A real Redis for tests: started, stopped, paused, killed, spoken to."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
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


class Between:
    """Stands between a program and Redis: what Redis says may be held back, cut or added to."""

    def __init__(self, redis):
        self.redis = redis
        self.delay = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.clients = []
        threading.Thread(target=self._accept, daemon=True).start()

    def settings(self):
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": self.port}

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self.redis.port), 5)
                except OSError:
                    client.close()
                    continue
                there.settimeout(None)
                self.clients.append(client)
                threading.Thread(target=self._pass, args=(client, there, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(there, client, True), daemon=True).start()

    def _pass(self, source, target, answers):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if answers and self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def say(self, data):
        """To all that are connected, as if Redis said it."""
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.sendall(data)

    def cut(self):
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self.clients.clear()

    def close(self):
        self.listener.close()
        self.cut()
