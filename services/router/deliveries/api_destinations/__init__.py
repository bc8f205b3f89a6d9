"""What an API destination of EventBridge gets: the request, the rights to make it, and how often."""
