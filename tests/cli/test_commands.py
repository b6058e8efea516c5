"""The commands: what they print, what they change, how they end."""
import contextlib
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from manus import BINARY, KEY, ROOT, SLOW, environment, free_port, run

sys.path.insert(0, str(ROOT / "tests" / "mail"))
from mailpit import Mailpit

COMMANDS = ["serve", "check", "init", "admin", "mail", "jobs", "limits", "billing", "restore", "settings", "routes", "errors", "metrics", "openapi", "version", "help"]


def test_help_lists_every_command_and_explains_each(tmp_path):
    listed = run("help", cwd=tmp_path).stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", listed, re.M)
        explained = run("help", command, cwd=tmp_path).stdout
        assert explained.startswith(f"usage: manus {command}")
        assert run(command, "--help", cwd=tmp_path).stdout == explained
    assert run("--help", cwd=tmp_path).stdout == listed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["serve", "--nonsense"], ["serve", "extra"], ["settings", "--env=x"], ["serve", "--env-file"], ["help", "nonsense"],
    ["version", "-v"], ["Serve"]])
def test_a_wrong_command_line_says_what_to_run_and_ends_with_64(tmp_path, arguments):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 64
    assert "manus help" in done.stderr or done.stdout.startswith("usage:")


@pytest.mark.parametrize("command", [
    "settings --env --json", "settings --markdown --env", "restore x.db --with-log --without-log", "restore --without-log --with-log x.db",
    "help --man --completion-zsh", "billing sync --all --user someone@example.com"])
def test_options_that_contradict_each_other_are_refused_and_nothing_is_done(tmp_path, command):
    done = run(*command.split(), cwd=tmp_path)
    one, other = re.search(r"give (--\S+) or (--\S+), not both", done.stderr).groups()
    assert (done.returncode, done.stdout) == (64, "") and {one, other} < set(command.split())
    assert not list(tmp_path.iterdir())


def test_version(tmp_path):
    assert re.fullmatch(r"manus \d+\.\d+\.\d+ \(commit \S+ of \S+\)\n", run("version", cwd=tmp_path).stdout)
    assert run("--version", cwd=tmp_path).stdout == run("version", cwd=tmp_path).stdout


def test_init_writes_a_random_key_that_only_its_owner_may_read_and_that_serve_takes(tmp_path):
    done = run("init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = re.findall(r"^JWT_SECRET_KEY=(\S+)$", path.read_text(), re.M)
    assert len(key) >= 32 and key not in done.stdout
    assert "\nREADY_CRITICAL=mongodb\n" in path.read_text()
    assert run("settings", cwd=tmp_path).returncode == 0
    again = run("init", cwd=tmp_path)
    assert again.returncode == 73 and ".env already exists" in again.stderr
    assert key in path.read_text()
    run("init", "--env-file", "other", cwd=tmp_path)
    assert key not in (tmp_path / "other").read_text()


def test_init_does_not_follow_a_link_and_says_where_it_cannot_write(tmp_path):
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")
    assert run("init", cwd=tmp_path).returncode == 73
    assert not (tmp_path / "elsewhere").exists()
    done = run("init", "--env-file", "no/such/folder", cwd=tmp_path)
    assert done.returncode == 73 and "No such file" in done.stderr


def test_check_says_what_serve_would_do_and_changes_nothing(tmp_path):
    port = free_port()
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, PORT=port)
    assert done.returncode == 0, done.stdout
    assert f"listen     http://127.0.0.1:{port}: free\n" in done.stdout and f"SQLite in {tmp_path}/data: no store yet; serve creates one" in done.stdout
    assert re.search(r"Argon2id, 19456 KiB, 2 passes: [\d.]+ ms", done.stdout)
    assert "redis      not configured" in done.stdout
    assert not list(tmp_path.iterdir())


def test_check_tries_what_is_configured(tmp_path):
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, REDIS_HOST="127.0.0.1", REDIS_PORT=free_port())
    assert done.returncode == 69 and "Cannot connect" in done.stdout


def test_check_looks_at_a_store_that_is_in_use(start):
    manus = start()
    manus.register()
    done = run("check", cwd=manus.folder, JWT_SECRET_KEY=KEY, DATA_DIR=manus.settings["DATA_DIR"], PORT=manus.port)
    assert done.returncode == 0 and "sound, schema" in done.stdout
    assert f"(process {manus.process.pid})\n" in done.stdout


