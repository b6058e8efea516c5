"""A Redis that answers and yet cannot be used is told by /ready and by `manus check`, which do what the limiter does."""
import re
import time

import pytest

from manus import API, KEY, ROOT, SLOW, run
from redis_server import Redis


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path / "redis").start()
    yield server
    server.stop()


def as_a_replica(redis):
    redis.command("REPLICAOF", "127.0.0.1", "1")
    return "Is a replica, which cannot be written"


def without_memory(redis):
    redis.command("CONFIG", "SET", "maxmemory", "1")
    return "Out of memory (maxmemory)"


def without_the_right_to(*rights):
    def take(redis):
        assert redis.command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", *rights) == "OK"
        return "The user lacks a permission"
    return take


CASES = {
    "replica": as_a_replica,
    "full": without_memory,
    "no scripts": without_the_right_to("-@scripting"),
    "no whole scripts": without_the_right_to("-eval"),
    "no writing in scripts": without_the_right_to("-set"),
    "no beats": without_the_right_to("-zadd"),
    "other keys": without_the_right_to("resetkeys", "~other:*"),
}


@pytest.mark.parametrize("case", CASES)
def test_redis_that_answers_but_cannot_be_used_is_told(start, tmp_path, redis, case):
    settings = redis.settings()
    if case not in ("replica", "full"):
        redis.command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        settings.update(REDIS_USERNAME="app", REDIS_PASSWORD="secret")
    manus = start(**settings)
    assert manus.get(f"{API}/ready").json()["checks"]["redis"]["message"] == "Connected"
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, **settings)
    assert done.returncode == 0 and re.search(r"^redis      \S+: answers \(", done.stdout, re.M)
    redis.command("SCRIPT", "FLUSH")
    told = CASES[case](redis)
    deadline = time.monotonic() + 5 * SLOW
    while (reply := manus.get(f"{API}/ready")).json()["checks"]["redis"]["message"] != told:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.1)
    assert (reply.status_code, reply.json()["status"]) == (503, "not_ready")
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, **settings)
    assert done.returncode == 69 and re.search(rf"^redis      \S+: {re.escape(told)} \(", done.stdout, re.M) and "all is well" not in done.stdout


def test_the_rights_that_the_docs_list_are_enough(start, tmp_path, redis):
    (line,) = re.findall(r"^ACL SETUSER .*$", (ROOT / "docs" / "rate-limits.md").read_text(), re.M)
    assert redis.command(*line.replace("PASSWORD", "secret").split()) == "OK"
    settings = {**redis.settings(), "REDIS_USERNAME": "manus", "REDIS_PASSWORD": "secret"}
    manus = start(RATE_LIMIT_ENABLED="true", RATE_LIMIT_VERSION="2/hour", **settings)
    assert [manus.get(f"{API}/version").status_code for _ in range(3)] == [200, 200, 429]
    for command in (["ban", "203.0.113.0/24", "--for", "1h"], ["unban", "203.0.113.0/24"], ["reset", "version:ip:127.0.0.1"], ["show", "version:ip:127.0.0.1"]):
        assert run("limits", *command, cwd=tmp_path, JWT_SECRET_KEY=KEY, **settings).returncode == 0
    assert manus.get(f"{API}/version").status_code == 200
    assert run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, **settings).returncode == 0
    assert redis.command("ACL", "LOG").strip() in ("", "(empty array)")


def test_looking_leaves_no_heap_of_keys(start, redis):
    manus = start(**redis.settings())
    for _ in range(3):
        assert manus.get(f"{API}/ready").json()["checks"]["redis"]["status"] == "healthy"
        time.sleep(1.1)
    assert len(redis.command("KEYS", "*probe*").split()) <= 4
    assert int(redis.command("STRLEN", "manus:limit:probe:")) == 8
