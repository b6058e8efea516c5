"""What stands behind nginx: an application that tells what it was sent, and a gate that says what a test wants."""
import collections
import http.server
import json
import re
import threading
import time
import urllib.parse


class Peer(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 1024

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]
        self.got = collections.deque(maxlen=10_000)  # (method, target, headers, body)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, timeout, disable_nagle_algorithm = "HTTP/1.1", 30, True

    def log_message(self, *_):
        pass

    def log_error(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.got.append((self.command, self.path, self.headers, body))
        self.answer(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = handle_any

    def say(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class ApplicationHandler(Handler):
    """/…stream: one line each 0.2 s. /…fails: a 500 of its own. /…socket: whatever it is to become, it becomes, and echoes a line. Else: what came, as JSON."""

    def answer(self, body):
        path = self.path.partition("?")[0]
        if path.endswith("stream"):
            self.stream()
        elif path.endswith("fails"):
            self.say(500, b'{"detail":"mine"}', {"Content-Type": "application/json", "X-Mine": "yes"})
        elif path.endswith("empty"):
            self.say(204, b"")
        elif path.endswith("socket") and "Upgrade" in self.headers:
            self.switch()
        else:
            came = {"method": self.command, "target": self.path, "headers": dict(self.headers), "length": len(body), "body": body[:200].decode("latin-1")}
            self.say(200, json.dumps(came).encode(), {"Content-Type": "application/json", "Cache-Control": "private, max-age=5"})

    def switch(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.end_headers()
        self.wfile.write(self.rfile.readline())
        self.close_connection = True

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(5):
            line = f"data: {i}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(0.2)
        self.wfile.write(b"0\r\n\r\n")


class GateHandler(Handler):
    """server.verdict: (status, headers, body) of every question."""

    def answer(self, body):
        self.say(*[self.server.verdict[i] for i in (0, 2, 1)])


PATH_HEADERS = ("X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri")
METHOD_HEADERS = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method", "X-Forwarded-Method")
RUNS = re.compile(r"PUT /api/v1/sessions/?|POST /api/v1/agent/execute/?", re.IGNORECASE)


def runs(application):
    """What it began runs for, as the least careful read it: in any letter case, like Express, decoded twice, and by what headers say."""
    for method, target, headers, _ in application.got:
        method = next((headers[name] for name in METHOD_HEADERS if headers[name]), method)
        target = next((headers[name] for name in PATH_HEADERS if headers[name]), target)
        path = urllib.parse.unquote(urllib.parse.unquote(target.partition("?")[0]))
        if RUNS.fullmatch(f"{method} {path}"):
            yield method, target


def application():
    return Peer(ApplicationHandler)


def gate():
    peer = Peer(GateHandler)
    peer.verdict = ALLOWED
    return peer


ALLOWED = (200, {"X-Manus-User": "u1", "X-Manus-Role": "user", "X-Manus-Plan": "pro", "X-Manus-Status": "active", "Cache-Control": "no-store"}, b"")
