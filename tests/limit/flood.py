"""Many requests at once, on raw sockets, so that the tester is not what is slow."""
import collections
import socket
import threading
import time

from manus import SLOW


def _request(path, ip):
    return f"GET {path} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {ip}\r\n\r\n".encode()


class _Wire:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30 * SLOW)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def reply(self):
        """The status of the next reply."""
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(self.data) < length:
            self._more()
        self.data = self.data[length:]
        return int(head[9:12])

    def _more(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.data += chunk


def flood(servers, path, count, ip="192.0.2.1", connections=16, batch=50):
    """`count` requests in all, spread over the servers, pipelined; how often each status came."""
    statuses = collections.Counter()
    lock = threading.Lock()
    each = count // connections

    def run(number):
        wire = _Wire(servers[number % len(servers)].port)
        mine = collections.Counter()
        left = each
        while left > 0:
            now = min(batch, left)
            wire.socket.sendall(_request(path, ip) * now)
            mine.update(wire.reply() for _ in range(now))
            left -= now
        wire.socket.close()
        with lock:
            statuses.update(mine)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(statuses.values()) == each * connections
    return statuses


class Load:
    """Requests one after the other on a few connections until it is stopped: statuses and the slowest answer. The
    addresses are `ips` in turn. `control` is a path that waits for nothing: how slow its answers are is the machine's."""

    def __init__(self, servers, path, ips=("192.0.2.1",), connections=4, pause=0.001, control=None):
        self.servers, self.path, self.ips, self.pause = servers, path, ips, pause
        self.control = Load(servers, control, connections=1) if control else None
        self.statuses = collections.Counter()
        self.admitted = collections.Counter()  # by address
        self.times = []
        self.errors = []
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(connections)]

    def __enter__(self):
        if self.control:
            self.control.__enter__()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        if self.control:
            self.control.__exit__()
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def _run(self, number):
        try:
            wire = _Wire(self.servers[number % len(self.servers)].port)
            at = number
            while not self.stopped.is_set():
                ip = self.ips[at % len(self.ips)]
                at += 1
                begun = time.monotonic()
                wire.socket.sendall(_request(self.path, ip))
                status = wire.reply()
                took = time.monotonic() - begun
                with self.lock:
                    self.statuses[status] += 1
                    self.admitted[ip] += status == 200
                    self.times.append(took)
                time.sleep(self.pause)
        except Exception as error:  # told by the test
            self.errors.append(error)

    def slowest(self):
        """In seconds, without what the machine made everything wait."""
        with self.lock:
            slowest = max(self.times)
        return slowest - self.control.slowest() if self.control else slowest

    def forget(self):
        """Begins to measure anew."""
        with self.lock:
            self.times.clear()
            self.statuses.clear()
