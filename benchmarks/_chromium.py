"""Where is a Chromium that the browser tests can drive? Prints its path; exit status 1 if there is none."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAC_PATH = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def find_chromium() -> str | None:
    """Path of a browser: `SCETM_CHROMIUM` if set, else the first found."""
    candidates = [os.environ.get("SCETM_CHROMIUM"), *map(shutil.which, NAMES), MAC_PATH]
    return next((path for path in candidates if path and os.access(path, os.X_OK)), None)


if __name__ == "__main__":
    sys.exit(0 if find_chromium() else 1)
