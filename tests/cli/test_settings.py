"""Settings: all problems at once, each with its name and its mend, never a secret; exit 78."""
import json
import os
import stat

import pytest

from manus import DEFAULTS, KEY, free_port, run

GOOD = {"JWT_SECRET_KEY": KEY}


def refused(tmp_path, **settings):
    """The problems, a line each."""
    done = run("serve", cwd=tmp_path, **settings)
    assert done.returncode == 78, (done.returncode, done.stderr)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "warning:" not in line]
    assert all(line.startswith("manus: ") for line in lines)
    return lines


@pytest.mark.parametrize("key", [
    None, "", " ", " " * 40, "short", "x" * 31, "your-secret-key-here", "your-secret-key-here-and-more-of-it-0123",
    "CHANGE_ME_GENERATE_SECURE_32_CHAR_KEY", "change-me-change-me-change-me-change-me", "Your_Secret_Key_1234567890abcdefghij",
    "replace-this-with-a-real-secret-9f8e7d", "a" * 32, "a" * 64, "ab" * 20, "abc123" * 8, "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyzabcdef", "\t" * 40, "supersecretkeysupersecretkey12345678", "11112222333344445555666677778888",
    "passwordpasswordpasswordpassword1!", "1!passwordpasswordpasswordpassword", "hunter22hunter22hunter22hunter22-prod",
    "your-256-bit-secret-your-256-bit-secret", "dev-secret-do-not-use-in-production-!!",
    "To do: generate a random key before deploy", "qwertyuiopasdfghjklzxcvbnmqwertyuiop"])
def test_a_signing_key_that_anybody_could_guess_is_refused_and_not_repeated(tmp_path, key):
    (line,) = refused(tmp_path, JWT_SECRET_KEY=key)
    assert line.startswith("manus: JWT_SECRET_KEY: ") and "; " in line
    assert not key or len(key.strip()) < 8 or key not in line


TEMPLATES = ["${JWT_SECRET_KEY:?set it in the environment please}", "${JWT_SECRET_KEY}", "prefix-0123456789-${SECRET_KEY}-suffix-abcdef", "{{ vault.manus.jwt_secret_key.value }}",
             "{{vault_manus_jwt_secret_key_value_1}}", "$(openssl rand -base64 48 | tr -d =)", "op://production/manus/jwt-secret-key/value", "<put the output of openssl rand here>",
             "%JWT_SECRET_KEY_OF_MANUS_PRODUCTION%", "__JWT_SECRET_KEY_OF_MANUS_PRODUCTION__", "$JWT_SECRET_KEY_OF_MANUS_PRODUCTION", "<%= ENV['JWT_SECRET_KEY_OF_MANUS'] %>",
             "{{ .Values.manus.jwtSecretKeyOfTheServer }}", "{{- .Release.Name | sha256sum | quote -}}-0123456789", "${{ secrets.JWT_SECRET_KEY_OF_MANUS }}", "$(</run/secrets/jwt-secret-key-of-manus)",
             "`openssl rand -base64 48 | tr -d =`", "@JWT_SECRET_KEY_OF_MANUS_PRODUCTION@", "#{JWT_SECRET_KEY_OF_MANUS_PRODUCTION}#", "[[ jwt_secret_key_of_manus_production ]]",
             "%(JWT_SECRET_KEY_OF_MANUS_PRODUCTION)s", "vault:secret/data/manus#JWT_SECRET_KEY", "ref+vault://secret/manus#/jwt_secret_key", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:manus",
             "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/k)"]


TEMPLATES += ["$JWT_KEY.v2.some.more.long.text.here", "$env:JWT_SECRET_KEY_OF_PRODUCTION", "${UNCLOSED_JWT_SECRET_KEY_IN_PROD", "((concourse-or-bosh-jwt-secret-key))", "{jwt_secret_key_of_production_env}",
              "%%JWT_SECRET_KEY_OF_PRODUCTION%%", "__JWT-SECRET-KEY-OF-PRODUCTION__", "file:///run/secrets/jwt_secret_key", "env:JWT_SECRET_KEY_OF_PRODUCTION_1", "projects/p1/secrets/jwt/versions/latest",
              "'<put the output of openssl rand here>'", "<put the output of openssl rand here>."]


