"""What a room holds: operations and the state that they fold into, pure."""
