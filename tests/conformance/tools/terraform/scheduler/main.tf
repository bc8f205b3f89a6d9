# A group of schedules: a recurring one, and one that fires once.

variable "endpoint" {
  type = string
}

variable "prefix" {
  type = string
}

variable "released" {
  type    = bool
  default = false
}

locals {
  role  = "arn:aws:iam::000000000000:role/scheduler"
  queue = "arn:aws:sqs:us-east-1:000000000000:${var.prefix}-queue"
}

resource "aws_scheduler_schedule_group" "nightly" {
  name = "${var.prefix}-nightly"
  tags = var.released ? { team = "time", stage = "two" } : { team = "time" }
}

resource "aws_scheduler_schedule" "recurring" {
  name                         = "${var.prefix}-recurring"
  group_name                   = aws_scheduler_schedule_group.nightly.name
  description                  = "the last workday of a month"
  schedule_expression          = var.released ? "cron(0 4 ? * 6L *)" : "cron(30 3 LW * ? *)"
  schedule_expression_timezone = "Europe/Berlin"
  start_date                   = "2090-01-01T00:00:00Z"
  end_date                     = "2091-01-01T00:00:00Z"
  state                        = var.released ? "DISABLED" : "ENABLED"

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 15
  }

  target {
    arn      = "${local.queue}.fifo"
    role_arn = local.role
    input    = jsonencode({ at = "<aws.scheduler.scheduled-time>" })

    sqs_parameters {
      message_group_id = "nightly"
    }

    dead_letter_config {
      arn = "${local.queue}-dead"
    }

    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 3
    }
  }
}

resource "aws_scheduler_schedule" "once" {
  name_prefix         = var.prefix
  schedule_expression = "at(2090-01-01T12:00:00)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
    role_arn = local.role
    input    = jsonencode({ QueueUrl = "${var.endpoint}/000000000000/${var.prefix}-queue", MessageBody = "now" })
  }
}

output "recurring" {
  value = aws_scheduler_schedule.recurring.arn
}

output "once" {
  value = aws_scheduler_schedule.once.arn
}
