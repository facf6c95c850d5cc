"""The HTTP edge: ``public`` is for a CDN, ``administration`` for administrators, each on its own address."""
