"use strict";

const form = document.getElementById("form");
const request = document.getElementById("ask");
const reset = document.getElementById("reset");
const isForgotten = location.hash === "#forgotten";
const token = isForgotten ? "" : location.hash.slice(1);

async function confirmAddress(event) {
  event.preventDefault();
  if (!(await send(form, "verify-email", token === "" ? {} : { token })).ok) return;
  form.querySelector("button").disabled = true;
  document.getElementById("next").hidden = false;
}

async function askForCode(event) {
  event.preventDefault();
  if ((await send(request, "send-verification-code", {})).ok) reset.hidden = false;
}

async function choosePassword(event) {
  event.preventDefault();
  if (!(await send(reset, "reset-password", { email: request.elements.email.value })).ok) return;
  reset.querySelector("button").disabled = true;
  document.getElementById("next").hidden = false;
}

document.getElementById("other").hash = location.hash;
document.getElementById("unknown").open = isForgotten;
document.querySelectorAll(token === "" ? ".by-link" : ".by-code").forEach((part) => part.remove());
form.addEventListener("submit", confirmAddress);
request.addEventListener("submit", askForCode);
reset.addEventListener("submit", choosePassword);
