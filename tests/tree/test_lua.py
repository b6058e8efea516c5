"""The scripts that Redis runs: how scripts/embed-lua makes them short, and what it refuses since it would send something else."""
import subprocess

import pytest

from manus import ROOT

LUA = ROOT / "src" / "limit" / "lua"


def embed(folder, script, part="local b = 2\n"):
    (folder / "part.lua").write_text(part)
    (folder / "script.lua").write_text(script)
    return subprocess.run([ROOT / "scripts" / "embed-lua", "out.h", "script.lua"], cwd=folder, capture_output=True, text=True)


def test_comments_indentation_and_empty_lines_are_not_sent(tmp_path):
    done = embed(tmp_path, "-- What it does.\nif a then\n\n  -- include part.lua\nend\n", "-- A part.\n  local b = '  %d'\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.h").read_text() == 'static const char lua_script[] =\n    "if a then\\n"\n    "local b = \'  %d\'\\n"\n    "end\\n";\n'


@pytest.mark.parametrize("script, said", [
    ("local a = 1 -- one\n", "script.lua:1: "), ("\nlocal a = [[b]]\n", "script.lua:2: "), ("local a = \"b\"\n", "script.lua:1: "),
    ("local a = '\\n'\n", "script.lua:1: "), ("-- include part.lua\n-- include no.lua\n", "script.lua: no.lua: "), ("-- include script.lua\n", "script.lua: includes itself")])
def test_what_it_does_not_know_fails_with_its_place(tmp_path, script, said):
    done = embed(tmp_path, script)
    assert done.returncode == 1 and done.stderr.startswith(said), done.stderr


def test_every_script_and_part_is_built_and_used():
    build = (ROOT / "src" / "meson.build").read_text()
    code = (ROOT / "src" / "limit" / "script.c").read_text()
    scripts, parts = sorted(LUA.glob("*.lua")), sorted((LUA / "parts").glob("*.lua"))
    texts = "".join(path.read_text() for path in scripts + parts)
    assert len(scripts) > 5 and len(parts) > 5
    assert [path for path in scripts + parts if f"'{path.relative_to(ROOT / 'src')}'" not in build] == []
    assert [path for path in scripts if f"lua_{path.stem}" not in code] == []
    assert [path for path in parts if f"-- include parts/{path.name}\n" not in texts] == []
