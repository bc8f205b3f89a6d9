// console in AWS's line formats, Text and JSON.

import fs from "node:fs";
import util from "node:util";
import { isError, stackLines } from "./errors.mjs";

const METHODS = { trace: "TRACE", debug: "DEBUG", info: "INFO", log: "INFO", warn: "WARN", error: "ERROR", fatal: "FATAL" };
const ORDER = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

let requestId;

export function setRequestId(id) {
  requestId = id;
}

/** One line as the runtime itself writes it, with text that is not formatted any more. */
export function writeError(kind, document) {
  if (process.env.AWS_LAMBDA_LOG_FORMAT === "JSON") {
    write(JSON.stringify({ timestamp: new Date().toISOString(), level: "ERROR", requestId, message: JSON.parse(document) }));
  } else {
    write(`${new Date().toISOString()}\t${requestId}\tERROR\t${kind} \t${document}`);
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
      console[method] = (...parts) => write(`${new Date().toISOString()}\t${requestId}\t${level}\t${util.format(...parts)}`);
    }
  }
}

function jsonLine(level, parts) {
  const record = { timestamp: new Date().toISOString(), level, requestId };
  const [first] = parts;
  record.message = parts.length === 1 && typeof first === "object" && first !== null && !isError(first) ? first : util.format(...parts);
  const error = parts.find(isError);
  if (error !== undefined) {
    Object.assign(record, { errorType: error.name, errorMessage: error.message, stackTrace: stackLines(error).slice(1) });
  }
  try {
    return JSON.stringify(record);
  } catch {
    return JSON.stringify({ ...record, message: util.format(...parts) });
  }
}

function write(line) {
  let data = Buffer.from(`${line}\n`);
  while (data.length > 0) {
    try {
      data = data.subarray(fs.writeSync(1, data));
    } catch (error) {
      if (error.code !== "EAGAIN") {
        return;
      }
    }
  }
}
