"""make install and make uninstall: what lies where, and the units of systemd."""
import os
import re
import subprocess

import pytest

from manus import API, BINARY, ROOT, SLOW, Manus

SCRIPT = ROOT / "scripts" / "install"


def install(first, prefix, **environment):
    return subprocess.run([SCRIPT, first, prefix], env={**os.environ, **environment}, text=True, capture_output=True, check=True, timeout=60 * SLOW)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    install(BINARY, prefix)
    return prefix


def test_install_respects_destdir_and_remove_leaves_all_that_it_did_not_write(tmp_path):
    install(BINARY, "/opt/manus", DESTDIR=str(tmp_path))
    root = tmp_path / "opt" / "manus"
    there = files(root)
    assert {"bin/manus", "share/man/man1/manus.1", "lib/systemd/system/manus.service", "lib/systemd/system/manus.socket",
            "lib/sysusers.d/manus.conf", "share/bash-completion/completions/manus", "share/zsh/site-functions/_manus",
            "share/fish/vendor_completions.d/manus.fish"} <= there
    assert files(tmp_path) == {f"opt/manus/{name}" for name in there}
    assert "ExecStart=/opt/manus/bin/manus serve" in (root / "lib/systemd/system/manus.service").read_text()
    (root / "bin" / "other").write_text("")
    data = tmp_path / "var" / "lib" / "manus" / "manus.sqlite"
    data.parent.mkdir(parents=True)
    data.write_text("data")
    install("--remove", "/opt/manus", DESTDIR=str(tmp_path))
    assert files(tmp_path) == {"opt/manus/bin/other", "var/lib/manus/manus.sqlite"}


def test_make_uninstall_is_there():
    done = subprocess.run(["make", "--no-print-directory", "-n", "uninstall", "PREFIX=/opt/x"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "scripts/install --remove /opt/x"


def test_systemd_takes_the_units(installed):
    units = [installed / "lib" / "systemd" / "system" / name for name in ("manus.service", "manus.socket")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_makes_the_user(installed, tmp_path):
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", installed / "lib" / "sysusers.d" / "manus.conf"], check=True, timeout=60, capture_output=True)
    assert re.search(r"^manus:x:\d+:\d+:manus:/var/lib/manus:/usr/sbin/nologin$", (tmp_path / "etc" / "passwd").read_text(), re.M)


def test_the_unit_is_confined(installed):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", installed / "lib/systemd/system/manus.service"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert float(re.search(r"Overall exposure level for manus.service: ([\d.]+)", done.stdout)[1]) <= 2.5


def test_the_unit_is_of_a_type_that_systemd_252_knows(installed):
    unit = (installed / "lib/systemd/system/manus.service").read_text()
    assert re.search(r"^Type=notify$", unit, re.M) and re.search(r"^ExecReload=/bin/kill -HUP \$MAINPID$", unit, re.M)


def calls_of(groups):
    """The system calls that a filter of systemd's names."""
    listed, todo = set(), list(groups)
    while todo:
        name = todo.pop()
        if not name.startswith("@"):
            listed.add(name)
            continue
        shown = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True).stdout
        todo += [line.strip() for line in shown.splitlines()[1:] if line.startswith("    ") and not line.strip().startswith("#")]
    return listed


def test_the_unit_allows_every_system_call_that_manus_makes(installed, tmp_path):
    allowed = set()
    for names in re.findall(r"^SystemCallFilter=(.+)$", (installed / "lib/systemd/system/manus.service").read_text(), re.M):
        if names.startswith("~"):
            allowed -= calls_of(names[1:].split())
        else:
            allowed |= calls_of(names.split())
    manus = Manus(tmp_path, RATE_LIMIT_ENABLED="true", EMAIL_HOST="127.0.0.1", EMAIL_PORT="1", EMAIL_FROM="a@example.com", EMAIL_VERIFICATION="true",
                  REDIS_HOST="127.0.0.1", REDIS_PORT="1")
    manus.settings["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # it would trace the program itself
    manus.start(prefix=["strace", "-f", "-qq", "-o", tmp_path / "calls"])
    (child,) = subprocess.run(["pgrep", "-P", str(manus.process.pid)], capture_output=True, text=True, check=True).stdout.split()
    try:
        account = manus.register()
        assert manus.get(f"{API}/auth/me/export", account["access_token"]).status_code == 200
        os.kill(int(child), 1)
        manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
        os.kill(int(child), 15)
        assert manus.process.wait(30 * SLOW) == 0
    finally:
        if manus.process.poll() is None:
            os.kill(int(child), 9)
    unit = (installed / "lib/systemd/system/manus.service").read_text()
    families = set(re.findall(r"\bsocket\((AF_\w+)", (tmp_path / "calls").read_text()))
    assert families <= set(re.search(r"^RestrictAddressFamilies=(.+)$", unit, re.M)[1].split())
    made = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", (tmp_path / "calls").read_text(), re.M))
    assert len(made) > 30
    # As root SQLite gives its files to the owner of the store.
    assert made - allowed - {"fchown"} == set()
