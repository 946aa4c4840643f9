"""The tables of each noun; `store/schema.py` is all of them."""
