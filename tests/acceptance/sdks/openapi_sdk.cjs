// The SDK @volcengine/openapi: a Service with a function for each action.
"use strict";
const { Service } = require("@volcengine/openapi");

const job = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const service = new Service({
  host: job.host,
  protocol: "http:",
  serviceName: "rtc",
  region: "cn-north-1",
  accessKeyId: job.access_key,
  secretKey: job.secret_key,
});

async function answer({ method, action, version, parameters }) {
  const call = method === "GET"
    ? service.createAPI(action, { Version: version, method: "GET" })
    : service.createJSONAPI(action, { Version: version });
  const envelope = await call(parameters);
  const error = envelope.ResponseMetadata.Error;
  return error ? { Error: error.Code } : { Result: envelope.Result };
}

(async () => {
  const answers = [];
  for (const call of job.calls) answers.push(await answer(call));
  process.stdout.write(JSON.stringify(answers));
})();
