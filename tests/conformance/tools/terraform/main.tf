# A module for each service, applied together: the provider waits minutes for some resources, and here it waits for all at once.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

provider "aws" {
  skip_metadata_api_check = true
  skip_region_validation  = true
  max_retries             = 2

  endpoints {
    events    = var.endpoint
    lambda    = var.endpoint
    scheduler = var.endpoint
    sns       = var.endpoint
    sqs       = var.endpoint
    sts       = var.endpoint
  }
}

variable "endpoint" {
  type = string
}

variable "prefix" {
  type        = string
  description = "Of every name."
}

variable "released" {
  type        = bool
  default     = false
  description = "Whether what changes with a release is changed."
}

variable "lambda" {
  type        = object({ code = string, kafka = string, layer = string, runtime = string })
  description = "The function's package, the mapped topic's bootstrap servers, the layer's package, a Python that runs here."
}

module "events" {
  source = "./events"
  prefix = var.prefix
}

module "lambda" {
  source   = "./lambda"
  prefix   = var.prefix
  released = var.released
  code     = var.lambda.code
  kafka    = var.lambda.kafka
  layer    = var.lambda.layer
  runtime  = var.lambda.runtime
}

module "scheduler" {
  source   = "./scheduler"
  prefix   = var.prefix
  released = var.released
  endpoint = var.endpoint
}

module "sns" {
  source = "./sns"
  prefix = var.prefix
  least  = var.released ? 200 : 100
}

module "sqs" {
  source = "./sqs"
  prefix = var.prefix
}

output "events" {
  value = module.events
}

output "lambda" {
  value = module.lambda
}

output "scheduler" {
  value = module.scheduler
}

output "sns" {
  value = module.sns
}

output "sqs" {
  value = module.sqs
}
