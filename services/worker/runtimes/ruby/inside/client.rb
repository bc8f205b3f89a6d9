# frozen_string_literal: true

require_relative "connection"

module LambdadRuntime
  # The Runtime API's calls.
  class Client
    PREFIX = "/2018-06-01/runtime"
    ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
    WARM_UP_ROUNDS = 3

    class UnexpectedAnswerError < StandardError; end

    def initialize(address)
      @host, port = address.split(":", 2)
      @port = Integer(port)
      @connection = nil
    end

    # Run the code of a call, and open the connection, before there is a function whose time it takes.
    def warm_up
      WARM_UP_ROUNDS.times { call("GET", "/ping") }
    end

    # The next event, as a Connection::Answer. Waits as long as it takes.
    def next
      answer = call("GET", "/invocation/next")
      raise UnexpectedAnswerError, "next answered #{answer.status}" unless answer.status == 200

      answer
    end

    # Post a result; one that is too large is refused, which the platform has noted then.
    def respond(request_id, body, content_type)
      call("POST", "/invocation/#{request_id}/response", body, "Content-Type" => content_type)
    end

    def fail(request_id, document)
      post_error("/invocation/#{request_id}/error", document)
    end

    def fail_init(document)
      post_error("/init/error", document)
    end

    private

    def post_error(path, document)
      type = document[:errorType].gsub(/[^\x20-\x7e]/, "")
      call("POST", path, JSON.generate(document), "Content-Type" => "application/json", ERROR_TYPE => type)
    end

    def call(method, path, body = "", headers = {})
      body = body.b
      head = "#{method} #{PREFIX}#{path} HTTP/1.1\r\nHost: #{@host}:#{@port}\r\n"
      headers.each { |name, value| head += "#{name}: #{value}\r\n" }
      head += "Content-Length: #{body.bytesize}\r\n" if method == "POST"
      @connection ||= Connection.new(@host, @port)
      @connection.call("#{head}\r\n", body)
    end
  end
end
