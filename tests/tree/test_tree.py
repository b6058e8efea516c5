"""The tree itself: what is derived equals its source, and the house rules hold."""
import pathlib
import re
import subprocess

from manus import BINARY, ROOT

SOURCES = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".c", ".h", ".def"))
BELOW = {
    "core": {"core"},
    "http": {"core", "http"},
    "store": {"core", "store"},
    "job": {"core", "store", "job"},
    "remote": {"core", "remote"},
    "mail": {"core", "store", "job", "remote", "mail"},
    "account": {"core", "store", "remote", "mail", "account", "limit"},
    "billing": {"core", "store", "job", "remote", "mail", "billing"},
    "limit": {"core", "remote", "limit"},
    "watch": {"core", "store", "remote", "watch"},
    "api": {"core", "http", "store", "job", "remote", "account", "billing", "mail", "watch", "limit", "api"},
    "cli": {"core", "http", "store", "job", "remote", "account", "billing", "mail", "watch", "limit", "api", "cli"},
}
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|system|popen|rand|srand|alloca|tmpnam)\s*\(")


def prints(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=True).stdout


def code(path):
    """Without comments and texts."""
    text = re.sub(r'"(\\.|[^"\\])*"', '""', path.read_text())
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)


def test_the_docs_hold_what_the_tables_print():
    assert prints("settings", "--env") == (ROOT / ".env.example").read_text(), "run: build/manus settings --env > .env.example"
    assert prints("settings", "--markdown") == (ROOT / "docs" / "settings.md").read_text(), \
        "run: build/manus settings --markdown > docs/settings.md"
    assert prints("routes") in (ROOT / "docs" / "routes.md").read_text(), "put what build/manus routes prints into docs/routes.md"
    assert prints("errors") == (ROOT / "docs" / "errors.md").read_text(), "run: build/manus errors > docs/errors.md"
    assert prints("metrics") == (ROOT / "docs" / "metrics.md").read_text(), "run: build/manus metrics > docs/metrics.md"


