"""Every request that manus makes is one that Stripe's own document allows, and every reply that Stripe's examples show is understood."""
import pytest

from stripe_courier import forged
from stripe_mock import KEY
from stripe_spec import NEW, OLD, fixtures
from world import World, unknown


def test_every_request_of_a_customers_life_is_accepted_by_stripe_mock(world, mock):
    user, person = world.subscriber()
    assert world.post(user, "create-portal-session").status_code == 200
    assert world.get(user, "invoices").status_code == 200
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    assert world.post(user, "cancel").status_code == 200
    assert world.post(user, "resume").status_code == 200
    person.is_deleted()
    world.deliver(person)
    world.settle(user, person)
    world.checkout(user)
    world.checkout(user, "pro")
    assert {one["method"] for one in world.stripe.log} >= {"GET", "POST"}
    for one in world.stripe.log:
        reply = mock.send(one["method"], one["path"], one["query"], one["body"], one["headers"])
        assert reply.status_code == 200, (one["method"], one["path"], one["query"], one["body"], reply.text)
        assert one["headers"]["Stripe-Version"] == NEW
        assert one["method"] != "POST" or one["key"], "each intention has its key"


@pytest.fixture
def beside_mock(tmp_path, mock):
    with World(tmp_path, STRIPE_API_BASE=mock.base, STRIPE_SECRET_KEY=KEY) as one:
        yield one


def test_manus_understands_stripe_mocks_replies(beside_mock):
    user = beside_mock.user()
    reply = beside_mock.post(user, "create-checkout-session", {"plan": "basic"})
    assert reply.status_code in (200, 502), reply.text  # its example has no address to go to
    assert reply.status_code != 200 or reply.json()["checkout_session_id"].startswith("cs_")


@pytest.mark.parametrize("version", [NEW, OLD])
@pytest.mark.parametrize("kind,resource", [
    ("checkout.session.completed", "checkout.session"), ("checkout.session.async_payment_succeeded", "checkout.session"), ("checkout.session.expired", "checkout.session"),
    ("customer.subscription.created", "subscription"), ("customer.subscription.updated", "subscription"), ("customer.subscription.deleted", "subscription"),
    ("customer.subscription.paused", "subscription"), ("customer.subscription.resumed", "subscription"), ("customer.subscription.trial_will_end", "subscription"),
    ("invoice.paid", "invoice"), ("invoice.payment_failed", "invoice"), ("invoice.payment_action_required", "invoice"), ("customer.deleted", "customer"),
    ("charge.dispute.created", "dispute"), ("charge.refunded", "charge")])
def test_events_with_stripes_own_examples_are_understood(beside_mock, version, kind, resource):
    reply = beside_mock.send(forged(kind, fixtures(version)[resource], version=version, id=unknown("evt")))
    assert reply.status_code == 200, reply.text
    assert reply.json()["status"] in ("success", "ignored", "error")
    assert not [line for line in beside_mock.manus.log() if line["level"] in ("error", "fatal")]
