# frozen_string_literal: true

require "stringio"

# How events become objects and results become responses. Named as on AWS, where functions may replace either method.
module AwsLambda
  class Marshaller
    class << self
      # raw_request: the event, by header ("Content-Type") and `body`.
      def marshall_request(raw_request)
        raw_request["Content-Type"] == "application/json" ? JSON.parse(raw_request.body) : raw_request.body
      end

      # The response, or it and its content type.
      def marshall_response(method_response)
        case method_response
        when StringIO, IO then [method_response, "application/unknown"]
        else method_response.to_json
        end
      end
    end
  end
end

module LambdadRuntime
  # An event as a marshaller of a function's own sees it.
  class RawRequest
    attr_reader :body

    def initialize(answer)
      @headers = answer.headers
      @body = answer.body.dup.force_encoding(Encoding::UTF_8)
    end

    def [](name)
      @headers[name.downcase]
    end
  end
end
