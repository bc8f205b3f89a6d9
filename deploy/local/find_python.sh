#!/bin/sh
# Prints the path of a Python that can run lambdad (3.11 or newer). The distribution's own comes first where it can make a
# virtual environment: it is built with profile-guided optimisation, which pyenv's are not, and serves a fifth more requests.
for name in "${PYTHON:-}" /usr/bin/python3.12 /usr/bin/python3.13 /usr/bin/python3.11 /usr/bin/python3.14 \
    python3.12 python3.13 python3.11 python3.14 python3 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python3; do
    [ -n "$name" ] || continue
    found=$(command -v "$name" 2>/dev/null) || continue
    # Asked for its own path: a shim may stand in front of it, or refuse.
    case $name in
        /usr/bin/*) "$found" -c 'import ensurepip, venv' 2>/dev/null || continue ;;
    esac
    real=$("$found" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null) || continue
    [ -n "$real" ] && { echo "$real"; exit 0; }
done
echo "lambdad needs Python 3.11 or newer, and none is on PATH (found: $(python3 --version 2>&1 || echo none))." >&2
echo "Debian 12, Ubuntu 24.04 and newer: apt-get install python3 python3-venv. PYTHON=/path/to/python3.12 make ... names one." >&2
exit 2
