"""Clients that others wrote for Mimecast's API work against a local portal, unchanged."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from conftest import ANN, Lab, absent, mail_of
from mimeportal_server import apps
from mimeportal_server.serving import Server

HERE = Path(__file__).parent


def test_mimecast_api_lists_releases_rejects_and_permits(lab: Lab) -> None:
    """mimecast-api 0.5, in the environment that `MIMEPORTAL_STRANGERS` names (see .ci/run)."""
    python = os.environ.get("MIMEPORTAL_STRANGERS")
    if not python or not Path(python).exists():
        absent("an environment with mimecast-api (MIMEPORTAL_STRANGERS)")
    for subject in ("release me", "reject me", "leave me"):
        lab.receive(mail_of("Eve <eve@elsewhere.example>", subject), envelope_from="eve@elsewhere.example")
    with lab.server.write() as tx:
        _, app = apps.add(lab.server, tx, "stranger", role="administrator", scopes=(), content_view=True)
    with Server(lab.path, http=("127.0.0.1", 0)) as server:
        given = {
            "url": server.http_url,
            "recipient": ANN,
            **{name: getattr(app, name) for name in ("access_key", "secret_key", "app_id", "app_key")},
        }
        done = subprocess.run(
            [python, HERE / "with_mimecast_api.py"],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["subjects"] == ["leave me", "reject me", "release me"]
    assert seen["released"]["release"] is True
    assert seen["rejected"]["reject"] is True
    assert {key: seen["permitted"][key] for key in ("sender", "to", "type")} == {
        "sender": "friend@elsewhere.example",
        "to": ANN,
        "type": "Permit",
    }
    assert seen["recipients"] == [ANN]
    assert seen["again"] == "already_released"
    assert seen["wrong_key"] == "0004 Invalid Signature"
    assert len(lab.outgoing()) == 1
