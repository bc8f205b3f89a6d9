"""Lambda's management API: what its entries' sentences and placeholders mean."""
