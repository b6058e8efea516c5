"""Access tokens that others can verify and nobody can forge: Ed25519, by setting."""
import hashlib
import json
import signal
import time

import jwt
import pytest
from tokens import KEY, claims_of, encode, sign, text

from manus import API

NEXT_KEY = "nE3xTk7Ey5Wq9Lz1Pc4Vb8Mh2Jf6Ds0GaUoIrXtY"


def keys_of(manus):
    reply = manus.get("/.well-known/jwks.json")
    assert reply.status_code == 200 and reply.headers["Cache-Control"] == "public, max-age=300"
    return {key["kid"]: key for key in reply.json()["keys"]}


def verified(manus, token):
    """As an application does it, with a library of its own and the public keys alone."""
    key = keys_of(manus)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, jwt.PyJWK(key).key, algorithms=["EdDSA"])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    from manus import Manus, check_no_reports
    one = Manus(tmp_path_factory.mktemp("pairs"), JWT_ALGORITHM="EdDSA").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


def test_an_access_token_is_verified_by_the_public_key_and_says_what_it_always_said(pairs):
    account = pairs.register()
    claims = verified(pairs, account["access_token"])
    assert list(claims) == ["sub", "fullname", "email", "role", "is_active", "iat", "exp", "type", "jti", "sid"]
    assert jwt.get_unverified_header(account["access_token"])["alg"] == "EdDSA"
    assert pairs.me(account["access_token"]).status_code == 200
    fresh = pairs.refresh(account["refresh_token"]).json()["data"]
    assert verified(pairs, fresh["access_token"])["sid"] == claims["sid"] and pairs.me(fresh["access_token"]).status_code == 200


def test_a_keys_id_is_its_thumbprint(pairs):
    ((kid, key),) = keys_of(pairs).items()
    named = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": key["x"]}, separators=(",", ":"))
    assert kid == encode(hashlib.sha256(named.encode()).digest()) and set(key) == {"kty", "crv", "use", "alg", "kid", "x"}


def test_no_refresh_token_can_be_taken_for_an_access_token(pairs):
    account = pairs.register()
    assert jwt.get_unverified_header(account["refresh_token"]) == {"alg": "HS256", "typ": "JWT"}
    assert pairs.me(account["refresh_token"]).status_code == 401


def test_who_knows_the_secret_alone_or_the_public_key_forges_nothing(pairs):
    account = pairs.register()
    claims = claims_of(account["access_token"])
    (key,) = keys_of(pairs).values()
    head, body, signature = account["access_token"].split(".")
    header = jwt.get_unverified_header(account["access_token"])
    other = jwt.algorithms.OKPAlgorithm.from_jwk({**key, "d": encode(b"1" * 32)})
    forged = [sign(claims), sign(claims, header), sign(claims, {"alg": "HS256", "typ": "JWT"}, key=key["x"]), f"{head}.{body}.{encode(b'0' * 64)}",
              f"{head}.{body}.", f"{head}.{encode(text({**claims, 'role': 'admin'}))}.{signature}", jwt.encode(claims, other, algorithm="EdDSA"),
              jwt.encode(claims, other, algorithm="EdDSA", headers={"kid": key["kid"]}), f"{head}.{body}.{signature}x", f"{head}x.{body}.{signature}"]
    for token in forged:
        assert pairs.me(token).status_code == 401, token
    assert pairs.me(account["access_token"]).status_code == 200


def test_by_default_nothing_changes_and_no_key_is_shown(manus):
    account = manus.register()
    assert jwt.get_unverified_header(account["access_token"]) == {"alg": "HS256", "typ": "JWT"} and keys_of(manus) == {}


def test_after_the_switch_and_back_a_refresh_brings_the_other_kind(start, tmp_path):
    one = start()
    account = one.register()
    assert one.stop() == 0
    two = start(JWT_ALGORITHM="EdDSA")
    assert two.me(account["access_token"]).status_code == 401
    fresh = two.refresh(account["refresh_token"]).json()["data"]
    assert verified(two, fresh["access_token"])["sub"] == account["user"]["id"]
    assert two.stop() == 0
    three = start()
    assert three.me(fresh["access_token"]).status_code == 401
    assert three.refresh(fresh["refresh_token"]).status_code == 200


def test_while_the_key_is_rolled_both_verify_and_the_new_one_signs(start, tmp_path):
    env = tmp_path / ".env"
    env.write_text(f"JWT_SECRET_KEY={KEY}\n")
    manus = start(JWT_SECRET_KEY=None, JWT_ALGORITHM="EdDSA")
    account = manus.register()
    (old,) = keys_of(manus)
    env.write_text(f"JWT_SECRET_KEY={NEXT_KEY}\nJWT_SECRET_KEY_PREVIOUS={KEY}\n")
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    new, same = keys_of(manus)
    assert same == old != new
    assert manus.me(account["access_token"]).status_code == 200 and verified(manus, account["access_token"])
    fresh = manus.refresh(account["refresh_token"]).json()["data"]["access_token"]
    assert jwt.get_unverified_header(fresh)["kid"] == new
    env.write_text(f"JWT_SECRET_KEY={NEXT_KEY}\n")
    manus.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while manus.me(account["access_token"]).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert manus.me(fresh).status_code == 200


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
def test_tokens_may_hold_neither_name_nor_address(start, algorithm):
    manus = start(JWT_CLAIMS="minimal", JWT_ALGORITHM=algorithm)
    account = manus.register()
    assert list(claims_of(account["access_token"])) == ["sub", "role", "is_active", "iat", "exp", "type", "jti", "sid"]
    assert list(claims_of(account["refresh_token"])) == ["sub", "iat", "exp", "type", "jti", "sid"]
    fresh = manus.refresh(account["refresh_token"]).json()["data"]
    assert "email" not in claims_of(fresh["access_token"]) and "fullname" not in claims_of(fresh["refresh_token"])
    assert manus.me(fresh["access_token"]).json()["data"]["email"] == account["email"]
