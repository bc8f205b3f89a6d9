"""Lambda's invoke routes, ahead of everything else: what a request asks for, whom it may run, how it is answered."""
