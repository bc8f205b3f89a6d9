"""`lambdad events`: the ledger on the command line. It asks the endpoint, as any client could (docs/ledger.md)."""
