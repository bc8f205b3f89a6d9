// One HTTP/1.1 connection to the Runtime API, straight on libuv's handles. Neither http, net, streams nor event emitters have a part
// in it: functions patch those, and what traces or mocks a function's calls would see the runtime's, or break them.

import {
  bufferFrom,
  bufferText,
  concatBuffers,
  indexIn,
  lowerCase,
  NativePromise,
  part,
  placeIn,
  split,
  textFrom,
  trim,
} from "./primordials.mjs";

const { TCP, TCPConnectWrap, constants } = process.binding("tcp_wrap");
const { WriteWrap, streamBaseState, kReadBytesOrError, kArrayBufferOffset, kLastWriteWasAsync } = process.binding("stream_wrap");
const NOTHING = bufferFrom("");
const HEAD_END = bufferFrom("\r\n\r\n");

/** Connect. The connection keeps the process alive only while a call is under way. */
export function open(host, port) {
  return new NativePromise((resolve, reject) => {
    const handle = new TCP(constants.SOCKET);
    const connect = new TCPConnectWrap();
    connect.oncomplete = status => (status === 0 ? resolve(new Connection(handle)) : reject(failure("connect", status)));
    const status = handle.connect(connect, host, port);
    if (status !== 0) {
      reject(failure("connect", status));
    }
  });
}

class Connection {
  closed = false;
  #handle;
  #answered; // {resolve, reject} of the call under way
  #start = NOTHING; // what came of an answer whose head is not whole
  #head;
  #parts = [];
  #missing = 0;

  constructor(handle) {
    this.#handle = handle;
    handle.onread = buffer => {
      const size = streamBaseState[kReadBytesOrError];
      if (size > 0) {
        this.#take(bufferFrom(buffer, streamBaseState[kArrayBufferOffset], size));
      } else if (size < 0) {
        this.#fail(failure("read", size));
      }
    };
    handle.setNoDelay(true);
    handle.readStart();
    handle.unref();
  }

  /** Begin a call: what it is answered, as {status, headers, body}. One at a time. */
  answer() {
    this.#handle.ref();
    return new NativePromise((resolve, reject) => {
      this.#answered = { resolve, reject };
    });
  }

  /** Send text or bytes; done is called when the other end has room for more. */
  send(data, done = () => {}) {
    const write = new WriteWrap();
    // Node.js reads from these bytes until the write is complete, and would collect them meanwhile if nothing held them.
    write.data = data;
    write.oncomplete = status => {
      if (status !== 0) {
        this.#fail(failure("write", status));
      }
      done();
    };
    const status = typeof data === "string" ? this.#handle.writeUtf8String(write, data) : this.#handle.writeBuffer(write, data);
    if (status !== 0) {
      this.#fail(failure("write", status));
    }
    if (status !== 0 || streamBaseState[kLastWriteWasAsync] === 0) {
      done();
    }
  }

  #take(data) {
    if (this.#head === undefined) {
      this.#start = this.#start.length === 0 ? data : concatBuffers([this.#start, data]);
      const end = indexIn(this.#start, HEAD_END);
      if (end < 0) {
        return;
      }
      this.#head = readHead(bufferText(this.#start, "latin1", 0, end));
      this.#missing = this.#head.length;
      data = part(this.#start, end + HEAD_END.length);
      this.#start = NOTHING;
    }
    this.#parts[this.#parts.length] = data;
    this.#missing -= data.length;
    if (this.#missing <= 0) {
      const { status, headers } = this.#head;
      const body = this.#parts.length === 1 ? this.#parts[0] : concatBuffers(this.#parts);
      const { resolve } = this.#answered;
      this.#head = this.#answered = undefined;
      this.#parts = [];
      this.#handle.unref();
      resolve({ status, headers, body });
    }
  }

  #fail(error) {
    if (!this.closed) {
      this.closed = true;
      this.#handle.close();
      this.#answered?.reject(error);
    }
  }
}

function readHead(text) {
  const lines = split(text, "\r\n");
  const headers = { __proto__: null };
  // Not for ... of, which asks what arrays have for an iterator by now.
  for (let n = 1; n < lines.length; n += 1) {
    const colon = placeIn(lines[n], ":");
    headers[lowerCase(textFrom(lines[n], 0, colon))] = trim(textFrom(lines[n], colon + 1));
  }
  return { status: Number(split(lines[0], " ")[1]), headers, length: Number(headers["content-length"] ?? 0) };
}

function failure(what, status) {
  return new Error(`The Runtime API cannot be reached: ${what} failed with ${status}`);
}
