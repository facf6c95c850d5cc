"""What Python code does by itself, told from its syntax tree. Nothing is ever executed.

``interpreter`` walks the statements that run when a module is loaded, and the local functions that these call, with
abstract ``values``: what is known of a constant, which name something has in the standard library, and where its
content came from (decoded, downloaded, about the host). ``folding`` computes constants, ``catalogue`` says what known
functions do, ``effects`` what their calls mean together.
"""
