"""What the services share of SNS: what travels from the one who publishes to the one who fans out, and its documents."""
