// Long legends: a field that filters the entries, and buttons that show or hide all that it leaves. Also: Colours…
(function () {
  "use strict";

  const boxOf = (element) => element.closest(".legend-box");
  const entriesOf = (box) => [...box.querySelectorAll(".legend-item")];

  function filter(box, text) {
    const wanted = text.trim().toLowerCase();
    const entries = entriesOf(box);
    entries.forEach((entry) => (entry.hidden = !entry.textContent.toLowerCase().includes(wanted)));
    const left = entries.filter((entry) => !entry.hidden).length;
    box.querySelector("[role=status]").textContent = wanted ? `${left} of ${entries.length}` : "";
  }

  /** Show or hide all entries that are not filtered away. */
  function setAll(box, isShown) {
    const entries = entriesOf(box).filter((entry) => !entry.hidden);
    const shown = document.getElementById(box.querySelector(".legend").dataset.graph)?.querySelector(".js-plotly-plot");
    if (!shown || !entries.length) return;
    entries.forEach((entry) => entry.setAttribute("aria-pressed", String(isShown)));
    window.Plotly.restyle(shown, { visible: isShown }, entries.map((entry) => Number(entry.dataset.trace)));
  }

  document.addEventListener("input", (event) => {
    const field = event.target.closest?.(".legend-search");
    if (field) filter(boxOf(field), event.target.value);
  });
  document.addEventListener("click", (event) => {
    const all = event.target.closest?.("[data-legend-all]");
    if (all) setAll(boxOf(all), all.dataset.legendAll === "true");
    const colors = event.target.closest?.("[data-palette-column]");
    if (colors) window.dash_clientside.set_props("palette-asked", { data: { column: colors.dataset.paletteColumn, at: Date.now() } });
  });
})();
