"""/metrics: for administrators and who has the token."""
import re

from letters import nobody_waits, rows
from manus import API

TOKEN = "b7Jf0QmZ3kTq9xW2vN5sR8cL1yH4aD6e"


def test_figures_are_for_administrators_and_the_token(start):
    manus = start(METRICS_TOKEN=TOKEN)
    account = manus.register()
    assert [manus.get("/metrics", token).status_code for token in (None, "junk", TOKEN + "x", TOKEN[:-1], account["access_token"])] == \
        [401, 401, 401, 401, 403]
    manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]})
    nobody_waits(manus)
    reply = manus.get("/metrics", TOKEN)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nmanus_mails_sent_total 1\n" in reply.text and "\nmanus_mails_waiting 0\n" in reply.text
    for line in reply.text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) manus_[a-z_]+ .+|manus_[a-z_]+({[a-z_=",]+})? \d+', line)
    rows(manus, "UPDATE users SET role = 'admin'")
    manus.post(f"{API}/auth/change-fullname", {"fullname": "Ann"}, token=account["access_token"])
    assert manus.get("/metrics", account["access_token"]).status_code == 200
    assert manus.get(f"{API}/auth/me", TOKEN).status_code == 401
    assert TOKEN not in manus.log_path.read_text()


def test_without_a_token_only_administrators_read_them(start):
    manus = start()
    assert manus.get("/metrics", "").status_code == 401
