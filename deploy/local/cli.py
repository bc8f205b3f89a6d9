"""The command line: `lambdad up | down | status | env | logs | events | runtimes | serve | sign`.

Exit status 2 means that the operator must change something; the message says what.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import select
import shlex
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn

if sys.version_info < (3, 11):  # noqa: UP036  # Before our own imports, which are newer than what could run them.
    sys.exit(f"lambdad needs Python 3.11 or newer; this is {sys.version.split()[0]}.")

from shared.domain.errors import ConfigurationError

SERVICES = ("frontend", "scheduler", "worker", "poller", "router")
DEFAULT_DATA_DIR = ".lambdad"
DATA_DIR_HELP = (
    f"where the cluster keeps its state ({DEFAULT_DATA_DIR} in the current directory, or what LAMBDAD_DATA_DIR says)"
)
DOWN_TIMEOUT_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigurationError as error:
        print(f"lambdad: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (`lambdad logs | head`); nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lambdad", description="AWS Lambda as a cluster you run yourself")
    parser.add_argument("--version", action=_Version, nargs=0, help="the version of lambdad")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str, *, data_dir: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        if data_dir:
            default = Path(os.environ.get("LAMBDAD_DATA_DIR") or DEFAULT_DATA_DIR)
            added.add_argument("--data-dir", type=Path, default=default, metavar="D", help=DATA_DIR_HELP)
        return added

    up = command("up", _up, "start the cluster")
    up.add_argument("--port", type=int, metavar="P", help="port of the endpoint, on loopback (as the last time; 9000)")
    up.add_argument("--workers", type=int, metavar="N", help="how many workers (as the last time; 1)")
    up.add_argument(
        "--forward",
        action="append",
        default=[],
        metavar="SERVICE=URL",
        help="endpoint of an AWS service that is not served here (s3=http://...; *=URL for all others); may be repeated",
    )
    up.add_argument("--no-auth", action="store_true", help="accept unsigned requests; loopback only")
    up.add_argument("--engines-only", action="store_true", help="without the services, to develop them against real engines")
    up.add_argument(
        "--ends-with",
        type=int,
        metavar="PID",
        default=os.environ.get("LAMBDAD_ENDS_WITH"),
        help="stop the cluster when this process ends, however it ends: for test suites (LAMBDAD_ENDS_WITH)",
    )
    up.add_argument("--detach", action="store_true", help="return when the cluster is ready and leave it running")

    command("down", _down, "stop the cluster; its state is kept")
    status = command("status", _status, "state of every engine and service; exit status 1 unless all are ready")
    status.add_argument("--json", action="store_true", help="as one JSON document")
    command("env", _env, "`export` lines that point AWS SDKs and tools at the cluster")
    logs = command("logs", _logs, "what engines and services log")
    logs.add_argument("service", nargs="*", help="only of these (as `lambdad status` names them; worker: of all workers)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing what is added")
    logs.add_argument("-n", "--lines", type=_count, metavar="N", help="so many of each at most (40; no bound with --since)")
    logs.add_argument(
        "--since",
        type=_moment,
        metavar="WHEN",
        help="only what is newer: 30s, 10m, 2h, 1d ago, or a time: 2026-02-03T04:05",
    )
    from deploy.local.events.parser import add_arguments

    add_arguments(command("events", _events, "what became of asynchronous events; run them again, cancel them"), DATA_DIR_HELP)
    runtimes = command("runtimes", _runtimes, "what functions can run on here, and how to have the rest", data_dir=False)
    runtimes.set_defaults(name=[])
    what = runtimes.add_subparsers(metavar="install")
    fetch = what.add_parser("install", help="fetch interpreters or the JavaScript SDK for functions, pinned by hash")
    fetch.add_argument("name", nargs="+", help="nodejs22.x, python3.13, ...; nodejs-sdk, which comes with every Node.js")
    sign = command("sign", _sign, "sign a code package for functions that use a code signing configuration", data_dir=False)
    sign.add_argument("package", nargs="?", type=Path, metavar="ZIP", help="the package")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="Ed25519 private key, PEM")
    sign.add_argument("--new-key", action="store_true", help="make the key first and show its public half for the settings")
    sign.add_argument("--profile", metavar="ARN", help="signing profile version, as configurations name it")
    sign.add_argument("--output", type=Path, metavar="ZIP", help="where the signed package goes (in place of the other)")
    serve = command("serve", _serve, "run one service in the foreground, told by environment variables", data_dir=False)
    serve.add_argument("service", choices=SERVICES)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from deploy.local.version import version

        print(f"lambdad {version()}")
        parser.exit()


def _up(options: argparse.Namespace) -> int:
    from deploy.local.layout import DataDir
    from deploy.local.up import UpRequest, run_detached, run_foreground

    _set_forwards(options.forward)
    request = UpRequest(
        data=DataDir.at(options.data_dir),
        port=options.port,
        workers=options.workers,
        auth=not options.no_auth,
        engines_only=options.engines_only,
        ends_with=options.ends_with,
    )
    return run_detached(request) if options.detach else run_foreground(request)


def _set_forwards(given: list[str]) -> None:
    """Services read their settings from the environment, and inherit this one. Raises ConfigurationError."""
    from services.frontend.forwarding.settings import Endpoints, setting_of
    from shared.settings import Settings

    for pair in given:
        service, equals, url = pair.partition("=")
        if not equals or not service:
            raise ConfigurationError(f"--forward {pair}: say --forward SERVICE=URL, e.g. --forward s3=http://127.0.0.1:9001")
        os.environ[setting_of(service)] = url
    Endpoints(Settings())


def _down(options: argparse.Namespace) -> int:
    from deploy.local.layout import DataDir
    from deploy.local.state import is_running, read_state

    data = DataDir.at(options.data_dir)
    state = read_state(data.state)
    if state is None or not is_running(data.lock):
        print(f"No cluster runs in {data.root}.")
        return 0
    # The lock says that its holder lives; the pid is that holder's, who wrote it.
    try:
        supervisor = os.pidfd_open(state.supervisor_pid)
    except ProcessLookupError:
        return 0
    try:
        signal.pidfd_send_signal(supervisor, signal.SIGTERM)
        if not select.select([supervisor], [], [], DOWN_TIMEOUT_S)[0]:
            signal.pidfd_send_signal(supervisor, signal.SIGKILL)  # Its children die with it.
            print(f"The cluster in {data.root} did not stop within {DOWN_TIMEOUT_S:.0f} s and was killed.", file=sys.stderr)
            return 1
    except ProcessLookupError:
        pass
    finally:
        os.close(supervisor)
    print(f"The cluster in {data.root} is stopped; its state is kept.")
    return 0


def _status(options: argparse.Namespace) -> int:
    from deploy.local import messages
    from deploy.local.layout import DataDir
    from deploy.local.status import as_json, observe

    data = DataDir.at(options.data_dir)
    observed = asyncio.run(observe(data))
    if options.json:
        print(as_json(observed))
    else:
        print(messages.status(data, observed.state, running=observed.running))
    return 0 if observed.ready else 1


def _env(options: argparse.Namespace) -> int:
    from deploy.local.layout import DataDir
    from deploy.local.proxies import exemption
    from deploy.local.status import environment

    for name, value in (environment(DataDir.at(options.data_dir)) | exemption(os.environ)).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _logs(options: argparse.Namespace) -> int:
    from deploy.local.layout import DataDir
    from deploy.local.logs import show
    from deploy.local.status import never_started

    data = DataDir.at(options.data_dir)
    if not data.logs.is_dir():
        raise ConfigurationError(never_started(data.root))
    known = sorted(path.stem for path in data.logs.glob("*.log"))
    named = {asked: [name for name in known if name == asked or name.startswith(f"{asked}-")] for asked in options.service}
    unknown = [asked for asked, found in named.items() if not found]
    if unknown or not known:
        told = f"No log of {', '.join(unknown) or 'anything'} in {data.logs}; there are: {', '.join(known) or 'none'}."
        raise ConfigurationError(told)
    names = [name for found in named.values() for name in found] or known
    show(data.logs, names, lines=options.lines, since=options.since, follow=options.follow)
    return 0


def _events(options: argparse.Namespace) -> int:
    from deploy.local.events import commands

    run = {
        "list": commands.run_list,
        "show": commands.run_show,
        "deliveries": commands.run_deliveries,
        "redrive": commands.run_redrive,
        "cancel": commands.run_cancel,
        "replay": commands.run_replay,
    }
    return run[options.what](options)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of lines")
    return int(text)


def _moment(text: str) -> datetime:
    from deploy.local.log_times import moment

    try:
        return moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sign(options: argparse.Namespace) -> int:
    from deploy.local.sign import new_key, sign_file

    if options.package is None and not options.new_key:
        raise ConfigurationError("name a package to sign, or ask for a new key")
    if options.new_key:
        print(f"public key: {new_key(options.key)}")
    if options.package is not None:
        if options.profile is None:
            raise ConfigurationError("--profile must name the signing profile version that signs")
        print(sign_file(options.package, options.profile, options.key, options.output))
    return 0


def _runtimes(options: argparse.Namespace) -> int:
    from deploy.local import fetched_runtimes, messages, runtimes

    if options.name:
        fetched_runtimes.install(options.name)
        print("Workers find what is new when they start again: lambdad down, then lambdad up.")
    else:
        print(messages.runtimes(*runtimes.survey()))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from shared.telemetry.service import run

    module = importlib.import_module(f"services.{options.service}.main")
    return run(options.service, module.serve, getattr(module, "prepare", None))


if __name__ == "__main__":
    sys.exit(main())
