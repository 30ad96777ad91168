ORDER = ("deliveries", "frames", "stalled", "shown", "storm")
