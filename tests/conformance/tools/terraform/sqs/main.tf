# Queues with their policies, dead letters and tags. The provider looks for half a minute whether what it did to a queue stays so
# (for one that it deleted, longer): what is attached to a queue is attached to those that were there before, so that nothing here
# waits for anything else.

variable "prefix" {
  type = string
}

# Made before: `<prefix>-there` and `<prefix>-there-dead`.
data "aws_sqs_queue" "there" {
  name = "${var.prefix}-there"
}

data "aws_sqs_queue" "dead" {
  name = "${var.prefix}-there-dead"
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.prefix}-dead"
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "main" {
  name                       = "${var.prefix}-main"
  delay_seconds              = 5
  max_message_size           = 2048
  receive_wait_time_seconds  = 10
  visibility_timeout_seconds = 60
  tags                       = { team = "queues" }
}

resource "aws_sqs_queue" "fifo" {
  name                        = "${var.prefix}-main.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
}

resource "aws_sqs_queue" "encrypted" {
  name                              = "${var.prefix}-encrypted"
  kms_master_key_id                 = "alias/aws/sqs"
  kms_data_key_reuse_period_seconds = 600
}

resource "aws_sqs_queue" "own" {
  name = "${var.prefix}-own"

  redrive_policy = jsonencode({
    deadLetterTargetArn = "arn:aws:sqs:us-east-1:000000000000:${var.prefix}-own"
    maxReceiveCount     = 4
  })
}

data "aws_iam_policy_document" "senders" {
  statement {
    sid       = "senders"
    actions   = ["sqs:SendMessage"]
    resources = [data.aws_sqs_queue.there.arn]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:sns:us-east-1:000000000000:*"]
    }
  }
}

resource "aws_sqs_queue_policy" "there" {
  queue_url = data.aws_sqs_queue.there.url
  policy    = data.aws_iam_policy_document.senders.json
}

resource "aws_sqs_queue_redrive_policy" "there" {
  queue_url = data.aws_sqs_queue.there.url

  redrive_policy = jsonencode({
    deadLetterTargetArn = data.aws_sqs_queue.dead.arn
    maxReceiveCount     = 4
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = data.aws_sqs_queue.dead.url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [data.aws_sqs_queue.there.arn]
  })
}

data "aws_sqs_queue" "read" {
  name       = aws_sqs_queue.main.name
  depends_on = [aws_sqs_queue.main]
}

output "url" {
  value = data.aws_sqs_queue.read.url
}

output "arn" {
  value = aws_sqs_queue.main.arn
}
