"""Detection, judged on labelled archives: what the checks find in malware by family, and in clean packages by group."""
