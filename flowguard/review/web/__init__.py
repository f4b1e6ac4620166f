"""The desk: a web application for whoever works through flagged records. The web framework is imported here alone."""
