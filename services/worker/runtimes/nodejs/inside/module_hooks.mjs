// Where a layer has a folder for this version of Node.js alone: packages that the function does not bring itself are looked for
// from there, and so there first, then in the layers' common folder, then in the runtime's.

const FROM = `file:///opt/nodejs/node${process.versions.node.split(".")[0]}/from.mjs`;
const SHARED = ["file:///opt/nodejs/node_modules/", "file:///var/runtime/node_modules/"];
const PACKAGE = /^(@|\w)[^:]*$/;

export async function resolve(specifier, context, next) {
  if (!concerns(specifier, context)) {
    return next(specifier, context);
  }
  try {
    const found = await next(specifier, context);
    return isShared(found.url) ? await next(specifier, { ...context, parentURL: FROM }) : found;
  } catch (error) {
    return again(error, () => next(specifier, { ...context, parentURL: FROM }));
  }
}

/** The same for hooks that run in the function's own thread. */
export function resolveSync(specifier, context, next) {
  if (!concerns(specifier, context)) {
    return next(specifier, context);
  }
  try {
    const found = next(specifier, context);
    return isShared(found.url) ? next(specifier, { ...context, parentURL: FROM }) : found;
  } catch (error) {
    return again(error, () => next(specifier, { ...context, parentURL: FROM }));
  }
}

function concerns(specifier, context) {
  return PACKAGE.test(specifier) && (context.parentURL ?? "").startsWith("file:///var/task/") && context.conditions.includes("import");
}

function isShared(url) {
  return SHARED.some(folder => url.startsWith(folder));
}

function again(error, look) {
  if (error.code !== "ERR_MODULE_NOT_FOUND") {
    throw error;
  }
  return look();
}
