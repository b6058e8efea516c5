"""What users of a plan may ask, where the plans table gives them limits of their own."""
import json
import time

import pytest

from manus import API, KEY, run

PLANS = {"plans": [
    {"name": "free", "runs": 10, "limits": {"billing_subscription": "2/hour"}},
    {"name": "pro", "runs": 100, "limits": {"default": "5/hour", "auth_me": "unlimited"}},
    {"name": "enterprise", "runs": -1}]}
ME, SESSIONS, SUBSCRIPTION = f"{API}/auth/me", f"{API}/auth/sessions", f"{API}/billing/subscription"


def settings(folder, plans):
    path = folder / "plans.json"
    path.write_text(json.dumps(plans))
    return {"PLANS_FILE": str(path), "RATE_LIMIT_ENABLED": "true", "TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_AUTH_REGISTER": "unlimited"}


@pytest.fixture
def manus(start, tmp_path):
    return start(**settings(tmp_path, PLANS), RATE_LIMIT_DEFAULT="3/hour")


def give(manus, account, plan):
    boss = manus.register()
    done = run("admin", "promote", boss["email"], cwd=manus.folder, **manus.settings)
    assert done.returncode == 0, done.stderr
    token = manus.post(f"{API}/auth/login", {"email": boss["email"], "password": boss["password"]}).json()["data"]["access_token"]
    reply = manus.post(f"{API}/billing/admin/subscriptions/{account['user']['id']}/plan", {"plan": plan}, token)
    assert reply.status_code == 200, reply.text


def limit_of(manus, account, path):
    return manus.get(path, account["access_token"]).headers.get("X-RateLimit-Limit")


def statuses(manus, account, path, count):
    return [manus.get(path, account["access_token"]).status_code for _ in range(count)]


def test_each_plan_has_its_limits_for_its_users_alone(manus):
    free, pro, enterprise = (manus.register() for _ in range(3))
    give(manus, pro, "pro")
    give(manus, enterprise, "enterprise")
    assert [limit_of(manus, one, SUBSCRIPTION) for one in (free, pro, enterprise)] == ["2", "30", "30"]
    assert [limit_of(manus, one, SESSIONS) for one in (free, pro, enterprise)] == ["3", "5", "3"]
    assert limit_of(manus, pro, ME) is None, "unlimited"
    assert statuses(manus, free, SESSIONS, 3) == [200, 200, 429]
    assert statuses(manus, pro, SESSIONS, 5) == [200] * 4 + [429]
    assert statuses(manus, pro, ME, 9) == [200] * 9
    assert [manus.get(ME, headers={"X-Forwarded-For": "192.0.2.1"}).headers["X-RateLimit-Limit"]] == ["3"], "nobody has a plan"


def test_a_plan_that_changes_counts_within_a_second_and_forgets_nothing(manus):
    account = manus.register()
    assert statuses(manus, account, SESSIONS, 4) == [200] * 3 + [429]
    give(manus, account, "pro")
    time.sleep(1.1)
    assert statuses(manus, account, SESSIONS, 3) == [200] * 2 + [429]
    key = f"auth_sessions:user:{account['user']['id']}"
    assert "5 per hour: 0 left" in run("limits", "show", key, cwd=manus.folder, **manus.settings).stdout


def test_they_hold_together_over_instances(start, tmp_path):
    from redis_server import Redis
    redis = Redis(tmp_path / "redis").start()
    try:
        manus = start(**settings(tmp_path, PLANS), **redis.settings())
        account = manus.register()
        give(manus, account, "pro")
        time.sleep(1.1)
        assert statuses(manus, account, SESSIONS, 6) == [200] * 5 + [429]
    finally:
        redis.stop()


@pytest.mark.parametrize("limits, told", [
    ({"auth_me": "5/fortnight"}, "limits: auth_me: "), ({"nowhere": "5/hour"}, "limits: nowhere: no route of this name counts by user"),
    ({"auth_login": "5/hour"}, "limits: auth_login: no route of this name counts by user"), ({"default": 5}, "limits: default must be a text"),
    (["5/hour"], "limits must be an object"), ({"default": ""}, "limits: default: ")])
def test_what_is_wrong_in_the_table_stops_the_start(tmp_path, limits, told):
    plans = {"plans": [{"name": "free", "runs": 10, "limits": limits}]}
    done = run("serve", cwd=tmp_path, **settings(tmp_path, plans), JWT_SECRET_KEY=KEY, PORT="1")
    assert done.returncode == 78 and done.stderr.startswith("manus: PLANS_FILE: ") and told in done.stderr
