"""Through nginx the guard's answers are byte for byte those that it gives when it is asked directly."""
import email
import email.policy
import re
import resource
import subprocess
import time

import pytest
import requests

import behind
from manus import API, SLOW, Manus, check_no_reports
from nginx import Nginx

METERED = [("PUT", f"{API}/sessions"), ("POST", f"{API}/agent/execute")]
FREE = [("GET", f"{API}/sessions"), ("POST", f"{API}/sessions"), ("DELETE", f"{API}/sessions/1"), ("GET", f"{API}/agent/execute"), ("PUT", f"{API}/sandbox/1")]


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    one = Manus(tmp_path_factory.mktemp("manus"), TRUSTED_PROXIES="127.0.0.1").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


@pytest.fixture(scope="module")
def house(manus, tmp_path_factory):
    with behind.application() as application, Nginx(tmp_path_factory.mktemp("nginx"), manus.port, application.port) as nginx:
        nginx.application, nginx.manus = application, manus
        yield nginx


@pytest.fixture
def token(manus):
    return manus.register()["access_token"]


def ask(manus, method, path, token=None):
    return manus.get(f"{API}/gate", token, headers={"X-Original-Method": method, "X-Original-URI": path})


def through(house, method, path, token=None, **options):
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return session.request(method, house.base + path, headers={**headers, **options.pop("headers", {})}, timeout=30, **options)


def link_of(manus):
    """The link of the only mail that it has written."""
    deadline = time.monotonic() + 10 * SLOW
    while not (mails := list((manus.settings["DATA_DIR"] / "outbox").glob("*.eml"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    mail = email.message_from_bytes(mails[0].read_bytes(), policy=email.policy.default)
    return re.search(r"https?://\S+/verify-email#\S+", mail.get_body(("plain",)).get_content())[0]


def runs(manus, token):
    return manus.get(f"{API}/billing/subscription", token).json()["monthly_agent_runs"]


def test_preflights_and_what_is_free_pass(house, token):
    for _, path in METERED + FREE:
        assert through(house, "OPTIONS", path).status_code == 200
    for method, path in FREE:
        assert through(house, method, path, token).json()["method"] == method
    assert runs(house.manus, token) == 0


@pytest.mark.parametrize("method,path", METERED)
def test_the_client_gets_the_guards_own_refusals(house, token, method, path):
    came = len(house.application.got)
    direct, shown = ask(house.manus, method, path), through(house, method, path, data="x")
    assert (shown.status_code, shown.json()) == (direct.status_code, direct.json()) == (401, shown.json())
    assert shown.headers["WWW-Authenticate"] == direct.headers["WWW-Authenticate"]
    for _ in range(10):
        assert through(house, method, path, token, data="x").json()["body"] == "x"
    shown, direct = through(house, method, path, token, data="x"), ask(house.manus, method, path, token)
    assert (shown.status_code, shown.content) == (402, direct.content) and shown.headers["Content-Type"] == "application/json"
    assert len(house.application.got) == came + 10


def test_the_application_learns_who_it_is(house):
    user = house.manus.register()
    came = through(house, "PUT", f"{API}/sessions?a=1", user["access_token"], headers={"X-Manus-User": "root", "X-Manus-Status": "trialing"}).json()
    assert [came["headers"][f"X-Manus-{what}"] for what in ("User", "Role", "Plan", "Status")] == [user["user"]["id"], "user", "free", "active"]
    assert came["target"] == f"{API}/sessions?a=1" and came["headers"]["Authorization"] == f"Bearer {user['access_token']}"


def test_a_store_that_cannot_write_is_manus_own_503(tmp_path):
    with behind.application() as application:
        one = Manus(tmp_path).start()
        token = one.register()["access_token"]
        with Nginx(tmp_path, one.port, application.port) as nginx:
            assert through(nginx, "PUT", f"{API}/sessions", token).status_code == 200
            resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            shown, direct = through(nginx, "PUT", f"{API}/sessions", token), ask(one, "PUT", f"{API}/sessions", token)
            resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert (shown.status_code, shown.content, shown.headers["Retry-After"]) == (503, direct.content, direct.headers["Retry-After"])
        assert len(application.got) == 1
        one.stop()


@pytest.mark.parametrize("path", [f"{API}/auth/me", f"{API}/billing/subscription", f"{API}/ready", "/verify-email", "/manus/assets/style.css", f"{API}/sessions"])
def test_manus_down_is_a_503_of_json_and_the_application_goes_on(tmp_path, path):
    manus = Manus(tmp_path).start()
    with behind.application() as application, Nginx(tmp_path, manus.port, application.port) as nginx:
        assert through(nginx, "GET", f"{API}/health").status_code == 200
        assert manus.stop() == 0
        reply = through(nginx, "GET", path)
        assert (reply.status_code, reply.headers["Content-Type"], reply.headers["Retry-After"]) == (503, "application/json", "1")
        assert reply.json() == {"code": 503, "msg": "Service unavailable", "data": None}
        assert through(nginx, "GET", "/shop").json()["target"] == "/shop"
        manus.start()
        assert through(nginx, "GET", f"{API}/health").status_code == 200
    assert manus.stop() == 0


def test_the_mailed_link_leads_through_nginx_to_a_page_that_works(tmp_path):
    """In Chromium, which loads the page's script and style from manus, not from the application."""
    manus = Manus(tmp_path, EMAIL_VERIFICATION="true", TRUSTED_PROXIES="127.0.0.1")
    with behind.application() as application, Nginx(tmp_path, manus.port, application.port) as nginx:
        manus.settings["PUBLIC_URL"] = nginx.base
        manus.start()
        body = {"fullname": "Ann", "email": "ann@example.com", "password": "password123"}
        assert through(nginx, "POST", f"{API}/auth/register", json=body).status_code == 200
        link = link_of(manus)
        assert link.startswith(f"{nginx.base}/verify-email#")
        done = subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/browser",
                               "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", link], capture_output=True, text=True, timeout=120 * SLOW)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "CONSOLE" in line]) == (0, [])
        assert 'action="' not in done.stdout and 'type="password"' in done.stdout and "/manus/assets/verify.js" in done.stdout
        assert not [target for _, target, _, _ in application.got if target != "/favicon.ico"]
        confirmed = through(nginx, "POST", f"{API}/auth/verify-email", json={"token": link.partition("#")[2], "password": "password123"})
        assert confirmed.status_code == 200
    assert manus.stop() == 0
