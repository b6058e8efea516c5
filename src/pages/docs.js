"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const viewer = document.getElementById("viewer");

function followColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

function set(selector, attributes) {
  viewer.querySelectorAll(selector).forEach((part) => {
    Object.entries(attributes).forEach(([name, value]) => { if (part.getAttribute(name) !== value) part.setAttribute(name, value); });
  });
}

// What Swagger UI leaves out for those who do not see the page.
function helpReaders() {
  set(".information-container", { role: "region", "aria-label": "About this API" });
  set(".schemes-server-container", { role: "region", "aria-label": "Server and login" });
  set("#servers", { "aria-label": "Server" });
  set("h3.opblock-tag, section.models > h4", { role: "heading", "aria-level": "2" });
  set(".opblock-body h4", { role: "heading", "aria-level": "3" });
  // A link in a button: the button does the same.
  viewer.querySelectorAll(".opblock-summary-path a[href]").forEach((link) => link.removeAttribute("href"));
}

dark.addEventListener("change", followColours);
followColours();
new MutationObserver(helpReaders).observe(viewer, { childList: true, subtree: true });
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  validatorUrl: null,
});
