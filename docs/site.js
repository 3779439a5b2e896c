// The theme gives several landmarks of a page the same name, or none. A screen reader needs to tell them apart.
function name() {
  document.querySelectorAll("nav.md-code__nav").forEach((nav, n) => {
    if (!nav.ariaLabel) nav.ariaLabel = `Code block ${n + 1}`;
  });
  document.querySelectorAll(".md-nav .md-nav").forEach((nav, n) => {
    const label = document.getElementById(nav.getAttribute("aria-labelledby"));
    if (!nav.ariaLabel) nav.ariaLabel = `${label ? label.innerText.trim() : "Pages"}, list ${n + 1}`;
    nav.removeAttribute("aria-labelledby");
  });
}
name();
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
