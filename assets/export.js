// How does a figure on screen become a file? It is sent to the server as it is shown, and drawn there for paper.
(function () {
  "use strict";

  const DROPPED = new Set(["hovertemplate", "hovertext", "customdata", "hoverlabel", "hoverinfo", "uid", "ids", "uirevision",
    "selectionrevision", "editrevision", "datarevision", "dragmode", "hovermode", "modebar", "newselection", "selections"]);
  const DTYPES = { Int8Array: "i1", Uint8Array: "u1", Uint8ClampedArray: "u1", Int16Array: "i2", Uint16Array: "u2", Int32Array: "i4",
    Uint32Array: "u4", Float32Array: "f4", Float64Array: "f8" };
  const setProps = (id, props) => window.dash_clientside.set_props(id, props);

  function base64(bytes) {
    const parts = [];
    for (let start = 0; start < bytes.length; start += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
    return btoa(parts.join(""));
  }

  const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const isTyped = (value) => ArrayBuffer.isView(value) && DTYPES[value.constructor.name];

  /** Rows of one type and length as one array. */
  function packedRows(rows) {
    const [first] = rows;
    if (!rows.every((row) => row.constructor === first.constructor && row.length === first.length)) return null;
    const all = new Uint8Array(rows.length * first.byteLength);
    rows.forEach((row, i) => all.set(bytesOf(row), i * first.byteLength));
    return { dtype: DTYPES[first.constructor.name], bdata: base64(all), shape: `${rows.length}, ${first.length}` };
  }

  /** Long lists of numbers are sent as doubles: shorter, and quick to read. */
  function packed(list) {
    if (list.length > 1 && list.every(isTyped)) return packedRows(list);
    if (list.length < 50 || !list.every((value) => typeof value === "number")) return null;
    const array = Float64Array.from(list);
    return { dtype: "f8", bdata: base64(bytesOf(array)) };
  }

  /** What the server needs; `isWhole`: what is said on hover as well. */
  function plain(value, isWhole) {
    if (isTyped(value)) return { dtype: DTYPES[value.constructor.name], bdata: base64(bytesOf(value)) };
    if (Array.isArray(value)) return packed(value) || value.map((entry) => plain(entry, isWhole));
    if (value === null || typeof value !== "object") return typeof value === "function" ? undefined : value;
    if ("bdata" in value) {
      const { dtype, bdata, shape } = value;
      const text = typeof bdata === "string" ? bdata : base64(ArrayBuffer.isView(bdata) ? bytesOf(bdata) : new Uint8Array(bdata));
      return shape === undefined ? { dtype, bdata: text } : { dtype, bdata: text, shape };
    }
    const kept = {};
    for (const [name, entry] of Object.entries(value)) {
      if (!name.startsWith("_") && (isWhole || !DROPPED.has(name))) kept[name] = plain(entry, isWhole);
    }
    return kept;
  }

  /** The figure as it is shown: hidden groups hidden, axes as they have been zoomed; whole, or as paper needs it. */
  function asShown(graph, isWhole) {
    const data = graph.data.map((trace) => {
      const sent = plain(trace, isWhole);
      const isNote = (trace.type || "scatter").startsWith("scatter") && !(trace.mode || "").includes("text");
      if (isNote && !isWhole) delete sent.text; // only said on hover
      return sent;
    });
    const layout = plain(graph.layout, isWhole);
    for (const [name, axis] of Object.entries(graph._fullLayout)) {
      if (!/^[xy]axis\d*$/.test(name) || !axis || !layout[name]) continue;
      if (axis.autorange === false) layout[name].range = [...axis.range];
      else delete layout[name].range;
    }
    return { data, layout };
  }

  async function wordsOf(answer) {
    try { return (await answer.json()).error || "The server gave no clear answer. Try again."; }
    catch { return "The server gave no clear answer. Try again."; }
  }

  const plotOf = (graph) => document.getElementById(graph)?.querySelector(".js-plotly-plot");

  /** Send a figure: its id, or why there is none in words. */
  async function send(plot, query, isWhole) {
    try {
      const body = JSON.stringify(asShown(plot, isWhole));
      const answer = await fetch("/export/figure?" + query, { method: "POST", headers: { "Content-Type": "application/json" }, body });
      return answer.ok ? { id: (await answer.json()).id } : { words: await wordsOf(answer) };
    } catch (error) {
      console.warn(error);
      return { words: NO_ANSWER };
    }
  }

  const NO_ANSWER = "The server does not answer. Is the app still running?";
  const csvButton = (graph) => document.getElementById(JSON.stringify({ graph, type: "export-csv" }));

  const NOT_DRAWN = "The figure is not drawn yet. Close this, and try again once it is.";
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  /** The plot of a graph, which may only be on its way; nothing if it does not come. */
  async function drawn(graph) {
    for (let tries = 0; tries < 100 && !plotOf(graph)?.data; tries += 1) await pause(100);
    return plotOf(graph)?.data ? plotOf(graph) : null;
  }

  /** A click on Export or Table: open the dialog at once, send the figure, tell the dialog what it got. */
  async function open(kind, run) {
    const { triggered, triggered_id: button } = window.dash_clientside.callback_context;
    if (!button || !triggered[0].value) return;
    const { graph } = button;
    const isTable = kind === "export-table-open";
    const store = isTable ? "export-table-figure" : "export-figure";
    if (!isTable) clearPreview("export", graph);
    setProps(store, { data: null });
    setProps(isTable ? "export-table-dialog" : "export-dialog", { opened: true });
    await pause(30); // the dialog is seen first
    const shown = await drawn(graph);
    const query = new URLSearchParams({ run: run || "", graph });
    const { id, words } = shown ? await send(shown, query, isTable) : { words: NOT_DRAWN }; // a table names what is pointed at
    if (id) return void setProps(store, { data: { id, graph, run, has_table: Boolean(csvButton(graph)) } });
    setProps(isTable ? "export-table-words" : "export-preview-words", { children: words });
  }

  // ---- previews: the old picture stays, dimmed, while the new one comes -------------------------------------------

  const running = {}; // by task: what is on its way

  function clearPreview(task, graph) {
    if (running[task]?.graph !== graph) setProps(`${task}-preview`, { src: "" });
    running[task]?.abort?.abort();
    running[task] = { ...running[task], graph, url: null };
    setProps(`${task}-preview-box`, { className: "preview-box is-waiting" });
    setProps(`${task}-preview-words`, { children: "Drawing" });
  }

  /** Draw the picture of an address; `note` is added to the line about its size. */
  async function showPicture(task, url, width, note) {
    if (running[task]?.url === url) return;
    running[task]?.abort?.abort();
    const abort = new AbortController();
    running[task] = { ...running[task], url, abort };
    setProps(`${task}-preview-box`, { className: "preview-box is-waiting" });
    let words = NO_ANSWER;
    try {
      const answer = await fetch(url, { signal: abort.signal });
      if (answer.ok) {
        const picture = await answer.blob();
        const size = await createImageBitmap(picture);
        if (running[task].abort !== abort) return;
        const source = URL.createObjectURL(picture);
        setProps(`${task}-preview`, { src: source });
        if (running[task].source) setTimeout((old) => URL.revokeObjectURL(old), 1000, running[task].source);
        running[task].source = source;
        words = `${Math.round(width)} × ${Math.round((width * size.height) / size.width)} mm${answer.headers.get("X-Bitmap") ? ". " + answer.headers.get("X-Bitmap") : ""}${note}`;
        size.close();
      } else words = await wordsOf(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      console.warn(error);
    }
    if (running[task].abort !== abort) return;
    setProps(`${task}-preview-box`, { className: "preview-box" });
    setProps(`${task}-preview-words`, { children: words });
  }

  const NOTES = {
    html: "One file that opens in any browser, without a network: the figure as it is shown here, to zoom and hover.",
    csv: "The numbers behind the figure, all of them, for a spreadsheet or R.",
  };

  /** Draw what the export dialog is set to; answers the class of its form. */
  function previewFigure(query, figure, format) {
    setProps("export-note", { children: NOTES[format] || "" });
    if (figure?.id && query) {
      const names = new URLSearchParams({ run: figure.run || "", graph: figure.graph });
      const width = Number(new URLSearchParams(query).get("width_mm"));
      showPicture("export", `/export/figure/${figure.id}.png?${query}&${names}&preview=1`, width, "");
    }
    return "export-form is-" + format;
  }

  function previewBoard(query, state, letters, run) {
    if (!query || !state?.count) return;
    const width = Number(new URLSearchParams(query).get("width_mm"));
    showPicture("board", boardAddress(query, state, letters, run, "png") + "&preview=1", width, "");
  }

  const boardAddress = (query, state, letters, run, format) =>
    `/export/board/${encodeURIComponent(run)}.${format}?${query}&letters=${letters ? 1 : 0}&stamp=${encodeURIComponent(state.stamp)}`;

  function save(url) {
    const link = document.createElement("a");
    link.href = url;
    link.download = "";
    document.body.appendChild(link);
    link.click();
    link.remove();
  }

  /** Save a figure that was sent; the table is the page's own where it has one. */
  async function download(figure, query, format) {
    if (!figure?.id) return;
    if (format === "csv" && figure.has_table) return void csvButton(figure.graph)?.click();
    const isForPaper = !["csv", "html"].includes(format);
    if (!query && isForPaper) return;
    const names = new URLSearchParams({ run: figure.run || "", graph: figure.graph });
    let id = figure.id;
    const plot = isForPaper ? null : plotOf(figure.graph);
    if (plot?.data) { // with the names that are said on hover, which paper has no use for
      const sent = await send(plot, names, true);
      if (sent.words) return void setProps("export-note", { children: sent.words });
      id = sent.id;
    }
    save(`/export/figure/${id}.${format}?${isForPaper ? query + "&" : ""}${names}&download=1`);
  }

  function downloadBoard(query, state, letters, run, format) {
    if (query && state?.count) save(boardAddress(query, state, letters, run, format) + "&download=1");
  }

  /** A preset and the width say the same: the one that was changed leads. */
  function agreeOnWidth(preset, width) {
    const { triggered } = window.dash_clientside.callback_context;
    const keep = window.dash_clientside.no_update;
    const leads = triggered.length === 1 && triggered[0].prop_id.includes("preset"); // at first, the width that is remembered
    if (leads) return [keep, preset === "own" || Number(preset) === width ? keep : Number(preset)];
    const known = ["85", "114", "174"].includes(String(width)) ? String(width) : "own";
    return [known === preset ? keep : known, keep];
  }

  window.scetmExport = { open, previewFigure, previewBoard, download, downloadBoard, agreeOnWidth };
})();
