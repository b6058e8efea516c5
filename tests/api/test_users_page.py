"""docs/users.md: its examples know whose token it is, and are led astray by none that is forged."""
import base64
import re
import shutil
import subprocess
import sys

import pytest
from tokens import claims_of, sign

from manus import ROOT, SLOW, environment

# The program that runs an example, and what the file is called.
LANGUAGES = {"python": ([sys.executable], "example.py"), "js": (["node"], "example.mjs"), "go": (["go", "run"], "example.go")}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    from manus import Manus, check_no_reports
    one = Manus(tmp_path_factory.mktemp("pairs"), JWT_ALGORITHM="EdDSA", JWT_CLAIMS="minimal").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


@pytest.fixture(scope="module", params=LANGUAGES)
def example(request, pairs, tmp_path_factory):
    """Runs the example of a language with a token: its exit status and what it prints."""
    (program, *options), name = LANGUAGES[request.param]
    assert shutil.which(program), f"{program} is missing: run scripts/deps test"
    (text,) = re.findall(rf"^```{request.param}\n(.*?)^```$", (ROOT / "docs" / "users.md").read_text(), re.M | re.S)
    folder = tmp_path_factory.mktemp("example")
    (folder / name).write_text(text.replace("http://localhost:8000", pairs.base))

    def run_it(token):
        done = subprocess.run([program, *options, name, token], cwd=folder, capture_output=True, text=True, timeout=120 * SLOW,
                              env=environment({"HOME": folder, "NO_PROXY": "127.0.0.1"}))
        return done.returncode, done.stdout.strip(), done.stderr

    return run_it


def test_an_example_names_the_user_of_a_token(pairs, example):
    account = pairs.register()
    status, printed, complaint = example(account["access_token"])
    assert (status, printed) == (0, account["user"]["id"]), complaint


def test_an_example_takes_no_token_that_is_not_one(pairs, example):
    account = pairs.register()
    head, body, signature = account["access_token"].split(".")
    other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b'"user"', b'"admin"')).rstrip(b"=").decode()
    for token in (account["refresh_token"], f"{head}.{other}.{signature}", f"{head}.{body}.", sign(claims_of(account["access_token"]))):
        status, printed, _ = example(token)
        assert status != 0 and printed == "", token
