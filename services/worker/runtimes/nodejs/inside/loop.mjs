// One event after the other, for as long as the process lives.

import * as client from "./client.mjs";
import { RuntimeError, toDocument, toLog, UnhandledPromiseRejection } from "./errors.mjs";
import { load } from "./handler.mjs";
import { patchConsole, setRequestId, writeError } from "./log.mjs";
import { endProcess, max, NativePromise, now, parseJson, stringifyJson } from "./primordials.mjs";
import { install, isStreaming, stream } from "./streaming.mjs";

const NEVER_SETTLED =
  "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes";

let current; // {requestId} while a handler runs
let whenIdle; // what to do when nothing is left to run

export async function serve() {
  patchConsole();
  install();
  process.on("uncaughtException", error => end("Uncaught Exception", error, 129));
  process.on("unhandledRejection", (reason, promise) =>
    end("Unhandled Promise Rejection", new UnhandledPromiseRejection(reason, promise), 128),
  );
  process.on("beforeExit", () => {
    const action = whenIdle;
    whenIdle = undefined;
    action?.();
  });
  let handler;
  try {
    handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
  } catch (error) {
    await endInit(error);
    return;
  }
  for (;;) {
    const { headers, body } = await client.next();
    const requestId = headers["lambda-runtime-aws-request-id"];
    current = { requestId };
    setRequestId(requestId);
    setTrace(headers["lambda-runtime-trace-id"]);
    try {
      const event = parseJson(body);
      const context = makeContext(headers);
      if (isStreaming(handler)) {
        await stream(requestId, handler, event, context, report);
      } else {
        await client.respond(requestId, stringify(await run(handler, event, context)));
      }
    } catch (error) {
      await client.fail(requestId, report(error));
    }
    current = undefined;
    setRequestId(undefined);
  }
}

/** Write an error of the handler to the log; the document that the caller gets. */
function report(error) {
  writeError("Invoke Error", toLog(error));
  return toDocument(error);
}

function setTrace(header) {
  if (header === undefined) {
    delete process.env._X_AMZN_TRACE_ID;
  } else {
    process.env._X_AMZN_TRACE_ID = header;
  }
}

/** Call the handler in its style: a promise, a callback, context.done and its kin. */
function run(handler, event, context) {
  return new NativePromise((resolve, reject) => {
    let called = false;
    const finish = settle => {
      if (called) {
        return;
      }
      called = true;
      whenIdle = undefined;
      if (context.callbackWaitsForEmptyEventLoop) {
        whenIdle = settle;
      } else {
        settle();
      }
    };
    const callback = (error, result) => finish(() => (error === undefined || error === null ? resolve(result) : reject(error)));
    context.done = callback;
    context.succeed = result => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(null, result);
    };
    context.fail = error => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(error ?? "handled");
    };
    const returned = handler(event, context, callback);
    if (typeof returned?.then === "function") {
      whenIdle = () => reject(new RuntimeError("Runtime.NodeJsExit", NEVER_SETTLED));
      returned.then(
        result => {
          whenIdle = undefined;
          resolve(result);
        },
        error => {
          whenIdle = undefined;
          reject(error ?? "handled");
        },
      );
    } else if (!called) {
      whenIdle = () => resolve(null);
    }
  });
}

function stringify(result) {
  try {
    return stringifyJson(result === undefined ? null : result) ?? "null";
  } catch {
    throw new RuntimeError("Runtime.JSONStringifyError", "Unable to stringify response body");
  }
}

function makeContext(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const clientContext = headers["lambda-runtime-client-context"];
  const identity = headers["lambda-runtime-cognito-identity"];
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: clientContext === undefined ? undefined : parseJson(clientContext),
    identity: identity === undefined ? undefined : parseJson(identity),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    getRemainingTimeInMillis: () => max(0, deadline - now()),
  };
}

/** An error outside the handler: say it, as the invocation's answer when there is one, and end. */
async function end(kind, error, status) {
  try {
    writeError(kind, toLog(error));
    if (current !== undefined) {
      await client.fail(current.requestId, toDocument(error));
    }
  } finally {
    endProcess(status);
  }
}

async function endInit(error) {
  try {
    writeError("Uncaught Exception", toLog(error));
    await client.failInit(toDocument(error));
  } finally {
    endProcess(1);
  }
}
