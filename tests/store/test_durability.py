"""What was acknowledged is there after kill -9, once."""
import concurrent.futures
import random
import sqlite3
import time

import requests

from manus import API, SLOW, Manus

KILLS, WRITES = 5, 2000


class Client:
    """Registers and refreshes as fast as it can, and remembers what it was told."""

    def __init__(self, manus, number):
        self.manus = Manus(manus.folder)
        self.manus.base = manus.base
        self.number = number
        self.registered = []  # address and first refresh token
        self.refreshed = []  # token presented and the successor that came back

    def register(self):
        email = f"c{self.number}n{len(self.registered)}r{random.getrandbits(48)}@example.com"
        reply = self.manus.post(f"{API}/auth/register", {"fullname": "Ann Lee", "email": email, "password": "password123"})
        if reply.status_code == 200:
            self.registered.append((email, reply.json()["data"]["refresh_token"]))

    def refresh(self):
        _, token = self.registered[-1]
        reply = self.manus.refresh(token)
        if reply.status_code == 200:
            self.refreshed.append((token, reply.json()["data"]["refresh_token"]))

    def work(self, until):
        while not until():
            try:
                self.register()
                self.refresh()
            except requests.RequestException:
                time.sleep(0.01)


def test_two_thousand_registrations_and_refreshes_survive_five_kills_and_none_is_there_twice(start):
    manus = start()
    clients = [Client(manus, i) for i in range(8)]
    count = lambda: sum(len(client.registered) + len(client.refreshed) for client in clients)
    done = False
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        working = [pool.submit(client.work, lambda: done) for client in clients]
        for kill in range(1, KILLS + 1):
            deadline = time.monotonic() + 120 * SLOW
            while count() < WRITES * kill / KILLS and time.monotonic() < deadline:
                time.sleep(0.01)
            manus.kill()
            manus.start()
        done = True
        for one in working:
            one.result()
    assert count() >= WRITES
    manus.kill()

    path = manus.settings["DATA_DIR"] / "manus.sqlite"
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = [email for email, in db.execute("SELECT email FROM users")]
    acknowledged = [email for client in clients for email, _ in client.registered]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert len(acknowledged) == len(set(acknowledged))

    manus.start()
    for client in clients:
        for email, _ in random.sample(client.registered, min(10, len(client.registered))):
            assert manus.post(f"{API}/auth/login", {"email": email, "password": "password123"}).status_code == 200
        # The successor was acknowledged: the same token still leads to the same one.
        for token, successor in client.refreshed:
            assert manus.refresh(token).json()["data"]["refresh_token"] == successor


def test_a_logout_survives_a_kill(start):
    manus = start()
    accounts = [manus.register() for _ in range(20)]
    for account in accounts:
        assert manus.post(f"{API}/auth/logout", token=account["access_token"]).status_code == 200
    manus.kill()
    manus.start()
    for account in accounts:
        assert manus.me(account["access_token"]).status_code == 401
        assert manus.refresh(account["refresh_token"]).status_code == 401


def test_the_store_of_an_older_version_is_brought_along(start):
    """Schema 1 had no language, no proof of the address, and no devices."""
    manus = start()
    account = manus.register()
    manus.stop()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        for trigger in ("mails_come", "mails_go"):
            db.execute(f"DROP TRIGGER {trigger}")
        for index in ("mails_recipient", "codes_email"):
            db.execute(f"DROP INDEX {index}")
        for table, column in (("users", "language"), ("users", "verified_at"), ("sessions", "device"), ("users", "spared_at"), ("mails", "expires_at")):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("DROP INDEX audit_others")
        for table in ("subscriptions", "usage_days", "checkouts", "events", "mail_counts", "audit_kept", "keys", "trials", "marks", "other_customers", "devices", "tallies", "leases"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version = 1")
    manus.start()
    assert manus.me(account["access_token"]).json()["data"] == account["user"]
    assert manus.get(f"{API}/auth/preferences", account["access_token"]).json()["data"] == {"email_verified": False, "language": None}
