#!/bin/sh
# Prints the path of a Python that can run lambdad (3.11 or newer), the one that most things are tested with first.
for name in "${PYTHON:-}" python3.12 python3.13 python3.11 python3.14 python3 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python3; do
    [ -n "$name" ] || continue
    found=$(command -v "$name" 2>/dev/null) || continue
    # Asked for its own path: a shim may stand in front of it, or refuse.
    real=$("$found" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null) || continue
    [ -n "$real" ] && { echo "$real"; exit 0; }
done
echo "lambdad needs Python 3.11 or newer, and none is on PATH (found: $(python3 --version 2>&1 || echo none))." >&2
echo "Debian 12, Ubuntu 24.04 and newer: apt-get install python3 python3-venv. PYTHON=/path/to/python3.12 make ... names one." >&2
exit 2
