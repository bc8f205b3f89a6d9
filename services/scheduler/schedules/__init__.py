"""Schedules in the scheduler: which are due is found in Postgres, what they fire is a delivery."""
