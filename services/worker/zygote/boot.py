"""Where an interpreter becomes a zygote, in two steps, each with nothing in its environment that a function must not see.

`pythonX.Y -S boot.py FD` makes the root from the worker's first message, moves into it and executes the interpreter again, by
the path that it has in there: `/var/lang/bin/pythonX.Y -S boot.py FD POOL [INSIDE]`, which serves. INSIDE: the folder of what
serves runtimes, below this one's parent.

The project's modules are loaded under a private name, so that a function's own modules (shared, services, ...) meet nothing.
"""

import os
import sys
import types

WORKER_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def add_package(name, folder):
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package


def _add_packages():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    for name in ("", ".sandbox", ".zygote"):
        add_package("_lambdad" + name, os.path.join(WORKER_DIR, name[1:]))


def _main(fd, *serving):
    _add_packages()
    if serving:
        from _lambdad.zygote import server

        server.serve(fd, *serving)
    else:
        from _lambdad.zygote import settle

        settle.settle(fd, WORKER_DIR)


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