@pytest.mark.parametrize("value", TEMPLATES)
@pytest.mark.parametrize("name", ["JWT_SECRET_KEY", "REDIS_PASSWORD", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "EMAIL_PASSWORD", "METRICS_TOKEN"])
def test_a_template_that_nothing_filled_in_is_no_secret(tmp_path, name, value):
    lines = refused(tmp_path, **{**DEFAULTS, name: value})
    assert [line for line in lines if line.startswith(f"manus: {name}: ") and "; " in line] and value not in "".join(lines)


@pytest.mark.parametrize("url", ["redis://:pa/ss@redis.example", "redis://:pa?ss@redis.example", "redis://:pa#ss@redis.example", "redis://:p@ss@redis.example", "redis://u:pa%ss@redis.example",
                                 "redis://u:pa%00ss@redis.example", "redis://u:p ss@redis.example", "redis://u:pass@", "redis://u:pass@/0", "redis://u:pa\\ss@redis.example", "redis:u:pass@redis.example", "redis://u:pass@a..b", "redis://u:pass@redis.example/99999999999999999999"])
def test_an_address_of_redis_that_cannot_be_read_is_refused_and_no_piece_of_it_shown(tmp_path, url):
    (line,) = refused(tmp_path, **{**DEFAULTS, "REDIS_URL": url})
    assert line.startswith("manus: REDIS_URL: is not a Redis URL; ") and "ss@" not in line and "localhost" not in line


@pytest.mark.parametrize("url", ["redis://localhost", "redis://:pa%2Fss@localhost:6380/2", "redis://u%40:p%25%3A@[::1]:6380", "redis://u:p!$&'()*+,;=:-._~@localhost/0"])
def test_an_address_of_redis_may_hold_whatever_is_percent_encoded(tmp_path, url):
    assert run("settings", cwd=tmp_path, **{**DEFAULTS, "REDIS_URL": url}).returncode == 0


@pytest.mark.parametrize("key", [KEY, "correct horse battery staple and more", "ключ-который-никто-не-угадает-12345"])
def test_a_good_key_is_taken(tmp_path, key):
    assert run("settings", cwd=tmp_path, JWT_SECRET_KEY=key).returncode == 0


WRONG = [
    ("PORT", "80x"), ("PORT", "0"), ("PORT", "65536"), ("PORT", "-1"), ("PORT", ""), ("PORT", "8000.0"), ("PORT", "0x50"), ("PORT", "1e3"),
    ("PORT", " "), ("HOST", "no such host!"), ("LOG_LEVEL", "LOUD"), ("LOG_LEVEL", ""), ("LOG_FORMAT", "xml"), ("AUTH_PROVIDER", "ldap"),
    ("JWT_ALGORITHM", "none"), ("JWT_ALGORITHM", "RS256"), ("SENTRY_TRACES_SAMPLE_RATE", "1.5"),
    ("SENTRY_TRACES_SAMPLE_RATE", "-0.1"), ("SENTRY_PROFILES_SAMPLE_RATE", "half"), ("SENTRY_PROFILES_SAMPLE_RATE", "nan"),
    ("SENTRY_PROFILES_SAMPLE_RATE", "0.5x"), ("STRIPE_WEBHOOK_SECRET", ""), ("STRIPE_WEBHOOK_SECRET", "  "), ("RATE_LIMIT_ENABLED", "maybe"),
    ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "0"), ("JWT_REFRESH_TOKEN_EXPIRE_DAYS", "999999999999999999999"), ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"), ("TRUSTED_PROXIES", "proxy"), ("CORS_ORIGINS", "*"), ("CORS_ORIGINS", "http://a.example/path"),
    ("CORS_ORIGINS", "a.example"), ("PUBLIC_URL", "app.example.com"), ("READY_CRITICAL", "mongodb,mysql"), ("MONGODB_URI", "mongodb://db:27017"),
    ("PASSWORD_ARGON2_MEMORY_KIB", "12"), ("REDIS_PORT", "6379 x"), ("EMAIL_PORT", "99999"), ("JWT_SECRET_KEY_PREVIOUS", "short"),
    ("JWT_SECRET_KEY_FILE", "/nonexistent/key")]


@pytest.mark.parametrize("name, value", WRONG)
def test_a_wrong_value_is_refused_by_name_with_its_mend(tmp_path, name, value):
    settings = {**GOOD, name: value}
    if name == "JWT_SECRET_KEY_FILE":
        settings["JWT_SECRET_KEY"] = None
    lines = refused(tmp_path, **settings)
    assert lines[0].startswith(f"manus: {name}: "), lines
    assert ";" in lines[0] or ":" in lines[0].split(": ", 2)[2]


