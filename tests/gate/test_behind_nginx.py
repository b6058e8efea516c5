"""Through nginx the guard's answers are byte for byte those that it gives when it is asked directly."""
import resource

import pytest
import requests

import behind
from manus import API, Manus, check_no_reports
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
    came = through(house, "PUT", f"{API}/sessions?a=1", user["access_token"], headers={"X-Manus-User": "root"}).json()
    assert (came["headers"]["X-Manus-User"], came["headers"]["X-Manus-Role"], came["headers"]["X-Manus-Plan"]) == (user["user"]["id"], "user", "free")
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
