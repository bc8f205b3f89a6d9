// console in AWS's line formats, Text and JSON.

import { isError, stackLines } from "./errors.mjs";
import { assign, bufferFrom, concatBuffers, format, isoNow, now, parseJson, part, stringifyJson, writeSync } from "./primordials.mjs";

const METHODS = { trace: "TRACE", debug: "DEBUG", info: "INFO", log: "INFO", warn: "WARN", error: "ERROR", fatal: "FATAL" };
const ORDER = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

let requestId;

export function setRequestId(id) {
  requestId = id;
}

/** One line as the runtime itself writes it, with text that is not formatted any more. */
export function writeError(kind, document) {
  if (process.env.AWS_LAMBDA_LOG_FORMAT === "JSON") {
    write(stringifyJson({ timestamp: isoNow(), level: "ERROR", requestId, message: parseJson(document) }));
  } else {
    write(`${isoNow()}\t${requestId}\tERROR\t${kind} \t${document}`);
  }
}

export function patchConsole() {
  const json = process.env.AWS_LAMBDA_LOG_FORMAT === "JSON";
  const least = Math.max(0, ORDER.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL || "TRACE").toUpperCase()));
  for (const [method, level] of Object.entries(METHODS)) {
    if (json && ORDER.indexOf(level) < least) {
      console[method] = () => {};
    } else if (json) {
      console[method] = (...parts) => write(jsonLine(level, parts));
    } else {
      console[method] = (...parts) => write(`${isoNow()}\t${requestId}\t${level}\t${format(parts)}`);
    }
  }
}

function jsonLine(level, parts) {
  const record = { timestamp: isoNow(), level, requestId };
  const first = parts[0];
  record.message = parts.length === 1 && typeof first === "object" && first !== null && !isError(first) ? first : format(parts);
  const error = parts.find(isError);
  if (error !== undefined) {
    assign(record, { errorType: error.name, errorMessage: error.message, stackTrace: stackLines(error).slice(1) });
  }
  try {
    return stringifyJson(record);
  } catch {
    return stringifyJson({ ...record, message: format(parts) });
  }
}

/** One record, whatever lines it has, framed as AWS's runtimes do: services/worker/sandbox/log_frames.py. */
function write(text) {
  const body = bufferFrom(`${text}\n`);
  const microseconds = now() * 1000;
  const numbers = [0xa55a0003, body.length, microseconds / 2 ** 32, microseconds];
  const head = [];
  for (let n = 0; n < 16; n += 1) {
    head[n] = (numbers[n >>> 2] >>> (24 - 8 * (n % 4))) & 0xff;
  }
  let data = concatBuffers([bufferFrom(head), body]);
  while (data.length > 0) {
    try {
      data = part(data, writeSync(1, data));
    } catch (error) {
      if (error.code !== "EAGAIN") {
        return;
      }
    }
  }
}
