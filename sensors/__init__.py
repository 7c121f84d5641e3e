"""What asks for runs when something has changed; each has a cursor, bounded work and a skip reason."""
