"use strict";

const status = document.getElementById("status");
const checks = document.getElementById("checks");
const form = document.getElementById("form");
const outcome = document.getElementById("outcome");

function showCheck(name, check) {
  const term = document.createElement("dt");
  const details = document.createElement("dd");
  term.textContent = name;
  details.textContent = checks.dataset[check.status];
  details.title = check.message;
  details.className = { healthy: "good", unhealthy: "bad" }[check.status] ?? "";
  checks.append(term, details);
}

async function showStatus() {
  let report;
  try {
    report = await (await fetch("/api/v1/ready", { signal: AbortSignal.timeout(5000) })).json();
  } catch {
    report = { status: "unreachable", checks: {} };
  }
  status.textContent = status.dataset[report.status] ?? report.status;
  status.className = { ready: "good", degraded: "" }[report.status] ?? "bad";
  checks.replaceChildren();
  Object.entries(report.checks).forEach(([name, check]) => showCheck(name, check));
}

async function signUp(event) {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  outcome.textContent = "";
  try {
    const reply = await fetch("/api/v1/auth/register", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    const body = await reply.json();
    outcome.className = reply.ok ? "good" : "bad";
    outcome.textContent = reply.ok ? `${form.dataset.welcome}, \u2068${body.data.user.fullname}\u2069` : body.msg;
    if (reply.ok) form.reset();
  } catch {
    outcome.className = "bad";
    outcome.textContent = form.dataset.failed;
  } finally {
    button.disabled = false;
  }
}

form.addEventListener("submit", signUp);
showStatus();
setInterval(showStatus, 15000);
