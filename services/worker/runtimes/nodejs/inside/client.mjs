// The Runtime API's calls.

import { open } from "./connection.mjs";
import { bufferFrom, bufferText, byteLength, concatBuffers, replace, stringifyJson } from "./primordials.mjs";

const PREFIX = "/2018-06-01/runtime";
const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY = "Lambda-Runtime-Function-Error-Body";
const LINE_END = bufferFrom("\r\n");

const [HOST, PORT] = (process.env.AWS_LAMBDA_RUNTIME_API || "169.254.100.1:9001").split(":");

// Kept: while a response is on its way in pieces, an error that comes meanwhile opens another.
let idle;

async function connection() {
  const kept = idle;
  idle = undefined;
  return kept === undefined || kept.closed ? open(HOST, Number(PORT)) : kept;
}

/** Run the code of a call, and open the connection, before there is a function whose time it takes. */
export async function warmUp() {
  for (let round = 0; round < 3; round++) {
    await call("GET", "/ping");
  }
}

async function call(method, path, headers = "", body = "") {
  const used = await connection();
  const answered = answerOf(used);
  used.send(`${head(method, path)}${headers}\r\n${body}`);
  return answered;
}

/** Of the call that is about to be sent; the connection is kept for the next one then. */
async function answerOf(used) {
  const answer = await used.answer();
  idle = used;
  return answer;
}

function head(method, path) {
  return `${method} ${PREFIX}${path} HTTP/1.1\r\nHost: ${HOST}:${PORT}\r\n`;
}

/** The next event: its headers and its body as text. Waits as long as it takes. */
export async function next() {
  const { status, headers, body } = await call("GET", "/invocation/next");
  if (status !== 200) {
    throw new Error(`next answered ${status}`);
  }
  return { headers, body: bufferText(body, "utf8") };
}

/** Post a result; a result that is too large is refused, which the platform has noted then. */
export async function respond(requestId, body) {
  await call("POST", `/invocation/${requestId}/response`, jsonHeaders(body), body);
}

/** Begin to post a response in pieces; answered: when the platform has taken the end of it. */
export async function openResponse(requestId, contentType) {
  const used = await connection();
  const answered = answerOf(used);
  used.send(
    `${head("POST", `/invocation/${requestId}/response`)}Content-Type: ${oneLine(contentType)}\r\nTransfer-Encoding: chunked\r\n` +
      `Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: ${ERROR_TYPE}, ${ERROR_BODY}\r\n\r\n`,
  );
  return {
    answered,
    /** done is called when the platform takes more. */
    write(chunk, done) {
      if (chunk.length === 0) {
        done(); // An empty piece would end the response.
      } else {
        used.send(concatBuffers([bufferFrom(`${chunk.length.toString(16)}\r\n`), chunk, LINE_END]), done);
      }
    },
    /** document: says behind what was posted that the response failed. */
    end(document) {
      const trailers =
        document === undefined
          ? ""
          : `${typeHeader(document)}${ERROR_BODY}: ${bufferText(bufferFrom(stringifyJson(document)), "base64")}\r\n`;
      used.send(`0\r\n${trailers}\r\n`);
    },
  };
}

export async function fail(requestId, document) {
  await post(`/invocation/${requestId}/error`, document);
}

export async function failInit(document) {
  await post("/init/error", document);
}

async function post(path, document) {
  const body = stringifyJson(document);
  await call("POST", path, jsonHeaders(body) + typeHeader(document), body);
}

function jsonHeaders(body) {
  return `Content-Type: application/json\r\nContent-Length: ${byteLength(body)}\r\n`;
}

function typeHeader(document) {
  return `${ERROR_TYPE}: ${oneLine(document.errorType)}\r\n`;
}

function oneLine(text) {
  return replace(String(text), /[^\x20-\x7e]/g, "");
}
