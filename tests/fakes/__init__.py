"""Stand-ins for hosts, on loopback, written from their documented interfaces, that misbehave by a plan."""
