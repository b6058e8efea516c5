"""Whoever is logged in and means harm: odd values, others' ids, what nobody asked for, many clicks at once."""
import concurrent.futures
import json

import pytest

from manus import API
from test_meanings import plan_of

ODD = [5, 1e400, None, True, [], ["pro"], {}, {"name": "pro"}, "", " pro", "PRO ", "pro\x00", "pro' --", "../pro", "enterprise", "free", "p" * 100000]


def test_plans_of_odd_types_are_refused(world):
    user, _ = world.subscriber()
    asked = len(world.stripe.asked("POST .*"))
    for path in ("create-checkout-session", "change-plan", "change-plan/preview"):
        for plan in ODD:
            reply = world.manus.request("POST", f"{API}/billing/{path}", data=json.dumps({"plan": plan}).encode(),
                                        headers={"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"})
            assert reply.status_code in (400, 409, 413, 422), (path, plan, reply.status_code, reply.text)
    assert len(world.stripe.asked("POST .*")) == asked


@pytest.mark.parametrize("date", ["1700000000", -1, 0, 1.5, 10**30, "x", True, [], 2**63, 2**64 + 5])
def test_dates_of_odd_types_are_refused(world, date):
    user, _ = world.subscriber()
    assert world.post(user, "change-plan", {"plan": "pro", "proration_date": date}).status_code in (400, 422)


def test_what_a_body_says_beside_the_plan_counts_for_nothing(world):
    user, other = world.user(), world.subscriber()[1]
    more = {"customer": other.customer, "price": world.pro, "price_id": world.pro, "amount": 1, "coupon": "FREE", "discounts": [{"coupon": "FREE"}],
            "allow_promotion_codes": True, "trial_period_days": 365, "trial_days": 365, "quantity": "0", "currency": "jpy", "user_id": "x",
            "metadata": {"user_id": "x"}, "success_url": None, "line_items": []}
    reply = world.post(user, "create-checkout-session", {"plan": "basic", **more})
    assert reply.status_code in (200, 422), reply.text
    if reply.status_code == 200:
        form = world.stripe.asked("POST /v1/checkout/sessions")[-1]["params"]
        assert "FREE" not in str(form) and other.customer not in str(form) and "trial" not in str(form) and "promotion" not in str(form)
    reply = world.post(user, "create-portal-session", {"customer": other.customer, "customer_id": other.customer})
    assert reply.status_code in (400, 422) or other.customer not in str(world.stripe.asked("POST /v1/billing_portal/sessions"))


@pytest.mark.parametrize("name", ["cs_" + "a" * 4000, "cs_../../customers", "cs_1%2f..%2f", "cs_1?expand[]=x", "sub_1", "%00", "cs_" + "0" * 252])
def test_ids_of_sessions_lead_nowhere_else(world, name):
    user = world.user()
    assert world.post(user, f"checkout-sessions/{name}/fulfil").status_code in (400, 404, 414, 422)
    assert not [one for one in world.stripe.asked() if "customers" in str(one) or "expand" in str(one)]


def test_twenty_changes_at_once_are_paid_once(world):
    user, person = world.subscriber()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: world.post(user, "change-plan", {"plan": "pro"}), range(20)))
    assert {reply.status_code for reply in replies} <= {200, 400, 409, 429}, [reply.status_code for reply in replies]
    assert [one["amount_paid"] for one in world.stripe.every("invoice", customer=person.customer)][1:] == [1900]
    assert plan_of(world, user) == ("pro", "active", 5000)
