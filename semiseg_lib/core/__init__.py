"""What everything stands on: paths, durable files, configurations and their fingerprints."""
