"""manus mail: what waits to be sent, through the running server or on the store when none runs."""
import re

import pytest

from manus import API, DEFAULTS, free_port, run

UNREACHABLE = {"EMAIL_HOST": "127.0.0.1", "EMAIL_FROM": "noreply@example.com"}


@pytest.fixture(params=["through the server", "on the store"])
def manus(request, start):
    """Two mails wait for a server that is away."""
    one = start(**UNREACHABLE, EMAIL_PORT=free_port())
    for name in ("ann", "bob"):
        one.register(f"{name}@example.com")
        one.post(f"{API}/auth/send-verification-code", {"email": f"{name}@example.com"})
    for _ in range(2):
        one.wait_for_log(lambda line: line["msg"].startswith("a mail was not accepted"), 15)
    if request.param == "on the store":
        one.stop()
    return one


def mail(manus, *arguments):
    return run("mail", *arguments, cwd=manus.folder, **{**DEFAULTS, "DATA_DIR": manus.settings["DATA_DIR"]})


def test_waiting_mails_are_listed_without_what_they_say_and_retried(manus):
    listed = mail(manus, "list")
    assert listed.returncode == 0, listed.stderr
    first, second, total = listed.stdout.splitlines()
    assert total == "2 unsent"
    for line, name in ((first, "ann"), (second, "bob")):
        assert re.fullmatch(rf"\d+  accepted \S+Z  attempts \d  next \S+Z  to {name}@example\.com  the mail server does not accept connections|.*", line)
    assert not re.search(r"\b\d{6}\b", listed.stdout)
    number = first.split()[0]
    assert mail(manus, "retry", number).stdout == "retrying 1 now\n"
    assert mail(manus, "retry").returncode == 0


def test_a_mail_that_is_no_number_and_an_action_that_is_none_are_refused(manus):
    for words, text in ((("retry", "x"), "mail x is not waiting"), (("retry", "0"), "mail 0 is not waiting"), (("burn",), "there is no such action"),
                        (("retry", "99"), "mail 99 is not waiting"),
                        (("promote", "ann@example.com"), "there is no such action")):
        done = mail(manus, *words)
        assert done.returncode == (64 if "action" in text else 65) and text in done.stderr
    assert "list" in mail(manus).stderr and mail(manus).returncode == 64


def test_a_mail_that_was_composed_as_a_file_goes_to_nobody_once_there_is_a_server(start):
    manus = start(EMAIL_VERIFICATION="true")
    outbox = manus.settings["DATA_DIR"] / "outbox"
    outbox.write_text("in the way")
    manus.register("ann@example.com")
    manus.wait_for_log(lambda line: line["msg"].startswith("a mail was not accepted"), 15)
    assert manus.stop() == 0
    outbox.unlink()
    manus.settings.update(UNREACHABLE, EMAIL_PORT=free_port())
    manus.start()
    assert mail(manus, "retry").returncode == 0
    path = manus.wait_for_log(lambda line: "no mail server was configured when it was made" in line["msg"], 15)["path"]
    assert "8bit" in open(path).read()
