"""What the mirror costs, measured against comparable clients. `scripts/bench` runs it."""
