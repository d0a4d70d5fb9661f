// Where in the app are we, and how does a script go elsewhere in it?
(function () {
  "use strict";

  /** Properties of a component on screen; undefined where there is none of that id. */
  function propsOf(id) {
    try {
      return window.dash_component_api.getLayout(id)?.props;
    } catch {
      return undefined;
    }
  }

  /** The run on screen: that of the address, else the one the page has chosen by itself. */
  function runShown() {
    return new URLSearchParams(window.location.search).get("run") || propsOf("active-run")?.data || null;
  }

  /** Go to another view of the app without loading it anew. */
  function go(href) {
    const target = new URL(href, window.location.href);
    const known = propsOf("url");
    // the address may have been kept up to date behind the app's back; then it has to see a change
    if (known && known.pathname === target.pathname && known.search === target.search) target.search += "&";
    window.history.pushState({}, "", target);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  }

  window.scetmHere = { propsOf, runShown, go };
})();
