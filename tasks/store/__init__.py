"""What is kept: the tables of a store, and the rules by which their rows count."""
