// The search of the header: asks the server as one types, and leads to what is chosen, by mouse or by keyboard.
(function () {
  "use strict";

  const WAIT = 150; // milliseconds after the last key
  let timer = null, asked = null, chosen = -1;

  const field = () => document.getElementById("header-search");
  const list = () => document.getElementById("header-search-results");
  const options = () => [...(list()?.querySelectorAll("[role=option]") ?? [])];

  function close() {
    const box = list();
    if (!box) return;
    box.replaceChildren();
    box.classList.remove("is-open");
    field().setAttribute("aria-expanded", "false");
    field().removeAttribute("aria-activedescendant");
    chosen = -1;
  }

  function fold() {
    field().closest(".search").classList.remove("is-unfolded");
  }

  function say(words) {
    field().closest(".search").querySelector(".search-said").textContent = words;
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function show({ groups, note }) {
    close();
    const box = list();
    let count = 0;
    for (const { name, items } of groups) {
      const group = element("div", "search-group");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", name);
      const title = element("div", "search-kind", name);
      title.setAttribute("aria-hidden", "true");
      group.append(title);
      for (const { label, hint, href } of items) {
        const option = element("div", "search-option");
        option.id = "search-option-" + count++;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.href = href;
        option.append(element("span", "search-label", label), element("span", "search-hint", hint));
        group.append(option);
      }
      box.append(group);
    }
    if (note) box.append(element("div", "search-note", note));
    box.classList.toggle("is-open", Boolean(count || note));
    field().setAttribute("aria-expanded", String(Boolean(count)));
    say(note || `${count} found. Arrow keys choose, Enter opens.`);
    if (count) choose(0);
  }

  function choose(place) {
    const all = options();
    if (!all.length) return;
    chosen = (place + all.length) % all.length;
    all.forEach((option, i) => option.setAttribute("aria-selected", String(i === chosen)));
    all[chosen].scrollIntoView({ block: "nearest" });
    field().setAttribute("aria-activedescendant", all[chosen].id);
  }

  function take(option) {
    const href = option?.dataset.href;
    if (!href) return;
    clear();
    field().blur();
    fold();
    window.scetmHere.go(href);
  }

  function clear() {
    asked?.abort();
    clearTimeout(timer);
    window.dash_clientside.set_props("header-search", { value: "" });
    close();
    say("");
  }

  async function ask(text) {
    asked?.abort();
    if (!text.trim()) return close();
    const run = window.scetmHere.runShown();
    asked = new AbortController();
    try {
      const answer = await fetch("/search?" + new URLSearchParams({ text, ...(run ? { run } : {}) }), { signal: asked.signal });
      show(await answer.json());
    } catch (error) {
      if (error.name !== "AbortError") show({ groups: [], note: "The server does not answer. Is the app still running?" });
    }
  }

  function focus() {
    const box = field();
    if (!box) return;
    box.closest(".search").classList.add("is-unfolded");
    box.focus();
    box.select();
  }

  document.addEventListener("focusin", (event) => {
    if (event.target.id !== "header-search") return;
    for (const [name, value] of Object.entries({ role: "combobox", "aria-controls": "header-search-results", "aria-autocomplete": "list" })) {
      event.target.setAttribute(name, value);
    }
    if (!event.target.hasAttribute("aria-expanded")) event.target.setAttribute("aria-expanded", "false");
  });
  document.addEventListener("input", (event) => {
    if (event.target.id !== "header-search") return;
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT, event.target.value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "header-search") return;
    const acts = {
      ArrowDown: () => choose(chosen + 1),
      ArrowUp: () => choose(chosen - 1),
      Enter: () => take(options()[chosen]),
      Escape: () => {
        clear();
        event.target.blur();
        fold();
      },
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.id !== "header-search") return;
    close();
    if (!event.target.value) fold();
  });
  document.addEventListener("mousedown", (event) => {
    const option = event.target.closest?.(".search-option");
    if (event.target.closest?.(".search-results")) event.preventDefault(); // the field keeps the focus
    if (option) take(option);
  });
  document.addEventListener("click", (event) => event.target.closest?.(".search-unfold") && focus());

  window.scetmSearch = { focus };
})();
