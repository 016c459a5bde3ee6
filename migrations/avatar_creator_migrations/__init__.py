"""Numbered schema changes, oldest first, shipped with the service and run by `avatar-creator migrate`."""
