"""Operators' operations over HTTP: what a command can do an administrator can too, and each change tells who did it."""
import json
import re
import subprocess
import time

import pytest

from letters import rows
from manus import API, BINARY, ROOT, free_port, run
from test_manage import make_admin

ADMIN = f"{API}/admin"

# The operations whose route was there before them.
ROUTED = {
    "user.promote": "POST /auth/user/{user_id}/role", "user.demote": "POST /auth/user/{user_id}/role",
    "user.activate": "POST /auth/user/{user_id}/activate", "user.deactivate": "POST /auth/user/{user_id}/deactivate",
    "user.list": "GET /auth/users", "user.end_sessions": "POST /auth/user/{user_id}/revoke-sessions", "audit.list": "GET /auth/audit",
    "limit.top": "GET /limits/top", "event.list": "GET /billing/admin/events", "event.replay": "POST /billing/admin/events/{event_id}/replay",
    "subscription.list": "GET /billing/admin/subscriptions", "subscription.give": "POST /billing/admin/subscriptions/{user_id}/plan",
    "subscription.take": "POST /billing/admin/subscriptions/{user_id}/plan"}
ONE_OF_MANY = {"GET /auth/user/{user_id}"}  # user.show tells more


@pytest.fixture(scope="module")
def admin(manus):
    return make_admin(manus, manus.register("operator@example.com"))


def get(manus, admin, path):
    reply = manus.get(ADMIN + path, admin["access_token"])
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def post(manus, admin, path, body=None):
    reply = manus.post(ADMIN + path, body, admin["access_token"])
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def last_line(manus):
    return rows(manus, "SELECT actor, action, subject, detail FROM audit ORDER BY number DESC LIMIT 1")[0]


def test_every_operation_is_a_command_and_a_route_and_no_route_of_administrators_is_without_one(tmp_path):
    text = (ROOT / "src" / "api" / "operations.def").read_text()
    table = re.findall(r'^OPERATION(_ROUTED)?\(\(\.name = "([^"]+)",\s*\.usage\s*=\s*"([^"]+)"(.*?)(?=^OPERATION|^#undef)', text, re.M | re.S)
    assert len(table) == len(re.findall(r"^OPERATION", text, re.M)) >= 30
    page = run("help", "--man", cwd=tmp_path).stdout.replace("\\-", "-")
    routes = {f"{method} {path.removeprefix(API)}" for method, path in
              re.findall(r"^\| (\S+) \| `([^`]+)` \| admin \|", subprocess.run([BINARY, "routes"], capture_output=True, text=True, check=True).stdout, re.M)}
    known = set(ONE_OF_MANY)
    for routed, name, usage, rest in table:
        assert f"\n{usage.split(' [--')[0]}\n" in page, usage
        if routed:
            known.add(ROUTED[name])
        else:
            method, path = re.search(r'\.method = "(\w+)",\s*\.path\s*=\s*ADMIN\s*"([^"]+)"', rest).groups()
            known.add(f"{method} /admin{path}")
    assert routes == known


@pytest.mark.parametrize("method, path", [("GET", "/mails"), ("POST", "/mails/retry"), ("POST", "/users/create"), ("GET", "/jobs"), ("POST", "/bans/add")])
def test_they_are_for_administrators(manus, method, path):
    token = manus.register()["access_token"]
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {token}"}, 403)):
        assert manus.request(method, ADMIN + path, json={"email": "x@example.com", "network": "192.0.2.1"}, headers=headers).status_code == status


def test_an_administrator_is_made_with_a_password_that_works_once_told(manus, admin):
    data = post(manus, admin, "/users/create", {"email": "Second@Example.com", "fullname": "Second One"})
    assert (data["user"]["role"], data["user"]["email"], data["user"]["fullname"]) == ("admin", "second@example.com", "Second One")
    assert manus.post(f"{API}/auth/login", {"email": "second@example.com", "password": data["password"]}).status_code == 200
    assert last_line(manus)[:3] == (f"user:{admin['user']['id']}", "admin.create", data["user"]["id"])
    reply = manus.post(f"{ADMIN}/users/create", {"email": "second@example.com"}, admin["access_token"])
    assert reply.status_code == 422 and "already exists" in reply.json()["msg"]


def test_a_user_is_shown_with_their_sessions_by_address_and_by_id(manus, admin):
    account = manus.register("shown@example.com")
    for who in ("shown%40example.com", account["user"]["id"]):
        data = get(manus, admin, f"/users/show?user={who}")
        assert data["user"]["id"] == account["user"]["id"] and len(data["sessions"]) == 1 and data["email_verified"] in (True, False)
    assert manus.get(f"{ADMIN}/users/show?user=nobody", admin["access_token"]).status_code == 404
    reply = manus.get(f"{ADMIN}/users/show", admin["access_token"])
    assert (reply.status_code, reply.json()["msg"]) == (422, "name the user: an e-mail address or an id")


def test_a_password_is_reset_and_ends_the_sessions(manus, admin):
    account = manus.register()
    data = post(manus, admin, "/users/reset-password", {"user": account["email"]})
    assert manus.me(account["access_token"]).status_code == 401
    assert manus.post(f"{API}/auth/login", {"email": account["email"], "password": data["password"]}).status_code == 200
    assert last_line(manus)[:3] == (f"user:{admin['user']['id']}", "user.reset_password", account["user"]["id"])


