# An event bus with a rule, its targets, a permission and an archive, a scheduled rule, a connection and an API destination.

variable "prefix" {
  type = string
}

locals {
  queue = "arn:aws:sqs:us-east-1:000000000000:${var.prefix}"
}

resource "aws_cloudwatch_event_bus" "orders" {
  name        = "${var.prefix}-orders"
  description = "What happens to orders"
  tags        = { team = "events" }
}

resource "aws_cloudwatch_event_bus" "audit" {
  name = "${var.prefix}-audit"
}

resource "aws_cloudwatch_event_permission" "other" {
  principal      = "123456789012"
  statement_id   = "other"
  event_bus_name = aws_cloudwatch_event_bus.orders.name
}

resource "aws_cloudwatch_event_rule" "large" {
  name           = "${var.prefix}-large"
  event_bus_name = aws_cloudwatch_event_bus.orders.name
  event_pattern = jsonencode({
    source = ["shop"]
    detail = { total = [{ numeric = [">", 100] }], state = [{ anything-but = "draft" }] }
  })
  tags = { team = "events" }
}

resource "aws_cloudwatch_event_target" "queue" {
  rule           = aws_cloudwatch_event_rule.large.name
  event_bus_name = aws_cloudwatch_event_bus.orders.name
  target_id      = "queue"
  arn            = local.queue

  input_transformer {
    input_paths    = { order = "$.detail.id" }
    input_template = "{\"order\": <order>}"
  }

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 5
  }

  dead_letter_config {
    arn = "${local.queue}-dead"
  }
}

resource "aws_cloudwatch_event_target" "fifo" {
  rule           = aws_cloudwatch_event_rule.large.name
  event_bus_name = aws_cloudwatch_event_bus.orders.name
  target_id      = "fifo"
  arn            = "${local.queue}.fifo"
  input_path     = "$.detail"

  sqs_target {
    message_group_id = "orders"
  }
}

resource "aws_cloudwatch_event_target" "audit" {
  rule           = aws_cloudwatch_event_rule.large.name
  event_bus_name = aws_cloudwatch_event_bus.orders.name
  target_id      = "audit"
  arn            = aws_cloudwatch_event_bus.audit.arn
  role_arn       = "arn:aws:iam::000000000000:role/events"
}

resource "aws_cloudwatch_event_rule" "nightly" {
  name                = "${var.prefix}-nightly"
  schedule_expression = "cron(0 3 * * ? *)"
  state               = "DISABLED"
}

resource "aws_cloudwatch_event_target" "nightly" {
  rule  = aws_cloudwatch_event_rule.nightly.name
  arn   = local.queue
  input = jsonencode({ job = "nightly" })
}

resource "aws_cloudwatch_event_archive" "orders" {
  name             = "${var.prefix}-orders"
  event_source_arn = aws_cloudwatch_event_bus.orders.arn
  retention_days   = 7
  event_pattern    = jsonencode({ source = ["shop"] })
}

resource "aws_cloudwatch_event_connection" "partner" {
  name               = "${var.prefix}-partner"
  authorization_type = "API_KEY"

  auth_parameters {
    api_key {
      key   = "x-api-key"
      value = "secret"
    }
  }
}

resource "aws_cloudwatch_event_api_destination" "partner" {
  name                             = "${var.prefix}-partner"
  invocation_endpoint              = "https://partner.example.com/orders"
  http_method                      = "POST"
  invocation_rate_limit_per_second = 20
  connection_arn                   = aws_cloudwatch_event_connection.partner.arn
}

output "bus" {
  value = aws_cloudwatch_event_bus.orders.arn
}

output "archive" {
  value = aws_cloudwatch_event_archive.orders.arn
}
