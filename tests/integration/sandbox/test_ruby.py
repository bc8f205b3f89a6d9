"""What Ruby functions see, answer and log: on the newest Ruby that this machine has of those that functions may name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.worker.sandbox.spec import RuntimeExit, RuntimeResponse
from tests.integration.sandbox.harness import Harness, until
from tests.needs import each, first_here, offered

RUBY = first_here(*reversed(offered("ruby")))
VERSION = RUBY.removeprefix("ruby")
ID = "8e1b3b2a-0000-4000-8000-000000000000"
HANDLERS = """
require "json"
def handler(event:, context:)
  {event: event, id: context.aws_request_id}
end
module Deep
  class Handler
    def self.process(event:, context:)
      "deep #{event}"
    end
  end
end
"""

pytestmark = pytest.mark.needs(RUBY)


@each(*offered("ruby"))
async def test_every_ruby_of_this_machine_runs_its_own_version(harness: Harness, runtime: str) -> None:
    source = "def handler(event:, context:) = [RUBY_VERSION, event, context.aws_request_id]\n"
    async with harness.running({"app.rb": source}, runtime=runtime) as function:
        version, event, request_id = await function.result({"a": [1, None, "ü"]}, request_id=ID)
    assert f"ruby{version.rpartition('.')[0]}" == runtime
    assert event == {"a": [1, None, "ü"]}
    assert request_id == ID


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("app.handler", {"event": "ü", "id": ID}),
        ("app.Deep::Handler.process", "deep ü"),
        ("src/app.handler", {"event": "ü", "id": ID}),
    ],
)
async def test_every_form_of_handler_runs(harness: Harness, handler: str, expected: Any) -> None:
    files = {"app.rb": HANDLERS, "src/app.rb": HANDLERS}
    async with harness.running(files, runtime=RUBY, handler=handler) as function:
        for _ in range(3):
            assert await function.result("ü", request_id=ID) == expected


async def test_the_context_has_the_members_that_aws_gives(harness: Harness) -> None:
    names = (
        "aws_request_id client_context function_name function_version identity invoked_function_arn log_group_name "
        "log_stream_name memory_limit_in_mb"
    )
    source = (
        "def handler(event:, context:)\n"
        f"  %w[{names}].to_h {{ |name| [name, context.public_send(name)] }}"
        ".merge('left' => context.get_remaining_time_in_millis, 'deadline' => context.deadline_ms)\nend\n"
    )
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        context = await function.result({}, client_context='{"custom": {"a": "ü"}}', request_id=ID)
    assert context["aws_request_id"] == ID
    assert context["client_context"] == {"custom": {"a": "ü"}}
    assert context["memory_limit_in_mb"] == "1769"
    assert context["invoked_function_arn"] == "arn:aws:lambda:us-east-1:000000000000:function:fn"
    assert context["identity"] is None
    assert 0 < context["left"] <= 3_000
    assert context["deadline"] > 1_700_000_000_000


async def test_a_prepared_process_has_the_functions_variables(harness: Harness) -> None:
    source = (
        "def handler(event:, context:)\n"
        "  [ENV['Hello'], ENV['GEM_PATH'], Dir.pwd, Time.at(0).hour, ARGV, ENV['_X_AMZN_TRACE_ID'], ENV['RUBYLIB'], "
        "'ü'.length, Encoding.default_external.name]\n"
        "end\n"
    )
    async with harness.running({"app.rb": source}, runtime=RUBY, variables={"Hello": "World", "TZ": "Asia/Tokyo"}) as function:
        hello, gems, folder, hour, arguments, trace, library, length, encoding = await function.result({}, trace="Root=1")
        assert (await function.result({}))[5] is None
    assert (hello, folder, hour, arguments, trace) == ("World", "/var/task", 9, [], "Root=1")
    assert gems.startswith(f"/var/task/vendor/bundle/ruby/{VERSION}.0:/opt/ruby/gems/{VERSION}.0:")
    assert "/opt/ruby/lib" in library.split(":")
    assert (length, encoding) == (1, "UTF-8")


def gem(folder: str, name: str, value: str) -> dict[str, str]:
    return {
        f"{folder}/gems/{name}-1.0/lib/{name}.rb": f"{name.upper()} = '{value}'\n",
        f"{folder}/specifications/{name}-1.0.gemspec": (
            f"Gem::Specification.new {{ |s| s.name = '{name}'; s.version = '1.0'; s.require_paths = ['lib']; s.summary = 'x'; "
            "s.authors = ['x'] }\n"
        ),
    }


@pytest.mark.parametrize("early", [False, True], ids=["prepared", "executed"])
async def test_gems_and_libraries_of_layers_and_of_the_package_are_found(harness: Harness, early: bool) -> None:
    source = (
        "require 'layered'\nrequire 'vendored'\nrequire 'plain'\nrequire_relative 'lib/own'\n"
        "def handler(event:, context:)\n  [LAYERED, VENDORED, PLAIN, OWN]\nend\n"
    )
    files = {
        "app.rb": source,
        "lib/own.rb": "OWN = 'own'\n",
        **gem(f"vendor/bundle/ruby/{VERSION}.0", "vendored", "of the package"),
    }
    layers = {"ruby/lib/plain.rb": "PLAIN = 'plain'\n", **gem(f"ruby/gems/{VERSION}.0", "layered", "of a layer")}
    variables = {"RUBYOPT": "-W0"} if early else {}
    async with harness.running(files, runtime=RUBY, layers=layers, variables=variables) as function:
        assert await function.result({}) == ["of a layer", "of the package", "plain", "own"]


@pytest.mark.parametrize(
    ("statement", "error_type", "message"),
    [
        ("raise 'Error: some_error_msg'", "Function<RuntimeError>", "Error: some_error_msg"),
        ("raise ArgumentError, event", "Function<ArgumentError>", "x"),
        ("raise StopIteration", "Function<StopIteration>", "StopIteration"),
        ("Float::NAN", "Function<JSON::GeneratorError>", ""),
    ],
)
async def test_what_a_handler_raises_is_answered_as_on_aws_and_the_process_lives(
    harness: Harness, statement: str, error_type: str, message: str
) -> None:
    source = f"$count = 0\ndef handler(event:, context:)\n  $count += 1\n  return $count if event.nil?\n  {statement}\nend\n"
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        document = await function.error("x")
        assert list(document) == ["errorMessage", "errorType", "stackTrace"]
        assert (document["errorType"], document["errorMessage"][: len(message)]) == (error_type, message)
        if "raise" in statement:
            assert re.fullmatch(r"/var/task/app\.rb:5:in .*handler'", document["stackTrace"][0])
        assert not [line for line in document["stackTrace"] if "/var/runtime/" in line]
        assert function.records[0].startswith("Error raised from handler method")
        assert json.loads(function.records[1])["errorType"] == error_type
        assert await function.result(None) == 2


@pytest.mark.parametrize(
    ("statement", "error_type"),
    [
        ("nothing_of_this_name", "Function<NameError>"),
        ("nil.nothing", "Function<NoMethodError>"),
        ("exit 3", "Function<SystemExit>"),
        ("def deep = deep\ndeep", "Function<SystemStackError>"),
        ("require 'nothing'", "Function<LoadError>"),
    ],
)
async def test_after_what_it_cannot_go_on_from_it_answers_and_ends(harness: Harness, statement: str, error_type: str) -> None:
    source = f"def handler(event:, context:)\n  return 1 if event.nil?\n  {statement}\nend\n"
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        assert (await function.error("x"))["errorType"] == error_type
        end = await function.invoke()
        assert isinstance(end, RuntimeExit)
        assert end.exit_status == 255
        await function.restart()
        assert await function.result(None) == 1


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({"app.rb": "require 'nothing'"}, "app.handler", "Init<LoadError>", "cannot load such file -- nothing"),
        ({"app.rb": ""}, "missing.handler", "Init<LoadError>", "cannot load such file -- missing"),
        ({"app.rb": "def handler("}, "app.handler", "Init<SyntaxError>", ""),
        ({"app.rb": "raise IOError, 'at load'"}, "app.handler", "Init<IOError>", "at load"),
        ({"app.rb": ""}, "app", "Init<ArgumentError>", 'Invalid handler ["app"], must be of form FILENAME.METHOD or '),
        ({"app.rb": ""}, "a.b.c.d", "Init<ArgumentError>", 'Invalid handler ["a", "b", "c", "d"], must be of form '),
    ],
)
async def test_an_initialisation_that_fails_is_posted(
    harness: Harness, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    async with harness.running(files, runtime=RUBY, handler=handler) as function:
        assert isinstance(function.ready, RuntimeExit)
        assert function.ready.exit_status == 252
        document = json.loads(function.ready.init_error or b"")
        assert document["errorType"] == error_type
        assert document["errorMessage"].startswith(message)
        assert function.records[0] == f"Init error when loading handler {handler}"


async def test_puts_and_loggers_write_records_that_name_the_invocation(harness: Harness) -> None:
    source = (
        "require 'logger'\nLOG = Logger.new($stdout)\n"
        "def handler(event:, context:)\n"
        "  $stdout.puts \"a\\nb\"\n  puts 'one', ['two', 'three']\n  LOG.info(\"four\\nfive\")\n  Logger.new($stderr, level: 'error').warn('no')\n"
        "  Logger.new('/tmp/file').info('elsewhere')\n  File.read('/tmp/file').lines.last\n"
        "end\n"
    )
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        written = await function.result({}, request_id=ID)
        await until(lambda: len(function.records) == 2, "the records")
        assert bytes(function.output).startswith(b"a\nb\n")
        assert function.records[0] == "one\ntwo\nthree"
        assert re.fullmatch(rf"I, \[[\d.:T-]+ #\d+\]  INFO {ID} -- : four\nfive\n", function.records[1])
    assert re.fullmatch(r"I, \[.*\]  INFO -- : elsewhere\n", written)


async def test_log_records_are_json_where_the_function_wants_it(harness: Harness) -> None:
    source = (
        "require 'logger'\ndef handler(event:, context:)\n"
        "  log = Logger.new($stdout)\n  log.debug('no')\n  log.warn('four')\n  log.error(IOError.new('five'))\n  raise 'six'\nend\n"
    )
    async with harness.running({"app.rb": source}, runtime=RUBY, log_format="JSON") as function:
        await function.error({})
        await until(lambda: len(function.records) == 3, "the records")
    warning, error, raised = map(json.loads, function.records)
    assert (warning["level"], warning["message"]) == ("WARN", "four")
    assert (error["level"], error["errorType"], error["errorMessage"]) == ("ERROR", "IOError", "five")
    assert (raised["level"], raised["errorType"]) == ("ERROR", "Function<RuntimeError>")
    assert all(record["requestId"] and record["timestamp"].endswith("Z") for record in (warning, error, raised))


async def test_six_megabytes_go_both_ways_and_a_larger_answer_is_refused(harness: Harness) -> None:
    source = "def handler(event:, context:)\n  event.is_a?(String) ? event : 'a' * event\nend\n"
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        text = "b" * (6 * 1024 * 1024 - 2)
        assert await function.result(text) == text
        end = await function.invoke(6_291_555)
        assert isinstance(end, RuntimeResponse)
        assert (end.payload, end.too_large_bytes) == (b"", 6_291_557)
        assert await function.result("still here") == "still here"


async def test_what_the_function_replaces_is_not_the_runtimes(harness: Harness) -> None:
    source = (
        "require 'net/http'\nclass Net::HTTP\n  def request(*) = raise('mocked')\nend\n"
        "class TCPSocket\n  def self.new(*) = raise('mocked')\nend\n"
        "def handler(event:, context:)\n  event\nend\n"
    )
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        assert await function.result([1]) == [1]
        assert await function.result([2]) == [2]


async def test_a_marshaller_of_the_functions_own_is_used(harness: Harness) -> None:
    source = (
        "module AwsLambda\n  class Marshaller\n    def self.marshall_request(raw) = raw.body + raw['Content-Type']\n"
        "    def self.marshall_response(response) = StringIO.new(response)\n  end\nend\n"
        "def handler(event:, context:)\n  event\nend\n"
    )
    async with harness.running({"app.rb": source}, runtime=RUBY) as function:
        end = await function.invoke(payload=b'{"a":1}')
        assert isinstance(end, RuntimeResponse)
        assert end.payload == b'{"a":1}application/json'


async def test_a_wrapper_starts_it(harness: Harness) -> None:
    files = {
        "app.rb": "def handler(event:, context:)\n  [ENV['FROM_WRAPPER'], ENV['ARGUMENTS']]\nend\n",
        "wrapper": '#!/bin/sh\nexport FROM_WRAPPER=yes ARGUMENTS="$*"\nexec "$@"\n',
    }
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}
    async with harness.running(files, runtime=RUBY, variables=variables) as function:
        seen, arguments = await function.result({})
    assert seen == "yes"
    assert re.fullmatch(r"/var/lang/bin/ruby[\d.]*( -I\S+)* /var/runtime/bootstrap\.rb", arguments)
