// Modules of layers and of the runtime. A required one is found by NODE_PATH. An imported one is looked for in the folders named
// node_modules on the way up from who imports it, and nowhere else: so the root has two links (family.py) that lead from
// /var/task to the layers' and then to the runtime's. The layers' folder for one version of Node.js comes before both.

import fs from "node:fs";
import Module from "node:module";
import { resolveSync } from "./module_hooks.mjs";

const LINKS = ["/var/node_modules", "/node_modules"];
const MAJOR = process.versions.node.split(".")[0];
const VERSIONED = `/opt/nodejs/node${MAJOR}/`;

/** Once the function's layers are there, before anything of it is loaded. */
export function findModules() {
  // NODE_PATH is read once, while Node starts; in a prepared process it was not there then.
  Module._initPaths();
  const { _nodeModulePaths: above } = Module;
  // Whoever requires goes by NODE_PATH alone, in its order.
  Module._nodeModulePaths = from => above(from).filter(folder => !LINKS.includes(folder));
  if (!fs.existsSync(`${VERSIONED}node_modules`)) {
    return;
  }
  if (Module.registerHooks !== undefined) {
    Module.registerHooks({ resolve: resolveSync });
  } else {
    Module.register?.("./module_hooks.mjs", import.meta.url);
  }
}
