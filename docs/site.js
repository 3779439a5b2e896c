// The theme gives several landmarks of a page the same name, or none. A screen reader needs to tell them apart.
function mend() {
  document.querySelectorAll("nav.md-code__nav").forEach((nav, n) => {
    if (!nav.ariaLabel) nav.ariaLabel = `Code block ${n + 1}`;
  });
  document.querySelectorAll(".md-nav .md-nav").forEach((nav, n) => {
    const label = document.getElementById(nav.getAttribute("aria-labelledby"));
    if (!nav.ariaLabel) nav.ariaLabel = `${label ? label.innerText.trim() : "Pages"}, list ${n + 1}`;
    nav.removeAttribute("aria-labelledby");
  });
  // What scrolls can be scrolled with the keyboard.
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((one) => (one.tabIndex = 0));
}
mend();
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
