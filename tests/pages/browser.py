"""Chromium, driven through the pipe of its DevTools protocol: pages are opened, filled in, clicked and read."""
import json
import os
import shutil
import subprocess
import time

from manus import SLOW


class Browser:
    """One tab. complaints: what the browser said on its console, such as of the Content-Security-Policy."""

    def __init__(self, folder):
        program = shutil.which("chromium")
        assert program, "chromium is missing: run scripts/deps test"
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()

        def connect():
            # Behind 10, so that neither is lost by being put where the other is.
            read, write = os.dup2(to_browser, 20), os.dup2(from_browser, 21)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/browser",
             "--remote-debugging-pipe", "about:blank"], preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.rest, self.complaints, self.session = 0, b"", [], None
        page = next(target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.read()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]

    def read(self):
        while b"\0" not in self.rest:
            more = os.read(self.into, 1 << 16)
            assert more, "the browser ended"
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(line)
        entry = message.get("params", {}).get("entry", {})
        # A refused request is no fault of a page.
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled") or (entry and entry.get("source") != "network"):
            self.complaints.append(message["params"])
        return message

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, condition):
        deadline = time.monotonic() + 20 * SLOW
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, (condition, self.run("document.body.innerText"))
            time.sleep(0.05)

    def fill(self, form, **values):
        """Types into the fields of a form, and sends it as a person would: nothing is sent that a field does not take."""
        for name, value in values.items():
            self.run(f"document.querySelector('{form} [name={name}]').focus()")
            self.run(f"document.querySelector('{form} [name={name}]').value = ''")
            self.call("Input.insertText", text=value)
        self.click(f"{form} button")

    def click(self, selector):
        self.run(f"document.querySelector('{selector}').click()")

    def shows(self, text):
        """Waits until a reader sees the text."""
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def text(self, selector):
        return self.run(f"document.querySelector('{selector}').innerText")

    def is_seen(self, selector):
        return self.run(f"document.querySelector('{selector}')?.checkVisibility() ?? false")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.into)
