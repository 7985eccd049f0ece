// Keys: an element with data-key="a" is clicked (or, with data-focus, its target focused) when that key is pressed.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const writing = event.target.closest("textarea, input:not([type=radio]):not([type=checkbox]):not([type=range]), select, dialog[open]");
  if (writing) {
    if (event.key === "Escape" && writing.tagName !== "DIALOG") writing.blur();
    return;
  }
  const key = { " ": "space", Backspace: "backspace" }[event.key] || event.key.toLowerCase();
  const wanted = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!wanted) return;
  if (key === "space" && event.target.closest("button, a, summary, input") && event.target !== wanted) {
    event.target.blur();
  }
  event.preventDefault();
  if (wanted.dataset.focus) document.getElementById(wanted.dataset.focus).focus();
  else wanted.click();
});
document.addEventListener("click", (event) => {
  const opens = event.target.closest("[data-dialog]");
  if (opens) {
    const dialog = document.getElementById(opens.dataset.dialog);
    dialog.open ? dialog.close() : dialog.showModal();
  }
});
// A form is sent once: a second click while the answer is on its way does nothing.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  else if (!event.target.hasAttribute("data-again")) event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));
// Pictures: window (brightness, contrast) and zoom of all pictures of the page; a zoomed picture is moved by its scroll bars.
const show = (panel) => {
  const value = (name) => panel.querySelector(`[name=${name}]`).value / 100;
  document.querySelectorAll("[data-picture]").forEach((picture) => {
    picture.style.filter = `brightness(${value("brightness")}) contrast(${value("contrast")})`;
    picture.style.width = `${100 * value("zoom")}%`;
  });
};
document.addEventListener("input", (event) => {
  const panel = event.target.closest("[data-window]");
  if (panel) show(panel);
});
document.addEventListener("click", (event) => {
  const panel = event.target.closest("[data-reset]") && event.target.closest("[data-window]");
  if (!panel) return;
  panel.querySelectorAll("input").forEach((input) => { input.value = input.defaultValue; });
  show(panel);
});
