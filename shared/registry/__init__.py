"""What must be true: functions, immutable versions, aliases, mappings, kept in Postgres; packages in object storage."""
