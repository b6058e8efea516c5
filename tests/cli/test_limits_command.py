"""manus limits: what a rule would have said; what the running server counts."""
import json

import pytest

from manus import API, DEFAULTS, run

LIMITED = {"RATE_LIMIT_ENABLED": "true", "TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_HEALTH": "3/minute;5/hour"}


def limits(folder, *words, input=None, **settings):
    return run("limits", *words, cwd=folder, input=input, **{**DEFAULTS, **settings})


def test_a_rule_is_tried_on_a_file_of_times(tmp_path):
    (tmp_path / "times").write_text("0\n1.5\n2\n9.999999\n10\n11\n")
    done = limits(tmp_path, "test", "2/10s", "--times", "times")
    assert done.stdout.splitlines() == [
        "0.000000 admitted", "1.500000 admitted", "2.000000 refused, for 8.000000 s more", "9.999999 refused, for 0.000001 s more",
        "10.000000 admitted", "11.000000 refused, for 0.500000 s more", "3 admitted, 3 refused"]
    assert limits(tmp_path, "test", "2/10s", input="1\n1\n1\n").stdout.endswith("2 admitted, 1 refused\n")
    assert json.loads(limits(tmp_path, "test", "1/10s", "--json", input="1\n2\n").stdout) == {
        "requests": [{"at": "1.000000", "is_admitted": True, "wait": "0.000000"}, {"at": "2.000000", "is_admitted": False, "wait": "9.000000"}],
        "admitted": 1, "refused": 1}


@pytest.mark.parametrize("words, status, text", [
    (("test", "2/fortnight"), 65, "the rule has a unit"), (("test", "2/10s", "--times", "missing"), 66, "cannot read missing"),
    (("test",), 64, "give an action: show KEY"), ((), 64, "give an action: show KEY"), (("burn", "x"), 64, "give an action: show KEY"),
    (("show", "health:ip:1.2.3.4"), 69, "no server runs")])
def test_what_is_asked_wrongly_is_told(tmp_path, words, status, text):
    done = limits(tmp_path, *words)
    assert done.returncode == status and text in done.stderr


def test_times_that_are_none_are_told_by_their_line(tmp_path):
    for bad in ("x", "1 2", "nan", "1e300", "", "--"):
        done = limits(tmp_path, "test", "2/10s", input=f"1\n{bad}\n")
        assert done.returncode == 65 and "line 2 is not a time" in done.stderr


def test_a_count_is_shown_and_reset(start):
    manus = start(**LIMITED)
    get = lambda: manus.get(f"{API}/health", headers={"X-Forwarded-For": "192.0.2.1"}).status_code
    assert [get() for _ in range(4)] == [200] * 3 + [429]
    at = {"DATA_DIR": manus.settings["DATA_DIR"]}
    shown = limits(manus.folder, "show", "health:ip:192.0.2.1", **at).stdout
    assert shown.startswith("3 per minute: 0 left, one more in ") and "\n5 per hour: 2 left" in shown
    assert limits(manus.folder, "show", "health:ip:192.0.2.2", **at).stdout == \
        "3 per minute: 3 left, one more in 0 s\n5 per hour: 5 left, one more in 0 s\n"
    assert limits(manus.folder, "reset", "health:ip:192.0.2.1", **at).stdout == "reset\n"
    assert get() == 200
    assert limits(manus.folder, "reset", "health:ip:192.0.2.9", **at).stdout == "no requests are counted for this key\n"
    for key in ("nothing:ip:1.2.3.4", "health", ""):
        assert limits(manus.folder, "show", key, **at).returncode in (0, 65)
    manus.wait_for_log(lambda line: line["msg"] == "administration" and line.get("action") == "limit.reset")
