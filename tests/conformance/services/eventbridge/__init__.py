"""EventBridge in the reading of its recorded entries."""
