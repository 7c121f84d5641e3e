"""The parts of the fake provider: wire formats, answers, misbehaviour, counters."""
