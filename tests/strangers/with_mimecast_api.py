"""Lists, releases, rejects and permits through mimecast-api, as its users write it. Run in an environment of its own.

Takes the URL and the keys as JSON on standard input, and prints what it saw as JSON.
"""

import json
import sys

import requests
from mimecast_api import MimecastAPI
from mimecast_api.errors import MimecastAPIFail

given = json.load(sys.stdin)
seen: dict = {}
with requests.Session() as session:
    api = MimecastAPI(
        base_url=given["url"],
        access_key=given["access_key"],
        secret_key=given["secret_key"],
        app_id=given["app_id"],
        app_key=given["app_key"],
        session=session,
    )
    held = api._all_request("/api/gateway/get-hold-message-list", admin=True)
    seen["subjects"] = sorted(row["subject"] for row in held)
    by_subject = {row["subject"]: row for row in held}
    seen["released"] = api._single_request("/api/gateway/hold-release", id=by_subject["release me"]["id"])
    seen["rejected"] = api._single_request("/api/gateway/hold-reject", ids=[by_subject["reject me"]["id"]])
    seen["permitted"] = api._single_request(
        "/api/managedsender/permit-or-block-sender",
        sender="friend@elsewhere.example",
        to=given["recipient"],
        action="permit",
    )
    seen["recipients"] = api.list_recent_recipients_from("eve@elsewhere.example", 1)
    try:
        api._single_request("/api/gateway/hold-release", id=by_subject["release me"]["id"])
    except MimecastAPIFail as fault:
        seen["again"] = fault.args[0]["fail"][0]["errors"][0]["code"]
    wrong = MimecastAPI(
        base_url=given["url"],
        access_key=given["access_key"],
        secret_key="d3Jvbmc=",
        app_id=given["app_id"],
        app_key=given["app_key"],
        session=session,
    )
    try:
        wrong._all_request("/api/account/get-account")
    except MimecastAPIFail as fault:
        seen["wrong_key"] = fault.args[0]["fail"][0]["errors"][0]["message"]
print(json.dumps(seen))
