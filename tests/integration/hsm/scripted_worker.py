"""A worker that misbehaves as told: `scripted_worker.py MODE MARKER`. It adds a line to MARKER each time that it starts.
