"""Each request has an id, one access line, and a client."""
import re

import pytest

from manus import API, free_port

ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


def line_of(manus, reply):
    return manus.wait_for_log(lambda line: line.get("request_id") == reply.headers["X-Request-Id"] and line["msg"] == "request")


def test_an_id_is_made_for_each_request(manus):
    ids = [manus.get(f"{API}/health").headers["X-Request-Id"] for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(ULID.fullmatch(one) for one in ids)


@pytest.mark.parametrize("given, taken", [
    ("abc-123_x.Y", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("a\"b", False), ("é", False),
    ("", False), ("<script>", False), ("a/b", False)])
def test_a_sane_id_of_the_client_is_taken_and_any_other_is_not(manus, given, taken):
    reply = manus.get("/nope", headers={"X-Request-Id": given.encode("latin-1")})
    assert (reply.headers["X-Request-Id"] == given) == taken
    assert line_of(manus, reply)["status"] == 404


def test_one_access_line_for_each_request_with_all_that_is_promised(manus):
    account = manus.register()
    reply = manus.get(f"{API}/auth/me?x=secret", account["access_token"])
    line = line_of(manus, reply)
    assert list(line) == ["time", "level", "msg", "request_id", "user_id", "method", "route", "status", "duration_us", "bytes", "client"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (line["level"], line["method"], line["route"], line["status"]) == ("info", "GET", f"{API}/auth/me", 200)
    assert (line["client"], line["user_id"]) == ("127.0.0.1", account["user"]["id"])
    assert line["duration_us"] > 0 and line["bytes"] > len(reply.content)
    ours = [one for one in manus.log() if one.get("request_id") == line["request_id"]]
    assert len(ours) == 1


def test_the_line_names_the_route_and_not_the_path(manus):
    assert line_of(manus, manus.get("/manus/assets/style.css"))["route"] == "/manus/assets/{name}"
    assert line_of(manus, manus.request("OPTIONS", f"{API}/auth/me"))["route"] == f"{API}/auth/me"
    assert line_of(manus, manus.request("PATCH", "/manus/assets/x"))["route"] == "/manus/assets/{name}"
    assert line_of(manus, manus.get("/what/is/this"))["route"] == "-"


def test_only_trusted_proxies_name_the_client(start):
    manus = start(TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8")
    for given, client in (("203.0.113.9", "203.0.113.9"), ("6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
                          ("6.6.6.6, nonsense", "::"), ("2001:db8::1", "2001:db8::1"), ("", "127.0.0.1"),
                          ("10.0.0.1", "10.0.0.1"), ("::ffff:203.0.113.9", "203.0.113.9"), ("1.2.3.4:80", "1.2.3.4")):
        assert line_of(manus, manus.get("/", headers={"X-Forwarded-For": given}))["client"] == client, given
    plain = start(manus.folder, DATA_DIR=manus.folder / "other")
    assert line_of(plain, plain.get("/", headers={"X-Forwarded-For": "203.0.113.9"}))["client"] == "127.0.0.1"


def test_lines_below_the_level_are_not_written(start):
    manus = start(LOG_LEVEL="WARNING")
    manus.get(f"{API}/health")
    assert manus.stop() == 0
    assert manus.log_path.read_text() == ""


def test_lines_can_be_text_for_people(start):
    manus = start(LOG_FORMAT="text")
    manus.get(f"{API}/health")
    assert manus.stop() == 0
    assert re.search(r"^\S+Z info request .*route=/api/v1/health status=200", manus.log_path.read_text(), re.M)


def test_what_a_job_logs_names_the_job_and_is_no_requests(start, tmp_path):
    manus = start(EMAIL_HOST="127.0.0.1", EMAIL_PORT=free_port(), EMAIL_FROM="a@example.com", EMAIL_VERIFICATION="true")
    manus.register()
    line = manus.wait_for_log(lambda line: line["msg"].startswith("a mail was not accepted"))
    assert line["job"] == "outbox" and "request_id" not in line
