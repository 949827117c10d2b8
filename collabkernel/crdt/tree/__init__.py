"""What the move tree is made of: nodes, ordered siblings, rekeys, rows of state."""
