// Comfort only: every page works without this script, and the portal checks everything itself.
"use strict";

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
  } else if (form.method === "post" && !form.target) {
    form.dataset.sent = "yes";
  }
});
addEventListener("pageshow", () => {
  for (const form of document.forms) {
    delete form.dataset.sent;
  }
});

// Criteria of a new password, ticked or crossed by the portal while it is typed.
for (const field of document.querySelectorAll("[data-check]")) {
  let asked = 0;
  field.addEventListener("input", async () => {
    const number = ++asked;
    const csrf = field.form.elements.csrf.value;
    const body = new URLSearchParams({ csrf, password: field.value });
    const answer = await fetch(field.dataset.check, { method: "POST", body }).catch(() => null);
    if (!answer || !answer.ok || number !== asked) {
      return;
    }
    for (const { id, satisfied } of await answer.json()) {
      const entry = document.getElementById(`criterion-${id}`);
      entry.classList.toggle("met", satisfied);
      entry.classList.toggle("unmet", !satisfied);
      entry.querySelector(".state").textContent = satisfied ? ": met" : ": not met";
    }
  });
}

// Attachments that are too large are refused before anything of them is sent.
for (const field of document.querySelectorAll("[data-most]")) {
  const error = document.getElementById(`${field.id}-error`);
  const check = () => {
    const size = [...field.files].reduce((sum, file) => sum + file.size, 0);
    const tooLarge = size > Number(field.dataset.most);
    error.hidden = !tooLarge;
    error.textContent = error.dataset.over;
    field.setCustomValidity(tooLarge ? error.textContent : "");
    return !tooLarge;
  };
  field.addEventListener("change", check);
}

// What is taken back while it is shown leaves the page, and so does what was shown to somebody who has logged out.
const shown = document.querySelector("[data-still]");
if (shown) {
  const look = async () => {
    if (document.hidden) {
      return;
    }
    const answer = await fetch(shown.dataset.still, { redirect: "manual" }).catch(() => null);
    if (answer && (answer.type === "opaqueredirect" || [403, 404, 410].includes(answer.status))) {
      location.reload();
    }
  };
  setInterval(look, 30_000);
  document.addEventListener("visibilitychange", look);
}
