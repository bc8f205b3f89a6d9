// From the Handler setting to a function.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { RuntimeError } from "./errors.mjs";
import { isStreaming } from "./streaming.mjs";

const CALLBACK_LAST_MAJOR = 22;
const TYPES_FIRST_MAJOR = 24;
const MAJOR = Number(process.versions.node.split(".")[0]);
// What a stack of requires ends with on AWS, whatever this file is called.
const require = createRequire("/var/runtime/index.mjs");

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
  const names = exported.split("."); // Before the function's code may change what strings can.
  const module = await loadModule(root, path.resolve(root, path.dirname(setting)), file);
  let found = member(module, names);
  if (found === undefined && module.default !== undefined) {
    found = member(module.default, names);
  }
  if (!found) {
    throw new RuntimeError("Runtime.HandlerNotFound", `${setting} is undefined or not exported`);
  }
  if (typeof found !== "function") {
    throw new RuntimeError("Runtime.HandlerNotFound", `${setting} is not a function`);
  }
  if (found.length >= 3 && MAJOR > CALLBACK_LAST_MAJOR && !isStreaming(found)) {
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    );
  }
  return found;
}

function member(of, names) {
  let value = of;
  for (let n = 0; n < names.length; n += 1) {
    value = value?.[names[n]];
  }
  return value;
}

async function loadModule(root, folder, file) {
  const plain = path.join(folder, file);
  const ofModules = isModulePackage(folder);
  try {
    for (const [extension, imported] of extensions(ofModules)) {
      const name = plain + extension;
      if (isFile(name)) {
        return imported ? await import(pathToFileURL(name).href) : require(name);
      }
    }
    // As Node looks for a package of this name, NODE_PATH included.
    return require(require.resolve(file, { paths: [root, folder] }));
  } catch (error) {
    throw translate(error);
  }
}

/** In the order in which they are tried, and whether a file of that kind is an ES module. */
function extensions(ofModules) {
  const plain = [["", false], [".js", ofModules], [".mjs", true], [".cjs", false]];
  return MAJOR < TYPES_FIRST_MAJOR ? plain : [...plain, [".ts", ofModules], [".mts", true], [".cts", false]];
}

/** An ES module's missing import stays the error that it is, as AWS's runtime has it. */
function translate(error) {
  if (error instanceof SyntaxError) {
    return named("Runtime.UserCodeSyntaxError", error);
  }
  return error?.code === "MODULE_NOT_FOUND" ? named("Runtime.ImportModuleError", error) : error;
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
