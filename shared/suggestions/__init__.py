"""What users see and answer: evidence, decisions, suggestions, feedback, review queue."""
