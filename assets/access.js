// What assistive technology needs and the components do not say by themselves.
(function () {
  "use strict";

  /** A menu's or popover's state belongs to its button, not to the box around it. */
  function hand(box) {
    if (box.tagName !== "DIV" || box.hasAttribute("role")) return;
    const button = box.querySelector("button");
    if (!button) return;
    for (const name of ["aria-haspopup", "aria-expanded", "aria-controls"]) {
      if (!box.hasAttribute(name)) continue;
      button.setAttribute(name, box.getAttribute(name));
      box.removeAttribute(name);
    }
  }

  const WATCHED = { subtree: true, childList: true, attributeFilter: ["aria-expanded", "aria-haspopup", "aria-controls"] };
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "attributes") hand(target);
      else addedNodes.forEach((node) => node.querySelectorAll?.("div[aria-haspopup]").forEach(hand));
    }
  }).observe(document.documentElement, WATCHED);

  // the skip link moves the focus, whatever the address says
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.(".skip-link")) return;
    event.preventDefault();
    document.getElementById("main")?.focus();
  });
})();
