"""The one way in which anything leaves for a queue, topic, function, bus, bucket, Kafka topic or address.

Who makes deliveries (outcomes, subscriptions, rules) hands them to `courier.Courier.deliver_now_or_later` and settles its own
offset when that returns. What fails waits in a delay tier and comes back on the topic of deliveries (`consumer`).
"""
