// What the browser does by itself: uploading files, cells of tables, zoom shared by two maps.
(function () {
  "use strict";

  /** Hide or show one group of a figure, or show it alone (and all again). */
  function chooseGroup(item, alone) {
    const items = [...item.parentElement.querySelectorAll(".legend-item")];
    const isShown = (entry) => entry.getAttribute("aria-pressed") === "true";
    const isAlone = items.every((entry) => isShown(entry) === (entry === item));
    const wanted = items.map((entry) => (alone ? isAlone || entry === item : entry === item ? !isShown(entry) : isShown(entry)));
    items.forEach((entry, i) => entry.setAttribute("aria-pressed", String(wanted[i])));
    const graph = document.getElementById(item.parentElement.dataset.graph)?.querySelector(".js-plotly-plot");
    if (graph) window.Plotly.restyle(graph, { visible: wanted }, items.map((entry) => Number(entry.dataset.trace)));
  }

  document.addEventListener("click", (event) => {
    const item = event.target.closest?.(".legend-item");
    if (item && event.detail < 2) chooseGroup(item, event.shiftKey);
  });
  document.addEventListener("dblclick", (event) => {
    const item = event.target.closest?.(".legend-item");
    if (!item) return;
    chooseGroup(item, false); // takes back what the first click did
    chooseGroup(item, true);
  });

  /** Give another map the ranges that this one has been moved to. */
  function followZoom(moved, other) {
    const target = document.getElementById(other)?.querySelector(".js-plotly-plot");
    const axes = ["xaxis", "yaxis"];
    const ranges = axes.map((axis) => [moved?.[axis + ".range[0]"], moved?.[axis + ".range[1]"]]);
    if (target?.layout && ranges.flat().every((end) => typeof end === "number")) {
      const differs = axes.some((axis, i) => [0, 1].some((end) => Math.abs(target.layout[axis].range[end] - ranges[i][end]) > 1e-6));
      if (differs) window.Plotly.relayout(target, { "xaxis.range": ranges[0], "yaxis.range": ranges[1] });
    }
  }

  /** Let the address say what is on screen, so that it can be shared; no new entry in the history. */
  function keepInUrl(values, dropped) {
    const url = new URL(window.location.href);
    for (const [name, value] of Object.entries(values)) {
      if (value) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    }
    dropped.forEach((name) => url.searchParams.delete(name));
    window.history.replaceState(window.history.state, "", url);
    carry(url);
  }

  const CARRIED = ["run", "topic", "set", "sets", "label", "groupby", "selection"]; // as in pages/_shared/shell.py
  const ABOUT_NO_RUN = ["/", "/data", "/train"];

  /** Let the navigation lead to the other pages with what is chosen on this one. */
  function carry(url) {
    const kept = new URLSearchParams([...url.searchParams].filter(([name]) => CARRIED.includes(name)));
    document.querySelectorAll("[id*='nav-link']").forEach((link) => {
      const id = JSON.parse(link.id);
      if (!ABOUT_NO_RUN.includes(id.path)) window.dash_clientside.set_props(id, { href: id.path + (kept.size ? "?" + kept : "") });
    });
  }

  /** Send one file to the server as a stream, with progress; the answer goes into a store of the page, or is said. */
  function upload(file, box) {
    const bar = box.querySelector(".upload-bar");
    const words = box.querySelector(".upload-words");
    const request = new XMLHttpRequest();
    const kind = box.dataset.kind; // none: a data set
    request.open("POST", "/upload?name=" + encodeURIComponent(file.name) + (kind ? "&kind=" + kind : ""));
    request.upload.onprogress = (event) => {
      const share = event.lengthComputable ? event.loaded / event.total : 0;
      bar.style.width = 100 * share + "%";
      words.textContent = share < 1 ? `Uploading ${file.name}: ${Math.round(100 * share)} %` : `Checking ${file.name}`;
    };
    request.onload = () => {
      bar.style.width = "0";
      let answer;
      try { answer = JSON.parse(request.responseText); } catch { answer = { error: "The server gave no clear answer. Try again." }; }
      words.textContent = answer.error || answer.note || "";
      words.classList.toggle("upload-error", Boolean(answer.error));
      if (answer.ref) window.dash_clientside.set_props(kind ? "uploaded-" + kind : "uploaded", { data: answer.ref });
    };
    request.onerror = () => {
      bar.style.width = "0";
      words.textContent = "The upload broke off. Is the app still running? Try again.";
      words.classList.add("upload-error");
    };
    words.classList.remove("upload-error");
    request.send(file);
  }

  function uploadBox(event) {
    return event.target.closest?.(".upload-box");
  }

  document.addEventListener("click", (event) => {
    const box = uploadBox(event);
    if (!box) return;
    const chooser = document.createElement("input");
    chooser.type = "file";
    chooser.onchange = () => chooser.files.length && upload(chooser.files[0], box);
    chooser.click();
  });
  document.addEventListener("dragover", (event) => {
    const box = uploadBox(event);
    if (!box) return;
    event.preventDefault();
    box.classList.add("is-over");
  });
  document.addEventListener("dragleave", (event) => uploadBox(event)?.classList.remove("is-over"));
  document.addEventListener("drop", (event) => {
    const box = uploadBox(event);
    if (!box) return;
    event.preventDefault();
    box.classList.remove("is-over");
    if (event.dataTransfer.files.length) upload(event.dataTransfer.files[0], box);
  });

  Object.assign((window.scetm = window.scetm || {}), { followZoom, keepInUrl });

  // The Server page renews its tables while one looks: a button that has the focus keeps it.
  let held = null;
  document.addEventListener("focusin", (event) => {
    held = event.target.closest("#server-queue") ? event.target.id : null;
  });
  document.addEventListener("pointerdown", () => (held = null));
  new MutationObserver(() => {
    const again = held && document.activeElement === document.body ? document.getElementById(held) : null;
    if (again) again.focus({ preventScroll: true });
  }).observe(document.documentElement, { childList: true, subtree: true });

  // Cells of tables: links within the app, and states in colour.
  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  cells.RunLink = function (props) {
    return window.React.createElement(
      "a",
      {
        href: props.data.href,
        onClick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          window.history.pushState({}, "", props.data.href);
          window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
        },
      },
      props.value
    );
  };
  cells.RunState = function (props) {
    const state = String(props.value).split(",")[0];
    return window.React.createElement("span", { className: "state state-" + state }, props.value);
  };
})();
