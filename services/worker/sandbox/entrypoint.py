"""/lambda-entrypoint.sh, which images of AWS's runtimes begin with. Python 3.8, standard library only."""

PATH = "/lambda-entrypoint.sh"
TEXT = """#!/bin/sh
# Starts the runtime with the handler that is named, as the images of Lambda's runtimes do.
if [ $# -ne 1 ]; then
    echo "usage: /lambda-entrypoint.sh HANDLER" >&2
    exit 142
fi
export _HANDLER="$1"
if [ -e /var/runtime/bootstrap.mjs ]; then
    exec /var/lang/bin/node /var/runtime/bootstrap.mjs
elif [ -e /var/runtime/bootstrap.py ]; then
    exec /var/lang/bin/python3 /var/runtime/bootstrap.py
elif [ -e /var/runtime/bootstrap.rb ]; then
    exec /var/lang/bin/ruby /var/runtime/bootstrap.rb
fi
for bootstrap in /var/task/bootstrap /opt/bootstrap; do
    [ -x "$bootstrap" ] && exec "$bootstrap"
done
echo "no bootstrap in /var/task or /opt" >&2
exit 127
"""
