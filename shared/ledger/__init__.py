"""The ledger: what became of every asynchronous event, and what can still be done with it. docs/ledger.md tells the whole."""