def test_every_problem_is_told_at_once_on_its_own_line(tmp_path):
    lines = refused(tmp_path, JWT_SECRET_KEY="short", PORT="80x", SENTRY_TRACES_SAMPLE_RATE="2", LOG_LEVEL="LOUD")
    assert sorted(line.split(": ")[1] for line in lines) == ["JWT_SECRET_KEY", "LOG_LEVEL", "PORT", "SENTRY_TRACES_SAMPLE_RATE"]


def test_no_value_of_a_secret_is_ever_printed(tmp_path):
    secrets = {"JWT_SECRET_KEY": "weakweakweakweakweakweakweakweakweak", "STRIPE_SECRET_KEY": "sk_live_abcdefgh12345678",
               "REDIS_PASSWORD": "p4ssw0rd-of-redis", "MONGODB_URI": "mongodb://user:p4ssw0rd-of-mongo@db", "SENTRY_DSN": "https://k3yk3y@sentry.example/1"}
    done = run("serve", cwd=tmp_path, **secrets)
    assert done.returncode == 78
    said = done.stderr + done.stdout
    for command in (["settings"], ["settings", "--json"], ["check"]):
        done = run(*command, cwd=tmp_path, **{**secrets, **GOOD, "MONGODB_URI": None, "STRIPE_WEBHOOK_SECRET": "whsec_abcdefghijkl"})
        said += done.stdout + done.stderr
    for value in [*secrets.values(), KEY, "whsec_abcdefghijkl", "p4ssw0rd-of-mongo", "k3yk3y"]:
        assert value not in said


def test_a_live_stripe_key_needs_the_secret_of_its_webhook(tmp_path):
    (line,) = refused(tmp_path, **GOOD, STRIPE_SECRET_KEY="sk_live_abcdefgh12345678")
    assert "STRIPE_WEBHOOK_SECRET" in line and "sk_live_abc" not in line
    assert run("settings", cwd=tmp_path, **GOOD, STRIPE_SECRET_KEY="sk_live_abcdefgh12345678", STRIPE_WEBHOOK_SECRET="whsec_x").returncode == 0
    assert run("settings", cwd=tmp_path, **GOOD, STRIPE_SECRET_KEY="sk_test_abcdefgh12345678").returncode == 0


def values(tmp_path, *options, **settings):
    done = run("settings", "--json", *options, cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}, done.stderr


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={KEY}\nPORT=9001\nexport ENVIRONMENT='staging' # here\n\n# no\nlog_level = warning\n")
    rows, _ = values(tmp_path, PORT=9002)
    assert (str(rows["PORT"]["value"]), rows["ENVIRONMENT"]["value"], rows["HOST"]["value"]) == ("9002", "staging", "127.0.0.1")
    assert rows["LOG_LEVEL"]["value"].upper() == "WARNING"


def test_another_file_may_be_named(tmp_path):
    (tmp_path / "other").write_text(f"JWT_SECRET_KEY={KEY}\nPORT=9003\n")
    rows, _ = values(tmp_path, "--env-file", str(tmp_path / "other"))
    assert str(rows["PORT"]["value"]) == "9003"
    done = run("serve", "--env-file", "missing", cwd=tmp_path)
    assert done.returncode == 78 and "missing" in done.stderr


