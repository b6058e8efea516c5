"""What the docs tell people to type works, in the order in which it stands there; what they call a path is one."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from manus import BINARY, ROOT, SLOW, free_port

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (not run by the tests: [^>]+) -->\n)?^```(?:sh|shell|bash|console)\n(.*?)^```$", re.M | re.S)
SERVES = re.compile(r"^(make run|(\S*/)?manus serve)\b", re.M)
NOT_RUN = 2  # `make test`, in both languages

# What is no route of ours: of the application behind the gate, of Stripe's, of a browser's.
OTHERS = {"/files/100%25.pdf", "/api/v1/sessions", "/api/v1/Sessions", "/api/v1/agent/execute", "/api/v1/sandbox", "//", "/v1/balance",
          "/settings/subscription"}


def blocks(page):
    """The shell blocks with whether they are marked."""
    return [(bool(mark), text) for mark, text in BLOCK.findall(page.read_text())]


def wait_for(port, process):
    deadline = time.monotonic() + 120 * SLOW
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("nothing listens")


def run_block(text, folder, environment):
    """A reply of curl's that is an error fails it."""
    script = 'curl() { command curl --silent --show-error --fail-with-body --max-time 20 "$@"; }\n' + text
    done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0, (text, done.stdout, done.stderr)
    return done.stdout


def serve(servers, text, folder, environment):
    servers.append(subprocess.Popen(["bash", "-e", "-c", text], cwd=folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True))
    wait_for(int(environment["PORT"]), servers[-1])


def stop(server):
    os.killpg(server.pid, signal.SIGINT)
    server.wait(30 * SLOW)


def copy_of_the_tree(folder):
    """With what is built already: its compiler's work is tried by whoever made it."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "build").symlink_to(BINARY.parent)


@pytest.mark.parametrize("page", [page for page in PAGES if any(not marked for marked, _ in blocks(page))], ids=lambda page: page.name)
def test_every_shell_block_of_a_page_runs(tmp_path, page):
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PORT": str(port)}
    servers, started, logs_in = [], None, None
    copy_of_the_tree(tmp_path)
    try:
        for marked, text in blocks(page):
            text = text.replace("localhost:8000", f"127.0.0.1:{port}")
            if not marked and SERVES.search(text):
                started = text
                serve(servers, text, tmp_path, environment)
            elif not marked:
                run_block(text, tmp_path, environment)
                logs_in = text if "/auth/login" in text else logs_in
        if page.name.startswith("README"):
            stop(servers.pop())
            serve(servers, started, tmp_path, environment)
            assert '"email":"ann@example.com"' in run_block(logs_in, tmp_path, environment)
            shown = run_block("build/manus admin show ann@example.com", tmp_path, environment)
            assert "confirmed" in shown and "not confirmed" not in shown
    finally:
        for server in servers:
            stop(server)


def test_both_readmes_give_the_same_commands():
    assert blocks(ROOT / "README.md") == blocks(ROOT / "README.ar.md")


def test_only_what_says_why_is_not_run():
    assert sum(marked for page in PAGES for marked, _ in blocks(page)) == NOT_RUN
    assert sum(not marked for page in PAGES for marked, _ in blocks(page)) > 0


def test_every_path_that_the_docs_name_is_a_route():
    def plain(path):
        return re.sub(r"\{[^}]*\}", "{}", path.split("?")[0].rstrip("\u200e"))

    printed = subprocess.run([BINARY, "routes"], capture_output=True, text=True, check=True).stdout
    routes = {(method, plain(path)) for method, path in re.findall(r"^\| (\S+) \| `([^`]+)` \|", printed, re.M)}
    paths = {path for _, path in routes}
    wrong = []
    for page in PAGES:
        text = page.read_text()
        for method, path in re.findall(r"`\u200e?(?:(GET|POST|PUT|PATCH|DELETE|HEAD) )?(/[^`\s]*)", text):
            of_the_system = re.match(r"/(var|usr|etc|srv|run|tmp|proc|dev)(/|$)", path)
            known = (method, plain(path)) in routes if method not in ("", "HEAD") else plain(path) in paths
            if not known and not of_the_system and path not in OTHERS:
                wrong.append(f"{page.name}: {method} {path}")
        wrong += [f"{page.name}: {url}" for url in re.findall(r"https?://localhost:8000(/[^\s`'\"<>)]*)", text) if plain(url) not in paths]
    assert wrong == []


OFFLINE = {"apt-get": "Err:1 http://deb.debian.org/debian bookworm InRelease\n  Temporary failure resolving 'deb.debian.org'\nE: Unable to fetch some archives",
           "pip": "WARNING: Retrying: NewConnectionError('<Conn>: Failed to establish a new connection: [Errno -2] Name or service not known')\n"
                  "ERROR: No matching"}


@pytest.mark.parametrize("what, said", [
    ("apt-get", "deps: the packages of Debian cannot be fetched, since the network cannot be used: Temporary failure resolving 'deb.debian.org'"),
    ("pip", "deps: the sources of llhttp, hiredis and Swagger UI cannot be fetched, since the network cannot be used: ")])
def test_without_a_network_one_sentence_says_so(tmp_path, what, said):
    """scripts/deps among tools that find no network."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("deps", "sources.txt"):
        text = (ROOT / "scripts" / name).read_text()
        (tmp_path / "scripts" / name).write_text(text.replace("/usr/bin/python3", "/nowhere/python3"))
    (tmp_path / "scripts" / "deps").chmod(0o755)
    (tmp_path / "log").write_text(OFFLINE[what] + "\n")
    tools = {"dpkg-query": "exit 1" if what == "apt-get" else "echo installed", "apt-get": f"cat '{tmp_path}/log' >&2; exit 100", "id": "echo 0",
             "pkg-config": "exit 1", "python3": f"cat '{tmp_path}/log' >&2; exit 1"}
    for name, text in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done = subprocess.run([tmp_path / "scripts" / "deps"], env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    doing, *told = done.stderr.splitlines()
    assert doing.startswith(("deps: installing", "deps: fetching")) and len(told) == 1 and told[0].startswith(said)


def test_what_the_commands_of_the_docs_need_is_installed_before_they_are_run():
    deps = (ROOT / "scripts" / "deps").read_text()
    build = re.search(r"^build='(.*?)'", deps, re.M | re.S)[1].split()
    used = {word for page in PAGES for marked, text in blocks(page) if not marked for word in re.findall(r"\b(curl|jq|python3|openssl|sqlite3)\b", text)}
    assert used <= set(build)
