// The Node.js runtime: a client of the Runtime API (2018-06-01) in plain JavaScript.
//
// Started with the argument "prepared" it was executed ahead of need: it says so on descriptor 3, then waits there for its
// function's variables and handler (frames as in sandbox/protocol.py), and on descriptor 4 until the code is mounted.

import { warmUp } from "./client.mjs";
import { serve } from "./loop.mjs";
import { findModules } from "./modules.mjs";
import { waitForStart } from "./start.mjs";

if (process.argv[2] === "prepared") {
  await warmUp();
  waitForStart();
}
findModules();
await serve();
