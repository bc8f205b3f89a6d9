"""How events and batches ended becomes deliveries to whoever asked to be told."""
