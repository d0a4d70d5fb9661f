"""What may a page of this server do in a browser? Said in headers with every answer.

Scripts are those served from here and the inline ones Dash has written itself, known by their hashes; a text that
slipped into a page as markup would not run. Styles may be inline: the components and plotly set them so.
"""

from __future__ import annotations

import flask
from dash import Dash

POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-eval'",  # plotly.js compiles its WebGL commands; without it maps stay empty
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
OTHERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def policy(scripts: list[str]) -> str:
    """The Content-Security-Policy, with the hashes of the inline scripts that may run."""
    return "; ".join(
        f"{name} {' '.join([value, *scripts]) if name == 'script-src' else value}" for name, value in POLICY.items()
    )


def add_to(app: Dash) -> None:
    """Send them with every answer; a route that has a stricter policy of its own keeps it."""
    without_scripts = policy([]).replace(" 'unsafe-eval'", "")

    def send(answer: flask.Response) -> flask.Response:
        is_page = answer.mimetype == "text/html"
        answer.headers.setdefault(
            "Content-Security-Policy", policy(list(app.csp_hashes())) if is_page else without_scripts
        )
        for name, value in OTHERS.items():
            answer.headers.setdefault(name, value)
        if answer.mimetype in ("text/html", "application/json"):
            answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    app.server.after_request(send)
