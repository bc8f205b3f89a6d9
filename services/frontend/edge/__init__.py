"""How a request comes in and an answer goes out: the HTTP protocol and its bounds, bodies, signatures, who asks, answers."""
