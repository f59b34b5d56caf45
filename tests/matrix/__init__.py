"""The authorisation matrix: every operation as every role, in every relation to its object, with every kind of login.

What must happen is computed from `permissions.csv`; what does happen is asked of the real app on a real database.
`scene.py` sets up people and objects, `cells.py` says how a cell is asked and read, each `calls_*.py` knows how the
operations of one area are called, and `test_matrix.py` goes through all cells.
"""
