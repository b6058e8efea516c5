"""manus itself behind real nginx, with an application behind both."""
import concurrent.futures
import contextlib

import pytest
import requests

import behind
from manus import API, Manus, check_no_reports
from nginx import Nginx

SESSIONS = f"{API}/sessions"


@contextlib.contextmanager
def house(folder, **settings):
    (folder / "nginx").mkdir(parents=True)
    with behind.application() as application:
        manus = Manus(folder, TRUSTED_PROXIES="127.0.0.1", GATE_PROXIES="127.0.0.1", **settings).start()
        with Nginx(folder / "nginx", manus.port, application.port) as nginx:
            nginx.manus, nginx.application = manus, application
            yield nginx
        assert manus.stop() == 0
        check_no_reports(manus)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with house(tmp_path_factory.mktemp("house")) as one:
        yield one


def ask(home, method, path, token=None, **options):
    headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    with requests.Session() as http:
        http.trust_env = False
        return http.request(method, home.base + path, headers=headers, timeout=60, **options)


def test_a_run_is_charged_and_reaches_the_application_with_who_it_is(home):
    ann = home.manus.register()
    came = ask(home, "PUT", f"{SESSIONS}?a=%2F", ann["access_token"], data="hello").json()
    assert (came["method"], came["target"], came["body"]) == ("PUT", f"{SESSIONS}?a=%2F", "hello")
    assert [came["headers"][f"X-Manus-{name}"] for name in ("User", "Role", "Plan")] == [ann["user"]["id"], "user", "free"]
    assert home.manus.get(f"{API}/billing/subscription", ann["access_token"]).json()["monthly_agent_runs"] == 1


def test_strangers_and_those_with_nothing_left_get_the_guards_own_answer(home):
    ann = home.manus.register()
    reply = ask(home, "PUT", SESSIONS)
    assert (reply.status_code, reply.json(), reply.headers["WWW-Authenticate"]) == (401, {"detail": "Authentication required"}, "Bearer")
    for _ in range(10):
        assert ask(home, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    reply = ask(home, "PUT", SESSIONS, ann["access_token"])
    assert (reply.status_code, reply.json()["error_code"], reply.json()["code"]) == (402, "SUBSCRIPTION_LIMIT_REACHED", 402)
    assert reply.json()["subscription"] == {"plan": "free", "status": "active", "monthly_runs": 10, "monthly_runs_limit": 10}
    assert ask(home, "GET", f"{SESSIONS}/1", ann["access_token"]).status_code == 200
    assert ask(home, "DELETE", f"{SESSIONS}/1", ann["access_token"]).status_code == 200


@pytest.mark.parametrize("method,path", [("PUT", f"{API}/Sessions"), ("PUT", "/API/v1/sessions"), ("PUT", f"{API}/%53essions"), ("PUT", f"{API}/SESSIONS/"), ("POST", f"{API}/agent/EXECUTE"),
                                         ("POST", "/Api/V1/Agent/Execute"), ("DELETE", f"{API}/Sandbox/1"), ("PUT", f"{API}/%2573essions"), ("OPTIONS", f"{API}/Sessions")])
def test_another_spelling_of_a_guarded_path_goes_nowhere(home, method, path):
    ann = home.manus.register()
    home.application.got.clear()
    for token in (None, ann["access_token"]):
        reply = ask(home, method, path, token)
        assert reply.status_code == (400 if "%25" in path else 403) and reply.headers["Content-Type"] == "application/json"
        assert reply.json() == ({"code": 400, "msg": "Bad Request", "data": None} if "%25" in path else {"detail": "This path is not guarded"})
    assert not home.application.got and not [*behind.runs(home.application)]
    assert home.manus.get(f"{API}/billing/subscription", ann["access_token"]).json()["monthly_agent_runs"] == 0


@pytest.mark.parametrize("name", behind.METHOD_HEADERS + behind.PATH_HEADERS)
def test_no_header_begins_a_run_that_is_not_charged(home, name):
    ann = home.manus.register()
    home.application.got.clear()
    method, value = ("POST", "PUT") if name in behind.METHOD_HEADERS else ("PUT", SESSIONS)
    for path in (f"{SESSIONS}/", f"{API}/files") if method == "POST" else (f"{API}/files", f"{SESSIONS}/1"):
        assert ask(home, method, path, ann["access_token"], headers={name: value}).status_code == 200
    assert len(home.application.got) == 2 and not [*behind.runs(home.application)]


def test_a_stream_flows_through(home):
    ann = home.manus.register()
    with requests.Session() as http:
        reply = http.post(f"{home.base}{SESSIONS}/stream", headers={"Authorization": f"Bearer {ann['access_token']}"}, stream=True, timeout=20)
        assert reply.status_code == 200 and [line for line in reply.iter_lines() if line] == [f"data: {i}".encode() for i in range(5)]


def test_five_hundred_at_once_with_ten_left_pass_ten(home):
    ann = home.manus.register()
    home.application.got.clear()
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: ask(home, "PUT", SESSIONS, ann["access_token"]).status_code, range(500)))
    assert (statuses.count(200), statuses.count(402)) == (10, 490)
    assert len(home.application.got) == 10


def test_a_rate_limit_and_a_dead_server_reach_the_client_as_they_are(tmp_path):
    with house(tmp_path / "limited", RATE_LIMIT_ENABLED="true", RATE_LIMIT_GATE="2/minute") as home:
        ann, bob = home.manus.register(), home.manus.register()
        assert [ask(home, "GET", SESSIONS, ann["access_token"]).status_code for _ in range(3)] == [200, 200, 429]
        reply = ask(home, "GET", SESSIONS, ann["access_token"])
        assert reply.json()["error"] == "Rate limit exceeded" and int(reply.headers["Retry-After"]) > 0
        assert ask(home, "GET", SESSIONS, bob["access_token"]).status_code == 200
        home.manus.kill()
        reply = ask(home, "PUT", SESSIONS, bob["access_token"])
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        home.manus.start()
