"""The review pages: what people who look after verdicts, checks, keys and metadata see, beneath ``/review/``.

Everything is rendered on the server and works without JavaScript. ``gate`` decides who may see or do a thing, before
any page's own code runs; pages translate between requests and the services behind them, and decide nothing.
"""
