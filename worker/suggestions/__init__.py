"""Jobs over all open transactions: suggestions and rules; the guardrail of the experiments."""
