"use strict";

const form = document.getElementById("form");
const ask = document.getElementById("ask");
const reset = document.getElementById("reset");
const token = location.hash.slice(1);

function say(at, text, isGood) {
  const outcome = at.querySelector("[role=alert]");
  outcome.className = isGood ? "good" : "bad";
  outcome.textContent = text;
}

// Sends what the form holds, and more; says what came of it, and returns whether it went well.
async function send(at, path, more) {
  const button = at.querySelector("button");
  let done = false;
  button.disabled = true;
  try {
    const reply = await fetch(`/api/v1/auth/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...Object.fromEntries(new FormData(at)), ...more }),
    });
    done = reply.ok;
    const body = await reply.json();
    say(at, done ? at.dataset.done : body.msg ?? body.message, done);
  } catch {
    say(at, form.dataset.failed, false);
  }
  button.disabled = done && at !== ask;
  return done;
}

async function confirmAddress(event) {
  event.preventDefault();
  await send(form, "verify-email", { token });
}

async function askForCode(event) {
  event.preventDefault();
  if (await send(ask, "send-verification-code", {})) reset.hidden = false;
}

async function choosePassword(event) {
  event.preventDefault();
  await send(reset, "reset-password", { email: ask.elements.email.value });
}

document.getElementById("other").hash = location.hash;
if (token === "") {
  form.querySelector("button").disabled = true;
  say(form, form.dataset.missing, false);
}
form.addEventListener("submit", confirmAddress);
ask.addEventListener("submit", askForCode);
reset.addEventListener("submit", choosePassword);
