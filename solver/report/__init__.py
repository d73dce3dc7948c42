"""What a person looks at: figures and the page of a run."""
