"""Where an interpreter becomes a zygote: `pythonX.Y -S boot.py FD`, with an empty environment.

The project's modules are loaded under a private name, so that a function's own modules (shared, services, ...) meet nothing.
"""

import os
import sys
import types


def add_package(name, folder):
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package


def _load():
    worker_dir = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != os.path.dirname(os.path.abspath(__file__))]
    for name in ("", ".sandbox", ".zygote"):
        add_package("_lambdad" + name, os.path.join(worker_dir, name[1:]))
    from _lambdad.zygote import server

    return server


if __name__ == "__main__":
    _load().serve(int(sys.argv[1]))
