"""How the codec is compiled: to plain loops over arrays, which allocate nothing and never return to Python."""

import functools

import numba

# Counting references to arrays took a third of the time: each call counts, atomically, every array that it is handed.
# So arrays are made by the callers in Python, which hold them, and compiled code counts nothing (`_nrt`). Division by
# zero, which never happens, is not looked for (`error_model`).
compiled = functools.partial(numba.njit, cache=True, nogil=True, error_model="numpy", _nrt=False)
