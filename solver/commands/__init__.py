"""The commands behind `coldflow`: each turns arguments into one call and prints what came of it."""
