"""SNS's second half: what was published becomes a delivery for each subscription that wants it."""
