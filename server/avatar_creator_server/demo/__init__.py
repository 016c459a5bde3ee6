"""The demonstration: the whole main job on this machine, with a photograph that ships with the service."""
