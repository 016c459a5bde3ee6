"""The parts that all providers of hosted models share: HTTP, the table of outcomes, and pictures."""
