"""ringfence.board: the PC that a guest finds, and the ways to start a kernel on it."""
