"""mailpit: a real mail server, which shows what it was sent."""
import contextlib
import email
import email.policy
import subprocess
import time

import requests

from manus import ROOT, SLOW, free_port

BINARY = ROOT / "build-tools" / "bin" / "mailpit"


class Mailpit:
    """On a port of its own, with a store that outlives it. Options are those of its command line."""

    def __init__(self, folder, *options):
        self.folder, self.options = folder, options
        self.port, self.web = free_port(), free_port()
        self.process = None
        self.http = requests.Session()
        self.http.trust_env = False

    def start(self):
        assert BINARY.exists(), f"{BINARY} is missing: run scripts/deps test"
        with open(self.folder / "mailpit.log", "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "--smtp", f"127.0.0.1:{self.port}", "--listen", f"127.0.0.1:{self.web}", "--database", self.folder / "mailpit.db",
                 "--max", "5000", "--smtp-disable-rdns", "--disable-version-check", *self.options], stdout=log, stderr=log)
        deadline = time.monotonic() + 20 * SLOW
        while True:
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "mailpit.log").read_text()
            with contextlib.suppress(requests.ConnectionError):
                if self.get("/readyz").ok:
                    return self
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def get(self, path, **options):
        return self.http.get(f"http://127.0.0.1:{self.web}{path}", timeout=20, **options)

    def refuse(self, code, stage="Recipient"):
        """Every mail by this code; 0: none any more."""
        trigger = {"ErrorCode": code or 451, "Probability": 100 if code else 0}
        reply = self.http.put(f"http://127.0.0.1:{self.web}/api/v1/chaos", json={stage: trigger}, timeout=20)
        assert reply.ok, reply.text

    def count(self):
        return self.get("/api/v1/messages?limit=1").json()["total"]

    def recipients_and_ids(self):
        """(address, Message-ID) of each that came."""
        every, start = [], 0
        while page := self.get("/api/v1/messages", params={"limit": 500, "start": start}).json()["messages"]:
            every += [(one["To"][0]["Address"], one["MessageID"]) for one in page]
            start += len(page)
        return every

    def letters(self):
        """The messages as they came, oldest first."""
        ids = [one["ID"] for one in self.get("/api/v1/messages").json()["messages"]]
        return [email.message_from_bytes(self.get(f"/api/v1/message/{one}/raw").content, policy=email.policy.default) for one in reversed(ids)]