def test_check_finds_a_store_that_cannot_be_written(start, tmp_path):
    manus = start()
    manus.register()
    manus.stop()
    small = ["prlimit", "--fsize=0", str(BINARY), "check"]
    for folder in (manus.folder, tmp_path):
        done = subprocess.run(small, cwd=folder, env=environment({"JWT_SECRET_KEY": KEY, "DATA_DIR": manus.settings["DATA_DIR"]}),
                              capture_output=True, text=True, timeout=20 * SLOW)
        assert done.returncode == 69 and "all is well" not in done.stdout, done
        assert "store      SQLite in" in done.stdout and "sound" not in done.stdout


def test_check_finds_that_a_store_cannot_be_made(tmp_path):
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, DATA_DIR=tmp_path / "no" / "such")
    assert done.returncode == 69 and f"cannot write to {tmp_path}/no: No such file" in done.stdout


def test_check_logs_in_to_the_mail_server(tmp_path):
    (tmp_path / "users").write_text("user:a-good-password\n")
    with Mailpit(tmp_path, "--smtp-auth-file", tmp_path / "users", "--smtp-auth-allow-insecure") as server:
        def check(**settings):
            return run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, PORT=free_port(), EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port, **settings)

        right = check(EMAIL_USERNAME="user", EMAIL_PASSWORD="a-good-password", EMAIL_FROM="noreply@example.com")
        assert right.returncode == 0 and re.search(rf"^mail       smtp://127.0.0.1:{server.port}: answers \(\d+ ms\)$", right.stdout, re.M), right.stdout
        wrong = check(EMAIL_USERNAME="user", EMAIL_PASSWORD="another", EMAIL_FROM="noreply@example.com")
        assert wrong.returncode == 69 and re.search(r": the mail server refuses the user or the password \(\d+ ms\): correct EMAIL_USERNAME and EMAIL_PASSWORD$", wrong.stdout, re.M), wrong.stdout
        assert check().returncode == 69 and re.search(r": no sender \(\d+ ms\): set EMAIL_FROM$", check().stdout, re.M)
        server.stop()
        gone = check(EMAIL_FROM="noreply@example.com")
        assert gone.returncode == 69 and ": the mail server does not accept connections (" in gone.stdout


@pytest.mark.parametrize("greeting, told", [(b"554 go away\r\n", "the mail server rejects this machine"), (b"", "the connection to the mail server was lost")])
def test_check_reads_the_greeting_of_the_mail_server(tmp_path, greeting, told):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def greet():
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                peer.sendall(greeting)
                peer.close()

        threading.Thread(target=greet, daemon=True).start()
        done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, EMAIL_HOST="127.0.0.1", EMAIL_PORT=listener.getsockname()[1], EMAIL_FROM="noreply@example.com")
    assert done.returncode == 69 and f": {told} (" in done.stdout, done.stdout


def bash(folder, *words):
    (folder / "completion").write_text(run("help", "--completion", cwd=folder).stdout)
    code = (f"source completion; COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; _manus; "
            'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-uc", code], cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


def zsh(folder, *words):
    """As the completion system calls it, but what it offers is printed."""
    (folder / "_manus").write_text(run("help", "--completion-zsh", cwd=folder).stdout)
    code = (f"words=({' '.join(repr(word) for word in words)}); CURRENT={len(words)}; compadd() {{ shift; print -l -- $@ }}; _files() {{ print -l -- *(.) }}; "
            "_describe() { print -l -- ${commands%%:*} }; source ./_manus")
    done = subprocess.run([shutil.which("zsh") or "zsh is missing: run scripts/deps test", "-fc", code], cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return [word for word in done.stdout.split() if word.startswith(words[-1])]


def fish(folder, *words):
    (folder / "manus.fish").write_text(run("help", "--completion-fish", cwd=folder).stdout)
    done = subprocess.run([shutil.which("fish") or "fish is missing: run scripts/deps test", "--no-config", "-c", f"source manus.fish; complete -C '{' '.join(words)}'"],
                          cwd=folder, capture_output=True, text=True, env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "share")})
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", [bash, zsh, fish])
def test_completion_knows_commands_actions_options_and_files(tmp_path, shell):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "copy.db").write_text("")
    assert sorted(shell(folder, "manus", "")) == sorted(COMMANDS)
    assert set(shell(folder, "manus", "se")) == {"serve", "settings"}
    assert {"--env-file", "--env", "--json", "--markdown"} <= set(shell(folder, "manus", "settings", "--"))
    assert {"create", "promote", "demote", "list", "show", "reset-password", "revoke-sessions"} <= set(shell(folder, "manus", "admin", ""))
    assert {"list", "retry"} <= set(shell(folder, "manus", "mail", ""))
    assert {"show", "reset", "ban", "unban", "bans", "test"} <= set(shell(folder, "manus", "limits", ""))
    assert {"inbox", "sync", "link", "doctor"} <= set(shell(folder, "manus", "billing", ""))
    assert {"list", "show", "replay"} <= set(shell(folder, "manus", "billing", "inbox", ""))
    assert "copy.db" in shell(folder, "manus", "restore", "")
    assert "copy.db" in shell(folder, "manus", "serve", "--env-file", "")
    assert "init" in shell(folder, "manus", "help", "in")


