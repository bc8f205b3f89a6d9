# frozen_string_literal: true

require_relative "context"
require_relative "errors"
require_relative "handler"
require_relative "marshaller"

module LambdadRuntime
  # One event after the other, for as long as the process lives.
  class Loop
    INIT_FAILED = 252
    CRITICAL = 255

    def initialize(client, log)
      @client = client
      @log = log
    end

    # -> the status that the process ends with.
    def run(root, setting)
      begin
        handler = Handler.new(setting)
        handler.load(root)
      rescue Exception => e
        return fail_init(setting, e)
      end
      loop do
        ended = serve(handler, @client.next)
        return ended unless ended.nil?
      end
    end

    private

    def serve(handler, answer)
      headers = answer.headers
      @log.request_id = request_id = headers["lambda-runtime-aws-request-id"]
      ENV["_X_AMZN_TRACE_ID"] = headers["lambda-runtime-trace-id"]
      begin
        event = AwsLambda::Marshaller.marshall_request(RawRequest.new(answer))
        body, type = AwsLambda::Marshaller.marshall_response(handler.call(event, LambdaContext.new(headers)))
        body = body.read if body.respond_to?(:read)
      rescue Exception => e
        return fail(request_id, e)
      end
      @client.respond(request_id, body.to_s, type || "application/json")
      nil
    end

    def fail(request_id, error)
      document = Errors.document("Function", error)
      critical = Errors.critical?(error)
      @log.error(critical ? "Critical exception from handler" : "Error raised from handler method", document)
      @client.fail(request_id, document)
      critical ? CRITICAL : nil
    end

    def fail_init(setting, error)
      document = Errors.document("Init", error)
      @log.error("Init error when loading handler #{setting}", document)
      @client.fail_init(document)
      INIT_FAILED
    end
  end
end
