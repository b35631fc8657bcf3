"""The SDK ``volcengine-python-sdk``: its universal client, which all actions without a class go through."""

import ast
import json
import sys
from typing import Any

import volcenginesdkcore
from volcenginesdkcore.rest import ApiException
from volcenginesdkcore.universal import UniversalApi, UniversalInfo

job = json.load(sys.stdin)
configuration = volcenginesdkcore.Configuration()
configuration.ak, configuration.sk = job["access_key"], job["secret_key"]
configuration.region, configuration.host, configuration.scheme = "cn-north-1", job["host"], "http"
api = UniversalApi(volcenginesdkcore.ApiClient(configuration))


def answer(call: dict[str, Any]) -> dict[str, Any]:
    posted = call["method"] == "POST"
    info = UniversalInfo(
        method=call["method"],
        service="rtc",
        version=call["version"],
        action=call["action"],
        content_type="application/json" if posted else None,
    )
    try:
        return {"Result": api.do_call(info, call["parameters"])}
    except ApiException as failure:
        if failure.body is None:  # status 200 with an Error: the reason is the text of a dict
            return {"Error": ast.literal_eval(failure.reason)["Code"]}
        return {"Error": json.loads(failure.body)["ResponseMetadata"]["Error"]["Code"]}


json.dump([answer(call) for call in job["calls"]], sys.stdout)