def test_mails_that_wait_are_listed_and_retried(start):
    manus = start(EMAIL_HOST="127.0.0.1", EMAIL_FROM="noreply@example.com", EMAIL_PORT=free_port())
    admin = make_admin(manus, manus.register("operator@example.com"))
    manus.post(f"{API}/auth/send-verification-code", {"email": "operator@example.com"})
    manus.wait_for_log(lambda line: line["msg"].startswith("a mail was not accepted"), 15)
    data = get(manus, admin, "/mails")
    assert (data["waiting"], [mail["to"] for mail in data["mails"]]) == (1, ["operator@example.com"])
    assert post(manus, admin, "/mails/retry", {"mail": data["mails"][0]["id"]}) == {"retried": 1}
    assert last_line(manus) == (f"user:{admin['user']['id']}", "mail.retry", "", f"mail {data['mails'][0]['id']}, 1 of them")
    post(manus, admin, "/mails/retry")  # how many depends on the outbox, which tries them meanwhile
    assert last_line(manus)[3].startswith("mail all, ")
    for body, said in (({"mail": "987654321"}, "mail 987654321 is not waiting"), ({"mail": "x"}, "mail x is not waiting"), ({"mail": 1}, "valid string"),
                       ({"mail": "1" * 65}, "give the id of a mail")):
        reply = manus.post(f"{ADMIN}/mails/retry", body, admin["access_token"])
        assert reply.status_code == 422 and said in reply.json()["msg"]


def test_jobs_are_listed_and_run(manus, admin):
    assert post(manus, admin, "/jobs/run", {"name": "sweep-erased"}) == {"job": "sweep-erased", "is_done": True}
    assert last_line(manus) == (f"user:{admin['user']['id']}", "job.run", "", "sweep-erased")
    (job,) = [job for job in get(manus, admin, "/jobs")["jobs"] if job["name"] == "sweep-erased"]
    assert job["schedule"] == "every 10 min" and job["succeeded_at"] >= job["attempted_at"][:19]
    reply = manus.post(f"{ADMIN}/jobs/run", {"name": "nothing"}, admin["access_token"])
    assert reply.status_code == 422 and "the jobs are outbox" in reply.json()["msg"]


def test_limits_are_shown_and_reset(manus, admin):
    shown = get(manus, admin, "/limits/show?key=auth_login:ip:203.0.113.9")["windows"]
    assert [window["window"] for window in shown] == ["5 per minute", "20 per hour"]
    assert post(manus, admin, "/limits/reset", {"key": "auth_login:ip:203.0.113.9"}) == {"was_counted": False}
    assert last_line(manus)[1:] == ("limit.reset", "", "auth_login:ip:203.0.113.9")
    reply = manus.get(f"{ADMIN}/limits/show?key=nothing", admin["access_token"])
    assert reply.status_code == 422 and reply.json()["msg"].startswith("give a key: ")


def test_networks_are_banned_listed_and_let_in_again(manus, admin):
    assert post(manus, admin, "/bans/add", {"network": "203.0.113.0/24", "for": "2h"})["network"] == "203.0.113.0/24"
    assert last_line(manus) == (f"user:{admin['user']['id']}", "ban.add", "203.0.113.0/24", "7200 s")
    (ban,) = get(manus, admin, "/bans")["bans"]
    assert ban["network"] == "203.0.113.0/24" and ban["until"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 7000))
    assert post(manus, admin, "/bans/lift", {"network": "203.0.113.9"}) == {"network": "203.0.113.9", "was_banned": False, "inside": "203.0.113.0/24"}
    assert post(manus, admin, "/bans/lift", {"network": "203.0.113.0/24"}) == {"network": "203.0.113.0/24", "was_banned": True, "inside": None}
    assert last_line(manus)[1:3] == ("ban.lift", "203.0.113.0/24")
    for body in ({"network": "0.0.0.0/0"}, {"network": "x"}, {"network": "192.0.2.1", "for": "ever"}, {"network": "192.0.2.1", "for": 60},
                 {"network": "192.0.2.1", "for": "367d"}, {"network": "192.0.2.1", "for": "0s"}, {"network": 1}, {}):
        assert manus.post(f"{ADMIN}/bans/add", body, admin["access_token"]).status_code == 422, body
    assert get(manus, admin, "/bans") == {"bans": []}


def test_whoever_runs_a_command_is_named_in_the_trail_too(manus, admin):
    account = manus.register()
    for words, action in ((("deactivate", account["email"]), "user.deactivate"), (("activate", account["user"]["id"]), "user.activate")):
        done = run("admin", *words, "--json", cwd=manus.folder, **manus.settings)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["user"]["is_active"] == (words[0] == "activate")
        actor, said, subject, _ = last_line(manus)
        assert (actor[:7], said, subject) == ("system:", action, account["user"]["id"])
    trail = json.loads(run("admin", "audit", account["email"], "--json", cwd=manus.folder, **manus.settings).stdout)["audit"]
    assert [line["action"] for line in trail] == ["user.activate", "user.deactivate"]
