// What the runtime uses after the function's code was loaded, as it was before: functions, and the libraries that watch or mock
// them, replace parts of the language and of Node.js, and none of that is meant for the runtime.

import fs from "node:fs";
import util from "node:util";

const { apply } = Reflect;
const { format: formatParts } = util;
const method = of => (self, ...rest) => apply(of, self, rest);

export const { parse: parseJson, stringify: stringifyJson } = JSON;
export const { now } = Date;
export const { max } = Math;
export const { assign, keys } = Object;
export const { writeSync } = fs;
export const { from: bufferFrom, concat: concatBuffers, byteLength } = Buffer;
export const bufferText = method(Buffer.prototype.toString);
export const part = method(Buffer.prototype.subarray);
export const indexIn = method(Buffer.prototype.indexOf);
export const split = method(String.prototype.split);
export const textFrom = method(String.prototype.slice);
export const placeIn = method(String.prototype.indexOf);
export const lowerCase = method(String.prototype.toLowerCase);
export const trim = method(String.prototype.trim);
export const replace = method(String.prototype.replace);
export const NativePromise = Promise;

/** What console.log makes of its arguments. */
export const format = parts => apply(formatParts, undefined, parts);

const NativeDate = Date;
const toIso = method(Date.prototype.toISOString);
export const isoNow = () => toIso(new NativeDate());

const { exit, reallyExit } = process;

/** End the process, with its "exit" listeners if they let it. */
export function endProcess(status) {
  try {
    apply(exit, process, [status]);
  } finally {
    apply(reallyExit, process, [status]);
  }
}
