"""EventBridge in the router: events of buses become deliveries to the targets of rules that they match; archives, replays."""
