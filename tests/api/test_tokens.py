"""Tokens: one strict profile, nothing of which the token itself decides."""
import hashlib
import time

import pytest
from tokens import HEADER, KEY, claims_of, encode, old_access, old_refresh, sign, text

from manus import API

OTHER_KEY = "Zp8Qw3Lx6Vn1Bk4Hm7Jd0Sf2Gc5Ty9RuAeIoXzNq"
NEXT_KEY = "nE3xTk7Ey5Wq9Lz1Pc4Vb8Mh2Jf6Ds0GaUoIrXtY"


@pytest.fixture(scope="module")
def account(manus):
    return manus.register("tokens@example.com")


@pytest.fixture(scope="module")
def claims(account):
    return claims_of(account["access_token"])


def test_an_access_token_says_what_the_contract_lists(account, claims):
    assert list(claims) == ["sub", "fullname", "email", "role", "is_active", "iat", "exp", "type", "jti", "sid"]
    assert claims["sub"] == account["user"]["id"]
    assert (claims["type"], claims["exp"] - claims["iat"]) == ("access", 1800)
    refresh = claims_of(account["refresh_token"])
    assert list(refresh) == ["sub", "fullname", "iat", "exp", "type", "jti", "sid"]
    assert (refresh["type"], refresh["exp"] - refresh["iat"], refresh["sid"]) == ("refresh", 604800, claims["sid"])


def test_a_token_made_by_hand_with_the_key_is_taken(manus, claims):
    assert manus.me(sign(claims)).status_code == 200
    assert manus.me(sign(claims, {"typ": "JWT", "alg": "HS256"})).status_code == 200


def forged(claims):
    """Names of forgeries and the tokens."""
    now = int(time.time())
    good = sign(claims)
    head, body, signature = good.split(".")
    yield "unsigned", f"{encode(text({'alg': 'none', 'typ': 'JWT'}))}.{body}."
    yield "no signature", f"{head}.{body}."
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{good}.x"
    yield "other key", sign(claims, key=OTHER_KEY)
    yield "empty key", sign(claims, key="")
    yield "HS512", sign(claims, {"alg": "HS512", "typ": "JWT"}, hash=hashlib.sha512)
    yield "HS384 name", sign(claims, {"alg": "HS384", "typ": "JWT"})
    yield "RS256 name", sign(claims, {"alg": "RS256", "typ": "JWT"})
    for alg in ("none", "None", "hs256", "HS256 ", "", None, 1, ["HS256"]):
        yield f"alg {alg!r}", sign(claims, {"alg": alg, "typ": "JWT"})
    yield "no alg", sign(claims, {"typ": "JWT"})
    yield "no typ", sign(claims, {"alg": "HS256"})
    for extra in ({"kid": "1"}, {"jwk": {}}, {"jku": "http://x"}, {"x5u": "x"}, {"crit": ["b64"]}, {"crit": []},
                  {"b64": False}, {"zip": "DEF"}, {"cty": "JWT"}):
        yield f"header {extra}", sign(claims, {**HEADER, **extra})
    yield "header twice alg", sign(claims, b'{"alg":"HS256","alg":"none","typ":"JWT"}')
    yield "claims twice sub", sign(text(claims)[:-1] + b',"sub":"other"}')
    yield "claims no object", sign([claims])
    yield "claims no JSON", sign(b"{")
    yield "claims with NUL", sign({**claims, "sub": claims["sub"] + "\0"})
    yield "claims with byte order mark", sign(b"\xef\xbb\xbf" + text(claims))
    for name in ("sub", "iat", "exp", "type"):
        yield f"without {name}", sign({key: value for key, value in claims.items() if key != name})
    for name, value in [("sub", 1), ("sub", None), ("sub", ""), ("sub", "x" * 200), ("sub", "nobody"), ("sub", [claims["sub"]]),
                        ("iat", str(now)), ("iat", now + 0.5), ("iat", True), ("iat", now + 60), ("iat", -1), ("iat", None),
                        ("exp", str(now + 60)), ("exp", now + 60.5), ("exp", True), ("exp", now), ("exp", now - 1),
                        ("exp", None), ("exp", -1), ("nbf", now + 60), ("nbf", "x"), ("iss", "other"), ("aud", "other"),
                        ("aud", ["x"]), ("type", "refresh"), ("type", "resource_access"), ("type", "ACCESS"), ("type", None),
                        ("jti", 1), ("jti", ""), ("jti", None), ("sid", 1), ("sid", ""), ("sid", "unknown"), ("sid", None)]:
        yield f"{name} {value!r}", sign({**claims, name: value})
    yield "exp of 30 digits", sign(text(claims).replace(b'"exp":%d' % claims["exp"], b'"exp":' + b"9" * 30))
    yield "exp with exponent", sign(text(claims).replace(b'"exp":%d' % claims["exp"], b'"exp":1e18'))
    yield "jti alone", sign({key: value for key, value in claims.items() if key != "sid"})
    yield "sid alone", sign({key: value for key, value in claims.items() if key != "jti"})
    yield "padded", f"{head}.{body}.{signature}="
    yield "standard alphabet", good.replace("-", "+").replace("_", "/") if set("-_") & set(good) else good + "+"
    yield "blank inside", f"{head}.{body}. {signature}"
    last = "AEIMQUYcgkosw048".index(signature[-1])
    yield "bits beyond the end", good[:-1] + "BFJNRVZdhlptx159"[last]
    yield "altered claims", f"{head}.{encode(text({**claims, 'role': 'admin'}))}.{signature}"
    yield "5,000 bytes", sign({**claims, "x": "y" * 5000})


