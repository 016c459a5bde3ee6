"""The demonstration: the main use case on this machine, with a photograph that ships with the service."""
