"""The export of what is held about a person, however long their trail is."""
import json
import os
import subprocess
import time

from letters import rows
from manus import API, SLOW, Manus, small_disk

EXPORT = f"{API}/auth/me/export"


def lengthen(manus, account, count):
    """A trail of so many lines, some 300 bytes each in the export; each is told from the others."""
    rows(manus, """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
                   INSERT INTO audit(at, actor, action, subject, address, detail)
                   SELECT unixepoch() * 1000 - ?2 + i, 'user:' || ?1, 'user.change_fullname', ?1, '2001:db8::1', printf('%0120d', i) FROM n""", account["user"]["id"], count)


def memory_mib(manus, field):
    """RssAnon is what the process itself holds, and no file of it can be had back."""
    with open(f"/proc/{manus.process.pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field + ":"))


def fetch(manus, token):
    return manus.http.get(manus.base + EXPORT, headers={"Authorization": f"Bearer {token}"}, timeout=120 * SLOW)


def test_nothing_of_a_long_trail_is_cut_and_its_memory_comes_back(start):
    manus = start()
    account = manus.register()
    assert fetch(manus, account["access_token"]).status_code == 200
    before = memory_mib(manus, "VmRSS")
    lengthen(manus, account, 300_000)
    for _ in range(3):
        reply = fetch(manus, account["access_token"])
        assert reply.status_code == 200 and len(reply.content) > 64 << 20, reply.text[:200]
    assert SLOW > 1 or memory_mib(manus, "VmRSS") - before < 15  # sanitizers keep memory of their own
    trail = json.loads(reply.content)["data"]["audit"]
    assert [int(line["detail"]) for line in trail] == list(range(300_000, 0, -1))
    assert [path.name for path in manus.settings["DATA_DIR"].iterdir() if "spool" in path.name] == []


def test_readers_of_long_exports_who_sleep_cost_no_memory(start):
    manus = start()
    account = manus.register()
    lengthen(manus, account, 30_000)
    before = memory_mib(manus, "RssAnon")
    sleepers = []
    for _ in range(40):
        s = manus.connect(timeout=60)
        s.sendall(f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account['access_token']}\r\n\r\n".encode())
        head = s.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 "), head
        sleepers.append(s)
    assert SLOW > 1 or memory_mib(manus, "RssAnon") - before < 40
    assert manus.get(f"{API}/health").status_code == 200
    for s in sleepers:
        s.close()
    deadline = time.monotonic() + 10 * SLOW
    while SLOW == 1 and memory_mib(manus, "VmRSS") - before > 60:
        assert time.monotonic() < deadline, memory_mib(manus, "VmRSS")
        time.sleep(0.1)


def test_on_a_full_disk_a_long_export_is_503_and_a_short_one_is_there(tmp_path):
    with small_disk(tmp_path, "64m") as disk:  # less than an export leaves
        manus = Manus(tmp_path, DATA_DIR=disk / "data")
        try:
            manus.start()
            account = manus.register()
            lengthen(manus, account, 50)
            assert fetch(manus, account["access_token"]).status_code == 200
            lengthen(manus, account, 3000)
            reply = fetch(manus, account["access_token"])
            assert reply.status_code == 503 and reply.headers["Retry-After"] == "1"
            assert manus.wait_for_log(lambda line: "cannot be written to DATA_DIR: No space left" in line.get("detail", ""))
            subprocess.run(["mount", "-o", "remount,size=160m", disk], check=True)
            free = os.statvfs(disk).f_bavail
            for _ in range(3):
                assert len(json.loads(fetch(manus, account["access_token"]).content)["data"]["audit"]) == 3050
            time.sleep(0.5)
            assert os.statvfs(disk).f_bavail > free - 100  # the files are gone
        finally:
            manus.kill()


def test_an_export_may_be_asked_for_three_times_an_hour(start):
    manus = start(RATE_LIMIT_ENABLED="true")
    ann, bob = manus.register(), manus.register()
    assert [manus.get(EXPORT, ann["access_token"]).status_code for _ in range(4)] == [200, 200, 200, 429]
    reply = manus.get(EXPORT, ann["access_token"])
    assert reply.headers["X-RateLimit-Limit"] == "3" and 0 < int(reply.headers["Retry-After"]) <= 3600
    assert manus.get(EXPORT, bob["access_token"]).status_code == 200
