"""What a person sees and answers: evidence, decision, suggestions, feedback, review queue."""
