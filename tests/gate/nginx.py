"""Real nginx with the configuration of deploy/nginx, on ports of its own."""
import os
import pathlib
import shutil
import subprocess
import time

from manus import ROOT, free_port

BINARY = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIGURATION = ROOT / "deploy" / "nginx" / "manus.conf"


class Nginx:
    """manus and application: the ports behind it."""

    def __init__(self, folder, manus, application):
        self.folder = pathlib.Path(folder)
        self.port = self.between = free_port()
        while self.between == self.port:
            self.between = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        text = CONFIGURATION.read_text()
        for old, new in (("server 127.0.0.1:8000", f"server 127.0.0.1:{manus}"), ("server 127.0.0.1:3000", f"server 127.0.0.1:{application}"),
                         ("127.0.0.1:8001", f"127.0.0.1:{self.between}"), ("listen 80;", f"listen 127.0.0.1:{self.port};")):
            assert old in text, f"{CONFIGURATION} has no {old}"
            text = text.replace(old, new)
        (self.folder / "manus.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 2; pid nginx.pid; error_log error.log info; {"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include manus.conf;
}}
""")

    def __enter__(self):
        assert pathlib.Path(BINARY).exists(), "nginx is missing: run scripts/deps test"
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen([BINARY, "-p", self.folder, "-c", "nginx.conf", "-e", "error.log"], stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while not (self.folder / "nginx.pid").exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def said(self):
        return "".join(path.read_text() for name in ("output", "error.log") if (path := self.folder / name).exists())
