"""What EventBridge remembers: event buses, rules, targets, archives, replays, connections and API destinations."""
