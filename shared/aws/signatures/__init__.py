"""Signature Version 4, read, proven and made: headers, presigned links, chunks, temporary credentials."""
