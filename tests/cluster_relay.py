"""Posts the relay of a run to the app as a browser does, ends the run, and prints what came back, as JSON.

A process of its own: Dash knows one manager of background callbacks for each process. The home and the broker are in
the environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from app import create_app
from pages._shared import access, background
from pages._shared.passes import pass_for
from pages._shared.studio import Studio
from pages._train import live
from scetm_core.runs import open_run


def main(run_id: str) -> None:
    home = Path(os.environ["SCETM_HOME"])
    run = open_run(home / "runs", run_id)
    app = create_app(Studio(home=home))
    visitor = app.server.test_client()
    with access.acting_for(None):
        signed = pass_for(run)
    page = visitor.get("/train").get_data(as_text=True)
    end_id = json.loads(re.findall(r'id="_dash-config"[^>]*>(.*?)</script>', page, re.DOTALL)[0])["end_id"]
    message = {
        "output": f"{live.ENDED}.data",
        "outputs": {"id": live.ENDED, "property": "data"},
        "inputs": [{"id": live.RELAYED, "property": "data", "value": f"{signed}#"}],
        "state": [],
        "changedPropIds": [f"{live.RELAYED}.data"],
    }

    def post(**handles: str) -> Any:
        query = {"endId": end_id, **handles}
        answer = visitor.post("/_dash-update-component", json=message, query_string=query)
        assert answer.status_code in (200, 204), answer.get_data(as_text=True)
        return answer.get_json() if answer.status_code == 200 else None

    sent = post()
    handles = {"cacheKey": sent["cacheKey"], "job": sent["job"]}
    progress, answer, deadline = 0.0, None, time.monotonic() + 100
    while answer is None:
        assert time.monotonic() < deadline, "no answer came"
        said = post(**handles)
        if "progress" in (said or {}) and not progress:
            (progress,) = said["progress"].values()
            run.write_status(dataclasses.replace(run.status(), state="done"))
        if "response" in (said or {}):
            answer = said["response"][live.ENDED]["data"]
        time.sleep(0.05)

    manager = app._background_manager
    assert isinstance(manager, background.PatientCeleryManager)
    manager.handle.backend.client.connection_pool.connection_kwargs["port"] = 1  # nobody is there
    manager.handle.backend.client.connection_pool.disconnect()
    away = "no update" if post(**handles) is None else "an update"
    print(json.dumps({
        "manager": type(manager).__name__, "progress": progress, "answer": answer, "away": away,
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
