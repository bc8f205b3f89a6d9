// awslambda.streamifyResponse: the handler writes to a stream, which is answered as a whole.

import { Writable } from "node:stream";

const MARK = "isStreaming";

export function install() {
  globalThis.awslambda = {
    streamifyResponse(handler) {
      const streaming = (event, stream, context) => handler(event, stream, context);
      streaming[MARK] = true;
      return streaming;
    },
    HttpResponseStream: {
      from(stream, metadata) {
        stream.write(JSON.stringify(metadata));
        stream.write(Buffer.alloc(8));
        return stream;
      },
    },
  };
}

/** Run a streaming handler; the bytes that it wrote. */
export async function collect(handler, event, context) {
  const chunks = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  stream.setContentType = () => {};
  const finished = new Promise((resolve, reject) => stream.on("finish", resolve).on("error", reject));
  await handler(event, stream, context);
  if (!stream.writableEnded) {
    stream.end();
  }
  await finished;
  return Buffer.concat(chunks);
}
