# frozen_string_literal: true

# What a handler gets as its context. Named as on AWS, where it is no module's.
class LambdaContext
  attr_reader :aws_request_id, :client_context, :deadline_ms, :function_name, :function_version, :identity,
              :invoked_function_arn, :log_group_name, :log_stream_name, :memory_limit_in_mb

  # headers: of the event, by lower-case name.
  def initialize(headers)
    @aws_request_id = headers["lambda-runtime-aws-request-id"]
    @invoked_function_arn = headers["lambda-runtime-invoked-function-arn"]
    @deadline_ms = headers["lambda-runtime-deadline-ms"].to_i
    @client_context = parsed(headers["lambda-runtime-client-context"])
    @identity = parsed(headers["lambda-runtime-cognito-identity"])
    @function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
    @function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
    @memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
    @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
  end

  def get_remaining_time_in_millis
    [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
  end

  private

  def parsed(text)
    text && JSON.parse(text.dup.force_encoding(Encoding::UTF_8))
  end
end
