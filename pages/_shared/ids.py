"""Which ids do several pages and the shell share? A page's own ids stand at the top of its file."""

from __future__ import annotations

URL = "url"
ACTIVE_RUN = "active-run"  # Store on every page that looks at a run: its id, or None
RUN_PICKER = "run-picker"
NAV = "nav"


def nav_link(path: str) -> dict[str, str]:
    """Id of the navigation link to a page."""
    return {"type": "nav-link", "path": path}


def setting(name: str) -> dict[str, str]:
    """Id of the form field of a setting."""
    return {"type": "setting", "name": name}
