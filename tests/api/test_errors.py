"""The catalogue of errors says what comes over the wire."""
import json
import re

from manus import API, ROOT


def shapes():
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "errors.md").read_text(), re.M | re.S)]


def test_each_shape_of_the_catalogue_is_one_that_is_answered(start):
    manus = start(RATE_LIMIT_ENABLED="true", RATE_LIMIT_AUTH_LOGIN="1/minute", GATE_PROXIES="127.0.0.1")
    usual, invalid, limited, gate = shapes()
    wrong = {"email": "ann@example.com", "password": "a wrong one"}
    assert manus.post(f"{API}/auth/login", wrong).json() == usual
    assert manus.post(f"{API}/auth/register", {"fullname": "Ann Lee", "email": "ann@example.com", "password": "short"}).json() == invalid
    reply = manus.post(f"{API}/auth/login", wrong)
    assert reply.status_code == 429 and {**reply.json(), "retry_after": 42} == limited and reply.headers["Retry-After"] == str(reply.json()["retry_after"])
    assert manus.get(f"{API}/gate/api/v1/agent/execute").json() == gate


def test_the_catalogue_says_what_people_are_told_of_each_text(manus):
    text = (ROOT / "docs" / "errors.md").read_text()
    assert "| `POST /api/v1/auth/login` | 401 | Invalid email or password | The e-mail address or the password is wrong |" in text
    assert len(re.findall(r"^\| (\d{3}) \|", text, re.M)) > 15
