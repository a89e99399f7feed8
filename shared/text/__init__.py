"""Text normalisation: merchant names, payment-channel hints, vocabularies, one bounded cache."""
