// From the Handler setting to a function.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { RuntimeError } from "./errors.mjs";

const CALLBACK_LAST_MAJOR = 22;

/** Load `<path/file>.<export>`; throws with one of AWS's error types. */
export async function load(root, setting) {
  if (setting.includes("..")) {
    const text = `'${setting}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`;
    throw new RuntimeError("Runtime.MalformedHandlerName", text);
  }
  const base = path.basename(setting);
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (match === null) {
    throw new RuntimeError("Runtime.MalformedHandlerName", "Bad handler");
  }
  const [, file, exported] = match;
  const module = await loadModule(path.resolve(root, path.dirname(setting)), file);
  let found = exported.split(".").reduce((value, name) => (value === undefined || value === null ? undefined : value[name]), module);
  if (found === undefined && module.default !== undefined) {
    found = exported.split(".").reduce((value, name) => (value === undefined || value === null ? undefined : value[name]), module.default);
  }
  if (found === undefined || found === null) {
    throw new RuntimeError("Runtime.HandlerNotFound", `${setting} is undefined or not exported`);
  }
  if (typeof found !== "function") {
    throw new RuntimeError("Runtime.HandlerNotFound", `${setting} is not a function`);
  }
  const major = Number(/nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV || "")?.[1] ?? 0);
  if (found.length >= 3 && major > CALLBACK_LAST_MAJOR && !found.isStreaming) {
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    );
  }
  return found;
}

async function loadModule(folder, file) {
  const require = createRequire(path.join(folder, "bootstrap.cjs"));
  const plain = path.join(folder, file);
  try {
    if (isFile(plain)) {
      return require(plain);
    }
    if (isFile(`${plain}.js`)) {
      return isModulePackage(folder) ? await import(pathToFileURL(`${plain}.js`).href) : require(`${plain}.js`);
    }
    if (isFile(`${plain}.mjs`)) {
      return await import(pathToFileURL(`${plain}.mjs`).href);
    }
    if (isFile(`${plain}.cjs`)) {
      return require(`${plain}.cjs`);
    }
    // As Node looks for a package of this name, NODE_PATH included.
    return require(resolvePackage(require, plain, file));
  } catch (error) {
    throw translate(error);
  }
}

function resolvePackage(require, plain, file) {
  try {
    return require.resolve(plain);
  } catch (first) {
    try {
      return require.resolve(file);
    } catch {
      first.message = `Cannot find module '${path.basename(plain)}'\nRequire stack:\n- /var/runtime/index.mjs`;
      throw first;
    }
  }
}

function translate(error) {
  if (error instanceof SyntaxError) {
    return named("Runtime.UserCodeSyntaxError", error);
  }
  if (error !== null && typeof error === "object" && ["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND"].includes(error.code)) {
    return named("Runtime.ImportModuleError", error);
  }
  return error;
}

function named(name, error) {
  const renamed = new RuntimeError(name, String(error).split("\n    at ")[0]);
  renamed.stack = `${name}: ${renamed.message}\n${(error.stack || "").split("\n").filter(line => line.startsWith("    at ")).join("\n")}`;
  return renamed;
}

/** Whether the nearest package.json makes .js files ES modules. */
function isModulePackage(folder) {
  for (let at = folder; ; at = path.dirname(at)) {
    const description = path.join(at, "package.json");
    if (isFile(description)) {
      try {
        return JSON.parse(fs.readFileSync(description, "utf8")).type === "module";
      } catch {
        return false;
      }
    }
    if (at === path.dirname(at) || path.basename(at) === "node_modules") {
      return false;
    }
  }
}

function isFile(name) {
  return fs.statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
}
