"""A service's day in a moment: the gateway's admission, the queue and several workers on a model of service times."""
