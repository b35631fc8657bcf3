"""The SDK ``volcengine``: a Service with a row for each action, as its own examples have it."""

import json
import sys
from typing import Any

from volcengine.ApiInfo import ApiInfo
from volcengine.base.Service import Service
from volcengine.Credentials import Credentials
from volcengine.ServiceInfo import ServiceInfo

job = json.load(sys.stdin)
credentials = Credentials(job["access_key"], job["secret_key"], "rtc", "cn-north-1")
info = ServiceInfo(job["host"], {"Accept": "application/json"}, credentials, 10, 10, "http")
rows = {
    f"{call['action']} {call['version']}": ApiInfo(
        call["method"], "/", {"Action": call["action"], "Version": call["version"]}, {}, {}
    )
    for call in job["calls"]
}
service = Service(info, rows)
service.set_ak(job["access_key"])
service.set_sk(job["secret_key"])


def answer(call: dict[str, Any]) -> dict[str, Any]:
    row = f"{call['action']} {call['version']}"
    try:
        if call["method"] == "GET":
            text = service.get(row, call["parameters"])
        else:
            text = service.json(row, {}, json.dumps(call["parameters"]))
    except Exception as failure:  # noqa: BLE001 - the SDK's own; its text is the body of the answer
        text = failure.args[0].decode() if isinstance(failure.args[0], bytes) else str(failure)
    envelope = json.loads(text)
    error = envelope["ResponseMetadata"].get("Error")
    return {"Error": error["Code"]} if error else {"Result": envelope["Result"]}


json.dump([answer(call) for call in job["calls"]], sys.stdout)
