"""stripe-mock: it knows the shape of every request and reply of Stripe's API, and keeps nothing."""
import contextlib
import subprocess
import time

import requests

from manus import ROOT, SLOW, free_port

BINARY = ROOT / "build-tools" / "bin" / "stripe-mock"
KEY = "sk_test_mock"


class StripeMock:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.http = requests.Session()
        self.http.trust_env = False

    def __enter__(self):
        assert BINARY.exists(), f"{BINARY} is missing: run scripts/deps test"
        with open(self.folder / "stripe-mock.log", "ab") as log:
            self.process = subprocess.Popen([BINARY, "-http-addr", f"127.0.0.1:{self.port}", "-strict-version-check"], stdout=log, stderr=log)
        deadline = time.monotonic() + 20 * SLOW
        while True:
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "stripe-mock.log").read_text()
            with contextlib.suppress(requests.ConnectionError):
                self.http.get(self.base, timeout=5)
                return self
            time.sleep(0.02)

    def __exit__(self, *_):
        self.http.close()
        self.process.terminate()
        self.process.wait(20)

    def send(self, method, path, query="", body="", headers=None):
        """The same request as another Stripe got."""
        kept = {name: value for name, value in (headers or {}).items() if name in ("Content-Type", "Stripe-Version", "Idempotency-Key")}
        return self.http.request(method, f"{self.base}{path}?{query}", data=body or None, headers={**kept, "Authorization": f"Bearer {KEY}"}, timeout=20)
