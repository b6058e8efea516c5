"""schemathesis tries the live API by its document, and finds nothing; the document is valid. MANUS_SEED tries other cases."""
import json
import os
import signal
import subprocess

import pytest

from letters import rows
from manus import API, BINARY, ROOT, SLOW

TOOLS = ROOT / "build-tools" / "bin"


def run(*arguments):
    assert (TOOLS / arguments[0]).exists(), f"{TOOLS / arguments[0]} is missing: run scripts/deps test"
    done = subprocess.run([TOOLS / arguments[0], *arguments[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300 * SLOW)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_document_is_valid(tmp_path):
    (tmp_path / "openapi.json").write_bytes(subprocess.run([BINARY, "openapi"], capture_output=True, check=True).stdout)
    run("openapi-spec-validator", "--schema", "3.1", tmp_path / "openapi.json")


def test_the_server_gives_what_the_command_prints(manus):
    printed = json.loads(subprocess.run([BINARY, "openapi"], capture_output=True, check=True).stdout)
    assert manus.get(f"{API}/openapi.json").json() == printed


# What ends the session that the requests are made with; other tests try it.
ENDS_ITS_SESSION = ["/auth/logout", "/auth/user/{user_id}/revoke-sessions", "/auth/user/{user_id}/role", "/auth/sessions/{session_id}"]
STRICT = {"PASSWORD_MIN_LENGTH": 8, "PASSWORD_COMMON": "refuse"}  # as `manus init` writes


def arguments_for(manus, examples):
    return ["st", "--config-file", ROOT / "schemathesis.toml", "run", f"{manus.base}{API}/openapi.json", "--no-color", "--max-examples", str(examples),
            "--seed", os.environ.get("MANUS_SEED", "1"), "--request-timeout", str(10 * SLOW)]


@pytest.mark.parametrize("who, settings", [("a stranger", {}), ("an administrator", {}), ("somebody", STRICT)])
def test_schemathesis_finds_nothing(start, who, settings):
    manus = start(STRIPE_WEBHOOK_SECRET="whsec_tried", **settings)
    arguments = arguments_for(manus, 20)
    if who != "a stranger":
        account = manus.register(password="zX9-long-enough-pw")
        if who == "an administrator":
            rows(manus, "UPDATE users SET role = 'admin'")
        arguments += ["--header", f"Authorization: Bearer {account['access_token']}"]
        for path in ENDS_ITS_SESSION:
            arguments += ["--exclude-path", API + path]
    run(*arguments)
    if who != "a stranger":
        assert manus.me(account["access_token"]).status_code == 200, "it ended its own session, and then saw nothing but 401"


@pytest.mark.parametrize("settings", [{"AUTH_PROVIDER": "none"}, {"AUTH_PROVIDER": "local", "LOCAL_AUTH_PASSWORD": "zX9-long-enough-pw"}],
                         ids=lambda settings: settings["AUTH_PROVIDER"])
def test_schemathesis_finds_nothing_with_another_provider(start, settings):
    manus = start(STRIPE_WEBHOOK_SECRET="whsec_tried", **settings)
    run(*arguments_for(manus, 8))


def test_the_document_is_that_of_the_settings_in_force(start, tmp_path):
    manus = start(AUTH_PROVIDER="none", PASSWORD_MIN_LENGTH=None)
    document = manus.get(f"{API}/openapi.json").json()
    assert f"{API}/auth/register" not in document["paths"] and "security" not in document["paths"][f"{API}/auth/me"]["get"]
    manus.stop()
    (tmp_path / ".env").write_text("PASSWORD_MIN_LENGTH=8\n")
    manus = start(tmp_path)
    least = lambda: manus.get(f"{API}/openapi.json").json()["paths"][f"{API}/auth/register"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "properties"]["password"]["minLength"]
    assert least() == 8
    (tmp_path / ".env").write_text("PASSWORD_MIN_LENGTH=12\n")
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    assert least() == 12
