"""EventBridge: event buses, rules, targets, events, archives, replays, connections and API destinations."""
