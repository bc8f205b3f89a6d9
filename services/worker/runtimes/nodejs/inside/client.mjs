// The Runtime API's calls, over one kept connection.

import http from "node:http";

// Two: while a response is on its way in pieces, an error must still get through.
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
const PREFIX = "/2018-06-01/runtime";
const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY = "Lambda-Runtime-Function-Error-Body";

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

/** Begin to post a response in pieces: body to write to, answered when the platform has taken the end of it. */
export function openResponse(requestId, contentType) {
  const headers = {
    "Content-Type": contentType,
    "Transfer-Encoding": "chunked",
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    Trailer: `${ERROR_TYPE}, ${ERROR_BODY}`,
  };
  let body;
  const answered = new Promise((resolve, reject) => {
    body = http.request({ ...address(), method: "POST", path: `${PREFIX}/invocation/${requestId}/response`, headers, agent }, response => {
      response.resume();
      response.on("error", reject);
      response.on("end", resolve);
    });
    body.on("error", reject);
  });
  body.flushHeaders();
  return { body, answered };
}

/** Say behind what was posted of a response that it failed. */
export function addErrorTrailers(body, document) {
  body.addTrailers({ ...typeHeader(document), [ERROR_BODY]: Buffer.from(JSON.stringify(document)).toString("base64") });
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
  return { [ERROR_TYPE]: String(document.errorType).replace(/[^\x20-\x7e]/g, "") };
}
