"""Sessions: refresh by adoption, and logout that ends all of it at once."""
import concurrent.futures
import time

from tokens import claims_of, sign

from manus import API


def renew(manus, token):
    reply = manus.refresh(token)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def test_the_reply_of_a_refresh(manus):
    account = manus.register()
    reply = manus.refresh(account["refresh_token"])
    assert list(reply.json()["data"]) == ["access_token", "token_type", "refresh_token"]
    assert reply.json()["data"]["token_type"] == "bearer"
    assert manus.me(reply.json()["data"]["access_token"]).status_code == 200


def test_the_same_refresh_token_gets_the_byte_identical_successor_also_after_a_restart(start):
    manus = start()
    account = manus.register()
    one = renew(manus, account["refresh_token"])
    time.sleep(1.1)
    two = renew(manus, account["refresh_token"])
    assert one["refresh_token"] == two["refresh_token"] != account["refresh_token"]
    assert one["access_token"] != two["access_token"]
    manus.kill()
    manus.start()
    assert renew(manus, account["refresh_token"])["refresh_token"] == one["refresh_token"]


def test_tabs_that_refresh_at_once_all_succeed_with_the_same_successor(manus):
    account = manus.register()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: manus.refresh(account["refresh_token"]), range(48)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["data"]["refresh_token"] for reply in replies}) == 1


def test_a_client_that_ignores_successors_works_on_with_its_first_token(manus):
    account = manus.register()
    for _ in range(20):
        assert manus.me(renew(manus, account["refresh_token"])["access_token"]).status_code == 200


def test_a_client_that_adopts_successors_slides(manus):
    account = manus.register()
    token = account["refresh_token"]
    for _ in range(40):
        token = renew(manus, token)["refresh_token"]
    assert claims_of(token)["sid"] == claims_of(account["refresh_token"])["sid"]


def test_a_replaced_token_works_for_ten_seconds_then_its_use_ends_the_session(manus):
    account, other = manus.register(), manus.register()
    used = renew(manus, account["refresh_token"])["refresh_token"]
    last = renew(manus, used)
    # A lost reply, a second tab: the predecessor still gets what it got.
    assert renew(manus, account["refresh_token"])["refresh_token"] == used
    patient = renew(manus, other["refresh_token"])["refresh_token"]
    renew(manus, patient)
    time.sleep(10.3)
    assert manus.me(last["access_token"]).status_code == 200
    reply = manus.refresh(account["refresh_token"])
    assert (reply.status_code, reply.json()["msg"]) == (401, "Invalid refresh token")
    assert manus.me(last["access_token"]).status_code == 401
    assert manus.refresh(last["refresh_token"]).status_code == 401
    manus.wait_for_log(lambda line: "used again" in line["msg"])
    # Who goes on with the newest is not touched.
    assert manus.refresh(renew(manus, patient)["refresh_token"]).status_code == 200


def test_logout_ends_access_and_refresh_tokens_of_that_session_at_once_and_no_other(manus):
    account = manus.register()
    second = manus.post(f"{API}/auth/login", {key: account[key] for key in ("email", "password")}).json()["data"]
    successor = renew(manus, account["refresh_token"])
    assert manus.me(account["access_token"]).status_code == 200
    assert manus.post(f"{API}/auth/logout", token=account["access_token"]).status_code == 200
    for token in (account["access_token"], successor["access_token"]):
        assert manus.me(token).json()["msg"] == "Authentication failed"
        assert manus.post(f"{API}/auth/logout", token=token).status_code == 401
    for token in (account["refresh_token"], successor["refresh_token"]):
        assert manus.refresh(token).json()["msg"] == "Invalid refresh token"
    assert manus.me(second["access_token"]).status_code == 200
    assert manus.refresh(second["refresh_token"]).status_code == 200


def test_a_session_ends_with_its_longest_day_however_often_it_is_refreshed(start):
    manus = start(SESSION_MAX_DAYS=1, JWT_REFRESH_TOKEN_EXPIRE_DAYS=1)
    account = manus.register()
    first = claims_of(account["refresh_token"])
    time.sleep(1.1)
    second = claims_of(renew(manus, account["refresh_token"])["refresh_token"])
    assert first["exp"] == second["exp"] < second["iat"] + 86400


def test_a_refresh_token_of_one_session_does_nothing_for_another(manus):
    one, two = manus.register(), manus.register()
    claims = {**claims_of(one["refresh_token"]), "sid": claims_of(two["refresh_token"])["sid"]}
    assert manus.refresh(sign(claims)).status_code == 401
    claims = {**claims_of(one["access_token"]), "sid": claims_of(two["access_token"])["sid"]}
    assert manus.me(sign(claims)).status_code == 401
    assert manus.me(two["access_token"]).status_code == 200


def test_a_login_beyond_a_hundred_sessions_ends_the_one_used_longest_ago(manus):
    account = manus.register()
    login = {key: account[key] for key in ("email", "password")}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(lambda _: manus.post(f"{API}/auth/login", login).json()["data"], range(104)))
    time.sleep(1.1)
    alive = sum(manus.me(token["access_token"]).status_code == 200 for token in [account, *tokens])
    assert alive == 100
