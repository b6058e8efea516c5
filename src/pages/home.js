"use strict";

const status = document.getElementById("status");
const checks = document.getElementById("checks");
const account = document.getElementById("account");
const confirmation = document.getElementById("confirm");
const outcome = document.getElementById("outcome");
const { provider, confirms } = document.querySelector("main").dataset;

// In memory only: who reloads the page logs in again.
let token;
let email;

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
    report = { status: "unreachable" };
  }
  status.textContent = status.dataset[report.status] ?? status.dataset.unreachable;
  status.className = { ready: "good", degraded: "" }[report.status] ?? "bad";
  checks.replaceChildren();
  Object.entries(report.checks ?? {}).forEach(([name, check]) => showCheck(name, check));
}

function showVisitors(areVisitors) {
  document.querySelectorAll(".visitors").forEach((part) => { part.hidden = !areVisitors; });
  account.hidden = areVisitors;
  if (provider === "local") document.querySelectorAll('[href="#sign-up"], [aria-labelledby="sign-up"], .passwords').forEach((part) => { part.hidden = true; });
}

// Asks who one is, and shows it.
async function showAccount() {
  const me = await ask("GET", "me", undefined, token);
  const preferences = await ask("GET", "preferences", undefined, token);
  if (!me.ok) return say(outcome, me.text, false);
  const words = account.querySelector("dl").dataset;
  const isConfirmed = preferences.ok && preferences.data.email_verified;
  email = me.data.email;
  document.getElementById("me-fullname").textContent = me.data.fullname;
  document.getElementById("me-email").textContent = email;
  document.getElementById("me-role").textContent = words[me.data.role];
  document.getElementById("me-confirmed").textContent = words[isConfirmed];
  confirmation.hidden = isConfirmed || confirms !== "true";
  document.getElementById("logout").hidden = provider === "none";
  showVisitors(false);
}

async function enter(event) {
  event.preventDefault();
  const form = event.target;
  const reply = await send(form, form.id);
  if (!reply.ok) return;
  token = reply.data.access_token;
  form.reset();
  say(outcome, "", true);
  await showAccount();
  document.getElementById("account-title").focus();
}

async function confirmAddress(event) {
  event.preventDefault();
  const reply = await send(confirmation, "verify-email", { email }, token);
  if (!reply.ok) return;
  confirmation.reset();
  await showAccount();
}

async function mailAgain() {
  const reply = await ask("POST", "send-email-verification", {}, token);
  say(outcome, reply.ok ? confirmation.dataset.again : reply.text, reply.ok);
}

async function leave() {
  const reply = await ask("POST", "logout", {}, token);
  if (!reply.ok) say(outcome, reply.text, false);
  token = undefined;
  showVisitors(true);
  document.querySelector("#login input").focus();
}

document.getElementById("register").addEventListener("submit", enter);
document.getElementById("login").addEventListener("submit", enter);
document.getElementById("again").addEventListener("click", mailAgain);
document.getElementById("logout").addEventListener("click", leave);
confirmation.addEventListener("submit", confirmAddress);
showVisitors(true);
if (provider === "none") showAccount();
showStatus();
setInterval(showStatus, 15000);
