"""SNS: topics, subscriptions, publishing, and what it remembers for mobile push and text messages."""
