// awslambda.streamifyResponse: what the handler writes is on its way while it runs.

import { Writable } from "node:stream";
import * as client from "./client.mjs";

const MARK = "isStreaming";
const OCTETS = "application/octet-stream";
const PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response";

export function install() {
  globalThis.awslambda = {
    streamifyResponse(handler) {
      const streaming = (event, stream, context) => handler(event, stream, context);
      streaming[MARK] = true;
      return streaming;
    },
    HttpResponseStream: {
      from(stream, metadata) {
        stream.setContentType(PRELUDE_TYPE);
        stream.write(JSON.stringify(metadata));
        stream.write(Buffer.alloc(8));
        return stream;
      },
    },
  };
}

/** The response as the handler sees it. Its call to the platform begins with the first byte, or with its end. */
class ResponseStream extends Writable {
  #requestId;
  #contentType = OCTETS;
  #call;

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
    if (this.#open().body.write(chunk)) {
      done();
    } else {
      // The platform takes no more for now, and so the handler's writes wait.
      this.#call.body.once("drain", done);
    }
  }

  _final(done) {
    this.#open().body.end();
    this.#call.answered.then(() => done(), done);
  }

  /** End in the middle: what was written stays written, and trailers say what went wrong. */
  async fail(document) {
    client.addErrorTrailers(this.#call.body, document);
    this.#call.body.end();
    await this.#call.answered;
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
