"use strict";

const form = document.getElementById("form");
const outcome = document.getElementById("outcome");
const token = location.hash.slice(1);

function say(text, isGood) {
  outcome.className = isGood ? "good" : "bad";
  outcome.textContent = text;
}

async function confirmAddress(event) {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const reply = await fetch("/api/v1/auth/verify-email", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    say(reply.ok ? form.dataset.done : (await reply.json()).msg, reply.ok);
    button.disabled = reply.ok;
  } catch {
    say(form.dataset.failed, false);
    button.disabled = false;
  }
}

document.getElementById("other").hash = location.hash;
if (token === "") {
  form.querySelector("button").disabled = true;
  say(form.dataset.missing, false);
}
form.addEventListener("submit", confirmAddress);
