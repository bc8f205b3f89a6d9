"""The ledger's consumer: what services told becomes rows, and what nobody has told of yet is seen to be queued."""