def test_the_man_page_is_well_formed_and_names_every_command_and_setting(tmp_path):
    page = run("help", "--man", cwd=tmp_path).stdout
    groff = shutil.which("groff")
    assert groff, "groff is missing: run scripts/deps test"
    done = subprocess.run([groff, "-man", "-ww", "-Tutf8", "-P-cbou"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for word in [f"manus {command}" for command in COMMANDS] + ["JWT_SECRET_KEY", "REDIS_HOST", "--env-file", "FILES", "SIGNALS", "EXIT STATUS", "EXAMPLES", "SIGHUP",
                                                                "billing inbox replay EVENT", "admin create WHO", "manus.sqlite", "manus limits ban"]:
        assert word in done.stdout.replace("\u2010", "-").replace("\u2212", "-"), word


def test_it_runs_from_any_folder_and_needs_no_file_beside_it(tmp_path):
    copy = tmp_path / "bin" / "copy"
    copy.parent.mkdir()
    shutil.copy(BINARY, copy)
    done = subprocess.run([copy, "routes"], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0 and "/api/v1/auth/me" in done.stdout


def test_output_that_nobody_takes_is_an_error(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "help"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.returncode != 0 and "cannot write" in done.stderr


@contextlib.contextmanager
def on_a_terminal(folder, *options, **settings):
    """A terminal of our own making, so that the program believes in one: its process id, the terminal and what it says first."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(str(BINARY), [str(BINARY), "serve", *options], {"PATH": os.environ["PATH"], "JWT_SECRET_KEY": KEY, **settings})
    said = b""
    deadline = time.monotonic() + 20 * SLOW
    while said.count(b"\n") < 4 and time.monotonic() < deadline:
        said += os.read(terminal, 4096)
    try:
        yield pid, terminal, said.decode().splitlines()[:4]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def status_of(pid):
    """With which it ended by itself."""
    deadline = time.monotonic() + 20 * SLOW
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.02)
    return ended[1]


def test_on_a_terminal_serve_says_what_to_open_how_to_stop_where_mails_are_and_how_to_make_an_administrator(tmp_path):
    port = free_port()
    with on_a_terminal(tmp_path, PORT=str(port)) as (pid, terminal, lines):
        os.kill(pid, signal.SIGTERM)
        assert status_of(pid) == 0
        os.close(terminal)
    assert f"listens on http://127.0.0.1:{port}" in lines[0] and f"open http://localhost:{port} " in lines[0] and "Ctrl-C" in lines[0]
    assert f"SQLite in {tmp_path}/data" in lines[1] and f"files in {tmp_path}/data/outbox" in lines[1]
    assert lines[2].endswith(f"{BINARY} admin create you@example.com")
    assert lines[3] == "Not set up (optional): Redis, Stripe, a mail server."
    assert not any(name in line for line in lines for name in ("MongoDB", "Sentry"))


def test_the_command_that_serve_names_makes_an_administrator_of_the_same_store(tmp_path):
    port = free_port()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "my.env").write_text(f"PORT={port}\nJWT_SECRET_KEY={KEY}\n")
    (tmp_path / "there" / "my.env").chmod(0o600)
    with on_a_terminal(tmp_path, "--env-file", "there/my.env") as (pid, terminal, lines):
        command = lines[2].split(": ")[1].split()
        done = subprocess.run(command, cwd=tmp_path, env=environment({}), capture_output=True, text=True, timeout=30 * SLOW)
        assert done.returncode == 0 and "password: " in done.stdout and done.stderr == ""
        os.kill(pid, signal.SIGTERM)
        assert status_of(pid) == 0
        os.close(terminal)
    assert (tmp_path / "there" / "data" / "manus.sqlite").exists()


def test_a_closed_terminal_ends_it(tmp_path):
    with on_a_terminal(tmp_path, PORT=str(free_port()), SHUTDOWN_GRACE_SECONDS="0") as (pid, terminal, _):
        os.close(terminal)
        assert status_of(pid) == 0


def test_a_closed_terminal_ends_it_also_where_nobody_passes_the_signal_on(tmp_path):
    """As make does not, which `ssh -t HOST make run` makes the leader of the session."""
    port = free_port()
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        settings = {"PATH": os.environ["PATH"], "JWT_SECRET_KEY": KEY, "PORT": str(port), "SHUTDOWN_GRACE_SECONDS": "0"}
        os._exit(subprocess.run([str(BINARY), "serve"], cwd=tmp_path, env=settings).returncode)
    said = b""
    try:
        while said.count(b"\n") < 4:
            said += os.read(terminal, 4096)
        time.sleep(0.6)  # it looks at its terminal a few times a second
        os.close(terminal)
        assert status_of(pid) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def test_what_was_put_into_the_background_goes_on_without_its_terminal(tmp_path):
    port = free_port()
    settings = {"PATH": os.environ["PATH"], "JWT_SECRET_KEY": KEY, "PORT": str(port)}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve("/bin/bash", ["bash", "-c", f"set -m; {BINARY} serve & disown; echo started $!; sleep 2"], settings)
    said = b""
    while b"optional" not in said or b"started" not in said:
        said += os.read(terminal, 4096)
    server = int(re.search(rb"started (\d+)", said)[1])
    os.close(terminal)
    try:
        time.sleep(3)
        os.kill(server, 0)
        socket.create_connection(("127.0.0.1", port), 5).close()
    finally:
        os.kill(server, signal.SIGTERM)
        os.waitpid(pid, 0)


def test_on_a_terminal_that_stays_a_hangup_reads_the_settings_again(tmp_path):
    with on_a_terminal(tmp_path, PORT=str(free_port()), LOG_FORMAT="text") as (pid, terminal, _):
        os.kill(pid, signal.SIGHUP)
        said = b""
        while b"settings reloaded" not in said:
            said += os.read(terminal, 4096)
        os.kill(pid, signal.SIGTERM)
        assert status_of(pid) == 0
        os.close(terminal)


@pytest.mark.parametrize("command", [["admin", "list"], ["mail", "list"], ["billing", "inbox", "list"]])
def test_a_command_makes_no_store_where_none_is_and_says_where_it_looked(tmp_path, command):
    done = run(*command, cwd=tmp_path, JWT_SECRET_KEY=KEY)
    assert done.returncode == 69 and f"there is no store in {tmp_path}/data" in done.stderr and "--env-file" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_first_administrator_may_come_before_the_first_start_and_the_new_store_is_told(tmp_path):
    done = run("admin", "create", "root@example.com", cwd=tmp_path, JWT_SECRET_KEY=KEY)
    assert done.returncode == 0 and done.stderr == f"manus: there was no store in {tmp_path}/data: a new one was made\n"
    again = run("admin", "create", "two@example.com", cwd=tmp_path, JWT_SECRET_KEY=KEY)
    assert (again.returncode, again.stderr) == (0, "")


def test_a_relative_folder_counts_from_the_file_that_names_it_wherever_a_command_is_run(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    assert run("init", cwd=home).returncode == 0
    made = run("admin", "create", "root@example.com", cwd=home)
    assert made.returncode == 0
    found = run("admin", "list", "--env-file", "../home/.env", cwd=elsewhere)
    assert (found.returncode, found.stderr) == (0, "") and "root@example.com" in found.stdout
    (home / "plans.json").write_text("{}")
    (home / "key").write_text(KEY)
    (home / "more.env").write_text("JWT_SECRET_KEY_FILE=key\nDATA_DIR=./store\nPLANS_FILE=plans.json\n")
    done = run("check", "--env-file", str(home / "more.env"), cwd=elsewhere)
    assert f"{home}/plans.json" in done.stderr
    done = run("admin", "list", "--env-file", str(home / "more.env"), cwd=elsewhere, DATA_DIR="mine")
    assert f"there is no store in {elsewhere}/mine" in done.stderr


def test_init_says_which_file_it_wrote(tmp_path):
    assert run("init", cwd=tmp_path).stdout == f"manus: wrote {tmp_path}/.env with a random key\n"


@pytest.mark.parametrize("command", [["settings", "--env"], ["routes"], ["errors"], ["metrics"], ["openapi"], ["version"], ["help"]])
def test_what_cannot_be_printed_is_told(tmp_path, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(BINARY), *command], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=30)
    assert done.returncode == 74 and "cannot write to standard output" in done.stderr


def test_every_example_is_a_command_line_that_is_understood(tmp_path):
    """With --help, so that none is run."""
    page = run("help", "--man", cwd=tmp_path).stdout.replace("\\-", "-")
    examples = page[page.index(".SH EXAMPLES"):].splitlines()
    lines = [line for line in examples if "manus " in line and not line.startswith(".")]
    assert len(lines) >= 12
    for line in lines:
        for part in re.split(r" && | \| ", line):
            if part.startswith("manus "):
                words = shlex.split(part.partition(" >")[0])[1:]
                done = run(*words, "--help", cwd=tmp_path)
                assert done.returncode == 0 and done.stdout.startswith(f"usage: manus {words[0]}"), line
