"""What a zygote imports before it forks, and how a function's own copies of those modules still win."""

import builtins
import importlib
import os
import sys
import types

RUNTIME = "/var/runtime"
CLIENT, SDK = "awslambdaric", ("boto3", "botocore.httpsession", "botocore.endpoint")

_standard_path = []
_early_modules = frozenset()
"""Top-level modules that are loaded here, but not yet on AWS, when a handler is imported."""


def prepare(pool):
    """Set the path up and import the runtime client and the SDK. Returns a warning text or None. Raises ImportError."""
    global _early_modules
    _add_interactive_names()
    _standard_path[:] = [entry for entry in sys.path if entry]
    sys.path[:] = [RUNTIME] + _standard_path
    os.environ["AWS_EXECUTION_ENV"] = "AWS_Lambda_%s" % pool
    # The native HTTP client has no part in it: runtime.py is the transport.
    stub = types.ModuleType("runtime_client")
    stub.initialize_client = lambda *_arguments: None
    sys.modules["runtime_client"] = stub
    importlib.import_module(CLIENT + ".bootstrap")
    for name in ("lambda_runtime_client", "lambda_context", "lambda_literals"):
        try:
            importlib.import_module(CLIENT + "." + name)
        except ImportError:
            pass
    own_modules = {name.partition(".")[0] for name in sys.modules}
    warning = None
    try:
        for name in SDK:
            importlib.import_module(name)
    except ImportError as error:
        warning = "the SDK is not preloaded: %s" % error
    _early_modules = frozenset(name.partition(".")[0] for name in sys.modules) - own_modules
    return warning


def _add_interactive_names():
    """exit() and quit(), which `python -S` leaves out and functions use."""
    if not hasattr(builtins, "exit"):
        import site

        site.setquit()
        site.sethelper()


def set_path(python_path):
    """The search path of a function, as on AWS: its code, its layers, the runtime, the standard library."""
    version = "python%d.%d" % sys.version_info[:2]
    layers = ["/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    extra = [entry for entry in python_path.split(":") if entry and entry != RUNTIME]
    sys.path[:] = ["/var/task"] + [entry for entry in layers if os.path.isdir(entry)] + extra + [RUNTIME] + _standard_path


def forget_shadowed():
    """Unload what was imported early but exists in the function's own code or layers too: theirs must be found first."""
    theirs = set()
    for folder in sys.path[: sys.path.index(RUNTIME)]:
        try:
            theirs.update(name.partition(".")[0] for name in os.listdir(folder))
        except OSError:
            continue
    shadowed = theirs & _early_modules
    if not shadowed:
        return
    if any(_is_of_runtime(name) for name in shadowed):
        # The SDK's parts know each other's versions: all of it goes when one part does.
        shadowed.update(name for name in _early_modules if _is_of_runtime(name))
    for name in list(sys.modules):
        if name.partition(".")[0] in shadowed:
            del sys.modules[name]
    importlib.invalidate_caches()


def _is_of_runtime(name):
    return (getattr(sys.modules.get(name), "__file__", None) or "").startswith(RUNTIME)