def test_one_table_names_every_metric_and_one_module_prints_them():
    names = set(re.findall(r'"(manus_\w+)"', (ROOT / "src" / "core" / "metrics.def").read_text()))
    assert len(names) > 40
    for path in SOURCES:
        text = path.read_text()
        assert path.name == "metrics.def" or not [name for name in names if re.search(rf"\b{name}\b", text)], path
        assert path.name == "metrics.c" or "# TYPE" not in text, path
    for path in {*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")} - {ROOT / "docs" / "metrics.md"}:
        told = set(re.findall(r"`(manus_\w+)", path.read_text()))
        assert {name for name in told if re.sub(r"_(bucket|sum|count)$", "", name) not in names} == set(), path


def test_the_page_of_examples_is_made_from_the_openapi_document():
    made = subprocess.run([ROOT / "scripts" / "api-examples"], input=prints("openapi"), capture_output=True, text=True, check=True).stdout
    assert made == (ROOT / "docs" / "api.md").read_text(), "run: build/manus openapi | scripts/api-examples > docs/api.md"


def test_folders_depend_on_each_other_one_way():
    wrong = []
    for path in SOURCES:
        folder = path.relative_to(ROOT / "src").parts[0]
        for include in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
            if folder in BELOW and "/" in include and include.split("/")[0] not in BELOW[folder]:
                wrong.append(f"{path}: {include}")
    assert wrong == []


def test_what_writes_leaves_the_threads_that_read_alone():
    rows = re.split(r"\{\.method = ", (ROOT / "src" / "api" / "routes.c").read_text())[1:]
    assert len(rows) > 40
    assert [row.split("\n")[1].strip() for row in rows if not row.startswith(('"GET"', '"*"')) and ".lane = LANE_STORE" in row] == []


def test_one_module_knows_the_http_parser():
    users = {path.name for path in SOURCES if "<llhttp.h>" in path.read_text()}
    assert users == {"message.h"}


def test_one_module_starts_threads_so_that_signals_go_to_the_main_one():
    assert [path.name for path in SOURCES if re.search(r"\bpthread_create\(&|\bpthread_create\(\w+,", code(path))] == ["thread.c"]


def test_nobody_but_the_store_knows_which_one_it_is():
    """Others open it by the settings. Its own tests are named after it."""
    paths = [path for path in SOURCES if path.parent.name != "store"] + [*(ROOT / "tests").rglob("*.[ch]")]
    wrong = [path for path in paths if not path.name.startswith("test_sqlite")
             and (re.search(r"sqlite", code(path), re.I) or re.search(r'#include "store/sqlite', path.read_text()))]
    assert wrong == []


def test_one_module_copies_the_log_of_the_store():
    """It notes that the file has changed; what was not noted is taken for a foreign file after a crash."""
    users = {path.name for path in SOURCES if "sqlite3_wal_checkpoint" in code(path)}
    assert users == {"sqlite_seal.c"}


def test_json_is_written_by_the_writer_alone():
    """In what answers requests, no brackets, names or commas by hand. The exempt tell of JSON in prose, or hold one constant refusal."""
    by_hand = re.compile(r'(?<!%s)\\":|"\{\\"|\blen - 1\] = \'\}\'')
    sources = [path for folder in ("account", "api", "billing", "http") for path in (ROOT / "src" / folder).glob("*.c")]
    wrong = [f"{path}: {line.strip()}" for path in sources if path.name not in ("openapi.c", "errors.c", "plans.c", "connection_bounds.c")
             for line in path.read_text().splitlines() if by_hand.search(line)]
    assert wrong == []


def test_no_banned_function_is_called():
    assert [f"{path}: {found[0]}" for path in SOURCES for found in [BANNED.findall(code(path))] if found] == []


def test_nothing_is_left_behind():
    pattern = re.compile("|".join(["TO" + "DO", "FIX" + "ME", r"\b" + "X" * 3 + r"\b", "HA" + "CK"]))
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wrong = [name for name in files if (ROOT / name).is_file() and pattern.search((ROOT / name).read_text(errors="replace"))]
    assert wrong == []


def test_every_source_includes_its_header_first_and_every_header_says_what_it_is():
    for path in SOURCES:
        header = path.with_suffix(".h")
        if path.suffix == ".c" and header.exists():
            first = re.search(r'^#include (.+)$', path.read_text(), re.M)[1]
            assert first == f'"{header.relative_to(ROOT / "src")}"', path
        if path.suffix == ".h":
            assert path.read_text().startswith("/* "), path
            assert "#pragma once" in path.read_text(), path


def test_lines_fit_a_screen():
    assert [f"{path}:{i}" for path in SOURCES for i, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 100] == []


def test_every_relative_link_of_the_docs_leads_somewhere():
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text()):
            target = path.parent / pathlib.Path(link.strip("\u200e")) if link else path
            assert target.exists(), f"{path}: {link}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M) if anchor else []
            assert not anchor or anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, f"{path}: {link}#{anchor}"


def test_every_text_with_which_a_request_is_refused_is_told_to_people():
    """Refusals begin with a capital, what is for the log alone does not; ERR_STRIPE_DOWN's texts are for the log, those of operations for operators."""
    told = {re.sub(r'"\s*"', "", text) for text in re.findall(r'^PHRASE\("((?:[^"]|"\s*")*?)"(?=,)', (ROOT / "src" / "core" / "phrases.def").read_text(), re.M)}
    sources = [path for folder in ("account", "api") for path in (ROOT / "src" / folder).glob("*.c") if not path.name.startswith("operat")]
    sources += [ROOT / "src" / "billing" / name for name in ("billing.c", "checkout.c", "entitlement.c")]
    texts = []
    for path in sources:
        for call in re.findall(r'(?:\b(?:fail|deny)\((?![^;"]*ERR_STRIPE_DOWN)[^;"]*|\breturn (?:mem_printf\(mem,\s*)?)((?:"[^"]*"\s*)+)', path.read_text()):
            text = re.sub(r'"\s*"|^"|"\s*$', "", call)
            forms = {re.sub(r"%(lld|d)", "N", text.replace("(%s)", "(NAME)").replace(": %s", form).replace("ends on %s", "ends on N-N-N")) for form in (": NAME", ": ID")}
            if re.match(r"[A-Z][a-z]", text):
                texts.append(text)
                assert forms & told, f"{path.name}: {text}"
    assert len(texts) > 50
