"""How AWS's services and their clients write requests, replies and errors: one module for each protocol, all by the model."""
