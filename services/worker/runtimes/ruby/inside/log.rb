# frozen_string_literal: true

require "logger"
require_relative "errors"

module LambdadRuntime
  # puts and Logger as on AWS: each call is one record, whatever lines it has.
  class Log
    FRAME = "NNQ>" # type, length, microseconds: services/worker/sandbox/log_frames.py
    TEXT = 0xa55a0003
    LEVELS = { "TRACE" => Logger::DEBUG, "DEBUG" => Logger::DEBUG, "INFO" => Logger::INFO, "WARN" => Logger::WARN,
               "ERROR" => Logger::ERROR, "FATAL" => Logger::FATAL }.freeze

    attr_accessor :request_id
    attr_reader :json, :level

    def initialize(environment)
      @json = environment["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
      @level = LEVELS.fetch(environment.fetch("AWS_LAMBDA_LOG_LEVEL", "").upcase, @json ? Logger::INFO : Logger::DEBUG)
      @out = IO.for_fd(1, "wb", autoclose: false)
      @out.sync = true
      @request_id = nil
    end

    # From now on puts, and loggers of the standard streams, write records.
    def take_over
      $stdout.sync = $stderr.sync = true
      log = self
      Kernel.module_eval do
        define_method(:puts) { |*parts| log.write(parts.flatten.map(&:to_s).join("\n")) }
        module_function :puts
      end
      Loggers.log = log
      Logger.prepend(Loggers)
    end

    def write(text)
      data = Errors.printable(text).b
      @out.write([TEXT, data.bytesize, Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)].pack(FRAME) << data)
      nil
    end

    def close; end

    # message: what the platform's own words are. document: as the caller gets it.
    def error(message, document)
      if @json
        write(JSON.generate({ timestamp: now, level: "ERROR", message: message, requestId: @request_id }.merge(document).compact))
      else
        write(message)
        write(JSON.pretty_generate(document))
      end
    end

    def now
      Time.now.utc.strftime("%Y-%m-%dT%H:%M:%S.%LZ")
    end
  end

  # In front of Logger: those of the standard streams write records that name the invocation.
  module Loggers
    class << self
      attr_accessor :log
    end

    def initialize(logdev = nil, *arguments, **options)
      log = Loggers.log
      ours = logdev.nil? || logdev.equal?($stdout) || logdev.equal?($stderr) || logdev.equal?(STDOUT) || logdev.equal?(STDERR)
      return super unless ours

      super(log, *arguments, **{ level: log.level }.merge(options))
      @default_formatter = Formatter.new(log)
    end
  end

  # Logger's usual line with the request id in it, or a JSON object.
  class Formatter < Logger::Formatter
    def initialize(log)
      super()
      @log = log
    end

    def call(severity, time, program, message)
      return json(severity, time, program, message) if @log.json

      "#{severity[0]}, [#{format_datetime(time)} ##{Process.pid}] #{severity.rjust(5)} #{@log.request_id} -- #{program}: " \
        "#{msg2str(message)}\n"
    end

    private

    def json(severity, time, program, message)
      record = { timestamp: time.utc.strftime("%Y-%m-%dT%H:%M:%S.%6NZ"), level: severity, requestId: @log.request_id }
      record[:logger] = Errors.printable(program) unless program.nil?
      if message.is_a?(Exception)
        record.update(message: Errors.printable(message.message), errorType: message.class.to_s,
                      errorMessage: Errors.printable(message.message),
                      stackTrace: (message.backtrace || []).map { |line| Errors.printable(line) })
      else
        record[:message] = Errors.printable(msg2str(message))
      end
      "#{JSON.generate(record.compact)}\n"
    end
  end
end
