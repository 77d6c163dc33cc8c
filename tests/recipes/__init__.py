"""Programs as users write them, each for one framework: copied from here, shown in the documentation, run as they are.

A recipe depends on nothing in this directory. The variables `OPS_WRITE_KEY` and `OPS_API_URL` would do for key and
server; the key stands in the program because that is where a tool that is given to others has it.
"""
