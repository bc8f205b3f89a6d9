# Topics of SNS as a project has them: a queue and a function subscribed, one by a filter.

variable "prefix" {
  type = string
}

variable "least" {
  type        = number
  default     = 100
  description = "What an order is worth that is told."
}

locals {
  queues = "arn:aws:sqs:us-east-1:000000000000:${var.prefix}"
}

resource "aws_sns_topic" "orders" {
  name         = "${var.prefix}-orders"
  display_name = "Orders"
  delivery_policy = jsonencode({
    http = {
      defaultHealthyRetryPolicy = {
        minDelayTarget     = 1
        maxDelayTarget     = 20
        numRetries         = 5
        numMaxDelayRetries = 0
        numNoDelayRetries  = 0
        numMinDelayRetries = 0
        backoffFunction    = "linear"
      }
      disableSubscriptionOverrides = false
    }
  })
  tags = {
    team = "orders"
  }
}

resource "aws_sns_topic" "ledger" {
  name                        = "${var.prefix}-ledger.fifo"
  fifo_topic                  = true
  content_based_deduplication = true
}

resource "aws_sns_topic_policy" "orders" {
  arn = aws_sns_topic.orders.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "publish"
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "SNS:Publish"
      Resource  = aws_sns_topic.orders.arn
    }]
  })
}

resource "aws_sns_topic_subscription" "large" {
  topic_arn            = aws_sns_topic.orders.arn
  protocol             = "sqs"
  endpoint             = "${local.queues}-large"
  raw_message_delivery = true
  filter_policy        = jsonencode({ amount = [{ numeric = [">", var.least] }] })
  redrive_policy       = jsonencode({ deadLetterTargetArn = "${local.queues}-dead" })
}

resource "aws_sns_topic_subscription" "all" {
  topic_arn           = aws_sns_topic.orders.arn
  protocol            = "lambda"
  endpoint            = "arn:aws:lambda:us-east-1:000000000000:function:${var.prefix}-all"
  filter_policy_scope = "MessageBody"
  filter_policy       = jsonencode({ order = { state = ["paid"] } })
}

resource "aws_sns_topic_subscription" "ledger" {
  topic_arn = aws_sns_topic.ledger.arn
  protocol  = "sqs"
  endpoint  = "${local.queues}-ledger.fifo"
}

output "topic" {
  value = aws_sns_topic.orders.arn
}
