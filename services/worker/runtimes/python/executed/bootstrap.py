"""/var/runtime/bootstrap.py: the runtime of a function that an interpreter is executed for, with AWS's own client over HTTP.

Python 3.8, standard library only. A wrapper script gets `/var/lang/bin/python3.x /var/runtime/bootstrap.py` as its arguments,
as on AWS, and may put options for the interpreter in between.
"""

import os
import sys

_RUNTIME = "/var/runtime"


def _search_path():
    """As inside/preload.py has it for runtimes that are forked: nothing that the host has installed for itself is there."""
    version = "python%d.%d" % sys.version_info[:2]
    layers = ["/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    own = [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry and entry != _RUNTIME]
    standard = [entry for entry in sys.path[1:] if entry not in (*own, _RUNTIME) and not entry.endswith("-packages")]
    return ["/var/task", *(entry for entry in layers if os.path.isdir(entry)), *own, _RUNTIME, *standard]


if __name__ == "__main__":
    sys.path[:] = _search_path()
    from awslambdaric.__main__ import main

    main([__file__, os.environ["_HANDLER"]])
