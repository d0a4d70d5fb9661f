// Keys: / searches, [ and ] step through topics, e exports, ? helps. Also the link to the view on screen.
(function () {
  "use strict";

  // where a page keeps its topic in focus; other pages may mark theirs with data-topic-select on a box around it
  const TOPIC_SELECTS = ["topics-topic", "explore-topic", "embedding-topic", "enrichment-topic", "pathways-topic"];
  const COLOR_SELECTS = ["cells-color", "cells-color-beside"]; // in focus only while a topic colours the map
  const FOCUS_STORE = "differential-focus";

  const SETTLED = 400; // milliseconds after which a choice has come through
  let stepping = {};

  const propsOf = (id) => window.scetmHere.propsOf(id);
  const set = (id, props) => window.dash_clientside.set_props(id, props);

  function isTyping(target) {
    if (!(target instanceof Element)) return false;
    const kind = target.closest("input, textarea, select, [contenteditable=true], [role=combobox], [role=textbox]");
    return Boolean(kind) && !["checkbox", "radio", "button"].includes(kind.type);
  }

  const isDialogOpen = () => Boolean(document.querySelector("[role=dialog][aria-modal=true]"));

  const flat = (data) => (data ?? []).flatMap((entry) => (entry.items ? entry.items : [entry])).map((entry) => entry.value ?? entry);

  function topicSelect() {
    const marked = [...document.querySelectorAll("[data-topic-select]")].map((box) => box.dataset.topicSelect || box.querySelector("input")?.id);
    const id = [...TOPIC_SELECTS, ...marked].find((name) => name && document.getElementById(name) && propsOf(name));
    if (id) return { id, values: flat(propsOf(id).data) };
    const color = COLOR_SELECTS.find((name) => document.getElementById(name) && /^topic_\d+$/.test(propsOf(name)?.value));
    return color && { id: color, values: flat(propsOf(color).data).filter((value) => /^topic_\d+$/.test(value)) };
  }

  /** The next value of a list, round and round. */
  function stepped(values, value, by) {
    return values[(values.indexOf(value) + by + values.length) % values.length];
  }

  /** Choose, and once more if the control has answered late with what it had before: keys come fast. */
  function chooseTopic(id, value) {
    stepping = { id, value, at: Date.now() };
    set(id, { value });
    setTimeout(() => stepping.value === value && propsOf(id) && propsOf(id).value !== value && set(id, { value }), SETTLED / 2);
  }

  function stepTopic(by) {
    const found = topicSelect();
    if (found?.values.length) {
      const isFresh = stepping.id === found.id && Date.now() - stepping.at < SETTLED;
      return chooseTopic(found.id, stepped(found.values, isFresh ? stepping.value : propsOf(found.id).value, by));
    }
    const focus = document.getElementById("differential-heatmap") && propsOf(FOCUS_STORE)?.data;
    const columns = document.querySelector("#differential-heatmap .js-plotly-plot")?.data?.find((trace) => trace.type === "heatmap")?.x;
    if (!focus || !columns?.length) return;
    const linked = document.querySelector("#differential-links a[href*='topic=']");
    const topic = focus.topic ?? (linked && new URL(linked.href).searchParams.get("topic"));
    const topics = Array.from(columns, (name) => parseInt(name, 10)).sort((a, b) => a - b).map(String);
    set(FOCUS_STORE, { data: { ...focus, topic: stepped(topics, String(topic), by) } });
  }

  const nameOf = (button) => (button.getAttribute("aria-label") || button.textContent).trim();
  const isShown = (element) => element.getClientRects().length > 0;

  function exportButtons(root) {
    return [...root.querySelectorAll("button")].filter((button) => /^Export\b/.test(nameOf(button)) && isShown(button));
  }

  /** Click Export of the figure under the pointer, else of the one in focus, else of the first one. */
  function openExport() {
    const under = [...document.querySelectorAll(".card:hover, .card:focus-within")];
    const button = [...under, document.getElementById("main")].flatMap((root) => (root ? exportButtons(root) : []))[0];
    if (!button) return;
    button.focus();
    button.click();
  }

  function notify(message) {
    const note = { action: "show", title: "", message, color: "teal", autoClose: 4000, closeButtonProps: { "aria-label": "Close" } };
    set("notifications", { sendNotifications: [note] });
  }

  /** The address of this view; it names the run even where the page has chosen it by itself. */
  function linkHere() {
    const url = new URL(window.location.href);
    const run = propsOf("active-run")?.data;
    if (run && document.querySelector("#main .card") && !url.searchParams.get("run")) url.searchParams.set("run", run);
    return url.href;
  }

  async function copyLink() {
    const link = linkHere();
    try {
      await navigator.clipboard.writeText(link);
      notify("The link to this view is copied.");
    } catch {
      set("copy-link-field", { value: link });
      set("copy-link-dialog", { opened: true });
      setTimeout(() => document.getElementById("copy-link-field")?.select(), 300);
    }
  }

  const ACTS = {
    "/": () => window.scetmSearch.focus(),
    "[": () => stepTopic(-1),
    "]": () => stepTopic(1),
    e: openExport,
    "?": () => set("help", { opened: true }),
  };

  document.addEventListener("keydown", (event) => {
    const act = Object.hasOwn(ACTS, event.key) ? ACTS[event.key] : null;
    const modified = (event.ctrlKey || event.altKey) && !event.getModifierState("AltGraph"); // some keyboards need it for [
    if (!act || modified || event.metaKey || event.repeat && event.key === "e") return;
    if (event.defaultPrevented || isTyping(event.target) || isDialogOpen()) return;
    event.preventDefault();
    act();
  });
  document.addEventListener("click", (event) => event.target.closest?.("#copy-link") && copyLink());
})();
