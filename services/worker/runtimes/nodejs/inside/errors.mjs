// How errors look in answers and in the log.

/** An error that the runtime itself raises, with one of AWS's type names. */
export class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

/** The document that goes to the caller: trace is the stack, a line an item. */
export function toDocument(thrown) {
  if (isError(thrown)) {
    return { errorType: thrown.name, errorMessage: thrown.message, trace: stackLines(thrown) };
  }
  return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] };
}

/** The document that goes to the log: the same with the error's own further members; here the key is stack. */
export function toLog(thrown) {
  if (!isError(thrown)) {
    return JSON.stringify({ errorType: typeof thrown, errorMessage: String(thrown), stack: [] });
  }
  const extra = {};
  for (const key of Object.keys(thrown)) {
    if (!["name", "message", "stack"].includes(key)) {
      extra[key] = thrown[key];
    }
  }
  const document = { errorType: thrown.name, errorMessage: thrown.message, ...extra, stack: stackLines(thrown) };
  try {
    return JSON.stringify(document);
  } catch {
    return JSON.stringify({ errorType: thrown.name, errorMessage: thrown.message, stack: stackLines(thrown) });
  }
}

export function isError(value) {
  return value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";
}

export function stackLines(error) {
  return typeof error.stack === "string" ? error.stack.split("\n") : [];
}
