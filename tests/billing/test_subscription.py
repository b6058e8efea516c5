"""What people see of their plan; the trial; what administrators give."""
import datetime
import json
import re
import threading

import pytest
import requests

from letters import rows
from manus import API, KEY, run

def token_of(person):
    return person["access_token"]


def subscription(manus, person):
    reply = manus.get(f"{API}/billing/subscription", token_of(person))
    assert reply.status_code == 200, reply.text
    return reply.json()


def admin(manus):
    person = manus.register()
    rows(manus, "UPDATE users SET role = 'admin' WHERE user_id = ?", person["user"]["id"])
    return manus.post(f"{API}/auth/login", {"email": person["email"], "password": person["password"]}).json()["data"]


def at_once(count, act):
    """What each of them got, begun together."""
    barrier, results = threading.Barrier(count), [None] * count

    def one(i):
        barrier.wait()
        results[i] = act(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_first_question_makes_a_free_subscription(manus):
    person = manus.register()
    found = subscription(manus, person)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", found["id"])
    assert found["user_id"] == person["user"]["id"]
    expected = {"plan": "free", "status": "active", "monthly_agent_runs": 0, "monthly_agent_runs_limit": 10, "current_period_end": None,
                "cancel_at_period_end": False, "is_trial": False, "trial_end": None, "stripe_customer_id": None}
    assert {name: found[name] for name in expected} == expected
    assert "code" not in found
    assert subscription(manus, person) == found


def test_a_hundred_first_questions_make_one_row(manus):
    person = manus.register()
    replies = at_once(100, lambda _: manus_get(manus, person))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert rows(manus, "SELECT count(*) FROM subscriptions WHERE user_id = ?", person["user"]["id"]) == [(1,)]


def manus_get(manus, person):
    return requests.get(f"{manus.base}{API}/billing/subscription", headers={"Authorization": f"Bearer {token_of(person)}"}, timeout=30)


def test_nobody_sees_a_subscription_without_a_token(manus):
    for method, path in (("GET", "subscription"), ("POST", "activate-trial")):
        reply = manus.request(method, f"{API}/billing/{path}")
        assert reply.status_code == 401
        assert reply.json() == {"code": 401, "msg": "Authentication required", "data": None}


def test_a_trial_is_begun_once_and_lasts_its_days(manus):
    person = manus.register()
    reply = manus.post(f"{API}/billing/activate-trial", token=token_of(person))
    assert reply.status_code == 200
    body = reply.json()
    assert body["message"] == "Trial activated successfully" and body["runs_limit"] == 50
    left = datetime.datetime.fromisoformat(body["trial_end"]) - datetime.datetime.now(datetime.timezone.utc)
    assert abs(left - datetime.timedelta(days=14)) < datetime.timedelta(minutes=1)
    found = subscription(manus, person)
    assert (found["plan"], found["status"], found["is_trial"], found["monthly_agent_runs_limit"]) == ("free", "trialing", True, 50)
    assert found["trial_end"] == body["trial_end"]
    reply = manus.post(f"{API}/billing/activate-trial", token=token_of(person))
    assert (reply.status_code, reply.json()["msg"]) == (400, "Trial already activated")


def test_of_a_hundred_trials_at_once_one_begins(manus):
    person = manus.register()
    replies = at_once(100, lambda _: requests.post(f"{manus.base}{API}/billing/activate-trial",
                                                   headers={"Authorization": f"Bearer {token_of(person)}"}, timeout=30))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 99
    assert {reply.json()["msg"] for reply in replies if reply.status_code == 400} == {"Trial already activated"}


def test_a_trial_that_is_over_is_over_by_itself(manus):
    person = manus.register()
    manus.post(f"{API}/billing/activate-trial", token=token_of(person))
    rows(manus, "UPDATE subscriptions SET trial_end = 1000 WHERE user_id = ?", person["user"]["id"])
    found = subscription(manus, person)
    assert (found["is_trial"], found["status"], found["monthly_agent_runs_limit"]) == (False, "canceled", 10)
    assert found["trial_end"] == "1970-01-01T00:00:01.000Z"


def test_who_pays_begins_no_trial(manus):
    person = manus.register()
    subscription(manus, person)
    rows(manus, "UPDATE subscriptions SET plan = 'basic' WHERE user_id = ?", person["user"]["id"])
    reply = manus.post(f"{API}/billing/activate-trial", token=token_of(person))
    assert (reply.status_code, reply.json()["msg"]) == (400, "Cannot activate trial for paid subscription")


def test_the_plans_are_public(manus):
    body = manus.get(f"{API}/billing/plans").json()
    assert [(plan["name"], plan["runs"], plan["amount"]) for plan in body["plans"]] == \
        [("free", 10, 0), ("basic", 1000, 1900), ("pro", 5000, 4900), ("enterprise", -1, None)]
    assert body["trial"] == {"days": 14, "runs": 50}
    assert not any(plan["can_be_bought"] for plan in body["plans"])


def test_another_product_has_its_own_plans(start, tmp_path):
    (tmp_path / "plans.json").write_text(json.dumps({"plans": [{"name": "free", "runs": 2}, {"name": "team", "runs": 7, "amount": 500, "currency": "eur",
                                                                                           "stripe_prices": ["price_team"], "features": ["support"]}]}))
    manus = start(PLANS_FILE=tmp_path / "plans.json")
    body = manus.get(f"{API}/billing/plans").json()
    assert body["trial"] is None
    assert body["plans"][1] == {"name": "team", "runs": 7, "amount": 500, "interval": "month", "currency": "eur", "can_be_bought": True, "features": ["support"]}
    person = manus.register()
    assert subscription(manus, person)["monthly_agent_runs_limit"] == 2
    reply = manus.post(f"{API}/billing/activate-trial", token=token_of(person))
    assert (reply.status_code, reply.json()["msg"]) == (400, "Trial is not available")


def test_wrong_plans_stop_the_start_with_every_problem(tmp_path):
    (tmp_path / "plans.json").write_text('{"plans":[{"name":"a","runs":-2},{"name":"A"}]}')
    done = run("serve", cwd=tmp_path, JWT_SECRET_KEY=KEY, PLANS_FILE=tmp_path / "plans.json")
    assert done.returncode == 78
    lines = [line for line in done.stderr.splitlines() if "PLANS_FILE" in line]
    assert len(lines) == 3
    assert run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, PLANS_FILE=tmp_path / "none.json").returncode == 78


