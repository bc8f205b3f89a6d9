"""One endpoint, many AWS services: which service a request is for, and the one way that every operation goes."""
