"""SQS, in both of its protocols. What is in a queue is `shared/queues`'s, what is known of one `shared/registry/sqs.py`'s."""
