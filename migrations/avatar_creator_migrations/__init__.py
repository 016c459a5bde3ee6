"""Numbered schema migrations, oldest first, which `avatar-creator migrate` applies."""
