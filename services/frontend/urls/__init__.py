"""What a request to a function URL becomes and what its answer is made of; `services/frontend/function_urls.py` serves it."""
