"""Runs the client programs beside this package against a broker and writes the scorecard.

Start with `__main__.py`. `programs.py` says which programs there are and how each is started, `running.py` talks with
one of them, `columns.py` has the brokers that they meet, `card.py` reads and writes SCORECARD.md.
"""
