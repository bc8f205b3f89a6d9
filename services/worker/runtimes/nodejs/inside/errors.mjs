// How errors look in answers and in the log.

import util from "node:util";
import { assign, split, stringifyJson } from "./primordials.mjs";

const { isNativeError } = util.types;

/** An error that the runtime itself raises, with one of AWS's type names. */
export class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    Object.defineProperty(this, "name", { value: name });
  }
}

/** Of a promise that nobody took care of; reason is what it was rejected with. */
export class UnhandledPromiseRejection extends RuntimeError {
  constructor(reason, promise) {
    super("Runtime.UnhandledPromiseRejection", String(reason));
    this.reason = reason;
    this.promise = promise;
  }
}

/** The document that goes to the caller: trace is the stack, a line an item. */
export function toDocument(thrown) {
  if (isError(thrown)) {
    return { errorType: thrown.name, errorMessage: thrown.message, trace: stackLines(thrown) };
  }
  return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] };
}

/** The document that goes to the log: the same with the error's own further members, in which errors are told likewise; here
 * the key is stack. */
export function toLog(thrown) {
  try {
    return stringifyJson(isError(thrown) ? thrown : { errorType: typeof thrown, errorMessage: String(thrown), stack: [] }, told);
  } catch {
    const { errorType, errorMessage, trace } = toDocument(thrown);
    return stringifyJson({ errorType, errorMessage, stack: trace });
  }
}

function told(_key, value) {
  if (!isError(value)) {
    return value;
  }
  const document = assign({ errorType: value.name, errorMessage: value.message, code: value.code }, value);
  document.stack = stackLines(value);
  return document;
}

export function isError(value) {
  return isNativeError(value) || value instanceof Error;
}

export function stackLines(error) {
  return typeof error.stack === "string" ? split(error.stack, "\n") : [];
}
