// How a prepared process becomes a function: one START frame, then a byte when the code is there.

import fs from "node:fs";

const STREAM_FD = 3;
const GO_FD = 4;
const HEADER_BYTES = 5;
const START = 1;
const PREPARED = 16;
const FRAME_BYTES_MAX = 7 * 1024 * 1024;

/** Block until the worker says what to run, and take on its environment. */
export function waitForStart() {
  fs.writeSync(STREAM_FD, Buffer.from([0, 0, 0, 0, PREPARED]));
  const header = read(STREAM_FD, HEADER_BYTES);
  const length = header.readUInt32BE(0);
  if (header[4] !== START || length > FRAME_BYTES_MAX) {
    process.exit(70);
  }
  const start = JSON.parse(read(STREAM_FD, length).toString("utf8"));
  read(GO_FD, 1);
  fs.closeSync(STREAM_FD);
  fs.closeSync(GO_FD);
  for (const name of Object.keys(process.env)) {
    delete process.env[name];
  }
  Object.assign(process.env, start.environment);
  process.chdir("/var/task");
  process.argv.splice(2);
}

function read(fd, length) {
  const buffer = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const count = fs.readSync(fd, buffer, at, length - at, null);
    if (count === 0) {
      process.exit(0); // The worker hung up.
    }
    at += count;
  }
  return buffer;
}
