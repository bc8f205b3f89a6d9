// The Runtime API's calls, over one kept connection.

import http from "node:http";

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const PREFIX = "/2018-06-01/runtime";

function address() {
  const [host, port] = (process.env.AWS_LAMBDA_RUNTIME_API || "169.254.100.1:9001").split(":");
  return { host, port: Number(port) };
}

/** Run the code of a call, and open the connection, before there is a function whose time it takes. */
export async function warmUp() {
  for (let round = 0; round < 3; round++) {
    await call("GET", "/ping", {});
  }
}

function call(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ ...address(), method, path: PREFIX + path, headers, agent }, response => {
      const chunks = [];
      response.on("data", chunk => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** The next event: its headers and its body as text. Waits as long as it takes. */
export async function next() {
  const { status, headers, body } = await call("GET", "/invocation/next", {});
  if (status !== 200) {
    throw new Error(`next answered ${status}`);
  }
  return { headers, body: body.toString("utf8") };
}

/** Post a result; a result that is too large is refused, which the platform has noted then. */
export async function respond(requestId, body) {
  await call("POST", `/invocation/${requestId}/response`, jsonHeaders(body), body);
}

export async function fail(requestId, document) {
  const body = JSON.stringify(document);
  await call("POST", `/invocation/${requestId}/error`, { ...jsonHeaders(body), ...typeHeader(document) }, body);
}

export async function failInit(document) {
  const body = JSON.stringify(document);
  await call("POST", "/init/error", { ...jsonHeaders(body), ...typeHeader(document) }, body);
}

function jsonHeaders(body) {
  return { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
}

function typeHeader(document) {
  return { "Lambda-Runtime-Function-Error-Type": String(document.errorType).replace(/[^\x20-\x7e]/g, "") };
}
