"""The names of the original collector, answered by Wattledger."""
