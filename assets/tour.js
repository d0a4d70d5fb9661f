// The tour: points at one thing after the other, page by page. The steps come from pages/_shared/tour.py.
(function () {
  "use strict";

  const STATE = "scetm-tour"; // in sessionStorage: the number of the step
  const OFFERED = "scetm-tour-offered"; // in localStorage
  const PATIENCE = 8000; // milliseconds for a page to bring what a step points at
  const GAP = 12;

  let steps = null, at = -1, root = null, target = null, depth = 0, watcher = null, turn = 0, before = null;

  const hasRun = () => Boolean(window.scetmHere.propsOf("active-run")?.data && document.querySelector("#main .card"));
  const hasPage = (path) => [...document.querySelectorAll("[id*='nav-link']")].some((link) => JSON.parse(link.id).path === path);
  const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

  function find(selector) {
    const name = selector.startsWith("button=") && selector.slice(7);
    const candidates = name
      ? [...document.querySelectorAll("#main button")].filter((button) => (button.ariaLabel || button.textContent).trim() === name)
      : selector.split(",").flatMap((part) => [...document.querySelectorAll(part)]);
    return candidates.find((element) => element.getClientRects().length) ?? null;
  }

  /** What a step points at, once its page is there: an element, "no run", or nothing. */
  async function awaited(step, mine) {
    const end = Date.now() + PATIENCE;
    while (Date.now() < end && mine === turn) {
      if (window.location.pathname === step.page) {
        const found = find(step.selector);
        if (step.needs_run && !hasRun() && document.querySelector("#main .empty-state")) return "no run";
        if (found && !(step.needs_run && !hasRun())) return found;
      }
      await pause(120);
    }
    return null;
  }

  function goTo(path) {
    if (window.location.pathname === path) return;
    const run = new URLSearchParams(window.location.search).get("run") || sessionStorage.getItem(STATE + "-run");
    if (run) sessionStorage.setItem(STATE + "-run", run);
    const isOfRun = !["/", "/data", "/train"].includes(path);
    window.scetmHere.go(path + (isOfRun && run ? "?run=" + encodeURIComponent(run) : ""));
  }

  function button(text, className, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "tour-button " + className;
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  function build() {
    root = document.createElement("div");
    root.className = "tour";
    root.innerHTML =
      '<div class="tour-veil"></div><div class="tour-light"></div>' +
      '<div class="tour-panel" role="dialog" aria-modal="true" aria-labelledby="tour-title" aria-describedby="tour-text" tabindex="-1">' +
      '<p class="tour-count"></p><h2 id="tour-title"></h2><div id="tour-text" aria-live="polite"></div><div class="tour-buttons"></div></div>';
    document.addEventListener("keydown", onKey, true); // wherever the focus is: a dialog that closes hands it elsewhere
    document.body.append(root);
  }

  function onKey(event) {
    const acts = { Escape: end, ArrowRight: () => move(1), ArrowLeft: () => move(-1), Tab: () => keepFocus(event.shiftKey) };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    acts[event.key]();
  }

  /** Tab goes round the buttons of the tour. */
  function keepFocus(backwards) {
    const buttons = [...root.querySelectorAll("button:not([disabled])")];
    const place = buttons.indexOf(document.activeElement);
    buttons[(place + (backwards ? -1 : 1) + buttons.length) % buttons.length]?.focus();
  }

  function fill(step, words, extra) {
    root.querySelector(".tour-count").textContent = `${at + 1} of ${steps.length}`;
    root.querySelector("#tour-title").textContent = step.title;
    root.querySelector("#tour-text").textContent = words;
    const isLast = at === steps.length - 1;
    const back = button("Back", "", () => move(-1));
    back.disabled = at === 0;
    const next = button(isLast ? "Done" : "Next", extra ? "" : "is-first", () => (isLast ? end() : move(1)));
    root.querySelector(".tour-buttons").replaceChildren(button("End", "is-quiet", end), back, ...(extra ? [extra] : []), next);
    (extra ?? next).focus({ preventScroll: true });
  }

  /** Put the light on the target, and the panel where it hides nothing of it. */
  function place() {
    if (!root) return;
    const panel = root.querySelector(".tour-panel"), light = root.querySelector(".tour-light");
    const { innerWidth: width, innerHeight: height } = window;
    const box = target?.isConnected ? target.getBoundingClientRect() : null;
    light.hidden = !box;
    root.classList.toggle("has-light", Boolean(box));
    if (!box) {
      Object.assign(panel.style, { left: `${Math.max(GAP, (width - panel.offsetWidth) / 2)}px`, top: `${(height - panel.offsetHeight) / 2}px` });
      return;
    }
    const top = Math.max(box.top - 6, 4), bottom = Math.min(box.bottom + 6, height - 4);
    Object.assign(light.style, { left: `${Math.max(box.left - 6, 4)}px`, top: `${top}px`,
      width: `${Math.min(box.right + 6, width - 4) - Math.max(box.left - 6, 4)}px`, height: `${Math.max(bottom - top, 0)}px` });
    const below = bottom + GAP, above = top - GAP - panel.offsetHeight, beside = box.right + GAP + 6;
    let left = Math.min(Math.max(box.left, GAP), width - panel.offsetWidth - GAP), y;
    if (below + panel.offsetHeight <= height - GAP) y = below;
    else if (above >= GAP) y = above;
    else {
      y = height - panel.offsetHeight - GAP;
      if (beside + panel.offsetWidth <= width - GAP) [left, y] = [beside, Math.max(GAP, Math.min(top, y))];
    }
    Object.assign(panel.style, { left: `${left}px`, top: `${y}px` });
  }

  async function show(number, by) {
    const mine = ++turn;
    at = number;
    const step = steps[at];
    sessionStorage.setItem(STATE, String(at));
    if (!hasPage(step.page)) return skip(by);
    if (!root) build();
    target = null;
    fill(step, step.text);
    place();
    goTo(step.page);
    const found = await awaited(step, mine);
    if (mine !== turn) return;
    if (found === null) return skip(by);
    if (found === "no run") {
      fill(step, step.text + " There is no trained run yet: train one on the demo data, it takes about a minute.",
        button("Use demo data", "is-first", useDemo));
      return place();
    }
    point(found);
  }

  function point(found) {
    target = found;
    const isTall = found.getBoundingClientRect().height > window.innerHeight * 0.45;
    if (!found.closest("header")) found.scrollIntoView({ block: isTall || window.innerWidth < 600 ? "start" : "center" });
    depth = pushed(found);
    place();
  }

  /** How far down its page an element stands, however the page is scrolled. */
  const pushed = (element) => element.getBoundingClientRect().top + window.scrollY;

  /** Pages may be drawn anew under the light, or grow above it: point at what has taken the place of what is gone or pushed away. */
  function watch() {
    const found = target && (target.isConnected ? target : find(steps[at].selector));
    const isElsewhere = found && (found !== target || (!found.closest("header") && Math.abs(pushed(found) - depth) > 8));
    if (isElsewhere) point(found);
    else place();
  }

  /** Go past a step whose page or thing there is not. */
  function skip(by) {
    const next = at + (by || 1);
    if (next < 0 || next >= steps.length) end();
    else show(next, by || 1);
  }

  function move(by) {
    const next = at + by;
    if (next >= 0 && next < steps.length) show(next, by);
  }

  /** End the tour on the way to the training of the demo data. */
  async function useDemo() {
    end();
    if (window.location.pathname !== "/") window.scetmHere.go("/");
    for (let tries = 0; tries < 80; tries++) {
      if (window.location.pathname === "/train") return;
      const demo = document.getElementById("home-demo");
      if (demo && !demo.disabled) demo.click(); // a button that has just come takes no click for a moment
      await pause(250);
    }
  }

  function end() {
    turn++;
    sessionStorage.removeItem(STATE);
    sessionStorage.removeItem(STATE + "-run");
    clearInterval(watcher);
    document.removeEventListener("keydown", onKey, true);
    root?.remove();
    root = target = null;
    before?.isConnected && before.focus();
  }

  function start(number = 0) {
    steps = JSON.parse(document.getElementById("tour-steps").dataset.steps);
    if (!steps[number]) return end();
    remember();
    window.dash_clientside.set_props("help", { opened: false });
    before = document.getElementById("help-button");
    clearInterval(watcher);
    watcher = setInterval(watch, 200); // figures come late, and move what is below them
    // a closing dialog hands the focus back; the tour takes it afterwards
    setTimeout(() => root?.contains(document.activeElement) || root?.querySelector(".tour-buttons button:last-child")?.focus({ preventScroll: true }), 400);
    show(number, 1);
  }

  /** Not to offer the tour again. */
  function remember() {
    try { localStorage.setItem(OFFERED, "yes"); } catch { /* a browser that keeps nothing asks again */ }
    document.documentElement.dataset.tourOffered = "yes";
  }

  try { if (localStorage.getItem(OFFERED)) document.documentElement.dataset.tourOffered = "yes"; } catch { /* as above */ }
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#help-take-tour, #tour-offer-take")) start();
    else if (event.target.closest?.("#tour-offer-dismiss")) remember();
  });
  window.addEventListener("popstate", () => root && steps[at].page !== window.location.pathname && end());
  window.addEventListener("resize", place);

  /** Go on after the page was loaded anew. */
  (async function resume() {
    const number = sessionStorage.getItem(STATE);
    if (number === null) return;
    for (let tries = 0; tries < 100; tries++) {
      if (document.querySelector("#tour-steps") && document.querySelector("#main .page-title")) return start(Number(number));
      await pause(100);
    }
  })();
})();