def test_nothing_but_a_right_token_is_taken(manus, claims):
    assert manus.me(sign(claims)).status_code == 200
    taken = [name for name, token in forged(claims) if manus.me(token).status_code != 401]
    assert taken == []
    assert manus.me(sign(claims)).status_code == 200


def test_a_role_in_a_token_is_only_a_hint(manus, claims):
    assert manus.me(sign({**claims, "role": "admin", "is_active": False, "email": "x@y.z"})).json()["data"]["role"] == "user"


def test_refresh_and_access_tokens_do_not_stand_in_for_each_other(manus, account):
    assert manus.me(account["refresh_token"]).json()["msg"] == "Authentication failed"
    reply = manus.refresh(account["access_token"])
    assert (reply.status_code, reply.json()) == (401, {"code": 401, "msg": "Invalid token type", "data": None})


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "a" * 5000, "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_refresh_token_is_told_so(manus, token):
    reply = manus.refresh(token)
    assert (reply.status_code, reply.json()) == (401, {"code": 401, "msg": "Invalid refresh token", "data": None})


def test_a_refresh_token_of_somebody_unknown(manus):
    reply = manus.refresh(old_refresh({"id": "nobody", "fullname": "X"}))
    assert (reply.status_code, reply.json()["msg"]) == (401, "User not found or inactive")


def test_two_authorization_headers_are_none(manus, account):
    request = (f"GET {API}/auth/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
               + f"Authorization: Bearer {account['access_token']}\r\n" * 2 + "\r\n")
    assert manus.raw(request.encode()).startswith(b"HTTP/1.1 401 ")


def test_tokens_of_the_replaced_system_work_until_they_expire(manus):
    user = manus.register()["user"]
    assert manus.me(old_access(user)).status_code == 200
    assert manus.me(old_access(user, exp=int(time.time()) - 1)).status_code == 401
    assert manus.me(old_access(user, type=...)).status_code == 401
    first = manus.refresh(old_refresh(user))
    assert first.status_code == 200
    assert manus.me(first.json()["data"]["access_token"]).status_code == 200


def test_the_replaced_systems_refresh_token_gets_the_same_successor_each_time_and_a_session_that_ends(manus):
    user = manus.register()["user"]
    token = old_refresh(user)
    one, two = manus.refresh(token).json()["data"], manus.refresh(token).json()["data"]
    assert one["refresh_token"] == two["refresh_token"]
    assert claims_of(one["access_token"])["sid"] == claims_of(two["access_token"])["sid"]
    assert manus.post(f"{API}/auth/logout", token=one["access_token"]).status_code == 200
    assert manus.me(two["access_token"]).status_code == 401
    assert manus.refresh(token).status_code == 401
    assert manus.refresh(one["refresh_token"]).status_code == 401


def test_logout_with_a_token_of_the_replaced_system_voids_all_of_that_kind_and_no_other(manus):
    account = manus.register()
    user = account["user"]
    before = int(time.time()) - 100
    access, refresh = old_access(user, iat=before), old_refresh(user, iat=before)
    assert manus.me(access).status_code == 200
    assert manus.post(f"{API}/auth/logout", token=access).status_code == 200
    assert manus.me(access).status_code == 401
    assert manus.refresh(refresh).json()["msg"] == "Invalid refresh token"
    assert manus.me(account["access_token"]).status_code == 200


def test_a_key_is_rolled_without_logging_anybody_out(start):
    manus = start()
    account = manus.register()
    assert manus.stop() == 0
    manus = start(manus.folder, JWT_SECRET_KEY=NEXT_KEY, JWT_SECRET_KEY_PREVIOUS=f"{OTHER_KEY}, {KEY}")
    assert manus.me(account["access_token"]).status_code == 200
    fresh = manus.refresh(account["refresh_token"]).json()["data"]
    assert manus.me(fresh["access_token"]).status_code == 200
    claims = claims_of(fresh["access_token"])
    assert sign(claims, key=NEXT_KEY) == fresh["access_token"]
    assert manus.me(sign(claims, key=OTHER_KEY)).status_code == 200
    assert manus.stop() == 0
    manus = start(manus.folder, JWT_SECRET_KEY=NEXT_KEY)
    assert manus.me(account["access_token"]).status_code == 401
    assert manus.me(fresh["access_token"]).status_code == 200


@pytest.mark.parametrize("path, body", [("/auth/change-password", {"old_password": "password123", "new_password": "a new password"}),
                                        ("/auth/sessions/revoke-others", None)])
def test_who_ends_the_other_logins_with_a_token_of_the_replaced_system_stays(manus, path, body):
    account = manus.register()
    mine, others = int(time.time()) - 20, int(time.time()) - 10
    access, refresh = old_access(account["user"], iat=mine), old_refresh(account["user"], iat=mine)
    thief, thief_refresh = old_access(account["user"], iat=others), old_refresh(account["user"], iat=others)
    for _ in range(2):
        assert manus.post(API + path, body, access).status_code == 200
        assert (manus.me(access).status_code, manus.me(thief).status_code, manus.me(account["access_token"]).status_code) == (200, 401, 401)
        body = body and {"old_password": body["new_password"], "new_password": "yet another one"}
    assert (manus.refresh(refresh).status_code, manus.refresh(thief_refresh).status_code) == (200, 401)
    assert manus.post(f"{API}/auth/logout", token=access).status_code == 200
    assert manus.me(access).status_code == 401
