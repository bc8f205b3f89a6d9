# frozen_string_literal: true

# The Ruby runtime: a client of the Runtime API (2018-06-01) in plain Ruby.
#
# Started with the argument "prepared" it was executed ahead of need: it says so on descriptor 3, then waits there for its
# function's variables (frames as in sandbox/protocol.py), and on descriptor 4 until the code is mounted.

require "json"
require_relative "client"
require_relative "log"
require_relative "loop"
require_relative "start"

# As on AWS, where the locale that LANG names exists.
Encoding.default_external = Encoding::UTF_8

client = LambdadRuntime::Client.new(ENV.fetch("AWS_LAMBDA_RUNTIME_API", "169.254.100.1:9001"))
if ARGV.first == "prepared"
  client.warm_up
  LambdadRuntime::Start.wait
end
log = LambdadRuntime::Log.new(ENV.to_h)
log.take_over
exit(LambdadRuntime::Loop.new(client, log).run(ENV.fetch("LAMBDA_TASK_ROOT"), ENV.fetch("_HANDLER")))
