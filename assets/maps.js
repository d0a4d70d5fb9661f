// Maps of cells: lasso and box become rules for the server; maps drawn as pictures are drawn anew as one zooms.
(function () {
  "use strict";

  const DRAG = { pan: "pan", lasso: "drawclosedpath", box: "drawrect" };
  const PAUSE = 180; // milliseconds without movement before a map is drawn anew
  const chosen = {}; // id of a graph -> what dragging does there
  let modifiers = {};

  document.addEventListener("pointerup", (event) => { modifiers = { add: event.shiftKey, subtract: event.altKey }; }, true);

  /** The corners of a drawn path, at most 400 of them. */
  function cornersOf(path) {
    const corners = [...path.matchAll(/(-?[\d.]+(?:e[-+]?\d+)?),(-?[\d.]+(?:e[-+]?\d+)?)/gi)].map((found) => [Number(found[1]), Number(found[2])]);
    const step = Math.ceil(corners.length / 400);
    return corners.filter((_, i) => i % step === 0);
  }

  /** What a drawn shape selects; nothing for one without an area. */
  function ruleOf(shape) {
    if (shape.type === "rect") {
      if (shape.x0 === shape.x1 || shape.y0 === shape.y1) return null;
      return { kind: "box", left: shape.x0, right: shape.x1, bottom: shape.y0, top: shape.y1 };
    }
    const corners = cornersOf(shape.path || "");
    return corners.length < 3 ? null : { kind: "lasso", corners };
  }

  function howNow() {
    if (modifiers.add) return "add";
    if (modifiers.subtract) return "subtract";
    return document.querySelector("#map-how input:checked")?.value || "new";
  }

  /** Ask the server for a step of the selection. */
  function ask(rule, how) {
    const run = document.querySelector("[data-map-run]")?.dataset.mapRun;
    if (run) window.dash_clientside.set_props("selection-ask", { data: { run, how: how || howNow(), rule, at: Date.now() } });
  }

  function rangesOf(graph) {
    const { xaxis, yaxis } = graph.layout;
    return [...xaxis.range, ...yaxis.range].map(Number);
  }

  function hiddenIn(graph) {
    return graph.data.filter((trace) => trace.name && trace.showlegend !== false && [false, "legendonly"].includes(trace.visible))
      .map((trace) => plain(trace.name.replace(/ \([\d,.]+\)$/, "")));
  }

  function plain(text) {
    return text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  }

  const isPicture = (graph) => ["picture", "window"].includes(graph.layout?.meta?.drawn);

  function watch(graph) {
    const id = graph.parentElement.id;
    const props = (name, data) => document.querySelector(`[data-map="${id}"]`) && window.dash_clientside.set_props(`${id}-${name}`, { data });
    let waiting = 0;
    graph.on("plotly_relayout", (moved) => {
      const shape = moved.shapes?.length && moved.shapes[moved.shapes.length - 1];
      if (shape) {
        const rule = ruleOf(shape);
        window.Plotly.relayout(graph, { shapes: [] });
        if (rule) ask(rule);
      }
      if (!Object.keys(moved).some((name) => name.startsWith("xaxis") || name.startsWith("yaxis"))) return;
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const full = graph.layout.meta?.full;
        const ranges = rangesOf(graph);
        const isWhole = full && ranges.every((end, i) => Math.abs(end - full[i]) < 1e-3 * Math.abs(full[1] - full[0]));
        if (isPicture(graph)) props("window", isWhole ? null : ranges);
        if (graph.closest("[data-zoom-in-url]")) window.scetm.keepInUrl({ zoom: isWhole ? "" : ranges.map((end) => Number(end.toPrecision(5))).join(",") }, []);
      }, PAUSE);
    });
    graph.on("plotly_afterplot", () => keepTool(graph, id)); // drawn by the server for a tool that was put away meanwhile
    graph.on("plotly_restyle", () => isPicture(graph) && props("hidden", hiddenIn(graph)));
    graph.on("plotly_doubleclick", () => {
      const full = graph.layout.meta?.full;
      if (full) window.Plotly.relayout(graph, { "xaxis.range": full.slice(0, 2), "yaxis.range": full.slice(2) });
    });
  }

  setInterval(() => {
    document.querySelectorAll(".js-plotly-plot:not([data-watched])").forEach((graph) => {
      if (!graph.on || !graph.layout?.meta?.drawn) return;
      graph.dataset.watched = "yes";
      watch(graph);
    });
  }, 200);

  /** Let dragging move the map or draw on it. */
  function dragOn(graphs, tool) {
    for (const id of graphs) {
      chosen[id] = DRAG[tool] || "pan";
      keepTool(document.getElementById(id)?.querySelector(".js-plotly-plot"), id);
    }
  }

  function keepTool(graph, id) {
    if (graph?.layout && chosen[id] && graph.layout.dragmode !== chosen[id]) window.Plotly.relayout(graph, { dragmode: chosen[id] });
  }

  /** As keepInUrl; on Explore the browser's Back leads to what was on screen before. */
  function rememberInUrl(values, dropped) {
    const before = window.location.href;
    if (window.location.pathname === "/explore") {
      const url = new URL(before);
      for (const [name, value] of Object.entries(values)) value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
      if (url.href !== before) window.history.pushState(window.history.state, "", before);
    }
    window.scetm.keepInUrl(values, dropped || []);
  }

  // Back and Forward over addresses that Dash was not told of: it knows the one it is led to already, and would stay.
  window.addEventListener("popstate", () => {
    if (window.location.pathname !== "/explore") return;
    for (const id of ["_pages_location", "url"]) {
      if (window.scetmHere.propsOf(id)?.search === window.location.search) {
        window.dash_clientside.set_props(id, { search: window.location.search });
      }
    }
  });

  Object.assign((window.scetm = window.scetm || {}), { ask, dragOn, rememberInUrl });
})();
