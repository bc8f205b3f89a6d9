// awslambda.streamifyResponse: what the handler writes is on its way while it runs.

import { Writable } from "node:stream";
import * as client from "./client.mjs";
import { bufferFrom, stringifyJson } from "./primordials.mjs";

const MARK = Symbol.for("aws.lambda.runtime.handler.streaming"); // AWS's, which libraries look for, too.
const NULLS = bufferFrom([0, 0, 0, 0, 0, 0, 0, 0]);
const OCTETS = "application/octet-stream";
const PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response";

export function install() {
  globalThis.awslambda = {
    streamifyResponse(handler) {
      handler[MARK] = "response";
      return handler;
    },
    HttpResponseStream: {
      from(stream, metadata) {
        stream.setContentType(PRELUDE_TYPE);
        stream.write(stringifyJson(metadata));
        stream.write(NULLS);
        return stream;
      },
    },
  };
}

export function isStreaming(handler) {
  return Boolean(handler[MARK]);
}

/** The response as the handler sees it. Its call to the platform begins with the first byte, or with its end. */
class ResponseStream extends Writable {
  #requestId;
  #contentType = OCTETS;
  #call; // promised

  constructor(requestId) {
    super();
    this.#requestId = requestId;
  }

  setContentType(contentType) {
    if (this.#call === undefined) {
      this.#contentType = contentType;
    }
  }

  get begun() {
    return this.#call !== undefined;
  }

  _write(chunk, _encoding, done) {
    this.#open().then(response => response.write(chunk, done), done);
  }

  _final(done) {
    this.#end().then(() => done(), done);
  }

  /** End in the middle: what was written stays written, and trailers say what went wrong. */
  async fail(document) {
    await this.#end(document);
  }

  async #end(document) {
    const response = await this.#open();
    response.end(document);
    await response.answered;
  }

  #open() {
    this.#call ??= client.openResponse(this.#requestId, this.#contentType);
    return this.#call;
  }
}

/** Run a streaming handler to the end of its response. Throws, with nothing answered, what it threw before its first byte. */
export async function stream(requestId, handler, event, context, report) {
  const response = new ResponseStream(requestId);
  const finished = new Promise((resolve, reject) => response.on("finish", resolve).on("error", reject));
  finished.catch(() => {});
  try {
    if ((await handler(event, response, context)) !== undefined) {
      console.warn("The value that a streaming handler returns is not sent: write it to the response stream.");
    }
    if (!response.writableEnded) {
      response.end();
    }
    await finished;
  } catch (error) {
    if (!response.begun) {
      throw error;
    }
    await response.fail(report(error));
  }
}
