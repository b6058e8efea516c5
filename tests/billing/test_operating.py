"""What operators do: look into the inbox, replay, compare with Stripe, examine the setup; and the mail before a trial ends."""
import contextlib
import json
import os
import pty
import socket
import subprocess
import time

import pytest

from letters import letter_to, rows, text_of
from manus import API, BINARY, environment, run
from stripe_courier import forged
from stripe_double import Stripe
from stripe_person import Person
from stripe_spec import OLD
from test_subscription import admin
from world import APP, SECRET, World, unknown


def command(world, *arguments, **settings):
    return run("billing", *arguments, cwd=world.manus.folder, timeout=60, **{**world.manus.settings, **settings})


def dead_event(world):
    event = forged("invoice.paid", {"id": unknown("in"), "object": "invoice", "customer": unknown("cus"), "subscription": unknown("sub")})
    world.send(event)
    rows(world.manus, "UPDATE events SET state = 'dead', error = 'tried long enough' WHERE event_id = ?", event["id"])
    return event["id"]


def test_the_inbox_is_listed_shown_and_replayed(world):
    name = dead_event(world)
    done = command(world, "inbox", "list", "dead")
    assert done.returncode == 0 and name in done.stdout and "tried long enough" in done.stdout and "1 were given up" in done.stdout
    done = command(world, "inbox", "show", name)
    assert name in done.stdout and '"object": "event"' in done.stdout
    assert command(world, "inbox", "replay", name).stdout == "1 will be applied anew\n"
    deadline = time.monotonic() + 10
    while rows(world.manus, "SELECT state, attempts FROM events WHERE event_id = ?", name)[0] in (("dead", 1), ("waiting", 0)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    dead_event(world)
    assert command(world, "inbox", "replay", "dead").stdout == "1 will be applied anew\n"


def test_what_is_asked_wrongly_is_told(world):
    for arguments in (["inbox", "show", "evt_none"], ["inbox", "list", "lost"], ["sync", "--user", "nobody@example.com"]):
        done = command(world, *arguments)
        assert done.returncode == 65 and done.stderr.startswith("manus billing: "), arguments
    for arguments in ([], ["sync"], ["inbox"], ["inbox", "show"], ["inbox", "burn"], ["heal"]):
        assert command(world, *arguments).returncode == 64


def test_administrators_see_and_replay_events(world):
    boss = admin(world.manus)["access_token"]
    name = dead_event(world)
    (event,) = world.manus.get(f"{API}/billing/admin/events?state=dead", boss).json()["data"]["events"]
    assert (event["id"], event["type"], event["state"], event["error"]) == (name, "invoice.paid", "dead", "tried long enough")
    assert world.manus.post(f"{API}/billing/admin/events/{name}/replay", token=boss).status_code == 200
    (actor,) = rows(world.manus, "SELECT actor FROM audit WHERE action = 'event.replay' AND detail = ?", name)[0]
    assert actor.startswith("user:")
    assert world.manus.get(f"{API}/billing/admin/events?state=dead", boss).json()["data"]["events"] == []
    assert world.manus.post(f"{API}/billing/admin/events/evt_none/replay", token=boss).status_code == 404
    for method, path in (("GET", "events"), ("POST", f"events/{name}/replay")):
        reply = world.manus.request(method, f"{API}/billing/admin/{path}", headers={"Authorization": f"Bearer {world.user()['token']}"})
        assert reply.status_code == 403


def test_the_comparison_says_what_differs_and_mends_it(world):
    user, person = world.subscriber()
    same, _ = world.subscriber()
    person.switches(world.pro)
    done = command(world, "sync", "--user", user["email"], "--dry-run")
    assert "differs: was basic, active" in done.stdout
    assert world.subscription(user)["plan"] == "basic"
    done = command(world, "sync", "--all", "--dry-run")
    assert done.stdout.splitlines()[-1] == "2 compared, 1 different, 0 failed"
    done = command(world, "sync", "--all")
    assert done.stdout.splitlines()[-1] == "2 compared, 1 mended, 0 failed" and "same: basic, active" in done.stdout
    world.settle(user, person)
    world.manus.wait_for_log(lambda line: line["msg"].endswith("and was mended") and line["user"] == user["id"])
    person.cancels_now()
    assert "is free, canceled" in command(world, "sync", "--user", user["id"]).stdout
    world.settle(user, person)


def test_the_comparison_goes_through_all_pages(world):
    for _ in range(45):
        world.checkout(world.user())
    done = command(world, "sync", "--all", "--dry-run")
    assert done.stdout.splitlines()[-1] == "45 compared, 0 different, 0 failed"


def test_without_a_server_the_commands_act_on_the_store(world):
    user, person = world.subscriber()
    person.switches(world.pro)
    world.manus.stop()
    done = command(world, "sync", "--all")
    assert done.stdout.splitlines()[-1] == "1 compared, 1 mended, 0 failed", done.stderr
    assert command(world, "inbox", "list", "dead").stdout == "0 wait, 0 were given up\n"
    world.manus.start()
    assert rows(world.manus, "SELECT plan FROM subscriptions WHERE user_id = ?", user["id"]) == [("pro",)]


def operate(world, boss, method, path, body=None, status=200):
    reply = world.manus.request(method, f"{API}/admin/{path}", json=body, headers={"Authorization": f"Bearer {boss['access_token']}"})
    assert reply.status_code == status, reply.text
    return reply.json()["data"]


def last_line(world):
    return rows(world.manus, "SELECT actor, action, subject, detail FROM audit ORDER BY number DESC LIMIT 1")[0]


def test_administrators_compare_with_stripe_over_http(world):
    boss = admin(world.manus)
    user, person = world.subscriber()
    person.switches(world.pro)
    (one,) = operate(world, boss, "POST", "subscriptions/sync", {"user": user["email"], "dry_run": True})["subscriptions"]
    assert (one["user_id"], one["differs"], one["was_plan"], one["plan"]) == (user["id"], True, "basic", None)
    assert last_line(world) == (f"user:{boss['user']['id']}", "subscription.sync", user["id"], "only compared")
    (one,) = operate(world, boss, "POST", "subscriptions/sync", {"user": user["id"]})["subscriptions"]
    assert (one["differs"], one["was_plan"], one["plan"]) == (True, "basic", "pro")
    assert last_line(world)[3] == "corrected"
    world.settle(user, person)
    operate(world, boss, "POST", "subscriptions/sync", {"user": "nobody@example.com"}, status=404)


def test_a_comparison_of_all_over_http_is_gone_through_page_by_page(world):
    boss = admin(world.manus)
    for _ in range(25):
        world.checkout(world.user())
    page, seen = {"next": None}, []
    while True:
        page = operate(world, boss, "POST", "subscriptions/sync-all", {"cursor": page["next"]} if page["next"] else None)
        seen += [one["user_id"] for one in page["subscriptions"]]
        if page["next"] is None:
            break
    assert len(seen) == len(set(seen)) == 25
    for cursor in ("x", "s", "s0", "s-1", "s1x", "f", "f0x", "", "s99999999999999999999", "f1cus_1", "a" * 299):
        operate(world, boss, "POST", "subscriptions/sync-all", {"cursor": cursor}, status=422)


def test_administrators_look_at_the_setup_and_at_dead_events_over_http(world):
    boss = admin(world.manus)
    findings = operate(world, boss, "GET", "billing/doctor")["findings"]
    assert any(not one["is_good"] and "make one" in one["text"] for one in findings) and world.stripe.key not in str(findings)
    names = [dead_event(world) for _ in range(2)]
    data = operate(world, boss, "GET", f"events/show?event={names[0]}")
    assert data["event"]["id"] == names[0] and json.loads(data["payload"])["object"] == "event"
    operate(world, boss, "GET", "events/show?event=evt_none", status=404)
    assert operate(world, boss, "POST", "events/replay-dead") == {"replayed": 2}
    assert last_line(world) == (f"user:{boss['user']['id']}", "event.replay", "", "2 dead events")


def test_administrators_link_a_customer_over_http(world):
    boss, user = admin(world.manus), world.user()
    payer = Person(world.stripe)
    payer.pays_a_link(world.basic, None)
    data = operate(world, boss, "POST", "subscriptions/link", {"user": user["email"], "customer": payer.customer})
    assert data == {"user_id": user["id"], "customer_id": payer.customer, "plan": "basic", "status": "active"}
    assert last_line(world) == (f"user:{boss['user']['id']}", "subscription.link", user["id"], payer.customer)


def test_a_gift_by_command_is_the_same_as_over_http_and_so_is_its_line(world):
    boss, user = admin(world.manus), world.user()
    body = {"plan": "pro", "runs": 7, "days": 30}
    assert world.manus.post(f"{API}/billing/admin/subscriptions/{user['id']}/plan", body, boss["access_token"]).status_code == 200
    given, line = rows(world.manus, "SELECT * FROM subscriptions WHERE user_id = ?", user["id"]), last_line(world)
    done = command(world, "take", user["email"], "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["subscription"]["plan"] == "free" and last_line(world)[3] == "nothing"
    done = command(world, "give", user["email"], "pro", "--runs", "7", "--days", "30", "--json")
    assert json.loads(done.stdout)["subscription"]["runs"] == 7
    assert last_line(world)[1:] == line[1:] and last_line(world)[0].startswith("system:")
    assert len(rows(world.manus, "SELECT * FROM subscriptions WHERE user_id = ?", user["id"])[0]) == len(given[0])
    for words, status, said in ((("give", user["email"], "pro", "--days", "0"), 64, "Days must be"), (("give", user["email"], "gold"), 65, "Invalid plan"),
                                (("give", user["email"]), 64, "name a plan"), (("take", user["email"], "--days", "3"), 64, "does not belong to")):
        done = command(world, *words)
        assert done.returncode == status and said in done.stderr, done.stderr


def streamed(world, question):
    """The lines that the socket answers."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(world.manus.settings["DATA_DIR"] / "admin.sock"))
        s.sendall(json.dumps(question).encode() + b"\n")
        said = b""
        while piece := s.recv(65536):
            said += piece
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("form", [False, True])
def test_a_long_answer_is_streamed_and_its_parts_are_the_whole(world, form):
    for _ in range(45):
        world.checkout(world.user())
    *lines, last = streamed(world, {"operation": "subscription.sync_all", "fields": {"dry_run": "true"}, "json": form, "stream": True})
    assert last["failed"] is False
    assert [line["progress"]["done"] for line in lines if "progress" in line] == [20, 40]
    whole = "".join(line["part"] for line in lines if "part" in line) + last["text"]
    assert whole + ("\n" if form else "") == command(world, "sync", "--all", "--dry-run", *(["--json"] if form else [])).stdout
    assert json.loads(whole)["compared"] == 45 if form else whole.endswith("45 compared, 0 different, 0 failed\n")
    (only,) = streamed(world, {"operation": "subscription.sync_all", "fields": {"dry_run": "true"}, "json": True})
    assert json.loads(only["text"])["compared"] == 20, "who reads no stream gets a page"


def test_whoever_leaves_ends_the_comparison(world):
    for _ in range(45):
        world.checkout(world.user())
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(world.manus.settings["DATA_DIR"] / "admin.sock"))
        s.sendall(b'{"operation":"subscription.sync_all","stream":true}\n')
        assert b"progress" in s.recv(65536)
    world.manus.wait_for_log(lambda line: line["msg"] == "administration" and line["action"] == "subscription.sync_all", 30)
    assert int(last_line(world)[3].split()[0]) < 45


def test_a_terminal_is_shown_how_far_it_is(world):
    for _ in range(45):
        world.checkout(world.user())
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", 0) as terminal:
        done = subprocess.run([str(BINARY), "billing", "sync", "--all", "--dry-run", "--json"], cwd=world.manus.folder,
                              env=environment(world.manus.settings), stdout=subprocess.PIPE, stderr=slave, timeout=60)
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := terminal.read(65536):
                shown += piece
    assert json.loads(done.stdout)["compared"] == 45
    assert b"20 done" in shown and b"40 done" in shown and shown.endswith(b"\r\x1b[K")


def test_a_comparison_while_stripe_is_down_says_so(world):
    world.subscriber()
    world.stripe.fails(500, times=100, should_retry="false")
    done = command(world, "sync", "--all")
    assert done.returncode != 0 and "Stripe does not answer" in done.stderr


EVENTS = ["checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed", "checkout.session.expired",
          "customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted", "customer.subscription.paused", "customer.subscription.resumed",
          "customer.subscription.trial_will_end", "invoice.paid", "invoice.payment_failed", "invoice.payment_action_required", "customer.deleted", "charge.refunded",
          "charge.dispute.created"]
URL = f"{APP}{API}/billing/webhook"


def test_a_right_setup_is_found_right(world):
    world.stripe.endpoint("https://other.example/hook")
    world.stripe.endpoint(URL, events=EVENTS)
    done = command(world, "doctor")
    assert done.returncode == 0, done.stdout
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())


@pytest.mark.parametrize("spoil, word", [
    (lambda world: None, "make one"),
    (lambda world: world.stripe.endpoint(URL, events=EVENTS[:5]), "invoice.paid"),
    (lambda world: world.stripe.endpoint(URL, version=OLD), "API version"),
    (lambda world: world.stripe.things[world.stripe.endpoint(URL)].update(status="disabled"), "enable it"),
    (lambda world: world.stripe.things[world.basic].update(active=False), "archived"),
    (lambda world: world.stripe.things[world.basic].update(unit_amount=2000), "Stripe takes 2000 usd"),
    (lambda world: world.stripe.forget(world.pro), "knows no price"),
    (lambda world: setattr(world.stripe, "skew", -600), "NTP")])
def test_what_is_wrong_at_stripe_is_told_with_its_mend(world, spoil, word):
    spoil(world)
    done = command(world, "doctor")
    assert done.returncode == 69
    assert word in " ".join(line for line in done.stdout.splitlines() if line.startswith("WRONG")), done.stdout
    assert world.stripe.key not in done.stdout and SECRET not in done.stdout


def test_a_refused_key_is_told_once_and_with_the_one_mend(world):
    world.stripe.endpoint(URL, events=EVENTS)
    user = world.user()
    world.stripe.key = "sk_test_rolled"
    done = command(world, "doctor")
    assert done.returncode == 69
    (line,) = done.stdout.splitlines()
    assert line.startswith("WRONG  Stripe refuses the key (401") and "set STRIPE_SECRET_KEY" in line
    assert "sk_test_rolled" not in done.stdout
    world.post(user, "create-checkout-session", {"plan": "basic"})
    world.manus.wait_for_log(lambda line: line["msg"] == "request failed" and "set STRIPE_SECRET_KEY" in line["detail"])


@pytest.mark.parametrize("settings, word", [({"STRIPE_SECRET_KEY": None}, "nothing is billed"), ({"STRIPE_WEBHOOK_SECRET": None}, "no webhook secret"),
                                            ({"ENVIRONMENT": "production"}, "test mode"), ({"STRIPE_PRICE_ID_BASIC": None, "STRIPE_PRICE_ID_PRO": None}, "no plan can be bought")])
def test_what_is_wrong_in_the_settings_is_told_with_its_mend(world, settings, word):
    done = command(world, "doctor", **settings)
    assert done.returncode == 69 and word in done.stdout, done.stdout


def test_a_restricted_key_with_the_documented_rights_suffices(tmp_path):
    rights = {"customers": "write", "checkout": "write", "billing_portal": "write", "subscriptions": "write", "invoices": "write", "prices": "read", "events": "read"}
    with World(tmp_path, Stripe(key="rk_test_double", rights=rights)) as world:
        user, person = world.subscriber()
        assert world.post(user, "create-portal-session").status_code == 200
        assert world.get(user, "invoices").status_code == 200
        assert world.post(user, "change-plan/preview", {"plan": "pro"}).status_code == 200
        assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
        assert world.post(user, "cancel").status_code == 200
        assert "cannot be read" in command(world, "doctor").stdout


def test_who_is_in_a_trial_is_told_three_days_before_its_end(world):
    user, other = world.user(), world.user()
    for person, days in ((user, 2), (other, 5)):
        world.post(person, "activate-trial")
        rows(world.manus, "UPDATE subscriptions SET trial_end = ? WHERE user_id = ?", int((time.time() + days * 86400) * 1000), person["id"])
    for _ in range(2):
        world.manus.stop()
        world.manus.start()
        letter = letter_to(world.manus, user["email"], "trial ends")
    assert f"{APP}/settings/subscription" in text_of(letter)
    assert len(list((world.manus.settings["DATA_DIR"] / "outbox").glob("*.eml"))) == 1
