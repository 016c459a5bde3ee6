"""The web port: the same answers as on the gRPC port, its limits, its headers and its address."""
