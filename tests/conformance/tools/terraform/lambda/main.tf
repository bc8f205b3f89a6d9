# Everything of Lambda that the AWS provider has a resource for and a project usually uses, around one function.

variable "kafka" {
  type        = string
  description = "Bootstrap servers of the mapped topic."
}

variable "prefix" {
  type = string
}

variable "runtime" {
  type        = string
  description = "A Python that functions run on here."
}

variable "code" {
  type        = string
  description = "The function's package."
}

variable "layer" {
  type        = string
  description = "The layer's package."
}

variable "released" {
  type        = bool
  default     = false
  description = "Whether the second version takes a share of the alias's traffic."
}

locals {
  role  = "arn:aws:iam::000000000000:role/lambda"
  queue = "arn:aws:sqs:us-east-1:000000000000:${var.prefix}-queue"
}

resource "aws_lambda_layer_version" "shared" {
  layer_name               = "${var.prefix}-layer"
  description              = "What functions share."
  filename                 = var.layer
  source_code_hash         = filebase64sha256(var.layer)
  compatible_runtimes      = distinct([var.runtime, "python3.13"])
  compatible_architectures = ["x86_64"]
  license_info             = "Apache-2.0"
}

resource "aws_lambda_layer_version_permission" "everyone" {
  layer_name     = aws_lambda_layer_version.shared.layer_name
  version_number = aws_lambda_layer_version.shared.version
  statement_id   = "everyone"
  action         = "lambda:GetLayerVersion"
  principal      = "*"
}

resource "aws_lambda_code_signing_config" "trusted" {
  description = "Warns of packages that nobody signed."

  allowed_publishers {
    signing_profile_version_arns = ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/profile/0123456789"]
  }

  policies {
    untrusted_artifact_on_deployment = "Warn"
  }
}

resource "aws_lambda_function" "main" {
  function_name                  = "${var.prefix}-main"
  description                    = "The function that everything here is about."
  role                           = local.role
  runtime                        = var.runtime
  handler                        = "index.handler"
  filename                       = var.code
  source_code_hash               = filebase64sha256(var.code)
  publish                        = true
  memory_size                    = 256
  timeout                        = 10
  reserved_concurrent_executions = 20
  layers                         = [aws_lambda_layer_version.shared.arn]
  code_signing_config_arn        = aws_lambda_code_signing_config.trusted.arn

  environment {
    variables = { STAGE = "test" }
  }

  ephemeral_storage {
    size = 1024
  }

  dead_letter_config {
    target_arn = local.queue
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format            = "JSON"
    application_log_level = "DEBUG"
    system_log_level      = "WARN"
  }

  tags = { team = "conformance" }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "What callers use."
  function_name    = aws_lambda_function.main.function_name
  function_version = "1"

  dynamic "routing_config" {
    for_each = var.released ? [aws_lambda_function.main.version] : []
    content {
      additional_version_weights = { (routing_config.value) = 0.25 }
    }
  }
}

resource "aws_lambda_permission" "topic" {
  statement_id  = "topic"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.main.function_name
  qualifier     = aws_lambda_alias.live.name
  principal     = "sns.amazonaws.com"
  source_arn    = "arn:aws:sns:us-east-1:000000000000:${var.prefix}-topic"
}

resource "aws_lambda_permission" "account" {
  statement_id_prefix = "account-"
  action              = "lambda:InvokeFunction"
  function_name       = aws_lambda_function.main.function_name
  # An account's number would come back as this ARN, from AWS too, and the provider would replace the statement for ever.
  principal           = "arn:aws:iam::000000000000:root"
}

resource "aws_lambda_function_url" "live" {
  function_name      = aws_lambda_function.main.function_name
  qualifier          = aws_lambda_alias.live.name
  authorization_type = "AWS_IAM"
  invoke_mode        = "RESPONSE_STREAM"

  cors {
    allow_credentials = true
    allow_origins     = ["https://example.com"]
    allow_methods     = ["GET", "POST"]
    allow_headers     = ["x-one"]
    expose_headers    = ["x-two"]
    max_age           = 600
  }
}

resource "aws_lambda_event_source_mapping" "kafka" {
  function_name                      = aws_lambda_alias.live.arn
  topics                             = ["${var.prefix}-topic"]
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 50
  maximum_batching_window_in_seconds = 1

  self_managed_event_source {
    endpoints = { KAFKA_BOOTSTRAP_SERVERS = var.kafka }
  }

  source_access_configuration {
    type = "VPC_SUBNET"
    uri  = "subnet:subnet-0123"
  }

  self_managed_kafka_event_source_config {
    consumer_group_id = "${var.prefix}-group"
  }

  filter_criteria {
    filter {
      pattern = jsonencode({ value = { kind = ["order"] } })
    }
  }

  tags = { team = "conformance" }
}

resource "aws_lambda_event_source_mapping" "queue" {
  function_name           = aws_lambda_function.main.arn
  event_source_arn        = local.queue
  batch_size              = 5
  enabled                 = false
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 5
  }
}

resource "aws_lambda_function_event_invoke_config" "live" {
  function_name                = aws_lambda_function.main.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_event_age_in_seconds = 120
  maximum_retry_attempts       = 1

  destination_config {
    on_failure {
      destination = local.queue
    }
  }
}

resource "aws_lambda_provisioned_concurrency_config" "version" {
  function_name                     = aws_lambda_function.main.function_name
  qualifier                         = aws_lambda_function.main.version
  provisioned_concurrent_executions = 1
}

resource "aws_lambda_runtime_management_config" "main" {
  function_name     = aws_lambda_function.main.function_name
  update_runtime_on = "FunctionUpdate"
}

resource "aws_lambda_function_recursion_config" "main" {
  function_name  = aws_lambda_function.main.function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_invocation" "main" {
  function_name = aws_lambda_function.main.function_name
  qualifier     = aws_lambda_alias.live.name
  input         = jsonencode({ name = "terraform" })
}

# Asks STS, as the provider itself does at its start.
data "aws_caller_identity" "me" {}

data "aws_lambda_function" "read" {
  function_name = aws_lambda_function.main.function_name
  qualifier     = aws_lambda_alias.live.name
}

data "aws_lambda_layer_version" "read" {
  layer_name = aws_lambda_layer_version.shared.layer_name
}

data "aws_lambda_alias" "read" {
  function_name = aws_lambda_function.main.function_name
  name          = aws_lambda_alias.live.name
}

output "answer" {
  value = jsondecode(aws_lambda_invocation.main.result)
}

output "caller" {
  value = data.aws_caller_identity.me.arn
}

output "url" {
  value = aws_lambda_function_url.live.function_url
}

output "read" {
  value = {
    memory  = data.aws_lambda_function.read.memory_size
    layer   = data.aws_lambda_layer_version.read.version
    version = data.aws_lambda_alias.read.function_version
  }
}
