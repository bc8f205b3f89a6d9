"""The one way to run scripts on Redis: a connection that pipelines them, and Lua files as commands ready to be written."""
