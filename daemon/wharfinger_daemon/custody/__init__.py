"""Where signatures come from: adapters between the domain's ports and the keys."""
