// Key presses for what a page offers anyway: the element whose data-key is pressed is clicked, or focused if it is a
// field; j and k move along links with data-row. Nothing here is needed: every page works without it.
"use strict";

const rows = () => Array.from(document.querySelectorAll("a[data-row]"));

const step = (by) => {
  const all = rows();
  const at = all.indexOf(document.activeElement);
  const to = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
  all[to].focus();
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const { target } = event;
  if (target instanceof Element && target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const named = Array.from(document.querySelectorAll("[data-key]")).find((one) => one.dataset.key === event.key);
  if (named) {
    event.preventDefault();
    if (named.matches("input")) named.focus();
    else named.click();
  } else if ((event.key === "j" || event.key === "k") && rows().length > 0) {
    event.preventDefault();
    step(event.key === "j" ? 1 : -1);
  }
});
