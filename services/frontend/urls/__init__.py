"""What a request to a function URL becomes and what its answer is made of; `services/frontend/urls/routes.py` serves it."""
