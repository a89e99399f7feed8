"""Jobs, model versions, deployments, canary and drift, over HTTP."""
