"""Checks that only a real key can make: whether the providers answer as their fakes do.

`HUGGINGFACE_API_KEY=hf_… make live` or `REPLICATE_API_TOKEN=r8_… make live` runs them. The keys come from the
environment only. The script first prints what it will do and the greatest price, below one dollar, and starts
after a typed `yes` in a terminal. It then prints each difference from the fakes.
"""
