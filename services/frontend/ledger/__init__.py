"""`/_lambdad/events`: the ledger asked, and what can still be done with an event. docs/ledger.md tells of the requests."""
