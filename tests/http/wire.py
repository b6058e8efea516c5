"""HTTP by hand: bytes out, replies in."""
import socket
import time

HEALTH = b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n"


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Wire:
    """One connection, read reply by reply."""

    def __init__(self, manus, timeout=10):
        self.socket = manus.connect(timeout)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def trickle(self, data, pause=0.0):
        for byte in data:
            self.socket.sendall(bytes([byte]))
            time.sleep(pause)

    def more(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise EOFError(self.data)
        self.data += chunk

    def reply(self, head_only=False):
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, value = line.split(": ", 1)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = int(first.split(" ", 2)[1])
        assert first.startswith("HTTP/1.1 ") and first.split(" ", 2)[2], first
        length = 0 if head_only or status in (100, 204, 304) else int(headers["Content-Length"])
        while len(self.data) < length:
            self.more()
        body, self.data = self.data[:length], self.data[length:]
        return Reply(status, headers, body)

    def is_closed(self):
        """Whether the server ends the connection, with nothing more on it."""
        try:
            while True:
                self.more()
        except EOFError as rest:
            return rest.args[0] == b""
        except ConnectionResetError:
            return True
        except (socket.timeout, TimeoutError):
            return False


def request(path="/api/v1/health", *lines, method="GET", body=b"", version="HTTP/1.1", host="Host: a"):
    head = [f"{method} {path} {version}", *([host] if host else []), *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