def test_a_wrong_line_of_the_file_is_told_with_its_number(tmp_path):
    (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={KEY}\nthis is no line\nPORT='80\n")
    lines = refused(tmp_path)
    assert any(".env line 2" in line for line in lines) and any(".env line 3" in line for line in lines)


def test_a_secret_may_come_from_a_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    assert run("settings", cwd=tmp_path, JWT_SECRET_KEY_FILE=path).returncode == 0
    (line,) = refused(tmp_path, JWT_SECRET_KEY=KEY, JWT_SECRET_KEY_FILE=path)
    assert "JWT_SECRET_KEY_FILE" in line
    path.write_text("a" * 40)
    (line,) = refused(tmp_path, JWT_SECRET_KEY_FILE=path)
    assert "JWT_SECRET_KEY" in line
    assert refused(tmp_path, JWT_SECRET_KEY_FILE=tmp_path)


def test_unknown_names_like_ours_warn_with_the_nearest(tmp_path):
    (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={KEY}\nREDIS_HOTS=x\n")
    done = run("settings", cwd=tmp_path, JWT_ACCES_TOKEN_EXPIRE_MINUTES=5, STRIPE_PRICE_ID_PRO="p", PATHX="1", API_KEY="agent's")
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert any("JWT_ACCES_TOKEN_EXPIRE_MINUTES" in line and "JWT_ACCESS_TOKEN_EXPIRE_MINUTES" in line for line in warnings)
    assert any("REDIS_HOTS" in line and "REDIS_HOST" in line for line in warnings)
    assert not any("PATHX" in line or "API_KEY" in line or "PRICE_ID_PRO" in line for line in warnings)


def test_a_file_of_secrets_that_others_may_read_warns(tmp_path):
    (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={KEY}\n")
    os.chmod(tmp_path / ".env", 0o644)
    assert "chmod 600" in run("settings", cwd=tmp_path).stderr
    os.chmod(tmp_path / ".env", 0o600)
    assert run("settings", cwd=tmp_path).stderr == ""


def test_no_rights_are_advised_for_what_is_no_file(tmp_path):
    assert "chmod" not in run("settings", "--env-file", "/dev/null", cwd=tmp_path, **GOOD).stderr


def warnings(tmp_path, *options, **settings):
    done = run("settings", *options, cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "warning: " in line]


@pytest.mark.parametrize("value", TEMPLATES)
def test_a_template_that_nothing_filled_in_is_told_for_every_other_setting_and_line(tmp_path, value):
    (line,) = warnings(tmp_path, **GOOD, GIT_COMMIT=value)
    assert "GIT_COMMIT" in line and "template" in line
    (tmp_path / ".env").touch(0o600)
    (tmp_path / ".env").write_text(f'JWT_SECRET_KEY={KEY}\n# {value}\nSOMEBODY_ELSES_TOKEN="{value}"\n')
    lines = warnings(tmp_path)
    assert any(".env line 3" in line and "SOMEBODY_ELSES_TOKEN" in line and "expanded" in line for line in lines)
    assert value not in "".join(lines)


@pytest.mark.parametrize("name, value", [("EMAIL_FROM", "<ann@example.com>"), ("EMAIL_FROM", "Ann <ann@example.com>"), ("APP_VERSION", "$5"), ("APP_VERSION", "1.0_2"), ("APP_VERSION", "50%"), ("SOURCE_URL", "https://example.com/$x"), ("APP_VERSION", "1.0 (a)"), ("APP_VERSION", "a@b"), ("APP_VERSION", "[1]"), ("EMAIL_FROM", "\"Ann #1 [x]\" <ann@example.com>")])
def test_what_is_no_template_is_not_told(tmp_path, name, value):
    assert warnings(tmp_path, **GOOD, **{name: value}) == []


def test_a_value_that_begins_with_a_hash_is_taken_and_told(tmp_path):
    (tmp_path / ".env").touch(0o600)
    (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={KEY}\nSERVICE_NAME=#secret\nAPP_VERSION= # none\nGIT_COMMIT='#quoted'\n")
    rows, said = values(tmp_path)
    assert (rows["SERVICE_NAME"]["value"], rows["GIT_COMMIT"]["value"]) == ("#secret", "#quoted")
    assert rows["APP_VERSION"]["value"] in (None, "")
    (line,) = said.splitlines()
    assert ".env line 2" in line and "#" in line and "secret" not in line


@pytest.mark.parametrize("name, value", [("RATE_LIMIT_PORT", "tcp://10.0.0.7:80"), ("RATE_LIMIT_PORT_80_TCP_ADDR", "10.0.0.7"), ("RATE_LIMIT_SERVICE_HOST", "10.0.0.7"),
                                         ("REDIS_CACHE_PORT", "tcp://10.0.0.7:6379"), ("STRIPE_PORT", "udp://10.0.0.7:80"), ("EMAIL_RELAY_PORT", "sctp://10.0.0.7:80")])
def test_what_kubernetes_sets_for_a_service_is_no_setting(tmp_path, name, value):
    assert warnings(tmp_path, **GOOD, **{name: value}) == []
    assert run("check", cwd=tmp_path, **GOOD, PORT=free_port(), **{name: value}).returncode == 0


def test_a_folder_of_the_store_that_others_rule_over_is_told(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(0o700)
    assert warnings(tmp_path, **GOOD) == []
    for mode in (0o777, 0o770, 0o702):
        os.chmod(folder, mode)
        (line,) = warnings(tmp_path, **GOOD)
        assert "DATA_DIR" in line and f"chmod 700 {folder}" in line
    os.chmod(folder, 0o755)
    assert warnings(tmp_path, **GOOD) == []
    (tmp_path / "link").symlink_to(folder)
    (line,) = warnings(tmp_path, **GOOD, DATA_DIR="link")
    assert "symbolic link" in line
    (line,) = warnings(tmp_path, **GOOD, DATA_DIR="link/")
    assert "symbolic link" in line
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
        (line,) = warnings(tmp_path, **GOOD)
        assert "belongs to another user" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a link to another user")
def test_a_link_that_another_user_points_somewhere_is_no_folder_of_the_store(tmp_path):
    (tmp_path / "data").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    (line,) = refused(tmp_path, **GOOD, DATA_DIR="link")
    assert line.startswith("manus: DATA_DIR: ") and "another user" in line
    os.chown(tmp_path / "data", 12345, 12345)
    assert run("settings", cwd=tmp_path, **GOOD, DATA_DIR="link").returncode == 0


def test_a_device_is_no_place_to_write_a_secret_into(tmp_path):
    lines = refused(tmp_path, JWT_SECRET_KEY_FILE="/dev/null")
    assert any(line.startswith("manus: JWT_SECRET_KEY_FILE: ") and "is not a file" in line for line in lines) and "write the secret into it" not in "".join(lines)


@pytest.mark.parametrize("name, value", [("REDIS_PORT", "tcp://10.0.0.7:6379"), ("EMAIL_PORT", "udp://10.0.0.7:25"), ("REDIS_PORT", "sctp://10.0.0.7:6379")])
def test_a_setting_that_kubernetes_overwrites_is_explained(tmp_path, name, value):
    (line,) = refused(tmp_path, **GOOD, **{name: value})
    assert line.startswith(f"manus: {name}: ") and "enableServiceLinks: false" in line


@pytest.mark.parametrize("given, sent", [("https://a.example:443", "https://a.example"), ("http://a.example:80", "http://a.example"), ("https://a.example:80", "https://a.example:80"),
                                         ("http://a.example:443", "http://a.example:443"), ("http://[::1]:80", "http://[::1]"), ("https://a.example", "https://a.example")])
def test_origins_are_brought_to_the_form_that_browsers_send(start, given, sent):
    manus = start(CORS_ORIGINS=f"https://b.example,{given}", PUBLIC_URL=given)
    reply = manus.get("/api/v1/health", headers={"Origin": sent})
    assert reply.headers.get("Access-Control-Allow-Origin") == sent


@pytest.mark.parametrize("name", ["CORS_ORIGINS", "PUBLIC_URL", "BILLING_URL"])
@pytest.mark.parametrize("value", ["https://a.example:0443", "http://a.example:080", "http://a.example:00", "http://a.example:", "https://a.example:65536"])
def test_a_port_that_no_browser_writes_is_refused(tmp_path, name, value):
    (line,) = refused(tmp_path, **GOOD, **{name: value})
    assert line.startswith(f"manus: {name}: ")


@pytest.mark.parametrize("value", ["https://127.1", "https://0x7f.0.0.1", "https://01.02.03.04", "https://256.256.256.256", "https://1.2.3.4.5", "https://a..example", "https://A.example", "http://[2001:DB8::1]", "http://[2001:db8:0::1]"])
def test_an_origin_in_a_spelling_that_no_browser_sends_is_refused(tmp_path, value):
    (line,) = refused(tmp_path, **GOOD, CORS_ORIGINS=value)
    assert line.startswith("manus: CORS_ORIGINS: ")


@pytest.mark.parametrize("value", ["${STRIPE_WEBHOOK_SECRET:-a,b}", "whsec_...", "whsec_good0123456789,{{ .Values.webhook }}", "{{ .Values.a, b }}"])
def test_a_list_of_secrets_is_looked_at_whole(tmp_path, value):
    lines = refused(tmp_path, **GOOD, STRIPE_SECRET_KEY="sk_test_abcdefgh12345678", STRIPE_WEBHOOK_SECRET=value)
    assert [line for line in lines if line.startswith("manus: STRIPE_WEBHOOK_SECRET: is a template")]


@pytest.mark.parametrize("key", ["sk_live_abcdefgh12345678", "rk_live_abcdefgh12345678"])
def test_a_live_stripe_key_goes_to_https_only(tmp_path, key):
    live = {**GOOD, "STRIPE_SECRET_KEY": key, "STRIPE_WEBHOOK_SECRET": "whsec_x"}
    for base in ("http://api.stripe.example", "http://127.0.0.1:12111", "http://localhost"):
        (line,) = refused(tmp_path, **live, STRIPE_API_BASE=base)
        assert line.startswith("manus: STRIPE_API_BASE: ") and key not in line
    assert run("settings", cwd=tmp_path, **live, STRIPE_API_BASE="https://stripe.example").returncode == 0
    assert run("settings", cwd=tmp_path, **{**live, "STRIPE_SECRET_KEY": key.replace("live", "test")}, STRIPE_API_BASE="http://127.0.0.1:12111").returncode == 0


def test_limits_can_be_switched_off_by_name_already(tmp_path):
    for value in ("true", "false", "1", "0", "yes", "no", "on", "off", "True"):
        assert run("settings", cwd=tmp_path, **GOOD, RATE_LIMIT_ENABLED=value).returncode == 0


def test_the_sample_is_refused_until_a_key_is_put_in_and_then_taken(tmp_path):
    sample = run("settings", "--env", cwd=tmp_path).stdout
    (tmp_path / ".env").write_text(sample)
    os.chmod(tmp_path / ".env", stat.S_IRUSR)
    (line,) = refused(tmp_path)
    assert "JWT_SECRET_KEY" in line
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").write_text(sample.replace("JWT_SECRET_KEY=\n", f"JWT_SECRET_KEY={KEY}\n"))
    os.chmod(tmp_path / ".env", stat.S_IRUSR)
    done = run("settings", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_old_systems_own_environment_starts_it(start):
    """As its containers set it, but for the database, which this version does not serve."""
    start(LOG_LEVEL="info", JWT_ALGORITHM="HS256", PASSWORD_SALT="", PASSWORD_HASH_ROUNDS=10, PASSWORD_HASH_ALGORITHM="pbkdf2_sha256",
          AUTH_PROVIDER="password", REDIS_PASSWORD="", MODEL_NAME="gpt", SANDBOX_IMAGE="x", API_BASE="y", EMAIL_HOST="", MONGODB_DATABASE="manus",
          STRIPE_SECRET_KEY="", SENTRY_DSN="", S3_BUCKET="")


@pytest.mark.parametrize("settings, status, said", [
    ({"UNVERIFIED_MAY": "nothing"}, 78, "UNVERIFIED_MAY: nobody could confirm"), ({"EMAIL_VERIFICATION": "true"}, 0, "EMAIL_VERIFICATION: is on, but no mail"),
    ({"EMAIL_VERIFICATION": "true", "EMAIL_HOST": "127.0.0.1"}, 0, "EMAIL_HOST: is set, but there is no sender"),
    ({"UNVERIFIED_MAY": "nothing", "EMAIL_HOST": "127.0.0.1", "EMAIL_FROM": "a@example.com"}, 0, "")])
def test_in_production_addresses_are_confirmed_only_where_mail_can_be_sent(tmp_path, settings, status, said):
    done = run("settings", cwd=tmp_path, **{**DEFAULTS, "ENVIRONMENT": "production", **settings})
    assert done.returncode == status and said in done.stderr, done.stderr


def test_a_store_in_the_working_folder_is_not_left_for_an_empty_one_beside_the_file_of_settings(tmp_path):
    work, etc = tmp_path / "work", tmp_path / "etc"
    for folder in (work, work / "data", etc):
        folder.mkdir()
    (work / "data" / "manus.sqlite").write_bytes(b"a store")
    for line in ("", "DATA_DIR=data\n", "DATA_DIR=./data\n"):
        (etc / "manus.env").write_text(f"JWT_SECRET_KEY={KEY}\n{line}")
        (etc / "manus.env").chmod(0o600)
        for command in ("serve", "check"):
            done = run(command, "--env-file", "../etc/manus.env", cwd=work)
            assert done.returncode == 78 and f"no store in {etc}/data, but there is one in {work}/data: set DATA_DIR={work}/data" in done.stderr, done
    assert not (etc / "data").exists()
    (etc / "data").mkdir()
    (etc / "data" / "manus.sqlite").write_bytes(b"a store")
    shown = run("check", "--env-file", "../etc/manus.env", cwd=work)
    assert shown.returncode == 69 and f"SQLite in {etc}/data: " in shown.stdout and ".." not in shown.stdout, shown
