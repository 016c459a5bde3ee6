"""Decoding of pictures in child processes, which may fail or die without harm to the service."""
