"use strict";

const language = document.documentElement.lang;

function duration(seconds) {
  const unit = seconds < 100 ? "second" : "minute";
  const amount = unit === "second" ? seconds : Math.ceil(seconds / 60);
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(amount);
}

// The text for people in place of one of the wire; undefined if the table has none.
function textFor(said) {
  const forms = [said, said.replace(/\d+/g, "N"), said.replace(/: .*/s, ": NAME"), said.replace(/: .*/s, ": ID"), said.replace(/\([^)]*\)/, "(NAME)")];
  return texts[forms.find((form) => Object.hasOwn(texts, form))]?.[language];
}

// What a refusal means, in the language of the page.
function explain(status, body) {
  const detail = Array.isArray(body.detail) ? body.detail[0]?.msg?.replace(/^Value error, /, "") : body.detail;
  const given = detail ?? body.message ?? body.msg;
  const said = typeof given === "string" ? given : "";
  const known = textFor(said);
  const text = known ?? (said !== "" && language === "en" ? said : texts["HTTP N"][language]);
  const numbers = known === undefined ? [status] : said.match(/\d+/g) ?? [];
  return text.replace("TIME", () => duration(body.retry_after ?? Number(numbers[0]))).replace(/\bN\b/g, () => numbers.shift());
}

// { ok, data } or { ok: false, text }: never throws.
async function ask(method, path, body, token) {
  const headers = { "Accept-Language": language };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  let reply, said;
  try {
    reply = await fetch(`/api/v1/auth/${path}`, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    return { ok: false, text: texts["No answer"][language] };
  }
  try {
    said = (await reply.json()) ?? {};
  } catch {
    said = {};
  }
  return reply.ok ? { ok: true, data: said.data } : { ok: false, text: explain(reply.status, said) };
}

function say(at, text, isGood) {
  at.className = isGood ? "good" : "bad";
  at.textContent = text;
}

// Sends what the form holds, and more; says what went wrong.
async function send(form, path, more, token) {
  const button = form.querySelector("button");
  const outcome = form.querySelector("[role=alert]") ?? document.getElementById("outcome");
  button.disabled = true;
  say(outcome, "", false);
  const reply = await ask("POST", path, { ...Object.fromEntries(new FormData(form)), ...more }, token);
  button.disabled = false;
  say(outcome, reply.ok ? form.dataset.done ?? "" : reply.text, reply.ok);
  return reply;
}
