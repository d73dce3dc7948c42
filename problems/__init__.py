"""What is solved: problem files, their schema, initial laws and attention weights."""