@pytest.mark.parametrize("value", ["whsec_new,", ",whsec_old", "whsec_a,,whsec_b", "a,b,c,d"])
def test_blank_or_too_many_webhook_secrets_stop_the_start(tmp_path, value):
    done = run("serve", cwd=tmp_path, JWT_SECRET_KEY=KEY, STRIPE_WEBHOOK_SECRET=value)
    assert done.returncode == 78
    assert "STRIPE_WEBHOOK_SECRET" in done.stderr and value not in done.stderr


def test_an_administrator_gives_a_plan_and_takes_it_away(manus):
    boss, person = admin(manus), manus.register()
    path = f"{API}/billing/admin/subscriptions/{person['user']['id']}/plan"
    given = manus.post(path, {"plan": "ENTERPRISE"}, boss["access_token"])
    assert given.status_code == 200, given.text
    assert (given.json()["data"]["plan"], given.json()["data"]["monthly_agent_runs_limit"]) == ("enterprise", -1)
    assert subscription(manus, person)["plan"] == "enterprise"
    given = manus.post(path, {"plan": "pro", "runs": 70, "days": 30}, boss["access_token"]).json()["data"]
    assert given["monthly_agent_runs_limit"] == 70 and given["given_until"] is not None
    trail = manus.get(f"{API}/auth/audit?user_id={person['user']['id']}", boss["access_token"]).json()["data"]["audit"]
    assert [(line["action"], line["detail"]) for line in trail] == [("billing.give", "pro, 70 runs, 30 days"), ("billing.give", "enterprise")]
    reply = manus.post(path, {}, boss["access_token"])
    assert (reply.status_code, reply.json()["msg"]) == (422, "plan: Field required")
    assert manus.post(path, {"days": 3}, boss["access_token"]).status_code == 422
    assert subscription(manus, person)["plan"] == "pro"
    assert manus.post(path, {"plan": None}, boss["access_token"]).status_code == 200
    assert subscription(manus, person)["plan"] == "free"


def test_a_gift_of_nonsense_is_refused(manus):
    boss, person = admin(manus), manus.register()
    path = f"{API}/billing/admin/subscriptions/{person['user']['id']}/plan"
    reply = manus.post(path, {"plan": "hobby"}, boss["access_token"])
    assert (reply.status_code, reply.json()["msg"]) == (400, "Invalid plan: hobby")
    assert manus.post(path, {"plan": "pro", "runs": "many"}, boss["access_token"]).status_code == 422
    assert manus.post(path, {"plan": "pro", "days": 0}, boss["access_token"]).status_code == 422
    assert manus.post(f"{API}/billing/admin/subscriptions/nobody/plan", {"plan": "pro"}, boss["access_token"]).status_code == 404
    assert manus.post(path, {"plan": "pro"}, token_of(person)).status_code == 403


def test_administrators_list_everybodys_subscription(manus):
    boss = admin(manus)
    people = [manus.register() for _ in range(3)]
    for person in people:
        subscription(manus, person)
    page = manus.get(f"{API}/billing/admin/subscriptions?limit=2", boss["access_token"]).json()["data"]
    assert [row["user_id"] for row in page["subscriptions"]] == [person["user"]["id"] for person in reversed(people)][:2]
    rest = manus.get(f"{API}/billing/admin/subscriptions?limit=2&cursor={page['next']}", boss["access_token"]).json()["data"]
    assert rest["subscriptions"][0]["user_id"] == people[0]["user"]["id"]
    assert manus.get(f"{API}/billing/admin/subscriptions?status=unpaid", boss["access_token"]).json()["data"]["subscriptions"] == []
    assert manus.get(f"{API}/billing/admin/subscriptions", token_of(people[0])).status_code == 403
