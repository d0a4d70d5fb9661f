"""How does work outside a request know whose run it may see? By a pass: the run and its owner, signed by the server.

A background callback gets its arguments from the browser and runs where nobody is signed in: in a forked process, or
in a Celery worker on another machine. What is asked for is therefore fixed, and signed, while the request is there.
"""

from __future__ import annotations

from itsdangerous import BadSignature, URLSafeSerializer

from pages._shared import access, studio
from scetm_core.accounts import signing_secret
from scetm_core.errors import AccessError
from scetm_core.runs import Run, open_run


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(signing_secret(studio.of_server().home), salt="scetm-pass")


def pass_for(run: Run) -> str:
    """A pass to a run of whoever is asking."""
    return str(_signer().dumps([access.current_user(), studio.open_run(run.id).id]))


def run_with(text: str) -> Run:
    """The run that a pass leads to.

    Raises
    ------
    AccessError
        If the server has not given this pass.
    RunError
        If the run is gone.
    """
    try:
        user, run_id = _signer().loads(text)
    except (BadSignature, ValueError, TypeError) as error:
        raise AccessError("This was not given out by this server. Load the page again.") from error
    server = studio.of_server()
    return open_run((server if user is None else server.of_user(user)).runs_folder, run_id)
