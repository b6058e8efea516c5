"""One trial for a mailbox, as far as can be known."""
import secrets
import sqlite3

from manus import API

HAD = {"code": 400, "msg": "Trial already activated", "data": None}
OTHER_KEY = "Zt7pQ2vN8sX4mK1wB6hJ9dR3fL5yC0gAeUiOxWqV"


def begin(manus, account):
    return manus.post(f"{API}/billing/activate-trial", token=account["access_token"])


def remove(manus, account):
    reply = manus.request("DELETE", f"{API}/auth/me", json={"password": account["password"]}, headers={"Authorization": f"Bearer {account['access_token']}"})
    assert reply.status_code == 200


def test_who_removes_the_account_and_comes_again_has_no_second_trial(start):
    manus = start()
    name = secrets.token_hex(6)
    account = manus.register(f"{name}@example.com")
    assert begin(manus, account).status_code == 200
    assert begin(manus, account).json() == HAD
    remove(manus, account)
    for address in (f"{name}@example.com", f"{name}+1@example.com", f"{name}+two+three@EXAMPLE.com"):
        again = manus.register(address)
        assert begin(manus, again).json() == HAD, address
        assert manus.get(f"{API}/billing/subscription", again["access_token"]).json()["is_trial"] is False
        remove(manus, again)
    assert begin(manus, manus.register(f"x{name}@example.com")).status_code == 200


def test_a_new_signing_key_gives_nobody_a_second_trial(start):
    manus = start()
    account = manus.register()
    assert begin(manus, account).status_code == 200
    remove(manus, account)
    manus.stop()
    manus = start(manus.folder, JWT_SECRET_KEY=OTHER_KEY)
    assert begin(manus, manus.register(account["email"])).json() == HAD


def test_of_a_removed_account_no_address_is_kept_with_its_trial(start):
    manus = start()
    account = manus.register()
    assert begin(manus, account).status_code == 200
    remove(manus, account)
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        ((mailbox, _),) = db.execute("SELECT * FROM trials").fetchall()
        ((name, key),) = db.execute("SELECT * FROM keys").fetchall()
    assert len(mailbox) == 32 and name == "trials" and len(key) == 32
    assert account["email"].split("@")[0].encode() not in mailbox
